//! An endpoint as a slot of a service names it: by value, so that a flow never depends on slot numbers.

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

const _: () = assert!(size_of::<Endpoint>() * ENDPOINTS_PER_LINE as usize == 64);
