//! `Eip`: a pool of addresses for Services of type LoadBalancer, and in its status the record of who has which.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, LabelSelector};

/// A pool of addresses.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema,
)]
#[kube(
    group = "network.kubesphere.io",
    version = "v1alpha2",
    kind = "Eip",
    plural = "eips",
    status = "EipStatus",
    derive = "PartialEq",
    category = "networking",
    doc = "A pool of addresses for Services of type LoadBalancer.",
    printcolumn(name = "cidr", type_ = "string", json_path = ".spec.address"),
    printcolumn(name = "usage", type_ = "integer", json_path = ".status.usage"),
    printcolumn(name = "total", type_ = "integer", json_path = ".status.poolSize"),
    printcolumn(
        name = "ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "protocol",
        type_ = "string",
        json_path = ".spec.protocol",
        priority = 1
    ),
    printcolumn(
        name = "more",
        type_ = "string",
        json_path = ".spec.addresses",
        priority = 1
    ),
    printcolumn(
        name = "age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct EipSpec {
    /// An address, a network like 10.0.0.0/24, or a range like 10.0.0.1-10.0.0.9, of either family. All addresses of a
    /// network are used, the first and the last too, unless avoidBuggyIPs is set.
    pub address: String,
    /// More of the same, of either family: Services with both families take one of each from one pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 100)))]
    // Only the form: the functions isIP and isCIDR came with Kubernetes 1.30.
    #[x_kube(
        validation = Rule::new("self.all(a, a.matches('^[0-9A-Fa-f:.]+(/[0-9.]+| *- *[0-9A-Fa-f:.]+)?$'))")
            .message("each is an address, a network like 10.0.0.0/24, or a range like 10.0.0.1-10.0.0.9")
    )]
    pub addresses: Vec<String>,
    /// How the addresses are made known: bgp, layer2, or vip, which is treated as layer2. Not given: bgp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// With layer2: the interface on which it is done, or can_reach:ADDRESS for the one that leads there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Give no further addresses; Services keep those that they have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disable: Option<bool>,
    /// Ignored, as in OpenELB since v0.4: all addresses are used; see avoidBuggyIPs.
    #[serde(
        default,
        rename = "usingKnownIPs",
        skip_serializing_if = "Option::is_none"
    )]
    pub using_known_ips: Option<bool>,
    /// Do not give IPv4 addresses that end in .0 or .255 to Services that ask for none in particular.
    #[serde(
        default,
        rename = "avoidBuggyIPs",
        skip_serializing_if = "Option::is_none"
    )]
    pub avoid_buggy_ips: Option<bool>,
    /// Whether Services that ask for no pool get an address from here. Not given: they do, unless another Eip is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_assign: Option<bool>,
    /// Which pool is tried first: the lower number. Not given: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Namespaces whose Services get addresses from here without asking. None given, and no selector: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// The same by labels of the namespace, all of which must be equal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub namespace_selector: BTreeMap<String, String>,
    /// The same by selectors, one of which must select the namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services, by labels, that get addresses from here without asking. None given: all of those namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub service_selectors: Vec<LabelSelector>,
    /// Refuse those that the namespaces and selectors do not name even if they ask for this pool or an address of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fence: Option<bool>,
    /// How the addresses are announced, beside the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announcement: Option<Announcement>,
}

/// How addresses are made known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// By BGP.
    Bgp,
    /// By ARP and Neighbour Discovery.
    Layer2,
    /// OpenELB's VRRP; here the same as layer2.
    Vip,
}

/// How the addresses of a pool are announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Announcement {
    /// Names of the BgpPeers that are told. None given: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub peers: Vec<String>,
    /// Nodes that announce, and that are announced as next hops; one selector must select the node. None given: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub node_selectors: Vec<LabelSelector>,
    /// Communities: 65000:100, a well-known name like no-export, 65000:1:2 or large:65000:1:2 (RFC 8092).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(max = 64)))]
    pub communities: Vec<String>,
    /// LOCAL_PREF, for peers of our own AS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub local_pref: Option<i64>,
    /// MULTI_EXIT_DISC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub med: Option<i64>,
    /// How many times more our AS number is in AS_PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16))]
    pub prepend: Option<i64>,
    /// Length of the IPv4 prefix that is announced in place of the address. Not given: 32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub aggregation_length: Option<i64>,
    /// The same for IPv6. Not given: 128.
    #[serde(
        default,
        rename = "aggregationLengthV6",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 128))]
    pub aggregation_length_v6: Option<i64>,
}

/// Who has which address; it survives restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EipStatus {
    /// Every address is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub occupied: Option<bool>,
    /// Addresses in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<i64>,
    /// Addresses in all; the largest number that fits for what is larger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_size: Option<i64>,
    /// By address: the Service, or the Services separated by semicolons, as namespace/name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<String, String>,
    /// The record that `used` is made from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Claim>,
    /// Who of several leaders wrote last: the number of times that the lease had changed hands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The first address of spec.address.
    #[serde(default, rename = "firstIP", skip_serializing_if = "Option::is_none")]
    pub first_ip: Option<String>,
    /// The last address of spec.address.
    #[serde(default, rename = "lastIP", skip_serializing_if = "Option::is_none")]
    pub last_ip: Option<String>,
    /// spec.address is of IPv4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v4: Option<bool>,
    /// Kept from OpenELB up to v0.5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Kept from OpenELB v0.1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ports_usage: BTreeMap<String, String>,
    /// State of the pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// An address that is taken, or that rests before somebody else can have it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The address.
    pub address: String,
    /// The Service that has it, or had it, as namespace/name.
    pub service: String,
    /// Ports that it uses of the address, like TCP/80.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Since when the Service does not use it, as RFC 3339 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_since: Option<String>,
    /// When it was freed, as RFC 3339 writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed_at: Option<String>,
}
