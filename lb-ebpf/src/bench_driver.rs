//! The driver of `benches/packet`: under a repeated test run it undoes what the last run did to the frame,
//! writes the next packet's headers and calls the program under test as its tail. The same driver calling
//! `bench_swap` is the floor that is subtracted. `bench_send` makes the same packets and sends them out of an interface
//! instead, as live frames. Part of no shipped object.

use aya_ebpf::{
    bindings::{
        TC_ACT_SHOT, TC_ACT_UNSPEC,
        xdp_action::{XDP_ABORTED, XDP_TX},
    },
    btf_maps::{Array, ProgramArray},
    macros::{btf_map, classifier, xdp},
    programs::{TcContext, XdpContext},
};
use lb_common::{
    checksum::Delta,
    packet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, Packet as _},
};

use crate::{
    hook,
    ptr::{self, Frame},
};

/// What to make, written by the bench.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Orders {
    /// Flows to choose from; 0: every packet is a new one; 1: always the same.
    flows: u64,
    /// Destinations to choose from, counted up from the template's.
    destinations: u64,
    /// Length of the frame without an outer header.
    frame_bytes: u64,
    /// State of the random numbers.
    random: u64,
    /// Packets made.
    count: u64,
    /// Destinations are random words instead.
    random_destinations: u64,
    /// Interface that live frames leave by.
    egress_ifindex: u64,
    /// Zero.
    reserved: u64,
}

/// The first 74 bytes of every frame, in whole words.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Template {
    words: [u32; 32],
}

#[btf_map(name = "bench_orders")]
static ORDERS: Array<Orders, 1> = Array::new();

#[btf_map(name = "bench_template")]
static TEMPLATE: Array<Template, 1> = Array::new();

#[btf_map(name = "bench_subject")]
static SUBJECT: ProgramArray<1> = ProgramArray::new();

/// Makes one packet and hands it on.
#[xdp(frags)]
pub(crate) fn bench_driver(ctx: XdpContext) -> u32 {
    if make(&ctx).is_some() {
        // SAFETY: the array holds XDP programs only; a missing one comes back here and aborts.
        let _ = unsafe { SUBJECT.tail_call(&ctx, 0) };
    }
    XDP_ABORTED
}

#[btf_map(name = "bench_egress")]
static EGRESS_SUBJECT: ProgramArray<1> = ProgramArray::new();

/// Makes one packet that leaves and hands it on: what varies is its destination.
#[classifier]
pub(crate) fn bench_leaving(ctx: TcContext) -> i32 {
    if make_leaving(Frame::skb(&ctx)).is_some() {
        // SAFETY: the array holds egress programs only; a missing one comes back here.
        let _ = unsafe { EGRESS_SUBJECT.tail_call(&ctx, 0) };
    }
    TC_ACT_SHOT
}

/// The floor of what leaves: the next program decides.
#[classifier]
pub(crate) fn bench_next(_ctx: TcContext) -> i32 {
    TC_ACT_UNSPEC
}

/// The floor: exchanges the MACs and sends the frame back.
#[xdp(frags)]
pub(crate) fn bench_swap(ctx: XdpContext) -> u32 {
    let frame = Frame::of(&ctx);
    if !frame.has(14) {
        return XDP_ABORTED;
    }
    let (to, to_end) = (frame.load_u32(0), frame.load_u16(4));
    let (from, from_end) = (frame.load_u16(6), frame.load_u32(8));
    frame.store_u32(6, to);
    frame.store_u16(10, to_end);
    frame.store_u16(0, from);
    frame.store_u32(2, from_end);
    XDP_TX
}

/// Makes one packet and sends it; a kernel that forwards it looks at the IPv4 header's checksum.
#[xdp(frags)]
pub(crate) fn bench_send(ctx: XdpContext) -> u32 {
    if make(&ctx).is_none() {
        return XDP_ABORTED;
    }
    let frame = Frame::of(&ctx);
    if !frame.has(76) {
        return XDP_ABORTED;
    }
    let (Some(orders), Some(template)) = (ORDERS.get_ptr(0), TEMPLATE.get_ptr(0)) else {
        return XDP_ABORTED;
    };
    if frame.load_u16(12) == ETHERTYPE_IPV4 {
        let words = &ptr::by_ref(template).words;
        // The addresses begin in the middle of a word: 26 and 30.
        let source = words[6] >> 16 | words[7] << 16;
        let destination = words[7] >> 16 | words[8] << 16;
        let delta = Delta::new()
            .word(source, frame.load_u32(26))
            .word(destination, frame.load_u32(30));
        frame.store_u16(24, delta.apply(words[6] as u16));
    }
    hook::redirect(ptr::by_ref(orders).egress_ifindex as u32)
}

#[inline(always)]
fn make(ctx: &XdpContext) -> Option<()> {
    let orders = ptr::by_mut(ORDERS.get_ptr_mut(0)?);
    let surplus = ptr::opaque(Frame::one_buffer(ctx).len()).wrapping_sub(orders.frame_bytes);
    if surplus != 0 && !hook::move_head(ctx, surplus as i32) {
        return None;
    }
    let frame = Frame::of(ctx);
    if !frame.has(76) {
        return None;
    }
    let template = ptr::by_ref(TEMPLATE.get_ptr(0)?);
    for word in 0..19 {
        frame.store_u32(word * 4, template.words[word]);
    }
    vary::<false>(frame, orders);
    Some(())
}

#[inline(always)]
fn make_leaving(frame: Frame) -> Option<()> {
    let orders = ptr::by_mut(ORDERS.get_ptr_mut(0)?);
    let template = ptr::by_ref(TEMPLATE.get_ptr(0)?);
    if !frame.has(76) {
        return None;
    }
    for word in 0..19 {
        frame.store_u32(word * 4, template.words[word]);
    }
    vary::<true>(frame, orders);
    Some(())
}

/// The flow's client, which is the destination of what leaves, and which VIP it goes to.
#[inline(always)]
fn vary<const LEAVING: bool>(frame: Frame, orders: &mut Orders) {
    orders.count += 1;
    orders.random ^= orders.random << 13;
    orders.random ^= orders.random >> 7;
    orders.random ^= orders.random << 17;
    let flow = match orders.flows {
        0 => orders.count,
        1 => 0,
        flows => (orders.random >> 32).wrapping_mul(flows) >> 32,
    };
    // Which destination a flow has must not change, or there would be more flows than were ordered.
    let spread = (flow as u32).wrapping_mul(0x9E37_79B9);
    let destination = u64::from(spread).wrapping_mul(orders.destinations) >> 32;
    let (source_at, destination_at, ports_at) = if frame.load_u16(12) == ETHERTYPE_IPV6 {
        (34, 50, 54)
    } else {
        (26, 30, 34)
    };
    let port = 1024 + (flow & 0x7fff) as u16;
    if LEAVING {
        frame.store_u16(ports_at + 2, port.to_be());
        let host = u32::from_be(frame.load_u32(destination_at)).wrapping_add((flow >> 15) as u32);
        frame.store_u32(destination_at, host.to_be());
        return;
    }
    frame.store_u16(ports_at, port.to_be());
    let host = u32::from_be(frame.load_u32(source_at)).wrapping_add((flow >> 15) as u32);
    frame.store_u32(source_at, host.to_be());
    let vip = u32::from_be(frame.load_u32(destination_at)).wrapping_add(destination as u32);
    let vip = if orders.random_destinations != 0 {
        orders.random as u32
    } else {
        vip.to_be()
    };
    frame.store_u32(destination_at, vip);
}
