//! `BgpConf`: the speaker of every node; only the object named `default` counts. Its status has a key a node, which that
//! node writes: the sign that its data path is loaded.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, GracefulRestart};

/// The BGP speaker of every node.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema,
)]
#[kube(
    group = "network.kubesphere.io",
    version = "v1alpha2",
    kind = "BgpConf",
    plural = "bgpconfs",
    status = "BgpConfStatus",
    derive = "PartialEq",
    category = "networking",
    doc = "The BGP speaker of every node. Only the object named default counts.",
    printcolumn(name = "as", type_ = "integer", json_path = ".spec.as"),
    printcolumn(name = "port", type_ = "integer", json_path = ".spec.listenPort"),
    printcolumn(
        name = "ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.routerID) || !has(self.routerId) || self.routerID == self.routerId")
        .message("routerID is the old spelling of routerId: give one of them"),
    validation = Rule::new("!has(self.port) || !has(self.listenPort) || self.port == self.listenPort")
        .message("port is the old spelling of listenPort: give one of them")
)]
pub struct BgpConfSpec {
    /// Our AS number, from 1 to 4294967295.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub asn: Option<i64>,
    /// AS numbers of nodes by the value of their label openelb.kubesphere.io/rack (or porter.kubesphere.io/rack). Such a
    /// node's router id is its own address, and its next hops are the nodes of its rack.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub as_per_rack: BTreeMap<String, i64>,
    /// Router id. One that is the address of a node is only that node's. Not given: each node's first IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub router_id: Option<String>,
    /// TCP port to listen on. Not given, or 0: 179, where a CNI may listen already. OpenELB's manuals say 17900.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen_port: Option<i64>,
    /// Ignored: nodes listen on all addresses, and drop whoever is no peer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub listen_addresses: Vec<String>,
    /// Ignored: families are a peer's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<i64>,
    /// Ignored: nothing is learnt from routers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_multiple_paths: Option<bool>,
    /// How agents' restarts are made invisible to routers; what a peer says wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
    /// Name of a ConfigMap of our namespace whose key gobgp.conf has a policy as GoBGP writes it (TOML). What of it is
    /// followed: docs/kubernetes.md. Until it was read, nothing is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Old spelling of routerId (v1alpha1).
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub router_id_v1alpha1: Option<String>,
    /// Old spelling of listenPort (v1alpha1).
    #[serde(default, rename = "port", skip_serializing_if = "Option::is_none")]
    pub port_v1alpha1: Option<i64>,
    /// When a node hands over what it announces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
}

/// When and how a node drains itself, besides the annotation fairlead.io/drain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Keys of taints that drain a node. Not given: those of the cluster autoscaler. Cordoning drains nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(max = 317)))]
    pub taints: Option<Vec<String>>,
    /// Seconds for which routes say that they are about to go (RFC 8326) before they are withdrawn. Not given: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub graceful_shutdown_seconds: Option<i64>,
}

/// What the nodes say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpConfStatus {
    /// By node: there from when its data path is loaded until it is removed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes_conf_status: BTreeMap<String, NodeConfStatus>,
    /// What is wrong with the object, or not supported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The speaker of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeConfStatus {
    /// Its router id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Its AS number.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub asn: Option<i64>,
    /// What the node does: Ready, Draining or Degraded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Since when, as RFC 3339 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why it is not Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
