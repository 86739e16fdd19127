//! The room of packets that are not plain TCP or UDP: what does not parse, and ICMP. Parses as far as it takes to know
//! the flow.

use aya_ebpf::{bindings::xdp_action::XDP_PASS, programs::XdpContext};
use lb_common::{
    config::Config,
    ndp,
    packet::{self, Header, Layout, Packet as _},
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    maps,
    ptr::{self, Frame},
    rooms, steer,
};

/// The program of the room.
#[inline(always)]
pub(crate) fn enter(ctx: &XdpContext) -> u32 {
    let (Some(walk), Some(config)) = (rooms::walk(), maps::CONFIG.get_ptr(0)) else {
        return XDP_PASS;
    };
    let config: &Config = ptr::by_ref(config);
    if walk.has(Walk::V6) {
        odd::<true>(ctx, config, walk)
    } else {
        odd::<false>(ctx, config, walk)
    }
}

#[inline(always)]
fn odd<const V6: bool>(ctx: &XdpContext, config: &Config, walk: &mut Walk) -> u32 {
    let frame = Frame::xdp(ctx);
    if !frame.has(Layout::transport(V6)) {
        return XDP_PASS;
    }
    if V6 && !walk.has(Walk::BY_GUE) && ndp::may_concern(&frame) {
        return rooms::enter_or_pass(ctx, Room::Ndp);
    }
    match parse::<V6>(frame, walk) {
        Ok(header) => steer::steer::<V6>(ctx, config, walk, &header),
        Err(reason) => rooms::answer::<V6>(ctx, walk, reason),
    }
}

/// The flow that a packet belongs to, or that it is an ICMP error about.
#[inline(always)]
fn parse<const V6: bool>(frame: Frame, walk: &mut Walk) -> Result<Header, Verdict> {
    match packet::header::<V6, _>(&frame) {
        Err(Verdict::UnsupportedProtocol) => {
            walk.flags |= Walk::IS_ERROR;
            packet::quoted::<V6, _>(&frame)
        }
        parsed => parsed,
    }
}
