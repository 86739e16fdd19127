//! Generic UDP Encapsulation between nodes: variant 0 (draft-ietf-intarea-gue), no optional fields, 12 bytes
//! of private data that say who steered the packet and how often. The tag ties them to the inner flow under
//! the cluster's key: a packet without it is a stranger's.

use bytemuck::{Pod, Zeroable};

use crate::{Address, hash};

/// Default UDP port (IANA: gue).
pub const PORT: u16 = 6080;
/// IPv4 header, UDP, GUE with private data: what an IPv4 underlay adds.
pub const OVERHEAD_V4_BYTES: usize = 20 + 8 + size_of::<GueHeader>();
/// As [`OVERHEAD_V4_BYTES`] for an IPv6 underlay.
pub const OVERHEAD_V6_BYTES: usize = 40 + 8 + size_of::<GueHeader>();
/// Version of the private data.
pub const VERSION: u8 = 1;
/// TTL and hop limit of the outer header: other nodes are a few routers away.
pub const OUTER_TTL: u8 = 64;

/// GUE header and private data, as on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct GueHeader {
    /// Variant 0, C 0, header length 3 words: 0x03.
    pub variant_length: u8,
    /// IP protocol number of the payload: 4 (IPv4) or 41 (IPv6).
    pub protocol: u8,
    /// No flags: no optional fields.
    pub flags: u16,
    /// [`VERSION`].
    pub version: u8,
    /// How often the packet was steered before it was sent: 0 from the ingress node.
    pub hop: u8,
    /// [`GueHeader::ADOPT`], [`GueHeader::RETURN`].
    pub private_flags: u8,
    /// Zero.
    pub reserved: u8,
    /// [`crate::node::node_id`] of the ingress node; with [`GueHeader::RETURN`] of the node that the reply is from.
    pub ingress_node: u32,
    /// [`tag`].
    pub tag: u32,
}

impl GueHeader {
    /// First byte: variant 0, control bit clear, three words of private data.
    pub const VARIANT_LENGTH: u8 = 3;
    /// IP protocol number of encapsulated IPv4 (RFC 2003).
    pub const IPV4: u8 = 4;
    /// IP protocol number of encapsulated IPv6 (RFC 2473).
    pub const IPV6: u8 = 41;
    /// The last node of a chain gives the flow back to the first (later versions).
    pub const ADOPT: u8 = 1;
    /// A reply on its way back through the ingress node.
    pub const RETURN: u8 = 2;

    /// A header for one packet.
    #[inline(always)]
    #[must_use]
    pub const fn new(
        key: &[u64; 2],
        flow_hash: u64,
        protocol: u8,
        hop: u8,
        ingress_node: u32,
    ) -> Self {
        Self {
            tag: tag(key, flow_hash, hop, 0, ingress_node),
            ..Self::untagged(protocol, hop, ingress_node)
        }
    }

    /// As [`GueHeader::new`], before its tag is there.
    #[inline(always)]
    #[must_use]
    pub const fn untagged(protocol: u8, hop: u8, ingress_node: u32) -> Self {
        Self {
            variant_length: Self::VARIANT_LENGTH,
            protocol,
            flags: 0,
            version: VERSION,
            hop,
            private_flags: 0,
            reserved: 0,
            ingress_node,
            tag: 0,
        }
    }

    /// A header for a reply that goes back to the ingress node; `hash` is what the tag is made from.
    #[inline(always)]
    #[must_use]
    pub const fn returning(key: &[u64; 2], hash: u64, protocol: u8, sender: u32) -> Self {
        Self {
            private_flags: Self::RETURN,
            tag: tag(key, hash, 0, Self::RETURN, sender),
            ..Self::untagged(protocol, 0, sender)
        }
    }

    /// The header as it lies in the packet.
    #[inline(always)]
    #[must_use]
    pub const fn words(&self) -> [u32; 4] {
        let flags = self.flags.to_ne_bytes();
        [
            u32::from_ne_bytes([self.variant_length, self.protocol, flags[0], flags[1]]),
            u32::from_ne_bytes([self.version, self.hop, self.private_flags, self.reserved]),
            self.ingress_node,
            self.tag,
        ]
    }

    /// Whether this is a header of ours whose payload is IPv4 or IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn is_ours(&self) -> bool {
        self.variant_length == Self::VARIANT_LENGTH
            && self.flags == 0
            && self.version == VERSION
            && (self.protocol == Self::IPV4 || self.protocol == Self::IPV6)
    }

    /// Whether the tag is the one that a node with the cluster's key puts on this flow.
    #[inline(always)]
    #[must_use]
    pub const fn tag_is_valid(&self, key: &[u64; 2], flow_hash: u64) -> bool {
        self.tag
            == tag(
                key,
                flow_hash,
                self.hop,
                self.private_flags,
                self.ingress_node,
            )
    }
}

/// 32 bits that only who has the key can make for this flow, hop, flags and ingress node.
#[inline(always)]
#[must_use]
pub const fn tag(
    key: &[u64; 2],
    flow_hash: u64,
    hop: u8,
    private_flags: u8,
    ingress_node: u32,
) -> u32 {
    tag_with(
        key[0],
        flow_hash,
        tag_term(key, hop, private_flags, ingress_node),
    )
}

/// What [`tag`] adds to the hash of the flow for what the header says.
#[inline(always)]
#[must_use]
pub const fn tag_term(key: &[u64; 2], hop: u8, private_flags: u8, ingress_node: u32) -> u64 {
    let said = (hop as u64) << 32 | (private_flags as u64) << 40 | ingress_node as u64;
    said.wrapping_mul(key[1] | 1)
}

/// [`tag`], from the first word of the key and a [`tag_term`].
#[inline(always)]
#[must_use]
pub const fn tag_with(key: u64, flow_hash: u64, term: u64) -> u32 {
    (hash::word(key, flow_hash.wrapping_add(term)) >> 16) as u32
}

/// Outer UDP source port, network byte order: the flow's entropy in the dynamic range.
#[inline(always)]
#[must_use]
pub const fn source_port(flow_hash: u64) -> u16 {
    (0xc000 | (flow_hash >> 32) as u16 & 0x3fff).to_be()
}

/// Sum of what is constant in the outer IPv4 header: version, length, DF, TTL, protocol, both addresses (network
/// byte order). Type of service and total length are added for each packet.
#[must_use]
pub const fn outer_v4_sum(source: u32, destination: u32) -> u32 {
    let first = u16::from_ne_bytes([0x45, 0]) as u64;
    let fragment = u16::from_ne_bytes([0x40, 0]) as u64;
    let ttl_protocol = u16::from_ne_bytes([OUTER_TTL, crate::UDP]) as u64;
    crate::checksum::fold(first + fragment + ttl_protocol + source as u64 + destination as u64)
        as u32
}

/// Sum of what is constant in the outer UDP checksum over IPv6: both addresses (network byte order) and the protocol.
#[must_use]
pub const fn outer_v6_sum(source: &Address, destination: &Address) -> u32 {
    let [a, b, c, d] = *source;
    let [e, f, g, h] = *destination;
    let first = a as u64 + b as u64 + c as u64 + d as u64;
    let second = e as u64 + f as u64 + g as u64 + h as u64;
    let protocol = (crate::UDP as u16).to_be() as u64;
    crate::checksum::fold(first + second + protocol) as u32
}

const _: () = assert!(size_of::<GueHeader>() == 16);
const _: () = assert!(OVERHEAD_V4_BYTES == 44 && OVERHEAD_V6_BYTES == 64);
