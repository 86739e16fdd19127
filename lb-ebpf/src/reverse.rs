//! The reverse index: from (endpoint, client) as the pod's packets say it to the flow. Entries are inserted
//! without overwriting a living one: two service ports, or two VIPs, can give a pod the same 4-tuple.

use lb_common::{
    Address,
    config::Config,
    flow::{Flow, ReverseLine},
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

/// Tag collisions that a look-up goes past: at 32 bits and eight entries one is rare, two in a line are not seen.
const COLLISIONS: u32 = 2;

/// The scans of a line, as those of [`crate::flows`].
mod scan {
    use super::{ENTRIES, entries, is_stale, maps, ptr, tag};

    /// First entry from `from` on with this tag; [`ENTRIES`] if there is none.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn reverse_find(line: u32, wanted: u32, from: u32) -> u32 {
        let Some(entries) = entries(line) else {
            return ENTRIES;
        };
        for place in 0..ENTRIES {
            let entry = ptr::load_word(entries.wrapping_add(place as usize));
            if place >= from && entry != 0 && tag(entry) == wanted {
                return place;
            }
        }
        ENTRIES
    }

    /// First entry that is free, or names a flow that is gone or another; [`ENTRIES`] if there is none.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn reverse_free(line: u32, now: u32) -> u32 {
        let (Some(config), Some(entries)) = (maps::config(), entries(line)) else {
            return ENTRIES;
        };
        for place in 0..ENTRIES {
            if is_stale(
                config,
                ptr::load_word(entries.wrapping_add(place as usize)),
                now,
            ) {
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
        let (place, entry) = scan::find(line(config, hash), (hash >> 32) as u32, from)?;
        let living = living::<V6>(config, tuple, ptr::load_word(entry), now);
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
    let flow = flows::record_mut(number)?;
    let hash = Tuple::of(flow).hash::<V6>(config);
    flow.reverse_tag = (hash >> 32) as u32;
    if find::<V6>(config, &Tuple::of(flow), hash, now).is_some() {
        return Some(if BY_ENDPOINT_ALONE { INSERTED } else { CLASH });
    }
    let (_, entry) = scan::free(line(config, hash), now)?;
    let old = ptr::load_word(entry);
    ptr::swap_word(entry, old, leads_to(hash, number)).then_some(INSERTED)
}

/// Leads the tuple from one number of a flow to another.
#[inline(always)]
pub(crate) fn redirect(config: &Config, hash: u64, from: u32, to: u32) {
    let mut start = 0;
    for _ in 0..COLLISIONS {
        let Some((place, entry)) = scan::find(line(config, hash), (hash >> 32) as u32, start)
        else {
            return;
        };
        if ptr::swap_word(entry, leads_to(hash, from), leads_to(hash, to)) {
            return;
        }
        start = place + 1;
    }
}

#[inline(always)]
fn leads_to(hash: u64, number: u32) -> u64 {
    hash >> 32 << 32 | u64::from(number + 1)
}

#[inline(always)]
fn living<const V6: bool>(
    config: &Config,
    tuple: &Tuple<'_>,
    entry: u64,
    now: u32,
) -> Option<Found> {
    let number = number(entry)?;
    let meta = flows::meta(number)?;
    if !flows::is_alive(config, meta, now) || !tuple.is_of::<V6>(flows::record(number)?) {
        return None;
    }
    Some(Found { number, meta })
}

/// Free, or naming a place whose flow is gone or another. A flow that another CPU is just making has its entry before
/// it is alive.
#[inline(always)]
fn is_stale(config: &Config, entry: u64, now: u32) -> bool {
    let Some(number) = number(entry) else {
        return true;
    };
    match (flows::meta(number), flows::record(number)) {
        (Some(meta), Some(flow)) => {
            !flows::is_taken(config, meta, now) || flow.reverse_tag != tag(entry)
        }
        _ => true,
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

#[inline(always)]
fn tag(entry: u64) -> u32 {
    (entry >> 32) as u32
}

#[inline(always)]
fn number(entry: u64) -> Option<u32> {
    (entry as u32).checked_sub(1)
}
