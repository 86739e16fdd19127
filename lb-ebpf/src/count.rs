//! Counting: each CPU has its own lines, so no atomics. A verdict is counted where it falls.

use lb_common::{
    config::Config,
    counter::{SAMPLED_OF, Sampled, ServiceCounters},
    endpoint::Endpoint,
    verdict::{VERDICTS, Verdict},
};

use crate::{hook, maps, ptr};

/// This CPU's line for a service, if the id is within the capacity.
#[inline(always)]
pub(crate) fn service(config: &Config, id: u16) -> Option<*mut ServiceCounters> {
    maps::COUNTERS.get_ptr_mut(ptr::cpu() * config.services + u32::from(id))
}

/// Counts a packet of a service that comes in; whether it is one to [`sample`].
#[inline(always)]
pub(crate) fn received(line: Option<*mut ServiceCounters>, bytes: u64) -> bool {
    line.is_some_and(|line| {
        let line = ptr::by_mut(line);
        line.packets += 1;
        line.bytes += bytes;
        line.packets % SAMPLED_OF == 0
    })
}

/// [`received`] and [`forwarded`] at once.
#[inline(always)]
pub(crate) fn sent_on(line: Option<*mut ServiceCounters>, bytes: u64, by_gue: bool) -> bool {
    forwarded(line, by_gue);
    received(line, bytes)
}

/// Counts for an endpoint, by its slot, and for its node.
#[inline(always)]
pub(crate) fn sample(endpoint: u32, node: u16) {
    count_sample(endpoint, node.into());
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn count_sample(slot: u32, node: u32) -> u32 {
    let (Some(globals), Some(endpoint)) = (maps::globals(), maps::ENDPOINTS.get_ptr(slot)) else {
        return 0;
    };
    let endpoint: &Endpoint = ptr::by_ref(endpoint);
    let address = ptr::load_address(&raw const endpoint.address);
    let mark = Sampled::of_endpoint(&address, endpoint.port);
    add_sample(maps::ENDPOINT_PACKETS.get_ptr_mut(slot), mark);
    let mark = Sampled::of_node(maps::node_of(globals, node as u16).id);
    add_sample(maps::NODE_PACKETS.get_ptr_mut(node), mark);
    0
}

/// Begins anew for another owner. All CPUs share an element, so the sum is atomic.
#[inline(always)]
fn add_sample(element: Option<*mut Sampled>, whose: u64) {
    let Some(element) = element else { return };
    let words = element.cast::<u64>();
    if ptr::load_word(words) != whose {
        ptr::store_word(words.wrapping_add(1), 0);
        ptr::store_word(words, whose);
    }
    ptr::add_shared(words.wrapping_add(1), SAMPLED_OF);
}

/// Counts a packet of a service that is sent on.
#[inline(always)]
pub(crate) fn forwarded(line: Option<*mut ServiceCounters>, by_gue: bool) {
    add_forwarded(line, by_gue, 1);
}

/// Takes back what [`sent_on`] counted of a packet that could not be sent on after all.
#[inline(always)]
pub(crate) fn not_forwarded(line: Option<*mut ServiceCounters>, by_gue: bool) {
    add_forwarded(line, by_gue, 1_u64.wrapping_neg());
}

#[inline(always)]
fn add_forwarded(line: Option<*mut ServiceCounters>, by_gue: bool, amount: u64) {
    if let Some(line) = line {
        let line = ptr::by_mut(line);
        let count = if by_gue {
            &mut line.forwarded_gue
        } else {
            &mut line.forwarded_direct
        };
        *count = count.wrapping_add(amount);
    }
}

/// Adds one to a verdict that is known where it is compiled.
#[inline(always)]
pub(crate) fn verdict(verdict: Verdict) {
    add_at(verdict as usize);
}

/// Counts and drops.
#[inline(always)]
pub(crate) fn drop(reason: Verdict) -> u32 {
    drop_number(reason as u32)
}

/// As [`drop`], for a verdict that came through a call as a number.
#[inline(always)]
pub(crate) fn drop_number(reason: u32) -> u32 {
    // The compiler knows the enum's range and would leave the mask out; the verifier does not.
    add_at(ptr::opaque(reason as usize) & (VERDICTS - 1));
    hook::DROP
}

/// Counts for the service that a packet of it goes nowhere, and drops.
#[inline(always)]
pub(crate) fn drop_of(config: &Config, service_id: u16, reason: Verdict) -> u32 {
    lost(config, service_id);
    drop(reason)
}

/// As [`drop_of`], for a verdict as a number.
#[inline(always)]
pub(crate) fn drop_number_of(config: &Config, service_id: u16, reason: u32) -> u32 {
    lost(config, service_id);
    drop_number(reason)
}

/// Counts for the service that a packet of it goes nowhere.
#[inline(always)]
pub(crate) fn lost(config: &Config, service_id: u16) {
    if let Some(line) = service(config, service_id) {
        ptr::by_mut(line).dropped += 1;
    }
}

#[inline(always)]
fn add_at(index: usize) {
    if let Some(line) = maps::VERDICTS.get_ptr_mut(ptr::cpu()) {
        ptr::add(line.cast::<u64>().wrapping_add(index), 1);
    }
}

/// Counts and passes into the stack.
#[inline(always)]
pub(crate) fn pass(reason: Verdict) -> u32 {
    verdict(reason);
    hook::PASS
}
