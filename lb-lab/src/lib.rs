//! Test support: labs of network namespaces with a client, a router, nodes and pods; processes and real peers in them;
//! raw frames; and the demo. It depends on nothing of ours: agents are processes, seen from outside, as an operator sees
//! them. A lab needs root and leaves nothing behind but its folder of logs, however it ends.

mod agent;
mod agent_image;
mod apiserver;
mod builder;
mod chart;
mod client;
mod cluster;
mod configuration;
mod connection;
mod counters;
mod datagrams;
mod debian;
mod far_client;
mod firewall;
mod frame;
mod go_module;
pub mod guest;
mod lab;
mod namespace;
mod netlink;
mod oci;
mod offload;
mod pod;
mod process;
mod relay;
pub mod replay;
mod router;
mod sink;
mod sysctl;
pub mod topology;
mod wait;
mod xdp_verdict;

pub use agent::{Agent, AgentOptions, agent_binary};
pub use agent_image::{agent_image, write_agent_image};
pub use apiserver::{
    ADMIN, AGENT, ApiServer, CONTROLLER, KUBE_PROXY, NOBODY, SYSTEM_NAMESPACE, Saved,
};
pub use builder::{
    ROUTER_WAN_LINK, UPLINK, node_name, pod_link, pod_name, router_link, switch_port,
};
pub use chart::rendered_chart;
pub use client::{Client, Load, Record, Request, failures, per_pod};
pub use cluster::programs::{e2e_tests, helm, kube_proxy};
pub use cluster::shell::{ShellEnvironment, registered_clusters, search_path};
pub use cluster::{AGNHOST, Cluster, ClusterOptions, KUBIA, Proxy, Registry};
pub use configuration::{VIP_PORT, vip};
pub use connection::Connection;
pub use counters::TcpCounters;
pub use datagrams::{DatagramCount, DatagramLoad};
pub use far_client::FarClient;
pub use frame::FrameSocket;
pub use lab::{Lab, Node};
pub use namespace::Namespace;
pub use netlink::{Mac, Netlink, Prefix, Route};
pub use oci::{Image, ImageFile};
pub use offload::set_transmit_checksum;
pub use pod::{Pod, Seen};
pub use process::{Process, output};
pub use router::bird::Bird;
pub use router::bird1::Bird1;
pub use router::exabgp::ExaBgp;
pub use router::frr::Frr;
pub use router::gobgp::GoBgp;
pub use router::openbgpd::OpenBgpd;
pub use router::{NODE_ASN, NODE_BGP_PORT, Neighbour, ROUTER_ASN, ReceivedRoute, Router};
pub use sink::{Heard, Sinks};
pub use topology::{Pair, Profile, Segments};
pub use wait::wait_until;
pub use xdp_verdict::{AttachedProgram, CountingProgram};

/// Builds and fetches what API servers and clusters are made of, unless it is in the cache; says what it does. Needs no
/// root, and the first time a quarter of an hour.
pub fn prepare_kubernetes() -> anyhow::Result<()> {
    apiserver::prepare_kubernetes()?;
    cluster::programs::prepare()
}
