//! What a lab looks like: the segments, and who has which address. Pure: it makes nothing, the builder reads it. All
//! addresses follow from the numbers of node, pod and segment, so that a test can write them down.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netlink::{Mac, Prefix};

/// How many nodes a lab has; they are numbered from 1.
pub const NODES: u8 = 3;
/// How many pods a node has; they are numbered from 1.
pub const PODS_PER_NODE: u8 = 2;
/// The port on which every pod serves HTTP over TCP and echoes UDP.
pub const POD_PORT: u16 = 8080;
/// The gateway of every pod, as CNIs set it: nobody's address, a permanent neighbour.
pub const POD_GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// The IPv6 gateway of every pod.
pub const POD_GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
/// The MAC of the node's end of every pod's veth, as CNIs set it.
pub const POD_HOST_MAC: Mac = [0xee; 6];

/// Who shares a network segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Segments {
    /// All nodes and the router share one LAN.
    #[default]
    OneLan,
    /// Nodes 1 and 2 share a LAN, node 3 has another one behind the router.
    Node3Routed,
    /// Each node has a LAN of its own with the router.
    AllRouted,
}

impl Segments {
    /// The number of the segment that a node is on; segment 0 always exists.
    pub fn of_node(self, node: u8) -> u8 {
        match self {
            Self::OneLan => 0,
            Self::Node3Routed => u8::from(node == 3),
            Self::AllRouted => node - 1,
        }
    }

    /// How many segments there are.
    pub fn count(self) -> u8 {
        self.of_node(NODES) + 1
    }
}

/// A kind of lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Who shares a segment.
    pub segments: Segments,
    /// MTU in bytes between the nodes and the router; clients and pods have 1500.
    pub underlay_mtu: u32,
    /// Nodes have the firewall of an unfriendly host: see the module `firewall`.
    pub hostile: bool,
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            segments: Segments::OneLan,
            underlay_mtu: 1500,
            hostile: false,
        }
    }
}

/// An IPv4 and an IPv6 address of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Pair {
    /// Both addresses, IPv4 first.
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// The address of the same family as `other`.
    pub fn like(self, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) => self.v4.into(),
            IpAddr::V6(_) => self.v6.into(),
        }
    }

    /// Both addresses as networks with these prefix lengths.
    pub(crate) fn prefixes(self, v4_len: u8, v6_len: u8) -> [Prefix; 2] {
        [(self.v4.into(), v4_len), (self.v6.into(), v6_len)]
    }
}

/// The client's addresses.
pub fn client() -> Pair {
    wan(2)
}

/// The router's addresses towards the client.
pub fn router_wan() -> Pair {
    wan(1)
}

/// The router's addresses on a segment.
pub fn router(segment: u8) -> Pair {
    on_segment(segment, 1)
}

/// A node's addresses in a lab with these segments.
pub fn node(segments: Segments, node: u8) -> Pair {
    on_segment(segments.of_node(node), 10 + node)
}

/// A pod's addresses.
pub fn pod(node: u8, pod: u8) -> Pair {
    let host = u16::from(pod) + 1;
    Pair {
        v4: Ipv4Addr::new(10, 1, node, pod + 1),
        v6: Ipv6Addr::new(0xfd01, u16::from(node), 0, 0, 0, 0, 0, host),
    }
}

/// The networks that hold a node's pods.
pub fn pod_networks(node: u8) -> [Prefix; 2] {
    let network = Pair {
        v4: Ipv4Addr::new(10, 1, node, 0),
        v6: Ipv6Addr::new(0xfd01, u16::from(node), 0, 0, 0, 0, 0, 0),
    };
    network.prefixes(24, 64)
}

/// The MAC of a node's uplink.
pub fn node_mac(node: u8) -> Mac {
    [0x02, 0, 0, 0, 0x0a, node]
}

/// The MAC of the router on a segment.
pub fn router_mac(segment: u8) -> Mac {
    [0x02, 0, 0, 0, 0x01, segment]
}

/// The MAC of a pod.
pub fn pod_mac(node: u8, pod: u8) -> Mac {
    [0x02, 0, 0, 0, node, pod]
}

/// The MAC of the client.
pub const CLIENT_MAC: Mac = [0x02, 0, 0, 0, 0xc1, 1];
/// The MAC of the router towards the client.
pub const ROUTER_WAN_MAC: Mac = [0x02, 0, 0, 0, 0xc1, 2];

/// The MAC of a bridge port: nothing ever addresses it.
pub(crate) fn port_mac(segment: u8, port: u8) -> Mac {
    [0x02, 0, 0, 0xb0, segment, port]
}

fn wan(host: u8) -> Pair {
    Pair {
        v4: Ipv4Addr::new(198, 51, 100, host),
        v6: Ipv6Addr::new(0x2001, 0xdb8, 0x100, 0, 0, 0, 0, u16::from(host)),
    }
}

/// Host `host` on a segment; written in decimal, so that 10.0.0.11 and fd00::11 are the same host.
fn on_segment(segment: u8, host: u8) -> Pair {
    let decimal_as_hex = u16::from(host / 10) * 16 + u16::from(host % 10);
    Pair {
        v4: Ipv4Addr::new(10, 0, segment, host),
        v6: Ipv6Addr::new(0xfd00, u16::from(segment), 0, 0, 0, 0, 0, decimal_as_hex),
    }
}

#[cfg(test)]
mod tests;
