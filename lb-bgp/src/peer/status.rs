//! A snapshot of a peer for people and programs: made on request, never read back by the machine.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use super::Peer;
use super::collision::Origin;
use super::connection::{Connection, Session};
use super::negotiate::Negotiated;
use crate::attributes::RouteAttributes;
use crate::family::{Family, PerFamily};
use crate::io::{Reason, State};
use crate::route::NextHops;
use crate::wire::{NextHop, Path};

/// How a peer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The state, with two connections that of the one further on.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// When to dial next, if not connected.
    pub next_dial: Option<Instant>,
    /// Why there was last no connection left; kept when there is one again.
    pub last_error: Option<LastError>,
    /// The far end hangs up before it says a word: it has no configuration for us.
    pub not_configured_there: bool,
    /// The connection that `state` speaks of.
    pub connection: Option<ConnectionStatus>,
    /// Per family: what is wanted, what the peer has, and what is in the way.
    pub families: PerFamily<FamilyStatus>,
    /// Whether the system has taken all messages that the wanted routes need.
    pub in_sync: bool,
    /// Counts since the peer was made.
    pub counters: Counters,
}

/// The last thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// What; `Display` gives the sentence.
    pub reason: Reason,
    /// When.
    pub at: Instant,
}

/// A connection that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's end.
    pub remote: SocketAddr,
    /// Who dialled.
    pub origin: Origin,
    /// From OpenConfirm on.
    pub negotiated: Option<Negotiated>,
    /// Octets that wait for the system to take them.
    pub unsent_octets: usize,
    /// When the peer must have been heard again.
    pub hold_deadline: Option<Instant>,
    /// When our next KEEPALIVE is due.
    pub keepalive_deadline: Option<Instant>,
    /// Routes that the peer has announced in this session, less those withdrawn; none is kept.
    pub received_routes: u64,
}

/// A path that the peer has from us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Prefix and identifier.
    pub path: Path,
    /// Its next hop.
    pub next_hop: NextHop,
    /// What else was said of it.
    pub attributes: RouteAttributes,
}

/// Routes of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FamilyStatus {
    /// Routes that shall be announced.
    pub wanted: usize,
    /// Paths written to the peer in this session; with ADD-PATH a route may have several.
    pub sent: usize,
    /// Why none of this family's routes are sent, if so.
    pub held_back: Option<HeldBack>,
}

/// Why routes of a family are not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBack {
    /// It is not among the families we offer.
    NotConfigured,
    /// There is no session.
    NotEstablished,
    /// The peer does not speak it.
    NotNegotiated,
    /// No next hop of this family is configured.
    NoNextHop,
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConfigured => "this family is not enabled for the peer",
            Self::NotEstablished => "the session is not established",
            Self::NotNegotiated => "the peer did not offer this family; enable it there",
            Self::NoNextHop => {
                "this node has no next hop of this family; give the uplink an address"
            }
        })
    }
}

/// Counts since the peer was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages of any type, given out to be sent.
    pub messages_sent: u64,
    /// Messages of any type that could be decoded.
    pub messages_received: u64,
    /// UPDATEs given out, End-of-RIB included.
    pub updates_sent: u64,
    /// UPDATEs received, End-of-RIB included.
    pub updates_received: u64,
    /// Of those, with an error that RFC 7606 tolerates.
    pub updates_malformed: u64,
    /// Prefixes the peer has announced; all are dropped.
    pub prefixes_dropped: u64,
    /// Prefixes the peer has withdrawn.
    pub withdrawals_dropped: u64,
    /// Sessions that were Established and ended, however.
    pub sessions_lost: u64,
}

impl Peer {
    /// How the peer is now. Takes time in proportion to the routes.
    pub fn status(&self) -> PeerStatus {
        let furthest = self.connections.iter().max_by_key(|c| c.state());
        let session = furthest.and_then(Connection::session);
        let sent = session.map(|s| s.rib_out.sent_counts()).unwrap_or_default();
        PeerStatus {
            state: self.current_state(),
            since: self.state_since,
            next_dial: self
                .connect_retry_deadline
                .filter(|_| self.dialling.is_none()),
            last_error: self.last_error.clone(),
            not_configured_there: self.is_refused && furthest.is_none(),
            connection: furthest.map(connection_status),
            families: PerFamily::from_fn(|family| FamilyStatus {
                wanted: self.routes.keys().filter(|p| p.family() == family).count(),
                sent: sent[family],
                held_back: self.held_back(family, session),
            }),
            in_sync: session.is_some_and(|s| s.in_sync),
            counters: self.counters,
        }
    }

    /// What the peer has from us, by prefix. Takes time in proportion to the routes.
    pub fn told(&self) -> Vec<Told> {
        let session = self.connections.iter().find_map(Connection::session);
        let told = session.into_iter().flat_map(|s| s.rib_out.told());
        told.map(|(path, next_hop, attributes)| Told {
            path,
            next_hop,
            attributes: (*attributes).clone(),
        })
        .collect()
    }

    fn held_back(&self, family: Family, session: Option<&Session>) -> Option<HeldBack> {
        if !self.config.families[family] {
            return Some(HeldBack::NotConfigured);
        }
        match session {
            None => Some(HeldBack::NotEstablished),
            Some(s) if !s.negotiated.families[family] => Some(HeldBack::NotNegotiated),
            Some(s) if !s.rib_out.has_own_next_hop(family) && !self.lists_next_hops(family) => {
                Some(HeldBack::NoNextHop)
            }
            Some(_) => None,
        }
    }

    fn lists_next_hops(&self, family: Family) -> bool {
        let mut routes = self.routes.iter().filter(|(p, _)| p.family() == family);
        routes.any(|(_, route)| route.next_hops != NextHops::Own)
    }
}

fn connection_status(connection: &Connection) -> ConnectionStatus {
    ConnectionStatus {
        local: connection.local,
        remote: connection.remote,
        origin: connection.origin,
        negotiated: connection.negotiated().cloned(),
        unsent_octets: connection.unsent_octets,
        hold_deadline: connection.hold_deadline,
        keepalive_deadline: connection.keepalive_deadline,
        received_routes: connection.session().map_or(0, |s| s.received_routes),
    }
}
