//! UDP replies above the MTU: the first fragment is translated as any reply is, and leaves a note by which the later
//! ones, which have no ports, are known ([`lb_common::reply_fragment`]). A later fragment without a note leaves as
//! it is: it may as well be of a conversation of the pod's own. Fragments come here whole from the stack, in order.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use lb_common::{
    Address, UDP,
    config::Config,
    flow::Flow,
    hash,
    packet::{ETHERNET_BYTES, Header, Layout, Packet as _},
    reply_fragment::{self, FragmentLine, NOTES_PER_LINE, Note},
    verdict::Verdict,
};

use crate::{
    count,
    egress::{self, NEXT},
    flows, lookup, maps, ptr,
    reverse::{self, Tuple},
    way_back,
};

/// Bytes of an IPv6 fragment header (RFC 8200 section 4.5).
const FRAGMENT_HEADER_BYTES: usize = 8;
/// Fragment offset: in IPv4's field, and in the IPv6 fragment header's.
const OFFSET_MASK_V4: u16 = 0x1fff_u16.to_be();
const OFFSET_MASK_V6: u16 = 0xfff8_u16.to_be();

/// Translates a fragment of a reply; the program's return value.
#[inline(always)]
pub(crate) fn call<const V6: bool>(ctx: &TcContext) -> i32 {
    if V6 {
        reply_fragment_v6(ctx.skb.skb)
    } else {
        reply_fragment_v4(ctx.skb.skb)
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn reply_fragment_v4(skb: *mut __sk_buff) -> i32 {
    translate::<false>(&TcContext::new(skb)).unwrap_or(NEXT)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn reply_fragment_v6(skb: *mut __sk_buff) -> i32 {
    translate::<true>(&TcContext::new(skb)).unwrap_or(NEXT)
}

#[inline(always)]
fn translate<const V6: bool>(ctx: &TcContext) -> Option<i32> {
    let config = maps::config()?;
    let transport = Layout::transport(V6) + if V6 { FRAGMENT_HEADER_BYTES } else { 0 };
    // A later fragment may be shorter than what a first one must have.
    let frame = egress::linear(ctx, transport)?;
    let (protocol, offset, identification) = if V6 {
        let at = Layout::transport(true);
        (
            frame.load_u8(at),
            frame.load_u16(at + 2) & OFFSET_MASK_V6,
            frame.load_u32(at + 4),
        )
    } else {
        (
            frame.load_u8(ETHERNET_BYTES + 9),
            frame.load_u16(ETHERNET_BYTES + 6) & OFFSET_MASK_V4,
            u32::from(frame.load_u16(ETHERNET_BYTES + 4)),
        )
    };
    if protocol != UDP {
        return None;
    }
    let header = Header {
        source: frame.load_address::<V6>(Layout::source(V6)),
        destination: frame.load_address::<V6>(Layout::destination(V6)),
        ports: 0,
        protocol,
        hop_limit: 0,
        ip_bytes: 0,
    };
    let datagram = datagram_hash::<V6>(config, &header, identification);
    let now = flows::now(config);
    if offset == 0 {
        first::<V6>(ctx, config, header, transport, datagram, now)
    } else {
        later::<V6>(ctx, config, &header, datagram, now)
    }
}

#[inline(always)]
fn datagram_hash<const V6: bool>(config: &Config, header: &Header, identification: u32) -> u64 {
    let (source, destination) = (&header.source, &header.destination);
    if V6 {
        hash::flow_v6(&config.seed, source, destination, identification, UDP)
    } else {
        hash::flow_v4(&config.seed, source[0], destination[0], identification, UDP)
    }
}

#[inline(always)]
fn first<const V6: bool>(
    ctx: &TcContext,
    config: &Config,
    header: Header,
    transport: usize,
    datagram: u64,
    now: u32,
) -> Option<i32> {
    let header = Header {
        ports: egress::linear(ctx, transport + 8)?.load_u32(transport),
        ..header
    };
    let tuple = Tuple {
        endpoint: &header.source,
        client: &header.destination,
        ports: header.ports,
        protocol: UDP,
    };
    let found = reverse::find::<V6>(config, &tuple, tuple.hash::<V6>(config), now)?;
    let flow = flows::record_mut(found.number)?;
    flow.flags |= Flow::REPLIED;
    flows::touch(found, found.meta.state(), now);
    egress::rewrite::<V6>(ctx, transport, &header, flow)?;
    if reply_fragment_note(datagram, found.number, now) != 0 {
        count::verdict(Verdict::ReplyFragmentsFull);
    }
    egress::count_reply(ctx, config, flow.service);
    count::verdict(Verdict::Replied);
    Some(way_back::leave(ctx, flow, found.number))
}

#[inline(always)]
fn later<const V6: bool>(
    ctx: &TcContext,
    config: &Config,
    header: &Header,
    datagram: u64,
    now: u32,
) -> Option<i32> {
    let number = reply_fragment_flow(datagram, now);
    let flow = flows::record(number)?;
    let is_its = flow.protocol == UDP
        && flow.family == if V6 { 6 } else { 4 }
        && lookup::same_address::<V6>(&flow.endpoint, &header.source)
        && lookup::same_address::<V6>(&flow.client, &header.destination);
    if !is_its {
        return None;
    }
    store_source::<V6>(ctx, &header.source, &flow.vip)?;
    egress::count_reply(ctx, config, flow.service);
    count::verdict(Verdict::ReplyFragment);
    Some(way_back::leave(ctx, flow, number))
}

/// The transport checksum is the first fragment's matter.
#[inline(always)]
fn store_source<const V6: bool>(ctx: &TcContext, old: &Address, new: &Address) -> Option<()> {
    if V6 {
        return ctx.store(Layout::source(true), new, 0).ok();
    }
    let (from, to) = (u64::from(old[0]), u64::from(new[0]));
    ctx.l3_csum_replace(ETHERNET_BYTES + 10, from, to, 4).ok()?;
    ctx.store(Layout::source(false), &new[0], 0).ok()
}

/// Leaves a note; 1 if another datagram's had to give way.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn reply_fragment_note(datagram: u64, number: u32, now: u32) -> u32 {
    let Some(notes) = notes(datagram) else {
        return 0;
    };
    let note = Note::new(datagram, number, now).0;
    for place in 0..NOTES_PER_LINE as usize {
        let word = notes.wrapping_add(place);
        let old = Note(ptr::load_word(word));
        if !old.is_young(now) || old.is_of(datagram) {
            ptr::store_word(word, note);
            return 0;
        }
    }
    // Any place is as good: bits of the hash that neither line nor tag have.
    let place = (datagram >> 32) as usize & (NOTES_PER_LINE as usize - 1);
    ptr::store_word(notes.wrapping_add(place), note);
    1
}

/// The number of the flow that a datagram's first fragment was of; no flow's if there is no note.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn reply_fragment_flow(datagram: u64, now: u32) -> u32 {
    if let Some(notes) = notes(datagram) {
        for place in 0..NOTES_PER_LINE as usize {
            let note = Note(ptr::load_word(notes.wrapping_add(place)));
            if note.is_of(datagram) && note.is_young(now) {
                return note.number();
            }
        }
    }
    u32::MAX
}

#[inline(always)]
fn notes(datagram: u64) -> Option<*mut u64> {
    maps::REPLY_FRAGMENTS
        .get_ptr_mut(reply_fragment::line(datagram))
        .map(<*mut FragmentLine>::cast)
}
