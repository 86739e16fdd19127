//! GUE around a packet: the outer headers of both families, and what their UDP checksum is over IPv6, without a look at
//! the payload.

use lb_common::{
    TCP, UDP, checksum,
    config::Config,
    gue::{self, GueHeader, OVERHEAD_V4_BYTES, OVERHEAD_V6_BYTES},
    node::Node,
    packet::{
        ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, IPV4_BYTES, Layout, Packet as _,
    },
    verdict::Verdict,
};

use crate::{
    ethernet, forward,
    hook::{self, Context},
    ptr::{self, Frame},
};

/// Makes room for an outer header in front of the packet, and writes it.
///
/// # Errors
/// `NoHeadroom`.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined; a struct would go through the stack"
)]
pub(crate) fn encapsulate<const OUTER_V6: bool>(
    ctx: &Context,
    config: &Config,
    node: &Node,
    header: &Header,
    hash: u64,
    gue: &GueHeader,
    service_class: u8,
    checksum: u16,
    tag_bytes: usize,
) -> Result<(), Verdict> {
    let overhead = if OUTER_V6 {
        OVERHEAD_V6_BYTES
    } else {
        OVERHEAD_V4_BYTES
    };
    if !hook::move_head(ctx, -(overhead as i32)) {
        return Err(Verdict::NoHeadroom);
    }
    let whole = Frame::of(ctx);
    let frame = ethernet::move_tags(whole, overhead, 0, tag_bytes);
    if !whole.has(ETHERNET_BYTES) || !frame.has(ETHERNET_BYTES + overhead) {
        return Err(Verdict::NoHeadroom);
    }
    forward::store_macs(whole, node);
    frame.store_u16(
        12,
        if OUTER_V6 {
            ETHERTYPE_IPV6
        } else {
            ETHERTYPE_IPV4
        },
    );
    let udp_bytes = header.ip_bytes + (8 + size_of::<GueHeader>()) as u16;
    if OUTER_V6 {
        store_outer_v6(frame, node, udp_bytes);
    } else {
        store_outer_v4(frame, node, udp_bytes, service_class);
    }
    let at = Layout::transport(OUTER_V6);
    frame.store_u16(at, gue::source_port(hash));
    frame.store_u16(at + 2, config.gue_port);
    frame.store_u16(at + 4, udp_bytes.to_be());
    frame.store_u16(at + 6, checksum);
    store_gue(frame, at + 8, gue);
    Ok(())
}

#[inline(always)]
fn store_outer_v4(frame: Frame, node: &Node, udp_bytes: u16, service_class: u8) {
    let at = ETHERNET_BYTES;
    let total = (udp_bytes + 20).to_be();
    let first = u16::from_ne_bytes([0x45, service_class]);
    let class = u16::from_ne_bytes([0, service_class]);
    frame.store_u16(at, first);
    // Identification 0 and "don't fragment" (RFC 6864: an atomic datagram needs no identification).
    frame.store_u32(at + 2, u32::from(total.to_le()).to_le());
    let rest = [0x40, 0, gue::OUTER_TTL, UDP];
    frame.store_u32(at + 6, u32::from_ne_bytes(rest));
    let sum = (node.outer_sum & 0xffff) + u32::from(total) + u32::from(class);
    frame.store_u16(at + 10, !checksum::fold_few(sum));
    frame.store_u32(at + 12, node.outer_source[0]);
    frame.store_u32(at + 16, node.outer_destination[0]);
}

#[inline(always)]
fn store_outer_v6(frame: Frame, node: &Node, udp_bytes: u16) {
    let at = ETHERNET_BYTES;
    frame.store_u32(at, u32::from_ne_bytes([0x60, 0, 0, 0]));
    frame.store_u16(at + 4, udp_bytes.to_be());
    frame.store_u16(at + 6, u16::from_ne_bytes([UDP, gue::OUTER_TTL]));
    frame.store_address::<true>(at + 8, &node.outer_source);
    frame.store_address::<true>(at + 24, &node.outer_destination);
}

#[inline(always)]
fn store_gue(frame: Frame, at: usize, gue: &GueHeader) {
    let words = gue.words();
    frame.store_u32(at, words[0]);
    frame.store_u32(at + 4, words[1]);
    frame.store_u32(at + 8, words[2]);
    frame.store_u32(at + 12, words[3]);
}

/// The outer UDP checksum over IPv6, without touching the payload: the inner transport's checksum already
/// says what its bytes add up to. 0 (RFC 6936) where the inner packet has none, or is not plain.
#[inline(always)]
pub(crate) fn udp_checksum<const V6: bool>(
    frame: Frame,
    header: &Header,
    node: &Node,
    gue: &GueHeader,
    hash: u64,
    config: &Config,
) -> u16 {
    let transport = Layout::transport(V6);
    if header.protocol == UDP && frame.load_u16(transport + 6) == 0 {
        return 0;
    }
    let protocol = u16::from(if header.protocol == TCP { TCP } else { UDP }).to_be();
    // A good checksum makes the segment what its pseudo-header lacks of all ones, which is zero; so what the pseudo-header
    // shares with the IP header counts as nothing.
    let inner = if V6 {
        // Version, class and label; next header and hop limit.
        let first = u64::from(frame.load_u32(ETHERNET_BYTES));
        first + u64::from(frame.load_u16(ETHERNET_BYTES + 6)) + u64::from(!protocol)
    } else {
        // A header with a good checksum adds up to all ones.
        let bytes = (header.ip_bytes - IPV4_BYTES as u16).to_be();
        u64::from(!header.source[0])
            + u64::from(!header.destination[0])
            + u64::from(!bytes)
            + u64::from(!protocol)
    };
    let udp_bytes = header.ip_bytes + (8 + size_of::<GueHeader>()) as u16;
    let outer = address_sum(&node.outer_source)
        + address_sum(&node.outer_destination)
        + u64::from(u16::from(UDP).to_be())
        + 2 * u64::from(udp_bytes.to_be());
    let ports = u64::from(gue::source_port(hash)) + u64::from(config.gue_port);
    match !checksum::fold(inner + outer + ports + gue_sum(gue)) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[inline(always)]
fn address_sum(address: &lb_common::Address) -> u64 {
    address.iter().map(|&word| u64::from(word)).sum()
}

#[inline(always)]
fn gue_sum(gue: &GueHeader) -> u64 {
    let [a, b, c, d] = gue.words();
    u64::from(a) + u64::from(b) + u64::from(c) + u64::from(d)
}
