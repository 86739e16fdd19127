//! Neighbour Discovery for an address of ours (RFC 4861): what a Neighbour Solicitation asks, and the advertisement
//! made of it. Solicitations with and without source link-layer option, polls by unicast and duplicate address
//! detection (RFC 4862) are told apart; one that breaks RFC 4861 section 7.1.1 is none. Nothing is learned.

use crate::{
    Address,
    checksum::{fold, sum_of_words},
    interface::Interface,
    packet::{
        ETHERNET_BYTES, ETHERTYPE_IPV6, IPV6_BYTES, Layout, Packet, PacketMut, is_group,
        source_mac, store_mac,
    },
};

/// Ethernet, IPv6, advertisement and one option: what an answer is long.
pub const FRAME_BYTES: usize = MESSAGE_AT + ADVERTISEMENT_BYTES;
/// A solicitation without options; an answer needs [`OPTION_BYTES`] more.
pub const FRAME_BYTES_MIN: usize = MESSAGE_AT + SOLICITATION_BYTES;
/// One link-layer address option.
pub const OPTION_BYTES: usize = 8;

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Nobody forwards it (RFC 4861 section 7.1.1).
const HOP_LIMIT: u8 = 255;
const MESSAGE_AT: usize = ETHERNET_BYTES + IPV6_BYTES;
const TARGET_AT: usize = MESSAGE_AT + 8;
const OPTIONS_AT: usize = MESSAGE_AT + SOLICITATION_BYTES;
const SOLICITATION_BYTES: usize = 24;
const ADVERTISEMENT_BYTES: usize = SOLICITATION_BYTES + OPTION_BYTES;
/// Options that are looked at, in units of eight bytes: hosts send a link-layer address, a nonce (RFC 7527), or both.
const UNITS_MAX: usize = 2;
const SOURCE_MAC_OPTION: u8 = 1;
const TARGET_MAC_OPTION: u8 = 2;
/// Flags of an advertisement (RFC 4861 section 4.4).
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// `ff02::1` and its MAC (RFC 2464 section 7).
const ALL_NODES: Address = [0xff02_0000_u32.to_be(), 0, 0, 1_u32.to_be()];
const ALL_NODES_MAC: u64 = u64::from_le_bytes([0x33, 0x33, 0, 0, 0, 1, 0, 0]);
/// First byte of a multicast address.
const MULTICAST: u8 = 0xff;

/// What a Neighbour Solicitation asks. Addresses as they lie in the frame, the MAC as in [`Interface::mac`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// Who asks; unspecified while it checks that the address is nobody's.
    pub source: Address,
    /// Where it wants the answer: its link-layer option, or else where the frame came from.
    pub source_mac: u64,
    /// The address that it is about.
    pub target: Address,
}

impl Solicitation {
    /// Duplicate address detection: somebody is about to take the target.
    #[inline(always)]
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        let [a, b, c, d] = self.source;
        a | b | c | d == 0
    }
}

/// Whether a frame may be a solicitation or an advertisement: what is cheap to see, before checksums are added up.
#[inline(always)]
#[must_use]
pub fn may_concern<P: Packet + ?Sized>(packet: &P) -> bool {
    packet.has(FRAME_BYTES_MIN)
        && packet.load_u16(12) == ETHERTYPE_IPV6
        && packet.load_u8(ETHERNET_BYTES + 6) == ICMPV6
        && matches!(packet.load_u8(MESSAGE_AT), SOLICITATION | ADVERTISEMENT)
}

/// The address that an advertisement claims; `None` if the frame is none.
#[inline(always)]
#[must_use]
pub fn advertised<P: Packet + ?Sized>(packet: &P) -> Option<Address> {
    let is_one = may_concern(packet) && packet.load_u8(MESSAGE_AT) == ADVERTISEMENT;
    is_one.then(|| packet.load_address::<true>(TARGET_AT))
}

/// Reads a Neighbour Solicitation; `None` if it is none, or none that RFC 4861 section 7.1.1 lets pass.
#[inline(always)]
#[must_use]
pub fn solicitation<P: Packet + ?Sized>(packet: &P) -> Option<Solicitation> {
    if !may_concern(packet)
        || packet.load_u8(MESSAGE_AT) != SOLICITATION
        || packet.load_u8(Layout::hop_limit(true)) != HOP_LIMIT
        || packet.load_u8(MESSAGE_AT + 1) != 0
        || packet.load_u8(TARGET_AT) == MULTICAST
    {
        return None;
    }
    let bytes = usize::from(u16::from_be(packet.load_u16(ETHERNET_BYTES + 4)));
    let units = bytes.wrapping_sub(SOLICITATION_BYTES) / OPTION_BYTES;
    if !bytes.is_multiple_of(OPTION_BYTES) || units > UNITS_MAX || !has_units(packet, units) {
        return None;
    }
    if checksum(packet, units) != 0 {
        return None;
    }
    let option = source_mac_option(packet, units)?;
    let asked = Solicitation {
        source: packet.load_address::<true>(Layout::source(true)),
        source_mac: option.unwrap_or(source_mac(packet)),
        target: packet.load_address::<true>(TARGET_AT),
    };
    if asked.is_probe() && (option.is_some() || !is_solicited_node(packet, &asked.target)) {
        return None;
    }
    let is_from_one = packet.load_u8(Layout::source(true)) != MULTICAST;
    (is_from_one && !is_group(asked.source_mac)).then_some(asked)
}

