//! What the agent tells: one type a table. Addresses are text, times are seconds since the Unix epoch, and
//! whatever can be wrong has a sentence beside it.

mod bgp;
mod drain;
mod explain;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use bgp::{BgpRow, RouteRow, TcpRow};
pub use drain::{DrainPhase, DrainRow};
pub use explain::{ExplainRow, Step};

/// An answer: which agent speaks, about what, and the rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer<Row> {
    /// Name of the node.
    pub node: String,
    /// Grows with every plan.
    pub generation: u64,
    /// What an operator must know before the rows: a refused file, a port that is taken.
    pub warnings: Vec<String>,
    /// The rows, sorted.
    pub rows: Vec<Row>,
}

/// A service port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRow {
    /// `namespace/name`.
    pub service: String,
    /// The VIP.
    pub vip: IpAddr,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// What clients dial.
    pub port: u16,
    /// Endpoints that get new connections.
    pub endpoints_used: usize,
    /// Endpoints that the configuration names for this port and family.
    pub endpoints_known: usize,
    /// Whether the maps hold it as planned.
    pub applied: bool,
    /// BGP peers that are told of the VIP, or uplinks on which this node answers for it on layer 2.
    pub announced_to: Vec<String>,
    /// Packets from clients that this node saw first or by GUE.
    pub packets: u64,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
    /// Of these packets, sent on to another node.
    pub forwarded: u64,
    /// Of these packets, dropped.
    pub dropped: u64,
    /// Flows created here.
    pub new_flows: u64,
    /// Flows alive here.
    pub active_flows: u32,
    /// Packets from endpoints back to clients.
    pub reply_packets: u64,
    /// Their bytes; a merged packet counts as the kernel holds it.
    pub reply_bytes: u64,
    /// Why it is not, or not fully, announced and served; the same words everywhere.
    pub reasons: Vec<String>,
}

/// What became of packets for VIPs on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRow {
    /// Label of the verdict: `delivered`, `node-unresolved`, ...
    pub verdict: String,
    /// How many.
    pub packets: u64,
}

/// An endpoint of a service port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// `namespace/name`.
    pub service: String,
    /// Name of the Service's port.
    pub port: String,
    /// The pod's address.
    pub address: IpAddr,
    /// The pod's port; none: it does not serve this port of the Service.
    pub target_port: Option<u16>,
    /// The node it is on.
    pub node: String,
    /// Packets that this node has led to it and its port, counted by samples of 64.
    pub packets_sampled: u64,
    /// Whether the configuration calls it ready.
    pub ready: bool,
    /// What the health check says.
    pub health: Health,
    /// When that became so, if it ever changed.
    pub health_since: Option<u64>,
    /// Whether it gets new connections.
    pub used: bool,
    /// Why, or why not; the same words everywhere.
    pub reason: String,
}

/// What a health check says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Its Service has no health check.
    Unchecked,
    /// It answered, or was not yet asked.
    Up,
    /// It failed too often in a row.
    Down,
}

/// A node, as the way to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// How packets get there.
    pub mode: Mode,
    /// The uplink that leads there.
    pub interface: Option<String>,
    /// The next hop's MAC; none: not resolved, packets for its endpoints go by way of another node.
    pub mac: Option<String>,
    /// Largest IP packet on the way, in bytes.
    pub mtu_bytes: Option<u16>,
    /// Packets that this node has led to endpoints there, counted by samples of 64.
    pub packets_sampled: u64,
}

/// How packets get to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It is this node.
    Own,
    /// On-link: by MAC rewrite.
    Direct,
    /// Behind a router: by GUE.
    Gue,
    /// No route is known.
    Unreachable,
}

/// An uplink, with the programs on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UplinkRow {
    /// Its name.
    pub interface: String,
    /// Where packets are taken: native, generic, tc (behind another XDP program); none: nowhere yet.
    pub xdp: Option<String>,
    /// Where replies are rewritten: tcx, clsact; none: nowhere yet.
    pub egress: Option<String>,
    /// Its MAC.
    pub mac: String,
    /// Its MTU.
    pub mtu_bytes: u16,
    /// Why packets are not taken in the driver, if that was tried.
    pub not_in_driver: Option<String>,
}

/// A pinned BPF map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRow {
    /// Name in the pin folder.
    pub name: String,
    /// The kernel's id, for `bpftool map dump id`.
    pub id: u32,
    /// Elements.
    pub elements: u32,
    /// Bytes of one element.
    pub element_bytes: u32,
    /// Whether its definition is the one that this version makes.
    pub is_ours: bool,
}

impl From<lb_datapath::MapRow> for MapRow {
    fn from(row: lb_datapath::MapRow) -> Self {
        Self {
            name: row.name,
            id: row.id,
            elements: row.elements,
            element_bytes: row.element_bytes,
            is_ours: row.is_ours,
        }
    }
}
