//! The reverse index: from (endpoint, client) as the pod's packets say it to the flow. Entries are inserted
//! without overwriting a living one: two service ports, or two VIPs, can give a pod the same 4-tuple.

use lb_common::{
    Address,
    config::Config,
    flow::{self, Flow, ReverseEntry, ReverseLine},
    hash, packet,
    verdict::Verdict,
};

use crate::{
    flows::{self, Found},
    lookup, maps, ptr,
};

const ENTRIES: u32 = 8;

/// The mistake of a canary: replies are told apart by the pod's address only.
const BY_ENDPOINT_ALONE: bool = cfg!(feature = "canary-reverse");

/// Tag collisions that a look-up goes past: at 20 bits and eight entries one in 100,000 lines has one, and two none.
const COLLISIONS: u32 = 2;

/// The scans of a line, as those of [`crate::flows`].
mod scan {
    use super::{ENTRIES, ReverseEntry, entries, is_stale, maps, ptr};

    /// First entry from `from` on with this tag; [`ENTRIES`] if there is none.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn reverse_find(line: u32, wanted: u32, from: u32) -> u32 {
        let Some(entries) = entries(line) else {
            return ENTRIES;
        };
        for place in 0..ENTRIES {
            let entry = ReverseEntry(ptr::load_word(entries.wrapping_add(place as usize)));
            if place >= from && entry.0 != 0 && entry.tag() == wanted {
                return place;
            }
        }
        ENTRIES
    }

    /// First entry that is free, else the first that names a flow that is gone or another; [`ENTRIES`] if there is none.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn reverse_free(line: u32, now: u32) -> u32 {
        let (Some(config), Some(entries)) = (maps::config(), entries(line)) else {
            return ENTRIES;
        };
        // What is free needs no look elsewhere.
        for place in 0..ENTRIES {
            if ptr::load_word(entries.wrapping_add(place as usize)) == 0 {
                return place;
            }
        }
        for place in 0..ENTRIES {
            let entry = ReverseEntry(ptr::load_word(entries.wrapping_add(place as usize)));
            if is_stale(config, entry, now) {
                return place;
            }
        }
        ENTRIES
    }

    /// [`reverse_find`] as an address.
    #[inline(always)]
    pub(super) fn find(line: u32, wanted: u32, from: u32) -> Option<(u32, *mut u64)> {
        at(line, reverse_find(line, wanted, from))
    }

    /// [`reverse_free`] as an address.
    #[inline(always)]
    pub(super) fn free(line: u32, now: u32) -> Option<(u32, *mut u64)> {
        at(line, reverse_free(line, now))
    }

    #[inline(always)]
    fn at(line: u32, place: u32) -> Option<(u32, *mut u64)> {
        if place >= ENTRIES {
            return None;
        }
        Some((
            place,
            entries(line)?.wrapping_add((ptr::opaque(place) & (ENTRIES - 1)) as usize),
        ))
    }
}

/// A packet's tuple in the pod's direction.
pub(crate) struct Tuple<'a> {
    /// The pod.
    pub(crate) endpoint: &'a Address,
    /// The client.
    pub(crate) client: &'a Address,
    /// The pod's port, then the client's as the pod sees it.
    pub(crate) ports: u32,
    /// IP protocol number.
    pub(crate) protocol: u8,
}

impl<'a> Tuple<'a> {
    /// The tuple that a flow's replies have.
    #[inline(always)]
    pub(crate) fn of(flow: &'a Flow) -> Self {
        Self {
            endpoint: &flow.endpoint,
            client: &flow.client,
            ports: packet::ports(flow.endpoint_port, flow.mapped_port),
            protocol: flow.protocol,
        }
    }

    /// Its keyed hash.
    #[inline(always)]
    pub(crate) fn hash<const V6: bool>(&self, config: &Config) -> u64 {
        let (client, ports) = self.distinguishing();
        if V6 {
            hash::flow_v6(&config.seed, self.endpoint, client, ports, self.protocol)
        } else {
            hash::flow_v4(
                &config.seed,
                self.endpoint[0],
                client[0],
                ports,
                self.protocol,
            )
        }
    }

    /// What tells the flows of one endpoint apart: nothing, in the canary.
    #[inline(always)]
    fn distinguishing(&self) -> (&Address, u32) {
        if BY_ENDPOINT_ALONE {
            (&[0; 4], 0)
        } else {
            (self.client, self.ports)
        }
    }

    #[inline(always)]
    fn is_of<const V6: bool>(&self, flow: &Flow) -> bool {
        let family = if V6 { 6 } else { 4 };
        let endpoint = u32::from(flow.protocol ^ self.protocol | flow.family ^ family)
            | lookup::difference::<V6>(&flow.endpoint, self.endpoint);
        let client = packet::ports(flow.endpoint_port, flow.mapped_port) ^ self.ports
            | lookup::difference::<V6>(&flow.client, self.client);
        endpoint | if BY_ENDPOINT_ALONE { 0 } else { client } == 0
    }
}

