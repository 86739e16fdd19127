//! An endpoint as a slot of a service names it: by value, so that a flow never depends on slot numbers. Which node it
//! is on stands in a table of its own as well, sixteen times as dense: whoever only sends a packet on asks no more, and
//! finds it in a nearer cache.

use bytemuck::{Pod, Zeroable};

use crate::Address;

/// Endpoints in one 64-byte line; a service's extent is a power of two of lines.
pub const ENDPOINTS_PER_LINE: u32 = 2;

/// The element of map `endpoints`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(32))]
pub struct Endpoint {
    /// The pod's address.
    pub address: Address,
    /// The pod's port, network byte order.
    pub port: u16,
    /// Index in `nodes` of the node it is on.
    pub node: u16,
    /// [`Endpoint::IN_USE`] and what later versions add.
    pub flags: u32,
    /// Zero.
    pub reserved: u64,
}

impl Endpoint {
    /// Set in every slot that a row may name.
    pub const IN_USE: u32 = 1;
}

/// Slots of one [`EndpointNodes`].
pub const NODES_PER_WORD: u32 = 4;

/// The element of map `endpoint_nodes`: the nodes of four slots, from the low end, each as its index plus one; 0 where no
/// endpoint is. Written after the endpoint, and cleared before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct EndpointNodes(pub u64);

impl EndpointNodes {
    /// Index of the node of a slot.
    #[must_use]
    pub const fn node(self, slot: u32) -> Option<u16> {
        ((self.0 >> Self::shift(slot)) as u16).checked_sub(1)
    }

    /// With the node of a slot.
    #[must_use]
    pub const fn with(self, slot: u32, node: Option<u16>) -> Self {
        let named = match node {
            Some(node) => node as u64 + 1,
            None => 0,
        };
        let others = self.0 & !(0xffff << Self::shift(slot));
        Self(others | named << Self::shift(slot))
    }

    const fn shift(slot: u32) -> u32 {
        slot % NODES_PER_WORD * 16
    }
}

const _: () = assert!(size_of::<Endpoint>() * ENDPOINTS_PER_LINE as usize == 64);
