//! By which uplink a reply leaves: the one that the client's packets come in by, where the stack would take another. Routers
//! that filter by reverse path (RFC 3704) take it on no other link. The next hop is the one that the packets came
//! from, so no route is asked.

use aya_ebpf::{helpers::bpf_redirect, programs::TcContext};
use lb_common::{
    flow::Flow,
    packet::{self, ETHERNET_BYTES, Packet as _},
    verdict::Verdict,
};

use crate::{count, deliver::Steered, egress::NEXT, forward, maps, ptr::Frame};

/// Notes how a client's packet came: straight from a router or a host of the link, whose MAC is the next hop back; or by
/// another node, and then the stack's own route is as good as any.
#[inline(always)]
pub(crate) fn note(frame: Frame, steered: &Steered, flow: &mut Flow) {
    flow.interface = steered.slot;
    flow.next_hop_back = 0;
    let Some(interface) = maps::interface(steered.slot) else {
        return;
    };
    if !steered.by_gue && frame.has(ETHERNET_BYTES) && !forward::is_of_a_node(frame, interface) {
        flow.next_hop_back = packet::source_mac(&frame);
    }
}

/// Sends a translated reply out of the flow's uplink, if that is not the one it is leaving by; the program's return value.
#[inline(always)]
pub(crate) fn leave(ctx: &TcContext, flow: &Flow) -> i32 {
    if u32::from(flow.interface) == maps::uplink_slot() || flow.next_hop_back == 0 {
        return NEXT;
    }
    redirect(ctx, flow).unwrap_or(NEXT)
}

#[inline(always)]
fn redirect(ctx: &TcContext, flow: &Flow) -> Option<i32> {
    let interface = maps::interface(flow.interface)?;
    if interface.ifindex == 0 {
        return None;
    }
    let (to, from) = (flow.next_hop_back, interface.mac);
    let macs = [
        to as u32,
        (to >> 32) as u32 & 0xffff | (from as u32) << 16,
        (from >> 16) as u32,
    ];
    ctx.store(0, &macs, 0).ok()?;
    count::verdict(Verdict::ReplyRedirected);
    // SAFETY: the helper takes plain numbers.
    Some(unsafe { bpf_redirect(interface.ifindex, 0) } as i32)
}
