//! By which uplink a reply leaves: the one that the client's packets come in by, where the stack would take another. Routers
//! that filter by reverse path (RFC 3704) take it on no other link. The next hop is the one that the packets came
//! from, so no route is asked.

use aya_ebpf::{helpers::bpf_redirect, programs::TcContext};
use lb_common::{
    flow::Flow,
    packet::{self, ETHERNET_BYTES, Packet as _},
    verdict::Verdict,
};

use crate::{count, deliver::Steered, egress::NEXT, forward, lookup, maps, ptr::Frame, return_by};

/// Notes how a client's packet came: straight from a router or a host of the link, whose MAC is the next hop back; or by
/// another node, and then the stack's own route is as good as any.
#[inline(always)]
pub(crate) fn note(frame: Frame, steered: &Steered, flow: &mut Flow) {
    flow.interface = steered.slot;
    // Each is stored once: a reply that leaves on another CPU meanwhile reads either way, never none.
    (flow.sender_node, flow.next_hop_back) = match origin(frame, steered) {
        Origin::Node(number) => (number, 0),
        Origin::NextHop(mac) => (Flow::NO_NODE, mac),
        Origin::Unknown => (Flow::NO_NODE, 0),
    };
}

/// Where a packet came from.
enum Origin {
    /// The node of this number.
    Node(u16),
    /// A router or a host of the link, by its MAC.
    NextHop(u64),
    Unknown,
}

#[inline(always)]
fn origin(frame: Frame, steered: &Steered) -> Origin {
    if steered.by_gue {
        return Origin::Node(steered.sender);
    }
    let Some(interface) = maps::interface(steered.slot) else {
        return Origin::Unknown;
    };
    if !frame.has(ETHERNET_BYTES) {
        return Origin::Unknown;
    }
    let mac = packet::source_mac(&frame);
    let node = forward::may_be_of_a_node(frame, interface)
        .then(|| lookup::node_with_mac(mac))
        .flatten();
    node.map_or(Origin::NextHop(mac), Origin::Node)
}

/// Sends a translated reply back through the node that its flow came in by, where the service wants that, or out of the
/// flow's uplink, if that is not the one it is leaving by; the program's return value.
#[inline(always)]
pub(crate) fn leave(ctx: &TcContext, flow: &Flow, number: u32) -> i32 {
    if flow.flags & Flow::RETURN != 0 && flow.sender_node != Flow::NO_NODE {
        return return_by::ingress(ctx, number);
    }
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
