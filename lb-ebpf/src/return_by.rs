//! Replies of a service with `return: ingress`, as they leave their pod's node: not straight to the client, but in GUE to the
//! node that the flow came in by, which sends them on ([`crate::returned`]). The kernel makes the room, so that segmentation
//! and checksums are still the device's.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L4_UDP, TC_ACT_SHOT,
    },
    helpers::bpf_redirect,
    programs::TcContext,
};
use lb_common::{
    UDP, checksum,
    config::Config,
    gue::{self, GueHeader, OVERHEAD_V4_BYTES, OVERHEAD_V6_BYTES},
    node::Node,
    packet::{self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6},
    verdict::Verdict,
};

use crate::{
    count,
    egress::{self, NEXT},
    flows, forward, maps, ptr, returned,
};

/// `BPF_ADJ_ROOM_MAC` (linux/bpf.h): room between the Ethernet header and the IP header.
const ROOM_BEHIND_MACS: u32 = 1;

/// Sends a translated reply of this flow to the node that the flow came in by; the program's return value.
#[inline(always)]
pub(crate) fn ingress(ctx: &TcContext, number: u32) -> i32 {
    return_by(ctx.skb.skb, number)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn return_by(skb: *mut __sk_buff, number: u32) -> i32 {
    match wrap(&TcContext::new(skb), number) {
        Ok(action) => {
            count::verdict(Verdict::ReturnedByIngress);
            action
        }
        Err(reason) => {
            count::verdict(reason);
            TC_ACT_SHOT
        }
    }
}

#[inline(always)]
fn wrap(ctx: &TcContext, number: u32) -> Result<i32, Verdict> {
    let (Some(globals), Some(flow)) = (maps::globals(), flows::record(number)) else {
        return Err(Verdict::TableInconsistent);
    };
    let config = &globals.config;
    let node = maps::node_of(globals, flow.sender_node);
    let inner_v6 = flow.family == 6;
    let frame = egress::linear(ctx, packet::Layout::transport(inner_v6));
    let frame = frame.ok_or(Verdict::Malformed)?;
    let hash = if inner_v6 {
        let protocol = packet::protocol::<true, _>(&frame);
        returned::hash::<true>(config, &flow.client, &flow.vip, protocol)
    } else {
        let protocol = packet::protocol::<false, _>(&frame);
        returned::hash::<false>(config, &flow.client, &flow.vip, protocol)
    };
    if !forward::is_ready(node) {
        return Err(Verdict::NodeUnresolved);
    }
    let protocol = if inner_v6 {
        GueHeader::IPV6
    } else {
        GueHeader::IPV4
    };
    let header = GueHeader::returning(&config.gue_key, hash, protocol, config.own_id);
    if node.flags & Node::OUTER_V6 != 0 {
        outer_v6(ctx, config, node, &header, hash)?;
    } else {
        outer_v4(ctx, config, node, &header, hash)?;
    }
    if node.egress_ifindex == ptr::ifindex(ctx) {
        return Ok(NEXT);
    }
    // SAFETY: the helper takes plain numbers.
    Ok(unsafe { bpf_redirect(node.egress_ifindex, 0) } as i32)
}

/// Wraps in IPv6.
#[inline(always)]
fn outer_v6(
    ctx: &TcContext,
    config: &Config,
    node: &Node,
    header: &GueHeader,
    hash: u64,
) -> Result<(), Verdict> {
    make_room(ctx, OVERHEAD_V6_BYTES, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6)?;
    let udp_bytes = ctx.len() as u16 - (ETHERNET_BYTES + 40) as u16;
    let mut ip = [0; 40 / 4];
    ip[0] = u32::from_ne_bytes([0x60, 0, 0, 0]);
    let [high, low] = udp_bytes.to_be_bytes();
    ip[1] = u32::from_ne_bytes([high, low, UDP, gue::OUTER_TTL]);
    ip[2..10].copy_from_slice(&node.outer);
    write(ctx, ETHERNET_BYTES, &ip)?;
    finish(
        ctx,
        node,
        ETHERTYPE_IPV6,
        ETHERNET_BYTES + 40,
        udp_bytes,
        header,
        hash,
        config.gue_port,
    )
}

/// Wraps in IPv4, whose checksum was begun by the agent.
#[inline(always)]
fn outer_v4(
    ctx: &TcContext,
    config: &Config,
    node: &Node,
    header: &GueHeader,
    hash: u64,
) -> Result<(), Verdict> {
    make_room(ctx, OVERHEAD_V4_BYTES, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4)?;
    let total = (ctx.len() as u16 - ETHERNET_BYTES as u16).to_be();
    let sum = (node.outer_sum & 0xffff) + u32::from(total);
    let checksum = !checksum::fold_few(sum);
    let [high, low] = total.to_ne_bytes();
    let [first, second] = checksum.to_ne_bytes();
    let ip = [
        u32::from_ne_bytes([0x45, 0, high, low]),
        u32::from_ne_bytes([0, 0, 0x40, 0]),
        u32::from_ne_bytes([gue::OUTER_TTL, UDP, first, second]),
        node.outer[0],
        node.outer[1],
    ];
    write(ctx, ETHERNET_BYTES, &ip)?;
    let udp_bytes = u16::from_be(total) - 20;
    finish(
        ctx,
        node,
        ETHERTYPE_IPV4,
        ETHERNET_BYTES + 20,
        udp_bytes,
        header,
        hash,
        config.gue_port,
    )
}

/// The kernel refuses what would be longer than the device takes, and is not to be segmented.
#[inline(always)]
fn make_room(ctx: &TcContext, bytes: usize, family: u32) -> Result<(), Verdict> {
    let flags = u64::from(family | BPF_F_ADJ_ROOM_ENCAP_L4_UDP);
    ctx.adjust_room(bytes as i32, ROOM_BEHIND_MACS, flags)
        .map_err(|_| Verdict::TooBig)
}

/// MACs, UDP and GUE.
#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined; a struct would go through the stack"
)]
fn finish(
    ctx: &TcContext,
    node: &Node,
    ethertype: u16,
    at: usize,
    udp_bytes: u16,
    header: &GueHeader,
    hash: u64,
    gue_port: u16,
) -> Result<(), Verdict> {
    let ports = packet::ports(gue::source_port(hash), gue_port);
    let udp = [ports, u32::from(udp_bytes.to_be().to_le()).to_le()];
    write(ctx, at, &udp)?;
    write(ctx, at + 8, &header.words())?;
    write(ctx, 0, &node.macs)?;
    write(ctx, 12, &ethertype)
}

#[inline(always)]
fn write<T>(ctx: &TcContext, at: usize, value: &T) -> Result<(), Verdict> {
    ctx.store(at, value, 0).map_err(|_| Verdict::NoHeadroom)
}
