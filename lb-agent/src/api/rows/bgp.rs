//! What is told of BGP: sessions, what each peer is told, and what the kernel dropped on our ports.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::engine::feedback::{Figures, SessionState};

/// A BGP session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BgpRow {
    /// The peer: its address, or the interface or range that it is found by.
    pub peer: String,
    /// Where it is, if that is known.
    pub address: Option<IpAddr>,
    /// The range that it was found in.
    pub range: Option<String>,
    /// Its autonomous system number.
    pub asn: u32,
    /// Ours in this session.
    pub local_asn: u32,
    /// How its segments are signed: `MD5` or `TCP-AO`.
    pub signed: Option<String>,
    /// Where the session is; none: the speaker has not said.
    pub state: Option<SessionState>,
    /// The router has no configuration for this node; nothing is wrong here, it is dialled slowly.
    pub not_configured_there: bool,
    /// When it came there.
    pub since: Option<u64>,
    /// Negotiated hold time; none: not established, or the session never expires.
    pub hold_time_seconds: Option<u64>,
    /// Time between our keepalives.
    pub keepalive_seconds: Option<u64>,
    /// When the session expires unless the peer is heard; none: never, or there is no session.
    pub hold_left_seconds: Option<u64>,
    /// When our next KEEPALIVE is due.
    pub keepalive_left_seconds: Option<u64>,
    /// When the peer is dialled again; none: it is not to be dialled.
    pub retry_left_seconds: Option<u64>,
    /// How long the peer keeps the routes of an agent that is away (graceful restart); none: not agreed.
    pub restart_seconds: Option<u64>,
    /// How much longer it keeps them as a last resort (long-lived graceful restart); none: not agreed.
    pub stale_seconds: Option<u64>,
    /// The peer's BGP identifier.
    pub identifier: Option<String>,
    /// What both ends speak.
    pub agreed: Vec<String>,
    /// What the peer has offered.
    pub offered: Vec<String>,
    /// What was counted.
    #[serde(flatten)]
    pub figures: Figures,
    /// Why the peer is not dialled, if it could be.
    pub not_dialled: Option<String>,
    /// Why the last attempt or session ended.
    pub last_error: Option<String>,
}

/// A route that a peer is told, or a VIP that it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    /// The peer.
    pub peer: String,
    /// The prefix; a VIP that is not told stands here as a host route.
    pub prefix: String,
    /// Its next hops; `self` for this node.
    pub next_hops: Vec<String>,
    /// What it says beyond that, like `med 10` or `65000:100`.
    pub attributes: Vec<String>,
    /// Whether the peer has it.
    pub told: bool,
    /// Why it has it not.
    pub reason: Option<String>,
}

/// What the kernel did with segments that no session ever sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TcpRow {
    /// The kernel's name (`/proc/net/netstat`).
    pub counter: String,
    /// What it counts.
    pub meaning: String,
    /// How many, in this network namespace, since it began.
    pub segments: u64,
}
