//! ARP for IPv4 over Ethernet (RFC 826): what a frame asks, and the reply made of it in place. Requests, probes (no
//! sender address, RFC 5227) and unicast polls are one form; who may be answered is the caller's to know. Nothing is
//! learned from a frame.

use crate::{
    interface::Interface,
    packet::{ETHERNET_BYTES, Packet, PacketMut, is_group, store_mac},
};

/// EtherType of ARP as it lies in the frame.
pub const ETHERTYPE_ARP: u16 = 0x0806_u16.to_be();
/// Ethernet and ARP headers: what a reply is long, padding apart.
pub const FRAME_BYTES: usize = ETHERNET_BYTES + 28;

/// Hardware type Ethernet, protocol type IPv4; six and four bytes of address.
const ETHERNET_AND_IPV4: u32 = 0x0001_0800_u32.to_be();
const SIX_AND_FOUR: u16 = 0x0604_u16.to_be();
const REQUEST: u16 = 1_u16.to_be();
const REPLY: u16 = 2_u16.to_be();

const OPERATION_AT: usize = ETHERNET_BYTES + 6;
const SENDER_MAC_AT: usize = ETHERNET_BYTES + 8;
const SENDER_AT: usize = ETHERNET_BYTES + 14;
const TARGET_MAC_AT: usize = ETHERNET_BYTES + 18;
const TARGET_AT: usize = ETHERNET_BYTES + 24;

/// What an ARP frame says. Addresses as they lie in the frame, the MAC as in [`Interface::mac`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether somebody is asked.
    pub is_request: bool,
    /// Who says it.
    pub sender_mac: u64,
    /// Its address, which it claims by saying so; 0 in a probe.
    pub sender: u32,
    /// The address that it is about.
    pub target: u32,
}

impl Message {
    /// Whether it asks for the target, from a MAC that can be answered.
    #[inline(always)]
    #[must_use]
    pub const fn can_be_answered(&self) -> bool {
        self.is_request && self.sender_mac != 0 && !is_group(self.sender_mac)
    }
}

/// Reads an ARP frame; `None` if it is none, is cut short, or is about other than IPv4 on Ethernet.
#[inline(always)]
#[must_use]
pub fn message<P: Packet + ?Sized>(packet: &P) -> Option<Message> {
    if !packet.has(FRAME_BYTES)
        || packet.load_u16(12) != ETHERTYPE_ARP
        || packet.load_u32(ETHERNET_BYTES) != ETHERNET_AND_IPV4
        || packet.load_u16(ETHERNET_BYTES + 4) != SIX_AND_FOUR
    {
        return None;
    }
    let (low, high) = (
        packet.load_u32(SENDER_MAC_AT),
        packet.load_u16(SENDER_MAC_AT + 4),
    );
    Some(Message {
        is_request: packet.load_u16(OPERATION_AT) == REQUEST,
        sender_mac: u64::from(low) | u64::from(high) << 32,
        sender: packet.load_u32(SENDER_AT),
        target: packet.load_u32(TARGET_AT),
    })
}

/// Turns a request into its reply: the target's address is at `interface`. The frame must be what [`message`] read.
#[inline(always)]
pub fn answer<P: PacketMut + ?Sized>(packet: &mut P, interface: &Interface, request: &Message) {
    store_mac(packet, 0, request.sender_mac);
    store_mac(packet, 6, interface.mac);
    packet.store_u16(OPERATION_AT, REPLY);
    store_mac(packet, SENDER_MAC_AT, interface.mac);
    packet.store_u32(SENDER_AT, request.target);
    store_mac(packet, TARGET_MAC_AT, request.sender_mac);
    packet.store_u32(TARGET_AT, request.sender);
}

#[cfg(test)]
mod tests;
