//! Headers as they come: up to two VLAN tags (IEEE 802.1Q, 802.1ad), IPv4 options, IPv6 extension headers (RFC 8200
//! section 4) and fragments. Finds where the transport header is and what says how the packet is to be treated; what it
//! means for a flow is [`crate::packet`]'s and [`crate::fragment`]'s. Each part is looked at as if it began there, so that
//! offsets are small constants and bounds are those of the part.

use crate::{
    TCP, UDP,
    packet::{ETHERNET_BYTES, IPV4_BYTES, IPV6_BYTES, Packet},
    verdict::Verdict,
};

/// EtherType of an IEEE 802.1Q tag as it lies in the frame.
pub const ETHERTYPE_VLAN: u16 = 0x8100_u16.to_be();
/// EtherType of an IEEE 802.1ad tag as it lies in the frame.
pub const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8_u16.to_be();
/// One tag, with the EtherType that follows it.
pub const TAG_BYTES: usize = 4;
/// IPv4 options that are looked at: more are not seen outside of attacks.
const OPTIONS_MAX: u32 = 10;
/// IPv6 extension headers that are looked at; RFC 8504 section 5.3 lets a node limit them, Linux takes eight options in each.
const EXTENSIONS_MAX: u32 = 6;
/// Offset of the transport header from the IP header that is not exceeded.
pub const TRANSPORT_AT_MAX: usize = 255;

/// A packet whose rest can be looked at as one.
pub trait Nested: Packet + Sized {
    /// The packet without its first bytes, at most 511, of which nothing is known.
    #[must_use]
    fn beyond(&self, bytes: usize) -> Self;
}

impl<P: Packet + ?Sized> Packet for &P {
    fn has(&self, bytes: usize) -> bool {
        (**self).has(bytes)
    }
    fn is_as_long_as(&self, bytes: usize) -> bool {
        (**self).is_as_long_as(bytes)
    }
    fn load_u8(&self, offset: usize) -> u8 {
        (**self).load_u8(offset)
    }
    fn load_u16(&self, offset: usize) -> u16 {
        (**self).load_u16(offset)
    }
    fn load_u32(&self, offset: usize) -> u32 {
        (**self).load_u32(offset)
    }
    fn load_u64(&self, offset: usize) -> u64 {
        (**self).load_u64(offset)
    }
}

impl Nested for &[u8] {
    fn beyond(&self, bytes: usize) -> Self {
        self.get(bytes..).unwrap_or_default()
    }
}

/// Whether an EtherType announces a tag.
#[inline(always)]
#[must_use]
pub const fn is_tag(ethertype: u16) -> bool {
    ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_SERVICE_VLAN
}

/// EtherType of what a frame holds behind at most two tags, and where that begins; `None` behind a third. The frame has
/// an Ethernet header.
#[inline(always)]
#[must_use]
pub fn network<P: Packet>(frame: &P) -> Option<(u16, usize)> {
    let outermost = frame.load_u16(ETHERNET_BYTES - 2);
    if !is_tag(outermost) {
        return Some((outermost, ETHERNET_BYTES));
    }
    if !frame.has(ETHERNET_BYTES + TAG_BYTES) {
        return None;
    }
    let inner = frame.load_u16(ETHERNET_BYTES + TAG_BYTES - 2);
    if !is_tag(inner) {
        return Some((inner, ETHERNET_BYTES + TAG_BYTES));
    }
    if !frame.has(ETHERNET_BYTES + 2 * TAG_BYTES) {
        return None;
    }
    let innermost = frame.load_u16(ETHERNET_BYTES + 2 * TAG_BYTES - 2);
    (!is_tag(innermost)).then_some((innermost, ETHERNET_BYTES + 2 * TAG_BYTES))
}

/// What the IP header and all that belongs to it say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip {
    /// Offset of the transport header, or of a later fragment's data, from the IP header.
    pub transport_at: u16,
    /// Length of the packet by its own account, IP header included; the frame is no shorter.
    pub bytes: u16,
    /// IP protocol number of what is at `transport_at`.
    pub protocol: u8,
    /// Which part of a datagram this is.
    pub fragment: Option<Fragment>,
}

/// A part of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// What the parts of one datagram have in common, besides addresses and protocol, as it lies in the header.
    pub id: u32,
    /// Units of eight bytes before this part, in the upper 13 bits; the lowest bit says that more follow (as IPv6 has it).
    pub place: u16,
}

impl Fragment {
    /// More parts follow.
    pub const MORE: u16 = 1;
}

