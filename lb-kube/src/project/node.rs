//! A Node: its addresses and labels, and what keeps it from announcing or from being a next hop. A cordon keeps it
//! from neither: `spec.unschedulable` is about new pods, and is not looked at.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{self, NodeSpec, NodeStatus};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its addresses in the cluster.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What keeps it from serving, the gravest first.
    pub unfit: Option<UnfitRecord>,
}

/// What keeps a node from serving, as far as its object says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in the model")]
pub enum UnfitRecord {
    Deleted,
    Excluded,
    NetworkUnavailable,
    Draining,
    NotReady,
}

impl From<UnfitRecord> for Unfit {
    fn from(record: UnfitRecord) -> Self {
        match record {
            UnfitRecord::Deleted => Self::Deleted,
            UnfitRecord::Excluded => Self::Excluded,
            UnfitRecord::NetworkUnavailable => Self::NetworkUnavailable,
            UnfitRecord::Draining => Self::Draining,
            UnfitRecord::NotReady => Self::NotReady,
        }
    }
}

impl NodeRecord {
    /// The node as the model has it. `serves`: whether its agent says that it delivers, which only counts where
    /// nothing graver is known.
    #[must_use]
    pub fn node(&self, name: &Arc<str>, serves: bool) -> Node {
        let unfit = self.unfit.map(Unfit::from);
        Node {
            name: Arc::clone(name),
            addresses: self.addresses.clone(),
            labels: self.labels.clone(),
            unfit: unfit.or((!serves).then_some(Unfit::NotServing)),
        }
    }
}

/// Reads a Node.
#[must_use]
pub fn node(object: &v1::Node, rules: &NodeRules) -> NodeRecord {
    NodeRecord {
        addresses: object.status.as_ref().map_or_else(Vec::new, addresses),
        labels: object.labels().clone(),
        unfit: unfit(object, rules),
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

fn unfit(object: &v1::Node, rules: &NodeRules) -> Option<UnfitRecord> {
    let condition = |wanted: &str| {
        let conditions = object
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| condition.type_ == wanted && condition.status == "True")
    };
    let excluded = object
        .labels()
        .get(EXCLUDE)
        .is_some_and(|value| excludes(value));
    let found = [
        (
            object.metadata.deletion_timestamp.is_some(),
            UnfitRecord::Deleted,
        ),
        (
            excluded && !rules.ignores_exclude_label,
            UnfitRecord::Excluded,
        ),
        (
            condition("NetworkUnavailable"),
            UnfitRecord::NetworkUnavailable,
        ),
        (drains(object, rules), UnfitRecord::Draining),
        (!condition("Ready"), UnfitRecord::NotReady),
    ];
    found
        .into_iter()
        .find(|(is_so, _)| *is_so)
        .map(|(_, unfit)| unfit)
}

/// As cloud-provider reads it: what is no boolean excludes.
fn excludes(value: &str) -> bool {
    !["0", "f", "F", "false", "False", "FALSE"].contains(&value)
}

fn drains(object: &v1::Node, rules: &NodeRules) -> bool {
    let marked = object
        .annotations()
        .get(DRAIN)
        .is_some_and(|value| excludes(value));
    let taints = |spec: &NodeSpec| {
        let taints = spec.taints.iter().flatten();
        taints
            .clone()
            .any(|taint| rules.drain_taints.contains(&taint.key))
    };
    marked || object.spec.as_ref().is_some_and(taints)
}
