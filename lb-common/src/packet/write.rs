//! Writing into a frame, as [`Packet`] reads from it: packet memory in BPF, a slice on the host. The caller has asked
//! [`Packet::has`] for the bytes.

use super::Packet;
use crate::Address;

/// A frame that can be changed in place.
pub trait PacketMut: Packet {
    /// Writes two bytes at `offset`.
    fn store_u16(&mut self, offset: usize, value: u16);
    /// Writes four bytes at `offset`.
    fn store_u32(&mut self, offset: usize, value: u32);

    /// Writes four words of an IPv6 address at `offset`.
    #[inline(always)]
    fn store_address_v6(&mut self, offset: usize, address: &Address) {
        self.store_u32(offset, address[0]);
        self.store_u32(offset + 4, address[1]);
        self.store_u32(offset + 8, address[2]);
        self.store_u32(offset + 12, address[3]);
    }
}

impl PacketMut for [u8] {
    fn store_u16(&mut self, offset: usize, value: u16) {
        self[offset..offset + 2].copy_from_slice(&value.to_ne_bytes());
    }

    fn store_u32(&mut self, offset: usize, value: u32) {
        self[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }
}

/// Writes a MAC ([`crate::interface::Interface::mac`]) at `offset`.
#[inline(always)]
pub fn store_mac<P: PacketMut + ?Sized>(packet: &mut P, offset: usize, mac: u64) {
    packet.store_u32(offset, mac as u32);
    packet.store_u16(offset + 4, (mac >> 32) as u16);
}

/// Whether a MAC is a group's: broadcast or multicast (IEEE 802).
#[inline(always)]
#[must_use]
pub const fn is_group(mac: u64) -> bool {
    mac & 1 != 0
}
