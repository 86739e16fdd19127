//! What the controller must know of nodes and peers: addresses that no Service may get, and whether any router listens.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;
use lb_core::model::Prefix;

use crate::crd::BgpPeer;

/// A node's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeRecord {
    pub(super) addresses: Vec<IpAddr>,
    /// Networks that its pods have addresses of.
    pub(super) pod_networks: Vec<Prefix>,
}

pub(super) fn record(node: &Node) -> NodeRecord {
    let addresses = node
        .status
        .as_ref()
        .and_then(|status| status.addresses.as_ref());
    let addresses = addresses.into_iter().flatten();
    let networks = node.spec.as_ref().and_then(|spec| spec.pod_cidrs.as_ref());
    let networks = networks.into_iter().flatten();
    NodeRecord {
        addresses: addresses
            .filter_map(|item| item.address.parse().ok())
            .collect(),
        pod_networks: networks.filter_map(|text| network(text)).collect(),
    }
}

fn network(text: &str) -> Option<Prefix> {
    let (address, bits) = text.split_once('/')?;
    Some(Prefix::containing(
        address.parse().ok()?,
        bits.parse().ok()?,
    ))
}

/// How many nodes say that their session with a peer is established.
pub(super) fn established(peer: &BgpPeer) -> usize {
    let status = peer.status.as_ref();
    let nodes = status.map(|status| status.nodes_peer_status.values());
    let states = nodes
        .into_iter()
        .flatten()
        .filter_map(|node| node.peer_state.as_ref());
    states
        .filter(|state| state.session_state.as_deref() == Some("ESTABLISHED"))
        .count()
}
