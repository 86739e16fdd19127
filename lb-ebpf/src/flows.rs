//! The flow owner's table: find, claim, promote, age. Places are claimed by compare-and-swap on their index
//! word; a record is written only by the run that holds the claim. Nothing here sweeps: an expired place is
//! simply free, and of embryonic flows the oldest gives way.

use lb_common::{
    config::Config,
    flow::{self, FLOWS_PER_LINE, Flow, IndexLine, Meta, State},
    packet::{self, ETHERNET_BYTES, Packet as _},
    verdict::Verdict,
    walk::Walk,
};

use crate::{
    count, lookup, maps,
    ptr::{self, Frame},
};

/// Tag collisions that a look-up goes past: at 24 bits and sixteen places one is rare, two are not seen.
const COLLISIONS: u32 = 2;

/// The scans of a flow's line and the neighbouring one: sixteen places, so that a table may be more than half full
/// before a flow finds none. Global functions of numbers: the verifier walks each once, not once a caller and
/// path.
mod scan {
    use super::{
        FLOWS_PER_LINE, Meta, State, Verdict, count, fraction, is_alive, is_taken, maps, metas,
        ptr, word,
    };

    /// Number of the first living flow with this tag in one line, at the `from`th place or a later one; or [`NONE`].
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn flow_find(line: u32, tag: u32, now: u32, from: u32) -> u32 {
        let (Some(config), Some(metas)) = (maps::config(), metas(line)) else {
            return NONE;
        };
        for place in 0..FLOWS_PER_LINE {
            let meta = Meta(ptr::load_word(word(metas, place)));
            if place >= from && meta.tag() == tag && is_alive(config, meta, now) {
                return line * FLOWS_PER_LINE + place;
            }
        }
        NONE
    }

    /// [`flow_find`] in a line and the neighbouring one; `from` counts the places of both.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn flow_find_in_pair(line: u32, tag: u32, now: u32, from: u32) -> u32 {
        let number = flow_find(line, tag, now, from);
        if number != NONE {
            return number;
        }
        flow_find(line ^ 1, tag, now, from.saturating_sub(FLOWS_PER_LINE))
    }

    /// Claims the first free or expired place of a line and the neighbouring one. In a full embryonic line the flow that was
    /// silent for the longest time gives way, if that is a sixteenth of a tick: so a handshake survives a flood as
    /// long as the table is large enough for what comes in within a round trip. The number, or [`NONE`].
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn flow_claim(line: u32, tag: u32, now: u32) -> u32 {
        let Some(config) = maps::config() else {
            return NONE;
        };
        let claimed = Meta::new(State::Claimed as u32, tag, now).with_fraction(fraction(config));
        for half in 0..2 {
            let number = claim_in_line(line ^ half, claimed.0, now);
            if number != NONE {
                return number;
            }
        }
        if line > config.embryonic_mask {
            return NONE;
        }
        take_oldest(line, claimed.0)
    }

    /// Claims the first free or expired place of one line.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn claim_in_line(line: u32, claimed: u64, now: u32) -> u32 {
        let (Some(config), Some(metas)) = (maps::config(), metas(line)) else {
            return NONE;
        };
        for place in 0..FLOWS_PER_LINE {
            let word = word(metas, place);
            let meta = Meta(ptr::load_word(word));
            if !is_taken(config, meta, now) && ptr::swap_word(word, meta.0, claimed) {
                return line * FLOWS_PER_LINE + place;
            }
        }
        NONE
    }

    /// Claims the place of the flow that was silent for the longest time, in a line and the neighbouring one.
    #[inline(always)]
    fn take_oldest(line: u32, claimed: u64) -> u32 {
        let (first, second) = (
            oldest_in_line(line, claimed),
            oldest_in_line(line ^ 1, claimed),
        );
        let oldest = if second > first { second } else { first };
        let victim = oldest as u32;
        let Some(metas) = metas(victim / FLOWS_PER_LINE) else {
            return NONE;
        };
        let word = word(metas, ptr::opaque(victim));
        let meta = ptr::load_word(word);
        // The flow itself, or another CPU, may have been quicker.
        if silent_sixteenths(meta, claimed) == 0 || !ptr::swap_word(word, meta, claimed) {
            return NONE;
        }
        count::verdict(Verdict::FlowEvicted);
        victim
    }

    /// For how long the flow of one line was silent that was silent for the longest time, above its number; 0 if none may
    /// give way.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn oldest_in_line(line: u32, now: u64) -> u64 {
        let Some(metas) = metas(line) else {
            return 0;
        };
        let mut oldest = 0;
        for place in 0..FLOWS_PER_LINE {
            let silent = silent_sixteenths(ptr::load_word(word(metas, place)), now);
            let silent = u64::from(silent) << 32 | u64::from(line * FLOWS_PER_LINE + place);
            if silent > oldest {
                oldest = silent;
            }
        }
        oldest
    }

    /// Sixteenths of a tick for which a flow was silent, that may give way; 0 for one that may not. Without a branch, so that
    /// the verifier walks eight of them and not all ways through eight.
    #[inline(always)]
    fn silent_sixteenths(meta: u64, now: u64) -> u32 {
        let silent = Meta(now).sixteenths().wrapping_sub(Meta(meta).sixteenths());
        // A sign bit: of a time before now, and of a place that is being written.
        let claimed = (Meta(meta).state() ^ State::Claimed as u32).wrapping_sub(1);
        let may_not = (silent | claimed).cast_signed() >> 31;
        silent & !may_not.cast_unsigned()
    }

    /// No flow has this number.
    const NONE: u32 = u32::MAX;

    /// [`flow_find`] as an option.
    #[inline(always)]
    pub(super) fn find(line: u32, tag: u32, now: u32, from: u32) -> Option<u32> {
        let number = flow_find_in_pair(line, tag, now, from);
        (number != NONE).then_some(number)
    }

    /// [`flow_claim`] as an option.
    #[inline(always)]
    pub(super) fn claim(line: u32, tag: u32, now: u32) -> Option<u32> {
        let number = flow_claim(line, tag, now);
        (number != NONE).then_some(number)
    }
}

