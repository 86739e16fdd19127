//! A Node: its addresses and labels, and what keeps it from announcing or from being a next hop. A cordon keeps it
//! from neither: `spec.unschedulable` is about new pods, and is not looked at.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{self, NodeStatus};
use kube::ResourceExt;
use lb_core::model::{Node, Unfit};
use serde::{Deserialize, Serialize};

/// Label that takes a node out of load balancing.
pub const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Annotation that drains a node of our VIPs.
pub const DRAIN: &str = "fairlead.io/drain";
/// Label with the zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Taint that the cluster autoscaler sets on a node that it is about to remove (KEP-3836).
pub const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// What takes a node out of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRules {
    /// Keys of taints that drain it.
    pub drain_taints: Vec<String>,
    /// The label [`EXCLUDE`] does not count.
    pub ignores_exclude_label: bool,
}

impl Default for NodeRules {
    fn default() -> Self {
        Self {
            drain_taints: vec![TO_BE_DELETED.to_owned()],
            ignores_exclude_label: false,
        }
    }
}

/// A Node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its addresses in the cluster.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Keys of its taints.
    pub taints: Vec<String>,
    /// It is being deleted.
    pub is_deleted: bool,
    /// Its condition `Ready` is true.
    pub is_ready: bool,
    /// Its condition `NetworkUnavailable` is true.
    pub has_no_network: bool,
    /// It bears the annotation [`DRAIN`].
    pub is_marked: bool,
}

impl NodeRecord {
    /// What keeps it from serving, the gravest first.
    #[must_use]
    pub fn unfit(&self, rules: &NodeRules) -> Option<Unfit> {
        let label = self
            .labels
            .get(EXCLUDE)
            .filter(|_| !rules.ignores_exclude_label);
        let drains = self
            .taints
            .iter()
            .any(|key| rules.drain_taints.contains(key));
        let found = [
            (self.is_deleted, Unfit::Deleted),
            (label.is_some_and(|value| is_true(value)), Unfit::Excluded),
            (self.has_no_network, Unfit::NetworkUnavailable),
            (self.is_marked || drains, Unfit::Draining),
            (!self.is_ready, Unfit::NotReady),
        ];
        let first = found.into_iter().find(|(is_so, _)| *is_so);
        first.map(|(_, unfit)| unfit)
    }

    /// The node as the model has it.
    #[must_use]
    pub fn node(&self, name: &Arc<str>, rules: &NodeRules) -> Node {
        Node {
            name: Arc::clone(name),
            addresses: self.addresses.clone(),
            labels: self.labels.clone(),
            unfit: self.unfit(rules),
        }
    }
}

/// Reads a Node.
#[must_use]
pub fn node(object: &v1::Node) -> NodeRecord {
    let condition = |wanted: &str| {
        let conditions = object
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition.type_ == wanted && condition.status == "True")
    };
    let taints = object.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    NodeRecord {
        addresses: object.status.as_ref().map_or_else(Vec::new, addresses),
        labels: object.labels().clone(),
        taints: taints
            .into_iter()
            .flatten()
            .map(|taint| taint.key.clone())
            .collect(),
        is_deleted: object.metadata.deletion_timestamp.is_some(),
        is_ready: condition("Ready"),
        has_no_network: condition("NetworkUnavailable"),
        is_marked: object
            .annotations()
            .get(DRAIN)
            .is_some_and(|value| is_true(value)),
    }
}

/// The internal ones; only if there is none, the external ones.
fn addresses(status: &NodeStatus) -> Vec<IpAddr> {
    let of_type = |wanted: &str| -> Vec<IpAddr> {
        let addresses = status.addresses.iter().flatten();
        let wanted = addresses.filter(|address| address.type_ == wanted);
        wanted
            .filter_map(|address| address.address.parse().ok())
            .collect()
    };
    let internal = of_type("InternalIP");
    match internal.is_empty() {
        true => of_type("ExternalIP"),
        false => internal,
    }
}

/// As cloud-provider reads a label: what is no boolean counts.
fn is_true(value: &str) -> bool {
    !["0", "f", "F", "false", "False", "FALSE"].contains(&value)
}
