//! The largest segment that a client's SYN offers to take, lowered where the pod's replies go back through another node: they
//! must fit with an outer header in front. [`crate::mss`] does the same to SYN-ACKs.

#[cfg(not(feature = "tc"))]
use lb_common::checksum::Delta;
use lb_common::{
    headers::Nested as _,
    packet::Packet as _,
    service::ServiceValue,
    verdict::Verdict,
    walk::{Room, Walk},
};

#[cfg(feature = "tc")]
use crate::mss;
use crate::{
    count,
    deliver::tcp,
    hook::{self, Context, Raw},
    maps,
    ptr::Frame,
    rooms,
};

/// Options that are looked at before the search ends; a SYN has six at the most in practice.
const OPTIONS_MAX: u32 = 8;
/// Where a TCP header has its checksum, and where its options begin.
const CHECKSUM_AT: usize = 16;
const OPTIONS_AT: u32 = 20;

/// The program of the room: lowers the MSS of a SYN, and delivers it.
#[inline(always)]
pub(crate) fn enter(ctx: &Context) -> u32 {
    let (Some(walk), Some(config)) = (rooms::walk(), maps::config()) else {
        return count::drop(Verdict::TableInconsistent);
    };
    let most = if walk.has(Walk::V6) {
        config.mss_v6_bytes
    } else {
        config.mss_v4_bytes
    };
    if most != 0 {
        clamp(ctx, most);
    }
    if ServiceValue(walk.service).has(ServiceValue::AFFINITY) {
        return rooms::enter(ctx, Room::Keep);
    }
    count::pass(Verdict::Delivered)
}

/// Looks for the option, and lowers it.
#[inline(always)]
fn clamp(ctx: &Context, most: u16) {
    let mut at = OPTIONS_AT;
    for _ in 0..OPTIONS_MAX {
        let next = syn_option(hook::raw(ctx), at);
        if next == FOUND {
            syn_lower(hook::raw(ctx), at, most.into());
            return;
        }
        if next == 0 {
            return;
        }
        at = next;
    }
}

/// The option is the MSS.
const FOUND: u32 = u32::MAX;

/// Where the option after this one begins; 0 if there is none, [`FOUND`] if this is it.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn syn_option(ctx: *mut Raw, at: u32) -> u32 {
    let Some(segment) = segment(&Context::new(ctx)) else {
        return 0;
    };
    let end = u32::from(segment.load_u8(12) >> 4) * 4;
    let option = segment.beyond(at as usize);
    if at + 4 > end || !option.has(4) {
        return 0;
    }
    match (option.load_u8(0), u32::from(option.load_u8(1))) {
        (0, _) | (3.., 0 | 1) => 0,
        (1, _) => at + 1,
        (2, _) => FOUND,
        (_, length) => at + length,
    }
}

/// Lowers the MSS option that begins `at` bytes into the segment.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn syn_lower(ctx: *mut Raw, at: u32, most: u32) -> u32 {
    let Some(segment) = segment(&Context::new(ctx)) else {
        return 0;
    };
    let option = segment.beyond(at as usize);
    if !option.has(4) {
        return 0;
    }
    let (old, new) = (option.load_u16(2), (most as u16).to_be());
    if u32::from(u16::from_be(old)) <= most {
        return 0;
    }
    store(ctx, (segment, option), at, old, new);
    1
}

/// Writes the option's value, under the segment's checksum.
#[cfg(not(feature = "tc"))]
#[inline(always)]
fn store(_: *mut Raw, (segment, option): (Frame, Frame), at: u32, old: u16, new: u16) {
    // A sum is over pairs of bytes: of an option at an odd place, the bytes belong to two of them.
    let word = |value: u16| {
        if at % 2 == 0 {
            value
        } else {
            value.swap_bytes()
        }
    };
    let delta = Delta::new().half(word(old), word(new));
    option.store_u16(2, new);
    segment.store_u16(CHECKSUM_AT, delta.apply(segment.load_u16(CHECKSUM_AT)));
}

/// The same by the kernel's helper, which knows who finishes the checksum.
#[cfg(feature = "tc")]
#[inline(always)]
fn store(ctx: *mut Raw, _: (Frame, Frame), at: u32, old: u16, new: u16) {
    let Some(walk) = rooms::walk() else { return };
    let transport = usize::from(walk.transport_at);
    let value_at = transport + at as usize + 2;
    mss::replace(
        &Context::new(ctx),
        value_at,
        transport + CHECKSUM_AT,
        old,
        new,
    );
}

/// The packet from its TCP header on, if it is a SYN.
#[inline(always)]
fn segment(ctx: &Context) -> Option<Frame> {
    let walk = rooms::walk()?;
    let segment = Frame::of(ctx).beyond(usize::from(walk.transport_at));
    let is_syn = segment.has(OPTIONS_AT as usize) && segment.load_u8(tcp::FLAGS_AT) & tcp::SYN != 0;
    is_syn.then_some(segment)
}
