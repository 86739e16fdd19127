//! Bounded header parsing over anything that holds a frame: packet memory in BPF, a slice on the host. Words
//! are returned as they lie in the frame. Nothing is read that was not first found to be there, and nothing
//! is concluded from a packet before its destination is known to be ours: the caller asks for the family and
//! the destination, then whether it is a VIP, then for the rest.

mod write;

use crate::{Address, TCP, UDP, verdict::Verdict};

pub use write::{PacketMut, is_group, store_mac};

/// Ethernet header without tags.
pub const ETHERNET_BYTES: usize = 14;
/// IPv4 header without options.
pub const IPV4_BYTES: usize = 20;
/// IPv6 header without extensions.
pub const IPV6_BYTES: usize = 40;
/// EtherType of IPv4 as it lies in the frame.
pub const ETHERTYPE_IPV4: u16 = 0x0800_u16.to_be();
/// EtherType of IPv6 as it lies in the frame.
pub const ETHERTYPE_IPV6: u16 = 0x86dd_u16.to_be();

const TCP_BYTES: usize = 20;
const UDP_BYTES: usize = 8;
const ICMP_BYTES: usize = 8;
/// IP protocol numbers (IANA).
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// More fragments, or an offset: everything of the field but "don't fragment" and the reserved bit (RFC 791).
const FRAGMENT_MASK: u16 = 0x3fff_u16.to_be();

/// A frame from its Ethernet header on.
pub trait Packet {
    /// Whether the frame is at least this long. Only after a `true` may bytes below be loaded.
    fn has(&self, bytes: usize) -> bool;
    /// The same for a length that the packet itself says, after which nothing is loaded: verifiers before 6.13 lose
    /// the bounds of a number whose bytes were swapped, and refuse to add it to an address.
    fn is_as_long_as(&self, bytes: usize) -> bool;
    /// The byte at `offset`.
    fn load_u8(&self, offset: usize) -> u8;
    /// The two bytes at `offset`.
    fn load_u16(&self, offset: usize) -> u16;
    /// The four bytes at `offset`.
    fn load_u32(&self, offset: usize) -> u32;

    /// The eight bytes at `offset`.
    fn load_u64(&self, offset: usize) -> u64;

    /// Two words that are neighbours, by one load.
    #[inline(always)]
    fn load_pair(&self, offset: usize) -> [u32; 2] {
        // Little endian, as the programs are; a host of the other order reads the words the other way round.
        let both = u64::from_le(self.load_u64(offset));
        [both as u32, (both >> 32) as u32].map(u32::to_le)
    }

    /// The address at `offset`: one word of IPv4, four of IPv6.
    #[inline(always)]
    fn load_address<const V6: bool>(&self, offset: usize) -> Address {
        if !V6 {
            return [self.load_u32(offset), 0, 0, 0];
        }
        let ([a, b], [c, d]) = (self.load_pair(offset), self.load_pair(offset + 8));
        [a, b, c, d]
    }

    /// Source and destination, which are neighbours in the IP header; the source is at `offset`.
    #[inline(always)]
    fn load_addresses<const V6: bool>(&self, offset: usize) -> (Address, Address) {
        if V6 {
            let destination = self.load_address::<true>(offset + 16);
            return (self.load_address::<true>(offset), destination);
        }
        let (source, destination) = (self.load_u32(offset), self.load_u32(offset + 4));
        ([source, 0, 0, 0], [destination, 0, 0, 0])
    }
}

impl Packet for [u8] {
    fn has(&self, bytes: usize) -> bool {
        self.len() >= bytes
    }

    fn is_as_long_as(&self, bytes: usize) -> bool {
        self.len() >= bytes
    }

    fn load_u8(&self, offset: usize) -> u8 {
        self[offset]
    }

    fn load_u16(&self, offset: usize) -> u16 {
        u16::from_ne_bytes([self[offset], self[offset + 1]])
    }

    fn load_u32(&self, offset: usize) -> u32 {
        u32::from_ne_bytes([
            self[offset],
            self[offset + 1],
            self[offset + 2],
            self[offset + 3],
        ])
    }

    fn load_u64(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self[offset..offset + 8]);
        u64::from_ne_bytes(bytes)
    }
}