/// The living flow whose replies have this tuple.
#[inline(always)]
pub(crate) fn find<const V6: bool>(
    config: &Config,
    tuple: &Tuple<'_>,
    hash: u64,
    now: u32,
) -> Option<Found> {
    let mut from = 0;
    for _ in 0..COLLISIONS {
        let (place, entry) = scan::find(line(config, hash), ReverseEntry::tag_of(hash), from)?;
        let entry = ReverseEntry(ptr::load_word(entry));
        let living = living::<V6>(config, tuple, entry, now);
        if living.is_some() {
            return living;
        }
        from = place + 1;
    }
    None
}

/// Leads a claimed flow's replies to it. Global functions of numbers, as the scans are.
///
/// # Errors
/// `ReverseClash` if its tuple leads to another living flow, `FlowsFull` if the line has no room.
#[inline(always)]
pub(crate) fn insert<const V6: bool>(number: u32, now: u32) -> Result<(), Verdict> {
    let outcome = if V6 {
        reverse_insert_v6(number, now)
    } else {
        reverse_insert_v4(number, now)
    };
    match outcome {
        INSERTED => Ok(()),
        CLASH => Err(Verdict::ReverseClash),
        _ => Err(Verdict::FlowsFull),
    }
}

/// As [`insert`], for a flow of the family that its record says; whether it led there.
#[inline(always)]
pub(crate) fn insert_of_either(number: u32, now: u32) -> bool {
    match flows::record(number) {
        Some(flow) if flow.family == 6 => reverse_insert_v6(number, now) == INSERTED,
        Some(_) => reverse_insert_v4(number, now) == INSERTED,
        None => false,
    }
}

const INSERTED: u32 = 0;
const CLASH: u32 = 1;
const FULL: u32 = 2;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn reverse_insert_v4(number: u32, now: u32) -> u32 {
    try_insert::<false>(number, now).unwrap_or(FULL)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn reverse_insert_v6(number: u32, now: u32) -> u32 {
    try_insert::<true>(number, now).unwrap_or(FULL)
}

/// `None`: no room, or another CPU was first.
#[inline(always)]
fn try_insert<const V6: bool>(number: u32, now: u32) -> Option<u32> {
    let config = maps::config()?;
    let flow = flows::record(number)?;
    let hash = Tuple::of(flow).hash::<V6>(config);
    if find::<V6>(config, &Tuple::of(flow), hash, now).is_some() {
        return Some(if BY_ENDPOINT_ALONE { INSERTED } else { CLASH });
    }
    // One of the same tag first, so that no look-up ever has to go past what was left behind.
    let line = line(config, hash);
    let (_, entry) = scan::find(line, ReverseEntry::tag_of(hash), 0)
        .filter(|(_, entry)| is_stale(config, ReverseEntry(ptr::load_word(*entry)), now))
        .or_else(|| scan::free(line, now))?;
    let old = ptr::load_word(entry);
    let new = ReverseEntry::new(hash, flows::meta(number)?.tag(), number);
    ptr::swap_word(entry, old, new.0).then_some(INSERTED)
}

/// Leads the tuple from one number of a flow to another; `flow_hash` is the flow's own, `hash` the tuple's.
#[inline(always)]
pub(crate) fn redirect(config: &Config, hash: u64, flow_hash: u64, from: u32, to: u32) {
    let leads_to = |number| ReverseEntry::new(hash, flow::tag(flow_hash), number).0;
    let mut start = 0;
    for _ in 0..COLLISIONS {
        let found = scan::find(line(config, hash), ReverseEntry::tag_of(hash), start);
        let Some((place, entry)) = found else {
            return;
        };
        if ptr::swap_word(entry, leads_to(from), leads_to(to)) {
            return;
        }
        start = place + 1;
    }
}

#[inline(always)]
fn living<const V6: bool>(
    config: &Config,
    tuple: &Tuple<'_>,
    entry: ReverseEntry,
    now: u32,
) -> Option<Found> {
    let number = entry.number()?;
    let meta = flows::meta(number)?;
    if !flows::is_alive(config, meta, now) || !tuple.is_of::<V6>(flows::record(number)?) {
        return None;
    }
    Some(Found { number, meta })
}

/// Names a place whose flow is gone or another. A flow that another CPU is just making has its entry before it is alive.
#[inline(always)]
fn is_stale(config: &Config, entry: ReverseEntry, now: u32) -> bool {
    match entry.number().and_then(flows::meta) {
        Some(meta) => !flows::is_taken(config, meta, now) || !entry.is_of(meta.tag()),
        None => true,
    }
}

#[inline(always)]
fn line(config: &Config, hash: u64) -> u32 {
    hash as u32 & config.reverse_mask
}

#[inline(always)]
fn entries(line: u32) -> Option<*mut u64> {
    maps::FLOW_REVERSE
        .get_ptr_mut(line)
        .map(<*mut ReverseLine>::cast)
}
