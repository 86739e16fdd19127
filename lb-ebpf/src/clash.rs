//! A new flow that its endpoint could not tell from another: two service ports, or two VIPs, have given the pod the same
//! address and port of a client. Another endpoint of the service on this node takes it; if there is none, the pod sees
//! another port of the client's, whose address stays. What large CGNATs do daily is no reason to drop.

use lb_common::{
    endpoint::{ENDPOINTS_PER_LINE, Endpoint},
    service::{ServiceCold, ServiceValue},
    verdict::Verdict,
};

use crate::{count, deliver::Steered, flows, maps, ptr, reverse};

/// Other endpoints that are tried.
const ENDPOINTS_TRIED: u32 = 2;
/// Slots that are looked at for the next endpoint of this node.
const SLOTS_SCANNED: u32 = 32;
/// Ports that are tried. Each is free but for bad luck: a pod has few flows of one client.
const PORTS_TRIED: u32 = 4;
/// From one port to the next: odd, so that none comes twice.
const PORT_STEP: u32 = 7919;
/// Mapped ports are from the upper half, where no client's service listens.
const LOWEST_PORT: u16 = 0x8000;

/// Leads a claimed flow elsewhere than its record says, so that its replies lead to it.
#[inline(always)]
pub(crate) fn resolve(steered: &Steered, number: u32, now: u32) -> Result<(), Verdict> {
    let (service, endpoint) = (steered.service.0, steered.endpoint);
    match clash_resolve(number, service, endpoint, steered.hash, now) {
        0 => Err(Verdict::FlowsFull),
        _ => Ok(()),
    }
}

/// 0 if all is taken. Global, and for both families: the verifier walks it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn clash_resolve(number: u32, service: u64, endpoint: u32, hash: u64, now: u32) -> u32 {
    let service = ServiceValue(service);
    let found = other_endpoint(service, endpoint, number, now)
        .or_else(|| other_port(endpoint, hash, number, now));
    if found.is_some() {
        count::verdict(Verdict::ReverseClash);
    }
    u32::from(found.is_some())
}

/// Gives the flow to another endpoint of the service on this node.
#[inline(always)]
fn other_endpoint(service: ServiceValue, rows: u32, number: u32, now: u32) -> Option<()> {
    let config = maps::config()?;
    let cold: &ServiceCold = ptr::by_ref(maps::SERVICE_COLD.get_ptr(u32::from(service.id()))?);
    let mask = (u32::from(cold.endpoint_lines) * ENDPOINTS_PER_LINE).wrapping_sub(1);
    let first = service.endpoint_line() * ENDPOINTS_PER_LINE;
    let mut index = rows;
    for _ in 0..ENDPOINTS_TRIED {
        let from = index.wrapping_sub(first) + 1;
        index = local_endpoint(first, mask, from, config.own_node.into());
        if index == NONE || index == rows {
            return None;
        }
        set_endpoint(number, index)?;
        if reverse::insert_of_either(number, now) {
            return Some(());
        }
    }
    None
}

/// Gives the flow to the row's endpoint all the same, from another port of the client's.
#[inline(always)]
fn other_port(rows: u32, hash: u64, number: u32, now: u32) -> Option<()> {
    set_endpoint(number, rows)?;
    for attempt in 0..PORTS_TRIED {
        let port = (hash >> 16) as u32 + attempt * PORT_STEP;
        flows::record_mut(number)?.mapped_port = (port as u16 | LOWEST_PORT).to_be();
        if reverse::insert_of_either(number, now) {
            count::verdict(Verdict::PortTranslated);
            return Some(());
        }
    }
    None
}

#[inline(always)]
fn set_endpoint(number: u32, index: u32) -> Option<()> {
    let endpoint: &Endpoint = ptr::by_ref(maps::ENDPOINTS.get_ptr(index)?);
    let flow = flows::record_mut(number)?;
    flow.endpoint_port = endpoint.port;
    ptr::copy_address(&raw mut flow.endpoint, &raw const endpoint.address);
    Some(())
}

const NONE: u32 = u32::MAX;

/// Index of the next endpoint of a node, in an extent of `mask + 1` slots from slot `from` on.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn local_endpoint(first: u32, mask: u32, from: u32, node: u32) -> u32 {
    for step in 0..SLOTS_SCANNED {
        let index = first.wrapping_add(from.wrapping_add(step) & mask);
        if endpoint_is_on(index, node) != 0 {
            return index;
        }
    }
    NONE
}

/// 1 if there is an endpoint in the slot, on that node. Global, so that the verifier walks it once, not once a slot.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn endpoint_is_on(index: u32, node: u32) -> u32 {
    let Some(endpoint) = maps::ENDPOINTS.get_ptr(index) else {
        return 0;
    };
    let endpoint: &Endpoint = ptr::by_ref(endpoint);
    let other =
        u32::from(endpoint.node) ^ node | endpoint.flags & Endpoint::IN_USE ^ Endpoint::IN_USE;
    u32::from(other == 0)
}
