//! Makes the namespaces, links, addresses and routes of a [`Profile`]. It starts no process and no server. The order
//! matters in one place only: kernel defaults are set before the links exist that take them over.

use std::io;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::netlink::{Netlink, Prefix};
use crate::topology::{self, NODES, Profile};
use crate::xdp_verdict::{AttachedProgram, Verdict};
use crate::{firewall, offload, sysctl, xdp_verdict};

/// The namespaces of a lab, and what must stay open for its links to work.
pub(crate) struct Network {
    pub(crate) client: Arc<Namespace>,
    pub(crate) router: Arc<Namespace>,
    pub(crate) switch: Arc<Namespace>,
    /// Node 1 first.
    pub(crate) nodes: Vec<Arc<Namespace>>,
    /// Node 1's first; per node, pod 1 first.
    pub(crate) pods: Vec<Vec<Arc<Namespace>>>,
    _pass_programs: Vec<AttachedProgram>,
}

/// The uplink of a node and the only link of a client or pod.
pub const UPLINK: &str = "eth0";

/// Builds the network of a profile, with pods 1 to `pods_per_node` on each node.
pub(crate) fn build(profile: &Profile, pods_per_node: u8) -> Result<Network> {
    let mut network = Network {
        client: Namespace::new("client")?.into(),
        router: Namespace::with_mounts("router")?.into(),
        switch: Namespace::new("switch")?.into(),
        nodes: (1..=NODES).map(node_namespace).collect::<Result<_>>()?,
        pods: (1..=NODES)
            .map(|node| pod_namespaces(node, pods_per_node))
            .collect::<Result<_>>()?,
        _pass_programs: Vec::new(),
    };
    network.set_kernel_defaults(profile)?;
    network._pass_programs = network.connect_segments(profile)?;
    network.connect_client()?;
    for node in 1..=NODES {
        network.connect_pods(node)?;
        network.configure_node(profile, node)?;
    }
    network.configure_router(profile)?;
    if profile.hostile {
        for node in &network.nodes {
            node.run(firewall::make_hostile)?;
        }
    }
    Ok(network)
}

fn node_namespace(node: u8) -> Result<Arc<Namespace>> {
    Ok(Namespace::with_mounts(&node_name(node))?.into())
}

fn pod_namespaces(node: u8, count: u8) -> Result<Vec<Arc<Namespace>>> {
    (1..=count)
        .map(|pod| Ok(Namespace::new(&pod_name(node, pod))?.into()))
        .collect()
}

/// A node's name: `node1` is the first.
pub fn node_name(node: u8) -> String {
    format!("node{node}")
}

/// A pod's name: `pod1-2` is the second of node 1.
pub fn pod_name(node: u8, pod: u8) -> String {
    format!("pod{node}-{pod}")
}

/// The port on the switch that a node is plugged into.
pub fn switch_port(node: u8) -> String {
    format!("node{node}")
}

/// The router's link to a segment.
pub fn router_link(segment: u8) -> String {
    format!("lan{segment}")
}

/// The router's link to the client.
pub const ROUTER_WAN_LINK: &str = "wan0";

/// A node's end of a pod's veth.
pub fn pod_link(pod: u8) -> String {
    format!("pod{pod}")
}

impl Network {
    fn set_kernel_defaults(&self, profile: &Profile) -> Result<()> {
        let hosts = [&self.client, &self.router, &self.switch];
        for host in hosts.into_iter().chain(self.pods.iter().flatten()) {
            host.run(|| {
                sysctl::as_host()?;
                up("lo")
            })?;
        }
        for node in &self.nodes {
            node.run(|| {
                sysctl::as_host()?;
                sysctl::as_forwarder()?;
                if profile.hostile {
                    sysctl::strict_reverse_path()?;
                }
                up("lo")
            })?;
        }
        self.router.run(|| {
            sysctl::as_forwarder()?;
            sysctl::as_multipath_router()
        })
    }

    /// One bridge a segment, with ports to the router and to its nodes.
    fn connect_segments(&self, profile: &Profile) -> Result<Vec<AttachedProgram>> {
        self.switch.run(|| {
            let mut netlink = Netlink::open()?;
            for segment in 0..profile.segments.count() {
                let bridge = format!("br{segment}");
                netlink.add_bridge(&bridge)?;
                let far = (
                    &self.router,
                    router_link(segment),
                    topology::router_mac(segment),
                );
                let port = format!("router{segment}");
                netlink.add_veth(
                    &port,
                    topology::port_mac(segment, 0),
                    far.0.net(),
                    &far.1,
                    far.2,
                )?;
                plug(&mut netlink, &port, &bridge, profile.underlay_mtu)?;
                netlink.set_up(&bridge, true)?;
            }
            let mut programs = Vec::new();
            for node in 1..=NODES {
                let segment = profile.segments.of_node(node);
                let port = switch_port(node);
                let namespace = &self.nodes[usize::from(node) - 1];
                let mac = topology::port_mac(segment, node);
                netlink.add_veth(
                    &port,
                    mac,
                    namespace.net(),
                    UPLINK,
                    topology::node_mac(node),
                )?;
                programs.push(face_node(&mut netlink, &port)?);
                plug(
                    &mut netlink,
                    &port,
                    &format!("br{segment}"),
                    profile.underlay_mtu,
                )?;
            }
            Ok(programs)
        })
    }

