//! What the model knows of a cluster: the same that a person reads out of the YAML and the kernel's tables.

use std::net::IpAddr;

/// Everything that does not change while packets run.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// By index.
    pub nodes: Vec<Node>,
    /// One entry a (VIP, port, protocol).
    pub ports: Vec<ServicePort>,
    /// UDP port of GUE.
    pub gue_port: u16,
}

/// A node and the ways from it.
#[derive(Clone, Debug)]
pub struct Node {
    /// MAC of its uplink.
    pub mac: [u8; 6],
    /// Its own addresses that GUE comes to.
    pub addresses: Vec<IpAddr>,
    /// To each node by index; `None` for itself.
    pub ways: Vec<Option<Way>>,
    /// VIPs that it answers for on its link.
    pub owned: Vec<IpAddr>,
    /// Largest packet that any client may send so that it fits any encapsulation, in bytes.
    pub inner_mtu_bytes: u16,
}

/// The way to another node.
#[derive(Clone, Debug)]
pub struct Way {
    /// Of the next hop; `None` while it is not resolved.
    pub mac: Option<[u8; 6]>,
    /// The next hop is the node itself.
    pub on_link: bool,
    /// Source of the outer header.
    pub outer_source: IpAddr,
    /// Destination of the outer header.
    pub outer_destination: IpAddr,
    /// Largest IP packet on this way, in bytes.
    pub mtu_bytes: u16,
}

/// A service port of one VIP.
#[derive(Clone, Debug)]
pub struct ServicePort {
    /// The VIP.
    pub vip: IpAddr,
    /// The port that clients dial.
    pub port: u16,
    /// UDP instead of TCP.
    pub udp: bool,
    /// Who serves; none is possible.
    pub endpoints: Vec<Endpoint>,
    /// By node: who serves what comes in there and is new (`externalTrafficPolicy: Local`). Empty: no such difference.
    pub local: Vec<Vec<Endpoint>>,
    /// The only clients that may connect (`loadBalancerSourceRanges`); empty: all.
    pub ranges: Vec<(IpAddr, u8)>,
    /// All flows of a client go to one endpoint (`sessionAffinity: ClientIP`).
    pub by_client: bool,
    /// If no node has an endpoint, others have, and the kernel may know the way to them.
    pub outside: bool,
}

impl ServicePort {
    /// Whether a client may connect.
    pub(crate) fn admits(&self, client: IpAddr) -> bool {
        self.ranges.is_empty() || self.ranges.iter().any(|range| contains(range, client))
    }
}

fn contains((network, length): &(IpAddr, u8), address: IpAddr) -> bool {
    let bits = |address: &IpAddr| match address {
        IpAddr::V4(address) => u128::from(u32::from(*address)) << 96,
        IpAddr::V6(address) => u128::from(*address),
    };
    let differ = bits(network) ^ bits(&address);
    network.is_ipv4() == address.is_ipv4() && differ.leading_zeros() >= u32::from(*length)
}

/// A pod's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The pod.
    pub address: IpAddr,
    /// Where it listens.
    pub port: u16,
    /// Index of its node.
    pub node: usize,
}

impl Cluster {
    /// Whether any service port has this VIP.
    #[must_use]
    pub fn is_vip(&self, address: IpAddr) -> bool {
        self.ports.iter().any(|port| port.vip == address)
    }

    /// The service port of a destination.
    #[must_use]
    pub fn port(&self, vip: IpAddr, port: u16, udp: bool) -> Option<&ServicePort> {
        let is_it = |one: &&ServicePort| (one.vip, one.port, one.udp) == (vip, port, udp);
        self.ports.iter().find(is_it)
    }

    /// The other node with this outer address.
    pub(crate) fn sender(&self, own: usize, address: IpAddr) -> Option<usize> {
        let has = |node: &Node| node.addresses.contains(&address);
        self.nodes
            .iter()
            .position(has)
            .filter(|index| *index != own)
    }

    /// Whether frames with this source MAC come from a node on the link.
    pub(crate) fn is_node_mac(&self, own: usize, mac: &[u8]) -> bool {
        let ways = self.nodes[own].ways.iter().flatten();
        ways.filter(|way| way.on_link)
            .any(|way| way.mac.is_some_and(|it| it == mac))
    }
}
