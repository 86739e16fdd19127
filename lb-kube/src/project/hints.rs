//! For whom the endpoints of a Service are meant (KEP-2433, KEP-3015, KEP-4444): hints name zones or nodes. As in
//! kube-proxy they count only if every ready endpoint has one and at least one is meant for here; here is the node
//! that a packet reaches first. Whether they count at all is a setting, because clients outside the cluster are in
//! no zone.

use std::sync::Arc;

use k8s_openapi::api::discovery::v1::EndpointHints;
use serde::{Deserialize, Serialize};

use super::{names::Names, slice::EndpointRecord};

/// Whom an endpoint is meant for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hints {
    /// Zones; empty: not said.
    pub zones: Vec<Arc<str>>,
    /// Nodes; empty: not said.
    pub nodes: Vec<Arc<str>>,
}

impl Hints {
    /// Reads them; `None` if they say nothing.
    #[must_use]
    pub fn of(hints: &EndpointHints, names: &mut Names) -> Option<Arc<Self>> {
        let zones = hints.for_zones.iter().flatten();
        let zones: Vec<_> = zones.map(|zone| names.get(&zone.name)).collect();
        let nodes = hints.for_nodes.iter().flatten();
        let nodes: Vec<_> = nodes.map(|node| names.get(&node.name)).collect();
        let says_nothing = zones.is_empty() && nodes.is_empty();
        (!says_nothing).then(|| Arc::new(Self { zones, nodes }))
    }
}

/// Where this node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// Its name.
    pub node: Arc<str>,
    /// Its zone (label `topology.kubernetes.io/zone`).
    pub zone: Option<Arc<str>>,
}

/// Which endpoints are meant for here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant<'a> {
    /// All of them.
    All,
    /// Those with a hint for this zone.
    ForZone(&'a str),
    /// Those with a hint for this node.
    ForNode(&'a str),
}

impl<'a> Meant<'a> {
    /// What the hints of these endpoints come to.
    pub fn of<'e>(
        endpoints: impl Iterator<Item = &'e EndpointRecord> + Clone,
        here: &'a Here,
    ) -> Self {
        let ready = endpoints.filter(|endpoint| endpoint.ready);
        let count = |meant: &Self, all: fn(&Hints) -> bool| {
            let hints = |endpoint: &EndpointRecord| endpoint.hints.clone();
            let every = ready
                .clone()
                .all(|e| hints(e).is_some_and(|hints| all(&hints)));
            every && ready.clone().any(|endpoint| meant.includes(endpoint))
        };
        let by_node = Self::ForNode(&here.node);
        if count(&by_node, |hints| !hints.nodes.is_empty()) {
            return by_node;
        }
        let by_zone = here.zone.as_deref().map(Self::ForZone);
        let by_zone = by_zone.filter(|meant| count(meant, |hints| !hints.zones.is_empty()));
        by_zone.unwrap_or(Self::All)
    }

    /// Whether an endpoint is among them.
    #[must_use]
    pub fn includes(&self, endpoint: &EndpointRecord) -> bool {
        let hints = endpoint.hints.as_ref();
        let has = |names: fn(&Hints) -> &Vec<Arc<str>>, wanted: &str| {
            hints.is_some_and(|hints| names(hints).iter().any(|name| **name == *wanted))
        };
        match self {
            Self::All => true,
            Self::ForZone(zone) => has(|hints| &hints.zones, zone),
            Self::ForNode(node) => has(|hints| &hints.nodes, node),
        }
    }
}
