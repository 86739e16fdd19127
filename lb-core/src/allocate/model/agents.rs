//! Who makes addresses known to the network, as far as the controller can see: BgpConf and BgpPeers, the nodes that can
//! announce, and which of them have endpoints. It decides nothing about addresses, only what is said of a Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Labels;

/// Who makes addresses known to the network.
#[derive(Clone, Debug, Default)]
pub enum Announcer {
    /// Somebody else: addresses are managed here, and nothing more.
    #[default]
    SomebodyElse,
    /// The agents.
    Agents(Agents),
}

/// What the agents have to work with, and what they report.
#[derive(Clone, Debug, Default)]
pub struct Agents {
    /// There is a BgpConf that counts.
    pub has_speaker: bool,
    /// BGP peers that are configured, by name, and how many sessions with each agents report as established.
    pub peers: BTreeMap<Arc<str>, usize>,
    /// Nodes, by name.
    pub nodes: BTreeMap<Arc<str>, AnnouncingNode>,
    /// Endpoints that get connections, by Service; one that is not here has none.
    pub endpoints: BTreeMap<Arc<str>, Endpoints>,
}

/// A node, as one that announces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnouncingNode {
    /// Its labels.
    pub labels: Labels,
    /// What keeps it from announcing, in words that go on from "nodes that".
    pub unfit: Option<&'static str>,
}

/// Endpoints of one Service that get connections: the ready ones, or those that terminate and still serve (KEP-1669).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// How many there are.
    pub count: usize,
    /// Nodes that they are on.
    pub nodes: BTreeSet<Arc<str>>,
}
