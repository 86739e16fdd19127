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
    /// What `bench_look` came to.
    seen: u64,
}

/// The first 76 bytes of every frame, two bytes further on, so that the words are those of the headers behind the
/// Ethernet header.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Template {
    words: [u64; 16],
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
    swap(&ctx)
}

#[inline(always)]
fn swap(ctx: &XdpContext) -> u32 {
    let frame = Frame::of(ctx);
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

/// Lines of as many as `tcp4-gue-1Mflows-400svc` has of each kind: buckets of services, rows, nodes of endpoints, counters.
const LINES: [u64; 4] = [512, 400 * 64, 400 * 4, 400];

#[btf_map(name = "bench_lines")]
static MEMORY: Array<Template, { (512 + 400 * 64 + 400 * 4 + 400) as usize }> = Array::new();

/// The floor with a look at one line of each kind: the bucket says where the row and the counters are, the row where the node is.
/// What the memory alone takes of a packet of a random flow.
#[xdp(frags)]
pub(crate) fn bench_look(ctx: XdpContext) -> u32 {
    if look().is_none() {
        return XDP_ABORTED;
    }
    swap(&ctx)
}

#[inline(always)]
fn look() -> Option<()> {
    let random = ptr::by_mut(ORDERS.get_ptr_mut(0)?).random;
    let bucket = seen(0, random)?;
    let row = seen(1, bucket.rotate_left(23))?;
    let node = seen(2, row.rotate_left(23))?;
    let counters = seen(3, bucket.rotate_left(41))?;
    ptr::by_mut(ORDERS.get_ptr_mut(0)?).seen = node ^ counters;
    Some(())
}

/// Looks at a random line of a kind. All lines are zero, which neither compiler nor CPU knows.
#[inline(always)]
fn seen(kind: usize, random: u64) -> Option<u64> {
    let first: u64 = LINES[..kind].iter().sum();
    let index = first + ((random & 0xffff_ffff) * LINES[kind] >> 32);
    let line = MEMORY.get_ptr(index as u32)?;
    Some(random ^ ptr::load_word(line.cast()))
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
        let (source, destination) = ((words[3] >> 32) as u32, words[4] as u32);
        let delta = Delta::new()
            .word(source, frame.load_u32(26))
            .word(destination, frame.load_u32(30));
        frame.store_u16(24, delta.apply((words[3] >> 16) as u16));
    }
    hook::redirect(ptr::by_ref(orders).egress_ifindex as u32)
}

#[inline(always)]
fn make(ctx: &XdpContext) -> Option<()> {
    let orders = ptr::by_mut(ORDERS.get_ptr_mut(0)?);
    let surplus = ptr::opaque(Frame::one_buffer(ctx).len()).wrapping_sub(orders.frame_bytes);
    // Also where nothing is to be undone: what it costs is in the floor then as it is in the subject.
    if !hook::move_head(ctx, surplus as i32) {
        return None;
    }
    write::<false>(Frame::of(ctx), orders)
}

#[inline(always)]
fn make_leaving(frame: Frame) -> Option<()> {
    write::<true>(frame, ptr::by_mut(ORDERS.get_ptr_mut(0)?))
}

/// Writes the headers, and the flow's client, which is the destination of what leaves, and which VIP it goes to. Every field
/// is stored whole, as programs load it: one that has to wait for two stores, which of a device's packets none does, takes as
/// long as a fifth of a program.
#[inline(always)]
fn write<const LEAVING: bool>(frame: Frame, orders: &mut Orders) -> Option<()> {
    let words = &ptr::by_ref(TEMPLATE.get_ptr(0)?).words;
    if !frame.has(76) {
        return None;
    }
    let ethertype = (words[1] >> 48) as u16;
    frame.store_u64(0, words[0] >> 16 | words[1] << 48);
    frame.store_u32(8, (words[1] >> 16) as u32);
    frame.store_u16(12, ethertype);
    for word in 0..7 {
        frame.store_u64(14 + word * 8, words[2 + word]);
    }
    frame.store_u32(70, words[9] as u32);
    frame.store_u16(74, (words[9] >> 32) as u16);
    let Varied { flow, destination } = vary(orders);
    let hosts = (flow >> 15) as u32;
    let port = u64::from((1024 + (flow & 0x7fff) as u16).to_be());
    if ethertype == ETHERTYPE_IPV6 {
        let (source_hosts, destination_hosts) = if LEAVING { (0, hosts) } else { (hosts, 0) };
        frame.store_u64(30, with_high(words[4], up(words[4] >> 32, source_hosts)));
        let vip = up(words[6] >> 32, destination.wrapping_add(destination_hosts));
        frame.store_u64(46, with_high(words[6], vip));
        frame.store_u32(54, ports::<LEAVING>(words[7] as u32, port));
        return Some(());
    }
    let (source_hosts, destination_hosts) = if LEAVING { (0, hosts) } else { (hosts, 0) };
    frame.store_u32(26, up(words[3] >> 32, source_hosts));
    let vip = if orders.random_destinations != 0 {
        orders.random as u32
    } else {
        up(words[4], destination.wrapping_add(destination_hosts))
    };
    frame.store_u32(30, vip);
    frame.store_u32(34, ports::<LEAVING>((words[4] >> 32) as u32, port));
    Some(())
}

/// The word of an address so many addresses further up.
#[inline(always)]
fn up(word: u64, hosts: u32) -> u32 {
    u32::from_be(word as u32).wrapping_add(hosts).to_be()
}

#[inline(always)]
fn with_high(word: u64, high: u32) -> u64 {
    word & 0xffff_ffff | u64::from(high) << 32
}

/// The template's ports with the client's.
#[inline(always)]
fn ports<const LEAVING: bool>(template: u32, client: u64) -> u32 {
    if LEAVING {
        template & 0xffff | (client as u32) << 16
    } else {
        template & 0xffff_0000 | client as u32
    }
}

/// What the next packet differs in.
struct Varied {
    flow: u64,
    /// Which destination, counted up from the template's.
    destination: u32,
}

#[inline(always)]
fn vary(orders: &mut Orders) -> Varied {
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
    Varied {
        flow,
        destination: destination as u32,
    }
}
