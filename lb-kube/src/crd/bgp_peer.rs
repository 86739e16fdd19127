//! `BgpPeer`: a router that nodes have sessions with. The larger part of it is GoBGP's configuration of a neighbour, which
//! OpenELB passes through; durations there are decimal text in seconds.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, GracefulRestart, LabelSelector};

/// A BGP peer.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema,
)]
#[kube(
    group = "network.kubesphere.io",
    version = "v1alpha2",
    kind = "BgpPeer",
    plural = "bgppeers",
    status = "BgpPeerStatus",
    derive = "PartialEq",
    category = "networking",
    doc = "A router that nodes have BGP sessions with.",
    printcolumn(
        name = "address",
        type_ = "string",
        json_path = ".spec.conf.neighborAddress"
    ),
    printcolumn(name = "as", type_ = "integer", json_path = ".spec.conf.peerAs"),
    printcolumn(
        name = "ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "description",
        type_ = "string",
        json_path = ".spec.conf.description",
        priority = 1
    ),
    printcolumn(
        name = "age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.passwordSecret) || !has(self.conf) || !has(self.conf.authPassword) || self.conf.authPassword == ''")
        .message("give conf.authPassword or passwordSecret, not both")
)]
pub struct BgpPeerSpec {
    /// Who the peer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conf: Option<PeerConf>,
    /// Peers of other ASes that are not on a shared link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multihop: Option<EbgpMultihop>,
    /// Times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timers: Option<Timers>,
    /// How connections are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<Transport>,
    /// How agents' restarts are made invisible to this peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
    /// Families to offer. None given: that of the peer's address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub afi_safis: Vec<AfiSafi>,
    /// Nodes that have a session with this peer. Not given: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
    /// Where routes point: nodes, to every node that serves the address; self, to the node that announces. Not given: nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_hop: Option<NextHop>,
    /// Our address of the session. Not given: as the node's routes say. One address can only be one node's; other nodes
    /// do not have the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub source_address: Option<String>,
    /// Drop what comes from farther away than the peer is (GTSM, RFC 5082); the peer must do the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gtsm: Option<bool>,
    /// The Secret with the session's password (TCP MD5), in the namespace of the agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKey>,
    /// Ignored in this version: Bidirectional Forwarding Detection (RFC 5880) beside the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<Bfd>,
    /// Old spelling of conf (v1alpha1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigV1Alpha1>,
    /// Old spelling of afiSafis[].addPaths (v1alpha1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_paths: Option<AddPathsV1Alpha1>,
    /// Ignored (v1alpha1): agents listen on listenPort, and peers dial that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using_port_forward: Option<bool>,
}

/// Where routes point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NextHop {
    /// To the node that announces.
    #[serde(rename = "self")]
    Own,
    /// To every node that serves the address.
    Nodes,
}

/// Who the peer is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerConf {
    /// Its address, of either family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbor_address: Option<String>,
    /// Its AS number, from 1 to 4294967295.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_as: Option<i64>,
    /// Our AS number towards it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_as: Option<i64>,
    /// The session's password (TCP MD5), readable by everybody who can read this object; see passwordSecret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub auth_password: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The interface behind which the peer is, without neighborAddress (unnumbered).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbor_interface: Option<String>,
    /// Have no session with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_down: Option<bool>,
    /// The VRF, as an interface, that connections are bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Ignored: GoBGP's peer groups do not exist here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_group: Option<String>,
    /// Ignored: AS numbers say whether the peer is internal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_type: Option<i64>,
    /// Ignored: no route has an AS number but ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_private_as: Option<String>,
    /// Ignored: nothing is learnt from routers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_flap_damping: Option<bool>,
    /// Ignored: what communities a route has is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_community: Option<i64>,
    /// Ignored: nothing is learnt from routers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_own_as: Option<i64>,
    /// Ignored: no route has an AS number but ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_peer_as: Option<bool>,
}