/// A flow found alive.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    /// Its number.
    pub(crate) number: u32,
    /// Its index word as it was.
    pub(crate) meta: Meta,
}

/// Ticks since the kernel started, about one a second; wraps after a century.
#[inline(always)]
pub(crate) fn now(config: &Config) -> u32 {
    (ptr::jiffies() >> (config.tick_shift & 31)) as u32
}

/// Sixteenths of the current tick that are over.
#[inline(always)]
fn fraction(config: &Config) -> u32 {
    (ptr::jiffies() << 4 >> (config.tick_shift & 31)) as u32
}

/// Whether a flow's index word counts: neither free, nor being written, nor too old.
#[inline(always)]
pub(crate) fn is_alive(config: &Config, meta: Meta, now: u32) -> bool {
    meta.state() > State::Claimed as u32 && !is_expired(config, meta, now)
}

/// Whether a place is somebody's: alive, or being written.
#[inline(always)]
pub(crate) fn is_taken(config: &Config, meta: Meta, now: u32) -> bool {
    meta.state() != State::Free as u32 && !is_expired(config, meta, now)
}

/// Another CPU may have noted a packet a tick ahead of this one: an age below zero is young.
#[inline(always)]
fn is_expired(config: &Config, meta: Meta, now: u32) -> bool {
    let timeout = config.timeout_ticks[(meta.state() & 15) as usize];
    now.wrapping_sub(meta.tick()).cast_signed() > i32::from(timeout)
}

/// The flow of a client's packet, or of the packet that an ICMP error quotes; established or embryonic. `frame` has the
/// IP headers, and no tags.
#[inline(always)]
pub(crate) fn find<const V6: bool, const QUOTED: bool>(
    config: &Config,
    frame: Frame,
    walk: &Walk,
    now: u32,
) -> Option<Found> {
    let embryonic = flow::line(walk.hash, config.embryonic_mask);
    find_in_line::<V6, QUOTED>(frame, walk, established_line(config, walk.hash), now)
        .or_else(|| find_in_line::<V6, QUOTED>(frame, walk, embryonic, now))
}

/// The index line of an established flow.
#[inline(always)]
pub(crate) fn established_line(config: &Config, hash: u64) -> u32 {
    config.embryonic_mask + 1 + flow::line(hash, config.established_mask)
}

/// Whether a flow number lies in the embryonic table.
#[inline(always)]
pub(crate) fn is_embryonic(config: &Config, number: u32) -> bool {
    number / FLOWS_PER_LINE <= config.embryonic_mask
}

