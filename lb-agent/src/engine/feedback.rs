//! What executors report back to the engine: the only way upstream. Each event is a fact about the present,
//! safe to hear twice or late; none asks for anything. Events of BGP come from `announce`, which follows the
//! watched `DesiredState`; when the sender of that watch is gone, `announce` closes every session with
//! Cease/Administrative Shutdown (RFC 4486) and returns.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc;

/// Where executors send their facts. Unbounded, because an executor must never wait for the engine that
/// waits for it; what bounds it is that every event stands for a change of the desired state or of a session.
pub type FeedbackSender = mpsc::UnboundedSender<Feedback>;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feedback {
    /// The maps hold what the desired state with this generation says.
    Applied {
        /// Generation of the desired state.
        generation: u64,
    },
    /// The desired state with this generation could not be brought into the maps; the maps keep what they have.
    ApplyFailed {
        /// Generation of the desired state.
        generation: u64,
        /// What failed, where, what to do.
        error: String,
    },
    /// A BGP session as it is now; sent on every change and at least when `routes_sent` changes.
    Session(PeerSession),
    /// TCP has acknowledged to us every byte that tells this peer of the generation: what it withdraws, the
    /// peer's host has.
    Acknowledged {
        /// The peer's configured address.
        peer: IpAddr,
        /// Generation of the desired state.
        generation: u64,
    },
    /// Whether BGP listens.
    Listening {
        /// The configured port.
        port: u16,
        /// Why it does not, naming the process that holds the port if it can be found; `None`: it listens.
        problem: Option<String>,
    },
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
    /// Routes this peer has been told and not been told off.
    pub routes_sent: usize,
    /// Why the last attempt or session ended.
    pub last_error: Option<String>,
}

/// The states of RFC 4271 section 8.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
