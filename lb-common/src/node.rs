//! A node as the way to it: next hop on the wire, outer addresses, MTU. A row is written whole by the agent
//! whenever the neighbour's MAC, the route or the node's health changes; no table row changes with it.

use bytemuck::{Pod, Zeroable};

use crate::Address;

/// The element of map `nodes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Node {
    /// Destination then source MAC of the frames that go there, as on the wire.
    pub macs: [u16; 6],
    /// [`Node::PRESENT`], [`Node::RESOLVED`] and the rest.
    pub flags: u16,
    /// Largest IP packet that the way there carries, in bytes.
    pub mtu_bytes: u16,
    /// Interface that frames leave by.
    pub egress_ifindex: u32,
    /// One's-complement sum of the outer IPv4 header's constant words ([`crate::gue::outer_v4_sum`]).
    pub outer_sum: u32,
    /// Outer source: this node's address, IPv4 or IPv6 by [`Node::OUTER_V6`].
    pub outer_source: Address,
    /// Outer destination: that node's address.
    pub outer_destination: Address,
    /// Agent epoch, for later versions; zero.
    pub epoch: u64,
}

impl Node {
    /// The row names a node.
    pub const PRESENT: u16 = 1;
    /// The MACs are those of a live neighbour entry.
    pub const RESOLVED: u16 = 2;
    /// On-link: a MAC rewrite suffices. Otherwise GUE.
    pub const DIRECT: u16 = 4;
    /// The outer header is IPv6.
    pub const OUTER_V6: u16 = 8;
    /// The node's heartbeats stopped (set with membership; a later version).
    pub const DEAD: u16 = 16;
}

/// The element of map `node_macs`: which MACs are other nodes', so that a frame a node has already steered
/// is not steered by MAC again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct NodeMacLine {
    /// MAC (as [`crate::interface::Interface::mac`]) shifted left by 16, then the node's index; 0 is free.
    pub entries: [u64; 8],
}

const _: () = assert!(size_of::<Node>() == 64);
