//! What the controller must know of nodes: addresses that no Service may get, and whether they can announce. That is what
//! their agents say in BgpConf, and what the Node itself says if its agent no longer does.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::{core::v1::Node, networking::v1::ServiceCIDR};
use lb_core::{
    allocate::AnnouncingNode,
    model::{Prefix, Unfit},
};

use crate::{
    crd::{BgpConf, BgpPeer, NodeConfStatus},
    project::node::{self, NodeRules, TO_BE_DELETED},
};

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeRecord {
    /// All of its addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// Networks that its pods have addresses of.
    pub(super) pod_networks: Vec<Prefix>,
    /// What agents see of it.
    seen: node::NodeRecord,
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
        seen: node::node(node),
    }
}

/// Networks that ClusterIPs are of.
pub(super) fn service_networks(object: &ServiceCIDR) -> Vec<Prefix> {
    let cidrs = object
        .spec
        .iter()
        .flat_map(|spec| spec.cidrs.iter().flatten());
    cidrs.filter_map(|text| network(text)).collect()
}

fn network(text: &str) -> Option<Prefix> {
    let (address, bits) = text.split_once('/')?;
    Some(Prefix::containing(
        address.parse().ok()?,
        bits.parse().ok()?,
    ))
}

/// A node as one that announces.
pub(super) fn announcing(
    name: &Arc<str>,
    node: &NodeRecord,
    conf: Option<&BgpConf>,
) -> AnnouncingNode {
    let status = conf.and_then(|conf| conf.status.as_ref());
    let key = status.and_then(|status| status.nodes_conf_status.get(&**name));
    AnnouncingNode {
        labels: node.seen.labels.clone(),
        unfit: unfit_by_agent(key).or_else(|| unfit_by_node(&node.seen, conf)),
    }
}

/// In words that go on from "nodes that".
fn unfit_by_agent(key: Option<&NodeConfStatus>) -> Option<&'static str> {
    // OpenELB's keys have no state.
    match key.and_then(|key| key.state.as_deref()) {
        None => Some(NO_AGENT),
        Some("Draining") => Some(DRAINED),
        Some("Excluded") => Some(EXCLUDED),
        Some("NoNetwork") => Some(NO_NETWORK),
        Some("Deleted") => Some(DELETED),
        Some(_) => None,
    }
}

/// An agent that is gone leaves its key behind. Whether it heeded labels is not known here.
fn unfit_by_node(node: &node::NodeRecord, conf: Option<&BgpConf>) -> Option<&'static str> {
    let drain = conf.and_then(|conf| conf.spec.drain.as_ref());
    let taints = drain.and_then(|drain| drain.taints.clone());
    let rules = NodeRules {
        drain_taints: taints.unwrap_or_else(|| vec![TO_BE_DELETED.to_owned()]),
        ignores_exclude_label: true,
    };
    match node.unfit(&rules)? {
        Unfit::Deleted => Some(DELETED),
        Unfit::NetworkUnavailable => Some(NO_NETWORK),
        Unfit::Draining => Some(DRAINED),
        _ => None,
    }
}

const NO_AGENT: &str =
    "have no agent that has its data path loaded (see the pods of the DaemonSet)";
const DRAINED: &str = "are drained (annotation fairlead.io/drain, or a taint)";
const EXCLUDED: &str =
    "are excluded by the label node.kubernetes.io/exclude-from-external-load-balancers";
const NO_NETWORK: &str = "have the condition NetworkUnavailable";
const DELETED: &str = "are being deleted";

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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn unfit(node: Value, state: Option<&str>) -> Option<&'static str> {
        let mut node = node;
        node["metadata"]["name"] = json!("n1");
        let node = record(&serde_json::from_value(node).unwrap());
        let mut conf = json!({"metadata": {"name": "default"}, "spec": {}});
        if let Some(state) = state {
            conf["status"] = json!({"nodesConfStatus": {"n1": {"state": state}}});
        }
        let conf = serde_json::from_value(conf).unwrap();
        announcing(&"n1".into(), &node, Some(&conf)).unfit
    }

    #[test]
    fn a_node_announces_if_its_agent_says_so_and_the_node_does_not_deny_it() {
        let plain = json!({"metadata": {}});
        assert_eq!(unfit(plain.clone(), Some("Ready")), None);
        assert_eq!(unfit(plain.clone(), Some("Degraded")), None);
        assert_eq!(unfit(plain.clone(), None), Some(NO_AGENT));
        assert_eq!(unfit(plain, Some("Excluded")), Some(EXCLUDED));
        let label = json!({"metadata": {"labels": {node::EXCLUDE: ""}}});
        assert_eq!(
            unfit(label, Some("Ready")),
            None,
            "the agent may ignore the label"
        );
        let drained = json!({"metadata": {"annotations": {node::DRAIN: "true"}}});
        assert_eq!(unfit(drained, Some("Ready")), Some(DRAINED));
        let tainted = json!({"metadata": {}, "spec": {"taints": [{"key": TO_BE_DELETED, "effect": "NoSchedule"}]}});
        assert_eq!(unfit(tainted, Some("Ready")), Some(DRAINED));
        let condition = json!([{"type": "NetworkUnavailable", "status": "True"}]);
        let offline = json!({"metadata": {}, "status": {"conditions": condition}});
        assert_eq!(unfit(offline, Some("Ready")), Some(NO_NETWORK));
    }

    #[test]
    fn networks_of_pods_and_of_clusterips_are_read() {
        let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:1::/64"]}});
        let node = record(&serde_json::from_value(node).unwrap());
        assert_eq!(node.pod_networks.len(), 2);
        let cidr =
            json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16", "x"]}});
        let networks = service_networks(&serde_json::from_value(cidr).unwrap());
        assert_eq!(networks, [Prefix::containing([10, 96, 0, 0].into(), 16)]);
    }
}