#[inline(always)]
fn find_in_line<const V6: bool, const QUOTED: bool>(
    frame: Frame,
    walk: &Walk,
    line: u32,
    now: u32,
) -> Option<Found> {
    let mut from = 0;
    for _ in 0..COLLISIONS {
        let number = scan::find(line, flow::tag(walk.hash), now, from)?;
        if is_client_tuple::<V6, QUOTED>(record(number)?, frame, walk) {
            let meta = meta(number)?;
            return Some(Found { number, meta });
        }
        from = (number ^ (line * FLOWS_PER_LINE)) % (2 * FLOWS_PER_LINE) + 1;
    }
    None
}

/// Compares with the packet itself: what is not held needs no stack. What an error quotes went from the VIP to
/// the client.
#[inline(always)]
fn is_client_tuple<const V6: bool, const QUOTED: bool>(
    flow: &Flow,
    frame: Frame,
    walk: &Walk,
) -> bool {
    let ip = if QUOTED {
        packet::quote(V6)
    } else {
        ETHERNET_BYTES
    };
    let (first, second) = if V6 {
        (ip + 8, ip + 24)
    } else {
        (ip + 12, ip + 16)
    };
    let (client, vip) = if QUOTED {
        (second, first)
    } else {
        (first, second)
    };
    let family = if V6 { 6 } else { 4 };
    let difference = packet::ports(flow.client_port, flow.vip_port) ^ walk.ports
        | u32::from(flow.protocol ^ walk.protocol | flow.family ^ family)
        | lookup::difference::<V6>(&flow.client, &frame.load_address::<V6>(client))
        | lookup::difference::<V6>(&flow.vip, &frame.load_address::<V6>(vip));
    difference == 0
}

/// Takes a free or expired place of a line; the number, if there is one.
#[inline(always)]
pub(crate) fn claim(line: u32, hash: u64, now: u32) -> Option<u32> {
    scan::claim(line, flow::tag(hash), now)
}

/// Makes a claimed flow known, or gives its place back (`State::Free`).
#[inline(always)]
pub(crate) fn publish(number: u32, state: State, hash: u64, now: u32) {
    if let Some(metas) = metas(number / FLOWS_PER_LINE) {
        let word = word(metas, ptr::opaque(number));
        let claimed = Meta(ptr::load_word(word));
        let meta = Meta::new(state as u32, flow::tag(hash), now);
        ptr::store_word(word, meta.with_fraction(claimed.sixteenths()).0);
    }
}

/// Notes a packet of a flow: its age starts anew, its state may change. Another CPU's note is as good.
#[inline(always)]
pub(crate) fn touch(found: Found, state: u32, now: u32) {
    let new = Meta::new(state, found.meta.tag(), now).with_fraction(found.meta.sixteenths());
    if new == found.meta {
        return;
    }
    if let Some(metas) = metas(found.number / FLOWS_PER_LINE) {
        ptr::swap_word(word(metas, ptr::opaque(found.number)), found.meta.0, new.0);
    }
}

/// The index word of a flow.
#[inline(always)]
pub(crate) fn meta(number: u32) -> Option<Meta> {
    let metas = metas(number / FLOWS_PER_LINE)?;
    Some(Meta(ptr::load_word(word(metas, ptr::opaque(number)))))
}

/// The record of a flow.
#[inline(always)]
pub(crate) fn record(number: u32) -> Option<&'static Flow> {
    maps::FLOWS.get_ptr(number).map(ptr::by_ref)
}

/// The record of a flow, to write: claimed, or a field that any packet of the flow may set.
#[inline(always)]
pub(crate) fn record_mut(number: u32) -> Option<&'static mut Flow> {
    maps::FLOWS.get_ptr_mut(number).map(ptr::by_mut)
}

/// Copies a record to a place that this run has claimed.
#[inline(always)]
pub(crate) fn copy_record(from: u32, to: u32) -> Option<()> {
    let from = maps::FLOWS.get_ptr(from)?.cast::<u64>();
    let to = maps::FLOWS.get_ptr_mut(to)?.cast::<u64>();
    // Word by word: the compiler's memory copy is a loop over bytes.
    for word in 0..size_of::<Flow>() / 8 {
        ptr::store_word(
            to.wrapping_add(word),
            ptr::load_word(from.wrapping_add(word)),
        );
    }
    Some(())
}

#[inline(always)]
fn metas(line: u32) -> Option<*mut u64> {
    maps::FLOW_INDEX
        .get_ptr_mut(line)
        .map(<*mut IndexLine>::cast)
}

#[inline(always)]
fn word(metas: *mut u64, place: u32) -> *mut u64 {
    metas.wrapping_add((place & (FLOWS_PER_LINE - 1)) as usize)
}
