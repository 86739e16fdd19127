//! A flow that is not known here, and whose row leads to a pod of this node: its record, its state, and the way back
//! from the pod to it. Nothing is seen of a flow until all of that is written.

use lb_common::{
    TCP,
    config::Config,
    endpoint::Endpoint,
    flow::{self, Flow, State},
    packet::{Layout, Packet as _},
    service::{ServiceCold, ServiceValue},
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    clash, count,
    deliver::{Headers, Steered, tcp},
    flow_limit, flows,
    hook::{self, Context, Raw},
    maps, promote, ptr, reverse, rooms, way_back,
};

/// The program of the room: makes the flow, or promotes it, and delivers the packet.
#[inline(always)]
pub(crate) fn enter(ctx: &Context) -> u32 {
    let (Some(walk), Some(config)) = (rooms::walk(), maps::config()) else {
        return count::drop(Verdict::TableInconsistent);
    };
    let reason = if walk.has(Walk::V6) {
        deliver::<true>(ctx, walk, make::flow_v6(hook::raw(ctx)))
    } else {
        deliver::<false>(ctx, walk, make::flow_v4(hook::raw(ctx)))
    };
    if reason != 0 {
        return count::drop_number_of(config, ServiceValue(walk.service).id(), reason - 1);
    }
    if ServiceValue(walk.service).has(ServiceValue::AFFINITY) {
        return rooms::enter(ctx, Room::Keep);
    }
    count::pass(Verdict::Delivered)
}

/// Translates the packet for the flow that was made, [`Walk::flow`]. Why not, as [`make`] says it.
#[inline(always)]
fn deliver<const V6: bool>(ctx: &Context, walk: &Walk, reason: u32) -> u32 {
    if reason != 0 {
        return reason;
    }
    let (Some(headers), Some(flow)) = (Headers::of::<V6>(ctx, walk), flows::record(walk.flow))
    else {
        return Verdict::TableInconsistent as u32 + 1;
    };
    headers.translate::<V6>(ctx, walk, &Steered::of(walk), flow);
    if flow.flags & Flow::RETURN != 0 && flow.protocol == TCP && !walk.is_later_fragment() {
        rooms::enter(ctx, Room::Clamp);
    }
    0
}

/// Makes or promotes the flow and notes its number. Global functions, after which all ways are one for the verifier.
/// 0, or the number of the verdict that says why not plus one.
mod make {

    use super::{Context, Raw, Verdict, flow_of_packet, maps, rooms};

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn flow_v4(ctx: *mut Raw) -> u32 {
        flow::<false>(&Context::new(ctx))
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn flow_v6(ctx: *mut Raw) -> u32 {
        flow::<true>(&Context::new(ctx))
    }

    #[inline(always)]
    fn flow<const V6: bool>(ctx: &Context) -> u32 {
        let (Some(walk), Some(config)) = (rooms::walk(), maps::config()) else {
            return Verdict::TableInconsistent as u32 + 1;
        };
        match flow_of_packet::<V6>(ctx, config, walk) {
            Ok(number) => {
                walk.flow = number;
                0
            }
            Err(reason) => reason as u32 + 1,
        }
    }
}

/// The number of the packet's flow.
#[inline(always)]
fn flow_of_packet<const V6: bool>(
    ctx: &Context,
    config: &Config,
    walk: &Walk,
) -> Result<u32, Verdict> {
    let headers = Headers::of::<V6>(ctx, walk).ok_or(Verdict::Malformed)?;
    let steered = &Steered::of(walk);
    let (flags, ..) = headers.tcp_fields(steered);
    if walk.has(Walk::PROVEN) {
        let number = walk.replaced.wrapping_sub(1);
        return Ok(promote::promote::<V6>(config, steered, number, flags));
    }
    create::<V6>(config, headers, steered, flags, walk.replaced)
}

/// Makes a flow; its number. `replaced` is the number plus one of a flow of the same client that is over, or 0: it goes
/// only when there is room for the new one.
#[inline(always)]
fn create<const V6: bool>(
    config: &Config,
    headers: Headers,
    steered: &Steered,
    flags: u8,
    replaced: u32,
) -> Result<u32, Verdict> {
    let now = flows::now(config);
    let client = headers.frame.load_address::<V6>(Layout::source(V6));
    flow_limit::admit::<V6>(config, &client, steered.service, now)?;
    let line = flow::line(steered.hash, config.embryonic_mask);
    let number = flows::claim(line, steered.hash, now).ok_or(Verdict::FlowsFull)?;
    if replaced != 0 {
        flows::publish(replaced - 1, State::Free, steered.hash, now);
    }
    fill::<V6>(headers, steered, number, now).ok_or(Verdict::TableInconsistent)?;
    let led = match reverse::insert::<V6>(number, now) {
        Err(Verdict::ReverseClash) => clash::resolve(steered, number, now),
        led => led,
    };
    if let Err(reason) = led {
        flows::publish(number, State::Free, steered.hash, now);
        return Err(reason);
    }
    publish(config, steered, number, flags, now);
    Ok(number)
}

/// Makes a flow known in the state that its first packet puts it in.
#[inline(always)]
fn publish(config: &Config, steered: &Steered, number: u32, flags: u8, now: u32) {
    let state = match (steered.protocol, flags & (tcp::SYN | tcp::ACK | tcp::RST)) {
        (TCP, tcp::SYN) => State::SynReceived,
        (TCP, other) if other & tcp::RST != 0 => State::Reset,
        (TCP, _) => State::Adopted,
        _ => State::Unreplied,
    };
    flows::publish(number, state, steered.hash, now);
    if let Some(line) = count::service(config, steered.service.id()) {
        ptr::by_mut(line).new_flows += 1;
    }
}

/// Writes the record of a flow to the row's endpoint.
#[inline(always)]
fn fill<const V6: bool>(headers: Headers, steered: &Steered, number: u32, now: u32) -> Option<()> {
    let Headers { whole, frame, .. } = headers;
    let endpoint: &Endpoint = ptr::by_ref(maps::ENDPOINTS.get_ptr(steered.endpoint)?);
    let flow = flows::record_mut(number)?;
    flow.client = frame.load_address::<V6>(Layout::source(V6));
    flow.vip = frame.load_address::<V6>(Layout::destination(V6));
    let [a, b, c, d] = steered.ports.to_ne_bytes();
    flow.client_port = u16::from_ne_bytes([a, b]);
    flow.vip_port = u16::from_ne_bytes([c, d]);
    flow.endpoint_port = endpoint.port;
    flow.mapped_port = flow.client_port;
    flow.protocol = steered.protocol;
    flow.family = if V6 { 6 } else { 4 };
    way_back::note(whole, steered, flow);
    flow.service = steered.service.id();
    let cold: &ServiceCold = ptr::by_ref(maps::SERVICE_COLD.get_ptr(flow.service.into())?);
    let returned = if cold.flags & ServiceCold::RETURN_BY_INGRESS != 0 {
        Flow::RETURN
    } else {
        0
    };
    flow.flags = returned | if steered.by_gue { Flow::FROM_GUE } else { 0 };
    flow.expected_ack = 0;
    flow.endpoint_ack = 0;
    flow.created = now;
    ptr::copy_address(&raw mut flow.endpoint, &raw const endpoint.address);
    flow.row = steered.row_hash & steered.service.shape().rows().saturating_sub(1);
    Some(())
}
