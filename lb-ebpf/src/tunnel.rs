//! GUE: what is for this node, taking off its outer header, and the inner packet's way. The tag is judged when the
//! inner flow's hash is known; until then nothing depends on what the header says.

use lb_common::{
    Address, UDP,
    config::Config,
    gue::GueHeader,
    interface::Interface,
    packet::{self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Layout, Packet as _},
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count,
    hook::{self, Context},
    lookup, maps,
    ptr::Frame,
    rooms, steer,
};

/// Whether a packet that is for no VIP is GUE for this node. Fragments of such are the stack's.
#[inline(always)]
pub(crate) fn is_for_us<const V6: bool>(
    frame: Frame,
    config: &Config,
    destination: &Address,
) -> bool {
    let own = if V6 {
        &config.outer_v6
    } else {
        &[config.outer_v4, 0, 0, 0]
    };
    if !lookup::same_address::<V6>(own, destination) {
        return false;
    }
    let transport = Layout::transport(V6);
    let plain = if V6 {
        frame.load_u8(ETHERNET_BYTES + 6) == UDP
    } else {
        frame.load_u8(ETHERNET_BYTES) == 0x45
            && frame.load_u8(ETHERNET_BYTES + 9) == UDP
            && frame.load_u16(ETHERNET_BYTES + 6) & !0x4000_u16.to_be() == 0
    };
    plain && frame.has(transport + 8) && frame.load_u16(transport + 2) == config.gue_port
}

/// Headers of a plain packet in GUE, over IPv6 both, rounded up.
const HEADERS_BYTES: u32 = 192;

/// The program of the room.
#[inline(always)]
pub(crate) fn enter(ctx: &Context) -> u32 {
    try_enter(ctx).unwrap_or_else(count::drop)
}

#[inline(always)]
fn try_enter(ctx: &Context) -> Result<u32, Verdict> {
    hook::make_linear(ctx, HEADERS_BYTES);
    let walk = rooms::walk().ok_or(Verdict::TableInconsistent)?;
    let config = maps::config().ok_or(Verdict::TableInconsistent)?;
    let interface = maps::interface(walk.slot).ok_or(Verdict::TableInconsistent)?;
    if interface.flags & Interface::FACES_NODES == 0 {
        return Err(Verdict::GueStranger);
    }
    if walk.has(Walk::V6) {
        decapsulate::<true>(ctx, config, walk)?;
    } else {
        decapsulate::<false>(ctx, config, walk)?;
    }
    if walk.private_flags & GueHeader::RETURN != 0 {
        return Ok(rooms::enter(ctx, Room::Returned));
    }
    if walk.has(Walk::V6) {
        inner::<true>(ctx, walk)
    } else {
        inner::<false>(ctx, walk)
    }
}

/// Takes the outer header off, and notes what it said.
#[inline(always)]
fn decapsulate<const V6: bool>(
    ctx: &Context,
    config: &Config,
    walk: &mut Walk,
) -> Result<(), Verdict> {
    let frame = Frame::untagged(ctx, walk);
    let at = Layout::transport(V6) + 8;
    let overhead = at + size_of::<GueHeader>() - ETHERNET_BYTES;
    if !frame.has(at) {
        return Err(Verdict::GueMalformed);
    }
    let source = frame.load_address::<V6>(Layout::source(V6));
    let Some(sender) = lookup::node_of_address(config, &source) else {
        return Err(Verdict::GueStranger);
    };
    if !frame.has(ETHERNET_BYTES + overhead) {
        return Err(Verdict::GueMalformed);
    }
    let header = load_header(frame, at);
    if !header.is_ours() {
        return Err(Verdict::GueMalformed);
    }
    let inner_v6 = header.protocol == GueHeader::IPV6;
    let ethertype = if inner_v6 {
        ETHERTYPE_IPV6
    } else {
        ETHERTYPE_IPV4
    };
    hook::take_off::<V6>(ctx, walk, overhead, ethertype)?;
    walk.flags = Walk::BY_GUE | if inner_v6 { Walk::V6 } else { 0 };
    walk.transport_at = walk.ip_at + (Layout::transport(inner_v6) - ETHERNET_BYTES) as u16;
    walk.hop = header.hop;
    walk.private_flags = header.private_flags;
    walk.sender = sender;
    walk.ingress_node = header.ingress_node;
    walk.tag = header.tag;
    Ok(())
}

/// The way of what was inside; nobody has looked at it on this node.
#[inline(always)]
fn inner<const V6: bool>(ctx: &Context, walk: &mut Walk) -> Result<u32, Verdict> {
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(Layout::transport(V6)) {
        return Err(Verdict::GueMalformed);
    }
    if packet::is_plain::<V6, _>(&frame) {
        let header = packet::fields::<V6, _>(&frame);
        return Ok(steer::leave::<V6>(ctx, walk, &header));
    }
    walk.flags |= Walk::MAY_BE_VIP;
    Ok(rooms::enter(ctx, Room::Odd))
}

#[inline(always)]
fn load_header(frame: Frame, at: usize) -> GueHeader {
    GueHeader {
        variant_length: frame.load_u8(at),
        protocol: frame.load_u8(at + 1),
        flags: frame.load_u16(at + 2),
        version: frame.load_u8(at + 4),
        hop: frame.load_u8(at + 5),
        private_flags: frame.load_u8(at + 6),
        reserved: frame.load_u8(at + 7),
        ingress_node: frame.load_u32(at + 8),
        tag: frame.load_u32(at + 12),
    }
}
