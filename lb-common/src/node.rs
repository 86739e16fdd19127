//! A node as the way to it: next hop on the wire, outer addresses, MTU. A row is written whole by the agent
//! whenever the neighbour's MAC, the route or the node's health changes; no table row changes with it.

use bytemuck::{Pod, Zeroable};

use crate::{Address, hash};

/// The way to one node, by its index.
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
    /// One's-complement sum of what is constant under the outer checksum ([`crate::gue::outer_v4_sum`],
    /// [`crate::gue::outer_v6_sum`]).
    pub outer_sum: u32,
    /// Outer addresses, this node's and that node's: of IPv4 a word each, so that one load has both, of IPv6
    /// ([`Node::OUTER_V6`]) four each.
    pub outer: [u32; 8],
    /// What GUE calls the node: [`node_id`] of its outer address.
    pub id: u32,
    /// Agent epoch, for later versions; zero.
    pub epoch: u32,
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

    /// [`Node::outer`] of a pair of addresses of one family.
    #[must_use]
    pub const fn outer(is_v6: bool, source: &Address, destination: &Address) -> [u32; 8] {
        let ([a, b, c, d], [e, f, g, h]) = (*source, *destination);
        if is_v6 {
            [a, b, c, d, e, f, g, h]
        } else {
            [a, e, 0, 0, 0, 0, 0, 0]
        }
    }

    /// Whether packets go there by new MACs alone.
    #[inline(always)]
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.flags & Self::DIRECT != 0
    }

    /// Source and destination of the outer header: this node's address and that node's.
    #[inline(always)]
    #[must_use]
    pub const fn outer_addresses(&self) -> (Address, Address) {
        let [a, b, c, d, e, f, g, h] = self.outer;
        if self.flags & Self::OUTER_V6 != 0 {
            ([a, b, c, d], [e, f, g, h])
        } else {
            ([a, 0, 0, 0], [b, 0, 0, 0])
        }
    }
}

/// The element of maps `node_macs` and `node_addresses`: which frames and which GUE come from nodes, so that
/// what a node has steered is not steered by MAC again, and no stranger's GUE is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct NodeLine {
    /// A 48-bit tag shifted left by 16, then the node's index; 0 is free.
    pub entries: [u64; 8],
}

/// The tag of a MAC: itself (as [`crate::interface::Interface::mac`]).
#[inline(always)]
#[must_use]
pub const fn mac_tag(mac: u64) -> u64 {
    mac & 0xffff_ffff_ffff
}

/// The tag of an outer address under the cluster's seed.
#[inline(always)]
#[must_use]
pub const fn address_tag(seed: u64, address: &Address) -> u64 {
    hash::address_v6(seed, address) >> 16
}

/// What GUE calls the node with this outer address; all nodes with the cluster's seed agree.
#[inline(always)]
#[must_use]
pub const fn node_id(seed: u64, outer: &Address) -> u32 {
    (hash::address_v6(seed, outer) >> 32) as u32
}

/// The two lines that may hold a tag.
#[inline(always)]
#[must_use]
pub const fn tag_lines(tag: u64) -> (u32, u32) {
    let hash = hash::word(0, tag);
    let mask = crate::limits::NODE_LINES - 1;
    ((hash >> 32) as u32 & mask, hash as u32 & mask)
}

const _: () = assert!(size_of::<Node>() == 64);