    fn connect_client(&self) -> Result<()> {
        self.router.run(|| {
            let mut netlink = Netlink::open()?;
            let (near, far) = (topology::ROUTER_WAN_MAC, topology::CLIENT_MAC);
            netlink.add_veth(ROUTER_WAN_LINK, near, self.client.net(), UPLINK, far)?;
            bring_up(
                &mut netlink,
                ROUTER_WAN_LINK,
                &topology::router_wan().prefixes(24, 64),
            )
        })?;
        self.client.run(|| {
            let mut netlink = Netlink::open()?;
            bring_up(&mut netlink, UPLINK, &topology::client().prefixes(24, 64))?;
            add_routes(&mut netlink, &default_routes(), topology::router_wan())
        })
    }

    fn connect_pods(&self, node: u8) -> Result<()> {
        let pods = &self.pods[usize::from(node) - 1];
        for (pod, namespace) in (1..).zip(pods) {
            let link = pod_link(pod);
            self.nodes[usize::from(node) - 1].run(|| {
                let mut netlink = Netlink::open()?;
                let mac = topology::pod_mac(node, pod);
                netlink.add_veth(&link, topology::POD_HOST_MAC, namespace.net(), UPLINK, mac)?;
                netlink.set_up(&link, true)?;
                for prefix in topology::pod(node, pod).prefixes(32, 128) {
                    netlink.add_link_route(prefix, &link)?;
                    netlink.add_neighbour(&link, prefix.0, mac)?;
                }
                Ok(())
            })?;
            namespace
                .run(|| configure_pod(node, pod))
                .context("configuring a pod")?;
        }
        Ok(())
    }

    fn configure_node(&self, profile: &Profile, node: u8) -> Result<()> {
        let segments = profile.segments;
        let neighbours = (1..=NODES)
            .filter(|&other| other != node && segments.of_node(other) == segments.of_node(node));
        self.nodes[usize::from(node) - 1].run(|| {
            let mut netlink = Netlink::open()?;
            netlink.set_mtu(UPLINK, profile.underlay_mtu)?;
            bring_up(
                &mut netlink,
                UPLINK,
                &topology::node(segments, node).prefixes(24, 64),
            )?;
            // Only on a link that is up does it make the far end one that XDP may redirect to (`veth_set_features`).
            offload::set_receive_merging(UPLINK, true).context("turning GRO on")?;
            add_routes(
                &mut netlink,
                &default_routes(),
                topology::router(segments.of_node(node)),
            )?;
            for other in neighbours {
                let gateway = topology::node(segments, other);
                add_routes(&mut netlink, &topology::pod_networks(other), gateway)?;
            }
            Ok(())
        })
    }

    fn configure_router(&self, profile: &Profile) -> Result<()> {
        self.router.run(|| {
            let mut netlink = Netlink::open()?;
            for segment in 0..profile.segments.count() {
                let link = router_link(segment);
                netlink.set_mtu(&link, profile.underlay_mtu)?;
                bring_up(
                    &mut netlink,
                    &link,
                    &topology::router(segment).prefixes(24, 64),
                )?;
            }
            for node in 1..=NODES {
                let gateway = topology::node(profile.segments, node);
                add_routes(&mut netlink, &topology::pod_networks(node), gateway)?;
            }
            Ok(())
        })
    }
}

/// What a bridge port needs towards an XDP device: whole checksums in its frames, and a program of its own.
fn face_node(netlink: &mut Netlink, port: &str) -> Result<AttachedProgram> {
    offload::set_transmit_checksum(port, false).context("turning transmit checksums off")?;
    let index = netlink.index(port)?;
    xdp_verdict::attach(index, Verdict::Pass)
        .with_context(|| format!("attaching the pass program to {port}"))
}

fn plug(netlink: &mut Netlink, port: &str, bridge: &str, mtu: u32) -> io::Result<()> {
    netlink.set_mtu(port, mtu)?;
    netlink.set_bridge(port, bridge)?;
    netlink.set_up(port, true)
}

fn configure_pod(node: u8, pod: u8) -> Result<()> {
    let mut netlink = Netlink::open()?;
    bring_up(
        &mut netlink,
        UPLINK,
        &topology::pod(node, pod).prefixes(32, 128),
    )?;
    for gateway in [topology::POD_GATEWAY_V4, topology::POD_GATEWAY_V6] {
        netlink.add_neighbour(UPLINK, gateway, topology::POD_HOST_MAC)?;
    }
    netlink.add_link_route((topology::POD_GATEWAY_V4, 32), UPLINK)?;
    let [v4, v6] = default_routes();
    netlink.add_route(v4, topology::POD_GATEWAY_V4)?;
    netlink.add_route_by(v6, topology::POD_GATEWAY_V6, UPLINK)?;
    Ok(())
}

fn bring_up(netlink: &mut Netlink, link: &str, addresses: &[Prefix]) -> Result<()> {
    netlink.set_up(link, true)?;
    for &address in addresses {
        netlink
            .add_address(link, address)
            .with_context(|| format!("giving {link} the address {}", address.0))?;
    }
    Ok(())
}

fn add_routes(
    netlink: &mut Netlink,
    destinations: &[Prefix],
    gateway: topology::Pair,
) -> Result<()> {
    for &destination in destinations {
        let gateway = gateway.like(destination.0);
        netlink.add_route(destination, gateway).with_context(|| {
            format!(
                "adding the route to {}/{} by {gateway}",
                destination.0, destination.1
            )
        })?;
    }
    Ok(())
}

fn up(link: &str) -> Result<()> {
    Ok(Netlink::open()?.set_up(link, true)?)
}

fn default_routes() -> [Prefix; 2] {
    [([0; 4].into(), 0), ([0; 16].into(), 0)]
}