/// Reads an IPv4 header with its options. The packet begins with the header, and has its 20 bytes. `beyond_option` is
/// [`beyond_option`] on the same packet, as the caller likes to call it.
///
/// # Errors
/// The verdict for this packet if it is addressed to a VIP.
#[inline(always)]
pub fn ipv4<P: Nested>(ip: &P, beyond_option: impl Fn(u16) -> u16) -> Result<Ip, Verdict> {
    let version_length = ip.load_u8(0);
    let header = usize::from(version_length & 15) * 4;
    let total = u16::from_be(ip.load_u16(2));
    if version_length >> 4 != 4
        || header < IPV4_BYTES
        || usize::from(total) < header
        || !ip.is_as_long_as(usize::from(total))
    {
        return Err(Verdict::Malformed);
    }
    if header > IPV4_BYTES {
        check_options(header as u16, beyond_option)?;
    }
    let place = u16::from_be(ip.load_u16(6));
    let more = if place & 0x2000 != 0 {
        Fragment::MORE
    } else {
        0
    };
    let place = place << 3 | more;
    Ok(Ip {
        transport_at: header as u16,
        bytes: total,
        protocol: ip.load_u8(9),
        fragment: (place != 0).then(|| Fragment {
            id: u32::from(ip.load_u16(4)),
            place,
        }),
    })
}

#[inline(always)]
fn check_options(header: u16, beyond_option: impl Fn(u16) -> u16) -> Result<(), Verdict> {
    let mut at = IPV4_BYTES as u16;
    for _ in 0..OPTIONS_MAX {
        if at >= header {
            return Ok(());
        }
        at = match beyond_option(at) {
            0 => return Err(Verdict::Malformed),
            SOURCE_ROUTE => return Err(Verdict::HeaderOptions),
            next => next,
        };
    }
    if at >= header {
        Ok(())
    } else {
        Err(Verdict::HeaderOptions)
    }
}

/// What [`beyond_option`] returns for an option that is refused.
const SOURCE_ROUTE: u16 = u16::MAX;

/// Where the next option begins after the one that begins `at` bytes behind the start of the IPv4 header; 0 if there is
/// none, `u16::MAX` for a source route (RFC 791), which would have us route for a stranger.
#[inline(always)]
pub fn beyond_option<P: Nested>(ip: &P, at: u16) -> u16 {
    const END_OF_LIST: u16 = 0xff;
    let option = ip.beyond(usize::from(at));
    if !option.has(2) {
        return 0;
    }
    match option.load_u8(0) {
        0 => END_OF_LIST,
        1 => at + 1,
        131 | 137 => SOURCE_ROUTE,
        _ if option.load_u8(1) < 2 => 0,
        _ => at + u16::from(option.load_u8(1)),
    }
}

/// Reads an IPv6 header with its extension headers, as [`ipv4`]; the packet has its 40 bytes. `beyond_extension` is
/// [`beyond_extension`] on the same packet.
///
/// # Errors
/// As [`ipv4`].
#[inline(always)]
pub fn ipv6<P: Nested>(
    ip: &P,
    beyond_extension: impl Fn(u16, u8) -> Extension,
) -> Result<Ip, Verdict> {
    let total = usize::from(u16::from_be(ip.load_u16(4))) + IPV6_BYTES;
    if ip.load_u8(0) >> 4 != 6 || total > 0xffff || !ip.is_as_long_as(total) {
        return Err(Verdict::Malformed);
    }
    let mut at = IPV6_BYTES as u16;
    let mut protocol = ip.load_u8(6);
    let (mut place, mut fragment_at) = (0, 0);
    for _ in 0..EXTENSIONS_MAX {
        // Headers behind a fragment's own are in the first part alone: nobody could tell whose the later ones are.
        if !is_extension(protocol) || place != 0 {
            break;
        }
        let extension = beyond_extension(at, protocol);
        if extension.next_at() == 0 {
            return Err(extension.refusal());
        }
        if protocol == FRAGMENT {
            if fragment_at != 0 {
                return Err(Verdict::Malformed);
            }
            (place, fragment_at) = (extension.place(), at);
        }
        (at, protocol) = (extension.next_at(), extension.protocol());
    }
    if is_extension(protocol) || matches!(protocol, 50 | 59 | 135 | 139 | 140) {
        return Err(Verdict::HeaderOptions);
    }
    if usize::from(at) > total {
        return Err(Verdict::Malformed);
    }
    Ok(Ip {
        transport_at: at,
        bytes: total as u16,
        protocol,
        fragment: fragment(ip, place, fragment_at),
    })
}

/// Offset of the transport header, from where `ip` begins, and protocol of an IPv4 packet that an ICMP error quotes from
/// `at` on; `None` of a later fragment. Of what is quoted, the end may be missing.
#[inline(always)]
pub fn quoted_v4<P: Nested>(ip: &P, at: u16) -> Option<(u16, u8)> {
    let quoted = ip.beyond(usize::from(at));
    if !quoted.has(IPV4_BYTES) {
        return None;
    }
    let version_length = quoted.load_u8(0);
    let header = u16::from(version_length & 15) * 4;
    let offset = u16::from_be(quoted.load_u16(6)) & 0x1fff;
    let is_first = version_length >> 4 == 4 && usize::from(header) >= IPV4_BYTES && offset == 0;
    is_first.then(|| (at + header, quoted.load_u8(9)))
}

