//! Generic UDP Encapsulation between nodes: variant 0 (draft-ietf-intarea-gue), no optional fields, 12 bytes
//! of private data that say who steered the packet and how often. The tag ties them to the inner flow under
//! the cluster's key: a packet without it is a stranger's.

use bytemuck::{Pod, Zeroable};

use crate::hash;

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
            variant_length: Self::VARIANT_LENGTH,
            protocol,
            flags: 0,
            version: VERSION,
            hop,
            private_flags: 0,
            reserved: 0,
            ingress_node,
            tag: tag(key, flow_hash, hop, 0, ingress_node),
        }
    }

    /// A header for a reply that goes back to the ingress node; `hash` is what the tag is made from.
    #[inline(always)]
    #[must_use]
    pub const fn returning(key: &[u64; 2], hash: u64, protocol: u8, sender: u32) -> Self {
        Self {
            variant_length: Self::VARIANT_LENGTH,
            protocol,
            flags: 0,
            version: VERSION,
            hop: 0,
            private_flags: Self::RETURN,
            reserved: 0,
            ingress_node: sender,
            tag: tag(key, hash, 0, Self::RETURN, sender),
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
    let said = (hop as u64) << 32 | (private_flags as u64) << 40 | ingress_node as u64;
    (hash::word(
        key[0],
        flow_hash.wrapping_add(said.wrapping_mul(key[1] | 1)),
    ) >> 16) as u32
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

const _: () = assert!(size_of::<GueHeader>() == 16);
const _: () = assert!(OVERHEAD_V4_BYTES == 44 && OVERHEAD_V6_BYTES == 64);