/// Where things are, by family.
#[derive(Clone, Copy, Debug)]
pub struct Layout;

impl Layout {
    /// First byte of the transport header.
    #[inline(always)]
    #[must_use]
    pub const fn transport(v6: bool) -> usize {
        ETHERNET_BYTES + if v6 { IPV6_BYTES } else { IPV4_BYTES }
    }

    /// First byte of the source address.
    #[inline(always)]
    #[must_use]
    pub const fn source(v6: bool) -> usize {
        ETHERNET_BYTES + if v6 { 8 } else { 12 }
    }

    /// First byte of the destination address.
    #[inline(always)]
    #[must_use]
    pub const fn destination(v6: bool) -> usize {
        ETHERNET_BYTES + if v6 { 24 } else { 16 }
    }

    /// TTL or hop limit.
    #[inline(always)]
    #[must_use]
    pub const fn hop_limit(v6: bool) -> usize {
        ETHERNET_BYTES + if v6 { 7 } else { 8 }
    }
}

/// Six bytes at the start of the frame: the destination MAC as a word ([`crate::interface::Interface::mac`]).
/// The frame must have an Ethernet header.
#[inline(always)]
#[must_use]
pub fn destination_mac<P: Packet + ?Sized>(packet: &P) -> u64 {
    u64::from(packet.load_u32(0)) | u64::from(packet.load_u16(4)) << 32
}

/// The source MAC, as [`destination_mac`].
#[inline(always)]
#[must_use]
pub fn source_mac<P: Packet + ?Sized>(packet: &P) -> u64 {
    u64::from(packet.load_u16(6)) | u64::from(packet.load_u32(8)) << 16
}

/// What steering needs of a TCP or UDP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port in the first two bytes, destination port in the last two.
    pub ports: u32,
    /// [`TCP`] or [`UDP`].
    pub protocol: u8,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Length of the IP packet by its own account, header included; the frame is no shorter.
    pub ip_bytes: u16,
}

impl Header {
    /// Source port, network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        u16::from_ne_bytes([self.ports.to_ne_bytes()[0], self.ports.to_ne_bytes()[1]])
    }

    /// Destination port, network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        u16::from_ne_bytes([self.ports.to_ne_bytes()[2], self.ports.to_ne_bytes()[3]])
    }
}

/// Both ports as one word, as they lie in the transport header.
#[inline(always)]
#[must_use]
pub const fn ports(source: u16, destination: u16) -> u32 {
    let (s, d) = (source.to_ne_bytes(), destination.to_ne_bytes());
    u32::from_ne_bytes([s[0], s[1], d[0], d[1]])
}

/// The protocol byte of a packet without options or extensions, whose fixed header is known to be there.
#[inline(always)]
#[must_use]
pub fn protocol<const V6: bool, P: Packet + ?Sized>(packet: &P) -> u8 {
    packet.load_u8(ETHERNET_BYTES + if V6 { 6 } else { 9 })
}

/// The number of the family's ICMP.
#[inline(always)]
#[must_use]
pub const fn icmp_protocol(v6: bool) -> u8 {
    if v6 { ICMPV6 } else { ICMP }
}

/// Whether an ICMP message of this type is an error that quotes a packet (RFC 792, RFC 4443).
#[inline(always)]
#[must_use]
pub const fn is_error_type(v6: bool, kind: u8) -> bool {
    if v6 {
        matches!(kind, 1..=4)
    } else {
        matches!(kind, 3 | 11 | 12)
    }
}

