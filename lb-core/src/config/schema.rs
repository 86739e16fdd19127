//! The file as serde sees it: the full schema, each value with its place. Whether a value makes sense is asked
//! elsewhere; here is only which words there are and of which type. Values of sections that this version
//! refuses are not looked into.

mod bgp;

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::Spanned;

pub(super) use bgp::{Bgp, GracefulRestart, NodeBgp, Peer, RouteSettings, ServiceBgp};

pub(super) type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct File {
    #[serde(default)]
    pub(super) node: OwnNode,
    pub(super) cluster: Option<Cluster>,
    pub(super) nodes: Spanned<Vec<Node>>,
    pub(super) bgp: Option<Spanned<Bgp>>,
    pub(super) layer2: Option<Spanned<Layer2>>,
    pub(super) dataplane: Option<Dataplane>,
    #[serde(default)]
    pub(super) services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Settings {
    #[serde(default)]
    pub(super) node: OwnNode,
    pub(super) cluster: Option<Cluster>,
    pub(super) dataplane: Option<Dataplane>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct OwnNode {
    pub(super) name: Option<Text>,
    #[serde(default)]
    pub(super) uplinks: Vec<Text>,
    pub(super) mode: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Cluster {
    pub(super) key_file: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Node {
    pub(super) name: Text,
    pub(super) addresses: Spanned<Vec<Text>>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Layer2 {
    #[serde(default)]
    pub(super) interfaces: Vec<Text>,
    #[serde(default)]
    pub(super) owns: Vec<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Dataplane {
    pub(super) answer_echo: Option<bool>,
    pub(super) closed_ports: Option<Text>,
    pub(super) answers_per_second: Option<Spanned<u32>>,
    pub(super) new_flows_per_source_prefix_per_second: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) pools: Vec<Text>,
    pub(super) routing_table: Option<Spanned<u32>>,
    pub(super) service_ports: Option<Spanned<u32>>,
    pub(super) endpoints: Option<Spanned<u32>>,
    pub(super) flows: Option<Spanned<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Service {
    pub(super) name: Text,
    pub(super) addresses: Spanned<Vec<Text>>,
    pub(super) announce: Option<Text>,
    pub(super) bgp: Option<Spanned<ServiceBgp>>,
    pub(super) external_traffic_policy: Option<Text>,
    pub(super) session_affinity: Option<Text>,
    pub(super) session_affinity_config: Option<Spanned<SessionAffinityConfig>>,
    pub(super) new_flows_per_second: Option<Spanned<u32>>,
    #[serde(rename = "return")]
    pub(super) return_by: Option<Text>,
    pub(super) load_balancer_source_ranges: Option<Spanned<Vec<Text>>>,
    pub(super) ports: Spanned<Vec<Port>>,
    pub(super) health_check: Option<Spanned<HealthCheck>>,
    #[serde(default)]
    pub(super) endpoints: Vec<Endpoint>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionAffinityConfig {
    #[serde(rename = "clientIP")]
    pub(super) client_ip: Option<ClientIp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct ClientIp {
    pub(super) timeout_seconds: Option<Spanned<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Port {
    pub(super) name: Text,
    pub(super) protocol: Option<Text>,
    pub(super) port: Spanned<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct HealthCheck {
    pub(super) tcp: Option<TcpCheck>,
    pub(super) http: Option<Spanned<IgnoredAny>>,
    pub(super) grpc: Option<Spanned<IgnoredAny>>,
    pub(super) interval: Option<Text>,
    pub(super) failures: Option<Spanned<u32>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct TcpCheck {
    pub(super) port: Spanned<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Endpoint {
    pub(super) address: Text,
    pub(super) node: Option<Text>,
    pub(super) ports: BTreeMap<String, Spanned<u16>>,
    pub(super) ready: Option<bool>,
    pub(super) serving: Option<bool>,
    #[serde(default)]
    pub(super) terminating: bool,
    pub(super) weight: Option<Spanned<u16>>,
}