/// As [`quoted_v4`], of an IPv6 packet; `beyond_extension` as for [`ipv6`].
#[inline(always)]
pub fn quoted_v6<P: Nested>(
    ip: &P,
    at: u16,
    beyond_extension: impl Fn(u16, u8) -> Extension,
) -> Option<(u16, u8)> {
    let quoted = ip.beyond(usize::from(at));
    if !quoted.has(IPV6_BYTES) || quoted.load_u8(0) >> 4 != 6 {
        return None;
    }
    let (mut at, mut protocol) = (at + IPV6_BYTES as u16, quoted.load_u8(6));
    for _ in 0..EXTENSIONS_MAX {
        if !is_extension(protocol) {
            break;
        }
        let extension = beyond_extension(at, protocol);
        if extension.next_at() == 0 || extension.place() >> 3 != 0 {
            return None;
        }
        (at, protocol) = (extension.next_at(), extension.protocol());
    }
    Some((at, protocol))
}

/// A whole datagram may come as its only fragment (RFC 6946), which is none.
#[inline(always)]
fn fragment<P: Nested>(ip: &P, place: u16, at: u16) -> Option<Fragment> {
    if place == 0 {
        return None;
    }
    let header = ip.beyond(usize::from(at));
    let id = if header.has(8) { header.load_u32(4) } else { 0 };
    Some(Fragment { id, place })
}

/// The fragment header (IANA).
const FRAGMENT: u8 = 44;

/// Hop-by-hop options, routing, fragment, authentication, destination options (IANA).
#[inline(always)]
const fn is_extension(protocol: u8) -> bool {
    matches!(protocol, 0 | 43 | FRAGMENT | 51 | 60)
}

/// What [`beyond_extension`] found, in one word: where the next header begins 16 bits, its protocol number 8 bits, whether
/// the header is refused rather than cut short 8 bits, a fragment's place 16 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension(pub u64);

impl Extension {
    const CUT_SHORT: Self = Self(0);
    const REFUSED: Self = Self(1 << 24);

    /// Offset of the next header from the IP header; 0 if there is none.
    #[inline(always)]
    const fn next_at(self) -> u16 {
        self.0 as u16
    }

    #[inline(always)]
    const fn protocol(self) -> u8 {
        (self.0 >> 16) as u8
    }

    #[inline(always)]
    const fn place(self) -> u16 {
        (self.0 >> 32) as u16
    }

    #[inline(always)]
    fn refusal(self) -> Verdict {
        if self == Self::REFUSED {
            Verdict::HeaderOptions
        } else {
            Verdict::Malformed
        }
    }
}

/// Reads the extension header of this protocol number that begins `at` bytes behind the start of the IPv6 header.
#[inline(always)]
pub fn beyond_extension<P: Nested>(ip: &P, at: u16, protocol: u8) -> Extension {
    let header = ip.beyond(usize::from(at));
    if !header.has(8) {
        return Extension::CUT_SHORT;
    }
    let length = u16::from(header.load_u8(1));
    let (bytes, place) = match protocol {
        FRAGMENT => (8, u16::from_be(header.load_u16(2)) & 0xfff9),
        // Segments left: the VIP is not the last of the route.
        43 if header.load_u8(3) != 0 => return Extension::REFUSED,
        51 => ((length + 2) * 4, 0),
        _ => ((length + 1) * 8, 0),
    };
    let next_at = at.wrapping_add(bytes);
    if usize::from(next_at) > TRANSPORT_AT_MAX {
        return Extension::REFUSED;
    }
    let next = u64::from(header.load_u8(0));
    Extension(u64::from(next_at) | next << 16 | u64::from(place) << 32)
}

/// Least bytes of a transport header that say to which flow a packet belongs, and what it does to it; 0 if it is neither
/// TCP nor UDP.
#[inline(always)]
#[must_use]
pub const fn transport_bytes(protocol: u8) -> usize {
    match protocol {
        TCP => 20,
        UDP => 8,
        _ => 0,
    }
}

/// Ports of a packet that begins with a whole TCP header in `bytes` bytes; `None` if it does not, or what it says of its
/// own length is wrong.
#[inline(always)]
#[must_use]
pub fn tcp_ports<P: Packet>(transport: &P, bytes: usize) -> Option<u32> {
    if bytes < transport_bytes(TCP) || !transport.has(transport_bytes(TCP)) {
        return None;
    }
    let header = usize::from(transport.load_u8(12) >> 4) * 4;
    (header >= transport_bytes(TCP) && header <= bytes).then(|| transport.load_u32(0))
}

/// As [`tcp_ports`], for UDP; `is_whole`: the datagram is not in parts.
#[inline(always)]
#[must_use]
pub fn udp_ports<P: Packet>(transport: &P, bytes: usize, is_whole: bool) -> Option<u32> {
    if bytes < transport_bytes(UDP) || !transport.has(transport_bytes(UDP)) {
        return None;
    }
    let said = usize::from(u16::from_be(transport.load_u16(4)));
    (said >= transport_bytes(UDP) && (said <= bytes || !is_whole)).then(|| transport.load_u32(0))
}

#[cfg(test)]
mod tests;
