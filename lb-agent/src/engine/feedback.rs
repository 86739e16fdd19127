//! What executors report back to the engine: the only way upstream. Each event is a fact about the present,
//! safe to hear twice or late; none asks for anything. Events of BGP come from `announce`, which follows the
//! watched `DesiredState`; when the sender of that watch is gone, `announce` closes every session with
//! Cease/Administrative Shutdown (RFC 4486) and returns.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use lb_bgp::{HeldBack, Negotiated, PerFamily, State};
use lb_core::{
    model::{Remote, ServicePort},
    ord_map::OrdMap,
    snapshot::{PortFeedback, Takeover},
};
use tokio::sync::mpsc;

/// Where executors send their facts. Unbounded, because an executor must never wait for the engine that
/// waits for it; what bounds it is that every event stands for a change of the desired state or of a session.
pub type FeedbackSender = mpsc::UnboundedSender<Feedback>;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// What the maps hold, from the data path.
    Applied(Applied),
    /// A BGP session as it is now; sent on every change, of `routes_sent` as well.
    Session(Box<PeerSession>),
    /// The session's peer is no longer configured.
    SessionGone(Remote),
    /// VIPs that some peer may still have a route to: announced, or withdrawn but the withdrawal not yet
    /// acknowledged by the peer's TCP. Sent on every change.
    Held(BTreeSet<IpAddr>),
    /// Whether BGP listens.
    Listening {
        /// The configured port.
        port: u16,
        /// Why it does not, naming the process that holds the port if it can be found; `None`: it listens.
        problem: Option<String>,
    },
}

/// What became of one desired state in the data path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its generation.
    pub generation: u64,
    /// Every service port of it.
    pub ports: OrdMap<ServicePort, PortFeedback>,
    /// How the data path came to this agent; `None` before the first good write.
    pub takeover: Option<Takeover>,
}

/// A BGP session as `show bgp` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSession {
    /// The peer.
    pub peer: Remote,
    /// The range that it was found in, if it was not configured itself.
    pub range: Option<Remote>,
    /// Where it is, as far as that is known.
    pub address: Option<IpAddr>,
    /// Where the session is (RFC 4271 section 8.2.2).
    pub state: SessionState,
    /// The router hangs up before it says a word.
    pub not_configured_there: bool,
    /// Why the peer is not dialled, if it could be.
    pub not_dialled: Option<Arc<str>>,
    /// When it came there.
    pub since: SystemTime,
    /// What both ends agreed on; `None` below `Established`.
    pub agreed: Option<Agreed>,
    /// What was counted.
    pub figures: Figures,
    /// When what is next.
    pub timers: Timers,
    /// Why this peer is told no route of a family, if so.
    pub held_back: PerFamily<Option<HeldBack>>,
    /// Why the last attempt or session ended.
    pub last_error: Option<String>,
}

/// What both ends of a session agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The peer's BGP identifier.
    pub identifier: String,
    /// Zero: the session never expires.
    pub hold_time: Duration,
    /// Time between our keepalives.
    pub keepalive: Duration,
    /// How long the peer keeps our routes without a session; zero: not at all.
    pub restart_time: Duration,
    /// How much longer it keeps them as a last resort.
    pub stale_time: Duration,
    /// What both speak, in words.
    pub features: Vec<String>,
    /// Capabilities of the peer's OPEN, in words.
    pub offered: Vec<String>,
}

impl Agreed {
    /// The same in words.
    #[must_use]
    pub fn of(negotiated: &Negotiated) -> Self {
        let families = negotiated
            .families
            .enabled()
            .map(|family| family.to_string());
        let several = negotiated.add_path.enabled();
        let several = several.map(|family| format!("ADD-PATH {family}"));
        let features = [
            (negotiated.route_refresh, "route refresh"),
            (negotiated.enhanced_refresh, "enhanced route refresh"),
            (negotiated.extended_messages, "extended messages"),
            (negotiated.extended_next_hop, "IPv6 next hops for IPv4"),
            (negotiated.four_octet_asn, "4-octet AS"),
        ];
        let features = features.into_iter().filter(|(has, _)| *has);
        let features = features.map(|(_, name)| name.to_owned());
        let offered = negotiated.capabilities_received.iter();
        Self {
            identifier: negotiated.peer_identifier.to_string(),
            hold_time: negotiated.hold_time,
            keepalive: negotiated.keepalive,
            restart_time: negotiated.restart_time,
            stale_time: negotiated.stale_time,
            features: families.chain(several).chain(features).collect(),
            offered: offered.map(ToString::to_string).collect(),
        }
    }
}

/// When timers of a session expire; none: they do not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timers {
    /// The peer must have been heard by then.
    pub hold: Option<Instant>,
    /// Our next KEEPALIVE.
    pub keepalive: Option<Instant>,
    /// The next attempt to dial.
    pub retry: Option<Instant>,
}

/// What a session has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Figures {
    /// Paths that this peer has from us.
    pub routes_sent: usize,
    /// Routes that it has announced in this session, less those withdrawn.
    pub routes_received: u64,
    /// Routes that it ever announced: all are dropped.
    pub routes_dropped: u64,
    /// UPDATEs to it.
    pub updates_sent: u64,
    /// UPDATEs from it.
    pub updates_received: u64,
    /// Of these, with an error that RFC 7606 tolerates.
    pub updates_malformed: u64,
    /// Sessions that were established and ended.
    pub sessions_lost: u64,
    /// Octets that wait for the peer to take them.
    pub unsent_octets: usize,
}

impl PeerSession {
    /// There is none and there will be none, until something is mended.
    #[must_use]
    pub fn impossible(peer: Remote, why: String) -> Self {
        Self {
            peer,
            range: None,
            address: None,
            state: SessionState::Idle,
            not_configured_there: false,
            not_dialled: None,
            since: SystemTime::now(),
            agreed: None,
            figures: Figures::default(),
            timers: Timers::default(),
            held_back: PerFamily::from_fn(|_| Some(HeldBack::NotEstablished)),
            last_error: Some(why),
        }
    }
}

/// The states of RFC 4271 section 8.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum SessionState {
    /// Waits for its back-off.
    Idle,
    /// Dials.
    Connect,
    /// Listens only.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN received and accepted.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl From<State> for SessionState {
    fn from(state: State) -> Self {
        match state {
            State::Idle => Self::Idle,
            State::Connect => Self::Connect,
            State::Active => Self::Active,
            State::OpenSent => Self::OpenSent,
            State::OpenConfirm => Self::OpenConfirm,
            State::Established => Self::Established,
        }
    }
}