/// Whether a packet, whose fixed IP header is known to be there, is TCP or UDP, whole, without options or extension
/// headers, and says of itself what is true. Whoever hears yes may load all of [`fields`].
#[inline(always)]
pub fn is_plain<const V6: bool, P: Packet + ?Sized>(packet: &P) -> bool {
    let transport = Layout::transport(V6);
    // The shorter header first: what a verifier has walked with it is good for the longer one too.
    let (least, said) = match protocol::<V6, P>(packet) {
        UDP if packet.has(transport + UDP_BYTES) => {
            let said = u16::from_be(packet.load_u16(transport + 4));
            (UDP_BYTES, usize::from(said))
        }
        TCP if packet.has(transport + TCP_BYTES) => {
            let words = packet.load_u8(transport + 12) >> 4;
            (TCP_BYTES, usize::from(words) * 4)
        }
        _ => return false,
    };
    let (is_odd, bytes) = if V6 {
        let payload = u16::from_be(packet.load_u16(ETHERNET_BYTES + 4));
        let bytes = usize::from(payload) + IPV6_BYTES;
        let version = packet.load_u8(ETHERNET_BYTES) >> 4;
        (usize::from(version ^ 6) | bytes >> 16, bytes)
    } else {
        let bytes = u16::from_be(packet.load_u16(ETHERNET_BYTES + 2));
        let version_length = packet.load_u8(ETHERNET_BYTES);
        let fragment = packet.load_u16(ETHERNET_BYTES + 6) & FRAGMENT_MASK;
        (
            usize::from(version_length ^ 0x45) | usize::from(fragment),
            usize::from(bytes),
        )
    };
    is_odd == 0
        && said >= least
        && transport - ETHERNET_BYTES + said <= bytes
        && packet.is_as_long_as(ETHERNET_BYTES + bytes)
}

/// Length of a packet by its own account, its IP header included; the fixed header is known to be there.
#[inline(always)]
pub fn ip_bytes<const V6: bool, P: Packet + ?Sized>(packet: &P) -> u16 {
    if V6 {
        u16::from_be(packet.load_u16(ETHERNET_BYTES + 4)).wrapping_add(IPV6_BYTES as u16)
    } else {
        u16::from_be(packet.load_u16(ETHERNET_BYTES + 2))
    }
}

/// What a packet says that [`is_plain`]. Cheap to ask again: what is not looked at is not loaded.
#[inline(always)]
pub fn fields<const V6: bool, P: Packet + ?Sized>(packet: &P) -> Header {
    let (source, destination) = packet.load_addresses::<V6>(Layout::source(V6));
    Header {
        source,
        destination,
        ports: packet.load_u32(Layout::transport(V6)),
        protocol: protocol::<V6, P>(packet),
        hop_limit: packet.load_u8(Layout::hop_limit(V6)),
        ip_bytes: ip_bytes::<V6, _>(packet),
    }
}

/// Where an ICMP error holds the first bytes of the packet it is about: behind its own eight.
#[inline(always)]
#[must_use]
pub const fn quote(v6: bool) -> usize {
    Layout::transport(v6) + ICMP_BYTES
}

/// Checks an ICMP error that begins with `icmp`, and what it quotes: a packet from a VIP to a client, of which the IP
/// header ([`crate::headers::quoted_v4`], [`crate::headers::quoted_v6`]) and the first eight bytes behind it are there.
///
/// # Errors
/// `UnsupportedProtocol` if it is no such error, `Malformed` if it is one that nobody honest sends.
#[inline(always)]
pub fn check_error<const V6: bool, P: Packet + ?Sized>(
    icmp: &P,
    vip: &Address,
) -> Result<(), Verdict> {
    if !icmp.has(quote(V6) - Layout::transport(V6) + if V6 { IPV6_BYTES } else { IPV4_BYTES }) {
        return Err(Verdict::UnsupportedProtocol);
    }
    let kind = icmp.load_u8(0);
    if !is_error_type(V6, kind) {
        return Err(Verdict::UnsupportedProtocol);
    }
    let word = u32::from_be(icmp.load_u32(4));
    if is_too_small::<V6>(kind, icmp.load_u8(1), word) {
        return Err(Verdict::Malformed);
    }
    let quoted_source = icmp.load_address::<V6>(ICMP_BYTES + if V6 { 8 } else { 12 });
    if quoted_source == *vip {
        Ok(())
    } else {
        Err(Verdict::Malformed)
    }
}

/// "Packet too big" below what every path must carry: 552 is what Linux takes at least (net.ipv4.route.min_pmtu), 1280 is
/// IPv6's minimum (RFC 8200 section 5).
#[inline(always)]
const fn is_too_small<const V6: bool>(kind: u8, code: u8, word: u32) -> bool {
    if V6 {
        kind == 2 && word < 1280
    } else {
        kind == 3 && code == 4 && word & 0xffff < 552
    }
}

#[cfg(test)]
mod tests;
