//! GUE around a packet: the outer headers of both families, and what their UDP checksum is over IPv6, without a look at
//! the payload.

use lb_common::{
    TCP, UDP, checksum,
    config::Config,
    gue::{self, GueHeader, OVERHEAD_V4_BYTES, OVERHEAD_V6_BYTES},
    node::Node,
    packet::{
        self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, IPV4_BYTES, Layout,
        Packet as _,
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
    if !hook::make_room::<OUTER_V6>(ctx, overhead, tag_bytes) {
        return Err(Verdict::NoHeadroom);
    }
    let whole = Frame::of(ctx);
    let frame = ethernet::move_tags(whole, overhead, 0, tag_bytes);
    let has_macs = tag_bytes == 0 || whole.has(ETHERNET_BYTES);
    if !has_macs || !frame.has(ETHERNET_BYTES + overhead) {
        return Err(Verdict::NoHeadroom);
    }
    forward::store_macs(whole, node);
    let udp_bytes = header.ip_bytes + (8 + size_of::<GueHeader>()) as u16;
    if OUTER_V6 {
        store_outer_v6(frame, node, udp_bytes);
    } else {
        store_outer_v4(frame, node, udp_bytes, service_class);
    }
    let at = Layout::transport(OUTER_V6);
    let ports = packet::ports(gue::source_port(hash), config.gue_port);
    let rest = packet::ports(udp_bytes.to_be(), checksum);
    frame.store_pair(at, ports, rest);
    let [first, second, third, fourth] = gue.words();
    frame.store_pair(at + 8, first, second);
    frame.store_pair(at + 16, third, fourth);
    Ok(())
}

/// EtherType and IPv4 header.
#[inline(always)]
fn store_outer_v4(frame: Frame, node: &Node, udp_bytes: u16, service_class: u8) {
    let at = ETHERNET_BYTES;
    let total = (udp_bytes + IPV4_BYTES as u16).to_be();
    let class = u16::from_ne_bytes([0, service_class]);
    let first = class | u16::from_ne_bytes([0x45, 0]);
    frame.store_u32(at - 2, packet::ports(ETHERTYPE_IPV4, first));
    // Identification 0 and "don't fragment" (RFC 6864: an atomic datagram needs no identification).
    let rest = u32::from_ne_bytes([0x40, 0, gue::OUTER_TTL, UDP]);
    frame.store_pair(at + 2, packet::ports(total, 0), rest);
    let sum = node.outer_sum + u32::from(total) + u32::from(class);
    frame.store_u16(at + 10, !checksum::fold_few(sum));
    frame.store_u64(at + 12, ptr::load_word((&raw const node.outer).cast()));
}

/// EtherType and IPv6 header.
#[inline(always)]
fn store_outer_v6(frame: Frame, node: &Node, udp_bytes: u16) {
    let at = ETHERNET_BYTES;
    frame.store_u16(at - 2, ETHERTYPE_IPV6);
    let rest = packet::ports(udp_bytes.to_be(), u16::from_ne_bytes([UDP, gue::OUTER_TTL]));
    frame.store_pair(at, u32::from_ne_bytes([0x60, 0, 0, 0]), rest);
    let words = (&raw const node.outer).cast::<u64>();
    for word in 0..4 {
        let addresses = ptr::load_word(words.wrapping_add(word));
        frame.store_u64(at + 8 + word * 8, addresses);
    }
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
    let outer = u64::from(node.outer_sum) + 2 * u64::from(udp_bytes.to_be());
    let ports = u64::from(gue::source_port(hash)) + u64::from(config.gue_port);
    match !checksum::fold(inner + outer + ports + gue_sum(gue)) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[inline(always)]
fn gue_sum(gue: &GueHeader) -> u64 {
    let [a, b, c, d] = gue.words();
    u64::from(a) + u64::from(b) + u64::from(c) + u64::from(d)
}
