//! A snapshot of a peer for people and programs: made on request, never read back by the machine.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use super::Peer;
use super::collision::Origin;
use super::connection::Connection;
use super::negotiate::Negotiated;
use crate::family::{Family, PerFamily};
use crate::io::{Reason, State};

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
}

/// Routes of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FamilyStatus {
    /// Routes that shall be announced.
    pub wanted: usize,
    /// Routes written to the peer in this session.
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
            connection: furthest.map(connection_status),
            families: PerFamily::from_fn(|family| FamilyStatus {
                wanted: self.routes.keys().filter(|p| p.family() == family).count(),
                sent: sent[family],
                held_back: self.held_back(family, session.map(|s| &s.negotiated)),
            }),
            in_sync: session.is_some_and(|s| s.in_sync),
            counters: self.counters,
        }
    }

    fn held_back(&self, family: Family, negotiated: Option<&Negotiated>) -> Option<HeldBack> {
        if !self.config.families[family] {
            return Some(HeldBack::NotConfigured);
        }
        if self.config.next_hop(family).is_none() {
            return Some(HeldBack::NoNextHop);
        }
        match negotiated {
            None => Some(HeldBack::NotEstablished),
            Some(negotiated) if !negotiated.families[family] => Some(HeldBack::NotNegotiated),
            Some(_) => None,
        }
    }
}

fn connection_status(connection: &Connection) -> ConnectionStatus {
    ConnectionStatus {
        local: connection.local,
        remote: connection.remote,
        origin: connection.origin,
        negotiated: connection.negotiated().cloned(),
        unsent_octets: connection.unsent_octets,
    }
}
