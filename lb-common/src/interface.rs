//! An uplink as the programs see it. The slot is a constant of each attached program, so that no interface
//! index is compared.

use bytemuck::{Pod, Zeroable};

use crate::filter::MAC_FILTER_WORDS;

/// One uplink, by slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Interface {
    /// Own MAC (its bridge's, its bond's): six bytes as on the wire, in the low bytes of the word.
    pub mac: u64,
    /// One bit a node MAC that is on this link ([`crate::filter::mac_bit`]): a router's frame stops here, but for one
    /// in five on a link with fifty nodes.
    pub node_mac_filter: [u64; MAC_FILTER_WORDS],
    /// The kernel's interface index.
    pub ifindex: u32,
    /// [`Interface::FACES_NODES`].
    pub flags: u32,
    /// Zero.
    pub reserved: [u64; 2],
}

impl Interface {
    /// GUE is accepted here.
    pub const FACES_NODES: u32 = 1;
}

const _: () = assert!(size_of::<Interface>() == 64);