/// Writes the answer over a frame of [`FRAME_BYTES`], whatever it holds: the target is at `interface`. Solicited, but
/// for duplicate address detection, which all nodes hear; it overrides, for a VIP moves between nodes.
#[inline(always)]
pub fn answer<P: PacketMut + ?Sized>(packet: &mut P, interface: &Interface, asked: &Solicitation) {
    let (to, to_mac, flags) = if asked.is_probe() {
        (ALL_NODES, ALL_NODES_MAC, OVERRIDE)
    } else {
        (asked.source, asked.source_mac, SOLICITED | OVERRIDE)
    };
    store_mac(packet, 0, to_mac);
    store_mac(packet, 6, interface.mac);
    packet.store_u16(12, ETHERTYPE_IPV6);
    packet.store_u32(ETHERNET_BYTES, u32::from_ne_bytes([0x60, 0, 0, 0]));
    let [high, low] = (ADVERTISEMENT_BYTES as u16).to_be_bytes();
    packet.store_u32(
        ETHERNET_BYTES + 4,
        u32::from_ne_bytes([high, low, ICMPV6, HOP_LIMIT]),
    );
    packet.store_address_v6(Layout::source(true), &asked.target);
    packet.store_address_v6(Layout::destination(true), &to);
    packet.store_u32(MESSAGE_AT, u32::from_ne_bytes([ADVERTISEMENT, 0, 0, 0]));
    packet.store_u32(MESSAGE_AT + 4, u32::from_ne_bytes([flags, 0, 0, 0]));
    packet.store_address_v6(TARGET_AT, &asked.target);
    packet.store_u16(OPTIONS_AT, u16::from_ne_bytes([TARGET_MAC_OPTION, 1]));
    store_mac(packet, OPTIONS_AT + 2, interface.mac);
    let checksum = checksum(packet, 1);
    packet.store_u16(MESSAGE_AT + 2, checksum);
}

/// What makes the checksum of a message with this many units of options right; 0 if it is.
#[inline(always)]
fn checksum<P: Packet + ?Sized>(packet: &P, units: usize) -> u16 {
    let bytes = (SOLICITATION_BYTES + units * OPTION_BYTES) as u16;
    let mut sum = u64::from(bytes.to_be()) + u64::from(u16::from(ICMPV6).to_be());
    sum += sum_of_words::<{ (32 + SOLICITATION_BYTES) / 4 }, P>(packet, Layout::source(true));
    for unit in 0..UNITS_MAX {
        let at = OPTIONS_AT + unit * OPTION_BYTES;
        if unit < units && packet.has(at + OPTION_BYTES) {
            sum += sum_of_words::<{ OPTION_BYTES / 4 }, P>(packet, at);
        }
    }
    !fold(sum)
}

/// Asked one by one: the verifier learns nothing from a bound that is not a constant.
#[inline(always)]
fn has_units<P: Packet + ?Sized>(packet: &P, units: usize) -> bool {
    for unit in 0..UNITS_MAX {
        if unit < units && !packet.has(OPTIONS_AT + (unit + 1) * OPTION_BYTES) {
            return false;
        }
    }
    true
}

/// The MAC of the source link-layer option, if there is one; `None` if the options are not well-formed.
#[inline(always)]
fn source_mac_option<P: Packet + ?Sized>(packet: &P, units: usize) -> Option<Option<u64>> {
    let mut found = None;
    let mut next = 0;
    for unit in 0..UNITS_MAX {
        let at = OPTIONS_AT + unit * OPTION_BYTES;
        if unit != next || unit >= units || !packet.has(at + OPTION_BYTES) {
            continue;
        }
        let length = usize::from(packet.load_u8(at + 1));
        if length == 0 {
            return None;
        }
        if packet.load_u8(at) == SOURCE_MAC_OPTION && length == 1 {
            let (low, high) = (packet.load_u16(at + 2), packet.load_u32(at + 4));
            found = Some(u64::from(low) | u64::from(high) << 16);
        }
        next += length;
    }
    (next == units).then_some(found)
}

/// Whether the destination is the target's solicited-node group (RFC 4291 section 2.7.1).
#[inline(always)]
fn is_solicited_node<P: Packet + ?Sized>(packet: &P, target: &Address) -> bool {
    packet.load_address::<true>(Layout::destination(true)) == solicited_node(target)
}

/// The solicited-node group of an address: `ff02::1:ff` and its last three bytes.
#[inline(always)]
#[must_use]
pub const fn solicited_node(address: &Address) -> Address {
    [
        0xff02_0000_u32.to_be(),
        0,
        1_u32.to_be(),
        address[3] | 0xff00_0000_u32.to_be(),
    ]
}

#[cfg(test)]
mod tests;
