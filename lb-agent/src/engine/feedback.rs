//! What executors report back to the engine: the only way upstream. Each event is a fact about the present,
//! safe to hear twice or late; none asks for anything. Events of BGP come from `announce`, which follows the
//! watched `DesiredState`; when the sender of that watch is gone, `announce` closes every session with
//! Cease/Administrative Shutdown (RFC 4486) and returns.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use lb_bgp::{HeldBack, PerFamily, State};
use lb_core::{
    model::ServicePort,
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
    Session(PeerSession),
    /// The session's peer is no longer configured.
    SessionGone(IpAddr),
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
    pub ports: BTreeMap<ServicePort, PortFeedback>,
    /// How the data path came to this agent; `None` before the first good write.
    pub takeover: Option<Takeover>,
}

/// A BGP session as `show bgp` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSession {
    /// The peer's configured address.
    pub peer: IpAddr,
    /// Where the session is (RFC 4271 section 8.2.2).
    pub state: SessionState,
    /// When it came there.
    pub since: SystemTime,
    /// Hold time as negotiated; `None` below `Established` or if the peers agreed on none.
    pub hold_time: Option<Duration>,
    /// How long the peer keeps our routes without a session, as negotiated; `None` below `Established` or if it
    /// does not.
    pub restart_time: Option<Duration>,
    /// Routes this peer has been told and not been told off.
    pub routes_sent: usize,
    /// Why this peer is told no route of a family, if so.
    pub held_back: PerFamily<Option<HeldBack>>,
    /// Why the last attempt or session ended.
    pub last_error: Option<String>,
}

impl PeerSession {
    /// There is none and there will be none, until something is mended.
    #[must_use]
    pub fn impossible(peer: IpAddr, why: String) -> Self {
        Self {
            peer,
            state: SessionState::Idle,
            since: SystemTime::now(),
            hold_time: None,
            restart_time: None,
            routes_sent: 0,
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
