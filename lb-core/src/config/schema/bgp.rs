//! The words of `bgp` and of a Service's `bgp`. What routes say has the same words at a peer and at a Service.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_saphyr::Spanned;

use super::Text;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in super::super) struct Bgp {
    pub(in super::super) asn: Spanned<u32>,
    pub(in super::super) router_id: Option<Text>,
    pub(in super::super) listen_port: Option<Spanned<u16>>,
    #[serde(default)]
    pub(in super::super) nodes: Vec<NodeBgp>,
    pub(in super::super) graceful_shutdown_time: Option<Text>,
    pub(in super::super) peers: Vec<Peer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in super::super) struct NodeBgp {
    pub(in super::super) node_selector: BTreeMap<String, String>,
    pub(in super::super) asn: Option<Spanned<u32>>,
    pub(in super::super) router_id: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in super::super) struct Peer {
    pub(in super::super) address: Option<Text>,
    pub(in super::super) interface: Option<Text>,
    pub(in super::super) range: Option<Text>,
    pub(in super::super) asn: Spanned<u32>,
    pub(in super::super) local_asn: Option<Spanned<u32>>,
    #[serde(default)]
    pub(in super::super) node_selector: BTreeMap<String, String>,
    pub(in super::super) port: Option<Spanned<u16>>,
    pub(in super::super) passive: Option<Spanned<bool>>,
    pub(in super::super) source_address: Option<Text>,
    pub(in super::super) source_interface: Option<Text>,
    pub(in super::super) multihop: Option<Spanned<u8>>,
    #[serde(default)]
    pub(in super::super) gtsm: bool,
    pub(in super::super) password_file: Option<Text>,
    pub(in super::super) tcp_ao: Option<Spanned<TcpAo>>,
    pub(in super::super) hold_time: Option<Text>,
    pub(in super::super) connect_retry: Option<Text>,
    pub(in super::super) families: Option<Spanned<Vec<Text>>>,
    #[serde(default)]
    pub(in super::super) required_families: Vec<Text>,
    pub(in super::super) graceful_restart: Option<Spanned<GracefulRestart>>,
    pub(in super::super) received_routes_max: Option<u64>,
    pub(in super::super) next_hop: Option<Text>,
    pub(in super::super) send_max: Option<Spanned<u8>>,
    pub(in super::super) services: Option<Spanned<Vec<Text>>>,
    pub(in super::super) bfd: Option<Spanned<IgnoredAny>>,
    #[serde(default)]
    pub(in super::super) communities: Vec<Text>,
    #[serde(default)]
    pub(in super::super) large_communities: Vec<Text>,
    #[serde(default)]
    pub(in super::super) extended_communities: Vec<Text>,
    pub(in super::super) link_bandwidth_mbps: Option<Spanned<u32>>,
    pub(in super::super) med: Option<u32>,
    pub(in super::super) local_pref: Option<u32>,
    pub(in super::super) prepend: Option<Spanned<u8>>,
    pub(in super::super) aggregation_length: Option<Spanned<u8>>,
    pub(in super::super) aggregation_length_v6: Option<Spanned<u8>>,
}

impl Peer {
    /// What its routes say.
    pub(in super::super) fn routes(&self) -> RouteSettings {
        RouteSettings {
            communities: self.communities.clone(),
            large_communities: self.large_communities.clone(),
            extended_communities: self.extended_communities.clone(),
            link_bandwidth_mbps: self.link_bandwidth_mbps.clone(),
            med: self.med,
            local_pref: self.local_pref,
            prepend: self.prepend.clone(),
            aggregation_length: self.aggregation_length.clone(),
            aggregation_length_v6: self.aggregation_length_v6.clone(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in super::super) struct TcpAo {
    pub(in super::super) key_file: Text,
    pub(in super::super) send_id: u8,
    pub(in super::super) receive_id: u8,
    pub(in super::super) algorithm: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in super::super) struct GracefulRestart {
    pub(in super::super) enabled: Option<bool>,
    pub(in super::super) restart_time: Option<Text>,
    pub(in super::super) long_lived_stale_time: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in super::super) struct ServiceBgp {
    pub(in super::super) peers: Option<Spanned<Vec<Text>>>,
    #[serde(default)]
    pub(in super::super) communities: Vec<Text>,
    #[serde(default)]
    pub(in super::super) large_communities: Vec<Text>,
    #[serde(default)]
    pub(in super::super) extended_communities: Vec<Text>,
    pub(in super::super) link_bandwidth_mbps: Option<Spanned<u32>>,
    pub(in super::super) med: Option<u32>,
    pub(in super::super) local_pref: Option<u32>,
    pub(in super::super) prepend: Option<Spanned<u8>>,
    pub(in super::super) aggregation_length: Option<Spanned<u8>>,
    pub(in super::super) aggregation_length_v6: Option<Spanned<u8>>,
}

impl ServiceBgp {
    /// What its routes say.
    pub(in super::super) fn routes(&self) -> RouteSettings {
        RouteSettings {
            communities: self.communities.clone(),
            large_communities: self.large_communities.clone(),
            extended_communities: self.extended_communities.clone(),
            link_bandwidth_mbps: self.link_bandwidth_mbps.clone(),
            med: self.med,
            local_pref: self.local_pref,
            prepend: self.prepend.clone(),
            aggregation_length: self.aggregation_length.clone(),
            aggregation_length_v6: self.aggregation_length_v6.clone(),
        }
    }
}

/// The words that peers and Services share. Read as their own fields, so that a wrong one is told at its place.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct RouteSettings {
    pub(in super::super) communities: Vec<Text>,
    pub(in super::super) large_communities: Vec<Text>,
    pub(in super::super) extended_communities: Vec<Text>,
    pub(in super::super) link_bandwidth_mbps: Option<Spanned<u32>>,
    pub(in super::super) med: Option<u32>,
    pub(in super::super) local_pref: Option<u32>,
    pub(in super::super) prepend: Option<Spanned<u8>>,
    pub(in super::super) aggregation_length: Option<Spanned<u8>>,
    pub(in super::super) aggregation_length_v6: Option<Spanned<u8>>,
}