/// Peers of other ASes that are not on a shared link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EbgpMultihop {
    /// Whether the peer may be farther away than one hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Most hops, up to 255. Not given: 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multihop_ttl: Option<i64>,
}

/// Times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Timers {
    /// As configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<TimersConfig>,
}

/// Times as configured: decimal text, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimersConfig {
    /// Longest time between attempts to dial. Not given, or 0: 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_retry: Option<String>,
    /// Hold time to propose, from 3 to 65535. Not given, or 0: 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<String>,
    /// Ignored: a third of the negotiated hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_interval: Option<String>,
    /// Ignored: changes are sent at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_advertisement_interval: Option<String>,
}

/// How connections are made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transport {
    /// Never dial; wait for the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive_mode: Option<bool>,
    /// TCP port to dial. Not given, or 0: 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_port: Option<i64>,
    /// Ignored: the peer is conf.neighborAddress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_address: Option<String>,
    /// Ignored: the kernel does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_discovery: Option<bool>,
    /// Ignored: the kernel does it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_mss: Option<i64>,
}

/// A family of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AfiSafi {
    /// Which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<AfiSafiConfig>,
    /// Several paths to one prefix (RFC 7911).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add_paths: Option<AfiSafiAddPaths>,
    /// Ignored: graceful restart is offered for every family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mp_graceful_restart: Option<MpGracefulRestart>,
}

/// Which family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AfiSafiConfig {
    /// The family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Whether it is offered. Not given: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A family as GoBGP names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Family {
    /// AFI_IP or AFI_IP6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub afi: Option<String>,
    /// SAFI_UNICAST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safi: Option<String>,
}

/// Several paths to one prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AfiSafiAddPaths {
    /// As configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<AfiSafiAddPathsConfig>,
}

/// Several paths to one prefix, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AfiSafiAddPathsConfig {
    /// Ignored: nothing is learnt from routers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receive: Option<bool>,
    /// Most paths to a prefix that the peer gets. Not given: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_max: Option<i64>,
}

/// Graceful restart of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MpGracefulRestart {
    /// As configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<MpGracefulRestartConfig>,
}

/// Graceful restart of one family, as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MpGracefulRestartConfig {
    /// Whether it is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A key of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its key. Not given: password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Bidirectional Forwarding Detection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bfd {
    /// Whether it is used. Not given: it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Milliseconds between packets, in both directions. Not given: 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 60_000))]
    pub interval_milliseconds: Option<i64>,
    /// Packets that may be missing before the session is down. Not given: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 255))]
    pub multiplier: Option<i64>,
}

/// Who the peer is, as v1alpha1 spelt it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigV1Alpha1 {
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbor_address: Option<String>,
    /// Its AS number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_as: Option<i64>,
}

/// Several paths to one prefix, as v1alpha1 spelt it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AddPathsV1Alpha1 {
    /// Most paths to a prefix that the peer gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_max: Option<i64>,
}

/// What the nodes say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BgpPeerStatus {
    /// By node: its session with this peer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes_peer_status: BTreeMap<String, NodePeerStatus>,
    /// What is wrong with the object, or not supported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The session of one node. Counters are metrics, and the password is a secret: neither is here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodePeerStatus {
    /// The session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_state: Option<PeerState>,
    /// Its times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timers_state: Option<TimersState>,
    /// Since when it is in this state, as RFC 3339 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Why it is not established.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A session, in OpenELB's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerState {
    /// IDLE, CONNECT, ACTIVE, OPENSENT, OPENCONFIRM or ESTABLISHED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_state: Option<String>,
    /// The peer's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbor_address: Option<String>,
    /// The peer's AS number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer_as: Option<i64>,
    /// Our AS number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_as: Option<i64>,
    /// The peer's router id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
}

/// Times of a session: decimal text, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimersState {
    /// The negotiated hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negotiated_hold_time: Option<String>,
}
