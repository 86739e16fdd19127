//! The walk of a packet that comes in: not ours, decapsulate, look up, choose, then deliver here or forward.
//! A packet that is neither for a VIP nor GUE for this node passes untouched and uncounted.

use aya_ebpf::{bindings::xdp_action::XDP_PASS, programs::XdpContext};
use lb_common::{
    Address,
    config::Config,
    interface::Interface,
    packet::{self, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, Packet as _},
    service::ServiceValue,
    verdict::Verdict,
};

use crate::{
    answer, count, deliver,
    forward::{self, Way},
    lookup, maps,
    ptr::{self, Frame},
    related,
    tunnel::{self, Arrival},
};

/// The XDP program.
#[inline(always)]
pub(crate) fn walk(ctx: &XdpContext) -> u32 {
    try_walk(ctx).unwrap_or(XDP_PASS)
}

/// `None`: none of ours.
#[inline(always)]
fn try_walk(ctx: &XdpContext) -> Option<u32> {
    let frame = Frame::xdp(ctx);
    if !frame.has(Layout::transport(false)) {
        return None;
    }
    let interface: &Interface = ptr::by_ref(maps::INTERFACES.get_ptr(maps::uplink_slot())?);
    if packet::destination_mac(&frame) != interface.mac {
        return None;
    }
    let config: &Config = ptr::by_ref(maps::CONFIG.get_ptr(0)?);
    let (v6, arrival) = match frame.load_u16(12) {
        ETHERTYPE_IPV4 => (false, receive::<false>(ctx, frame, config, interface)?),
        ETHERTYPE_IPV6 => (true, receive::<true>(ctx, frame, config, interface)?),
        _ => return None,
    };
    let arrival = match arrival {
        Ok(arrival) => arrival,
        Err(reason) => return Some(count::drop(reason)),
    };
    let v6 = if arrival.by_gue { arrival.inner_v6 } else { v6 };
    if v6 {
        serve::<true>(ctx, config, interface, arrival)
    } else {
        serve::<false>(ctx, config, interface, arrival)
    }
}

/// Stops what is none of ours (`None`) and takes off the outer header of GUE for this node.
#[inline(always)]
fn receive<const V6: bool>(
    ctx: &XdpContext,
    frame: Frame,
    config: &Config,
    interface: &Interface,
) -> Option<Result<Arrival, Verdict>> {
    if !frame.has(Layout::transport(V6)) {
        return None;
    }
    let destination = frame.load_address::<V6>(Layout::destination(V6));
    if lookup::may_be_vip::<V6>(config, &destination) {
        return Some(Ok(Arrival::PLAIN));
    }
    if !tunnel::is_for_us::<V6>(frame, config, &destination) {
        return None;
    }
    Some(tunnel::decapsulate::<V6>(ctx, frame, config, interface))
}

/// A packet whose destination passed the filter, or that came by GUE.
#[inline(always)]
fn serve<const V6: bool>(
    ctx: &XdpContext,
    config: &Config,
    interface: &Interface,
    arrival: Arrival,
) -> Option<u32> {
    let frame = Frame::xdp(ctx);
    if !frame.has(Layout::transport(V6)) {
        return arrival.none_of_ours();
    }
    let head = lookup::head();
    let header = match parse::<V6>(frame) {
        Ok(header) => header,
        Err(reason) => {
            let destination = frame.load_address::<V6>(Layout::destination(V6));
            return refuse::<V6>(ctx, config, head, &destination, arrival, reason);
        }
    };
    let service = lookup::service::<V6>(config, head, &header);
    if service.0 == 0 {
        return refuse::<V6>(
            ctx,
            config,
            head,
            &header.destination,
            arrival,
            Verdict::NoSuchPort,
        );
    }
    let hash = lookup::flow_hash::<V6>(config, &header);
    if arrival.by_gue && !arrival.tag_is_valid(config, hash) {
        return Some(count::drop(Verdict::GueBadTag));
    }
    Some(steer::<V6>(
        ctx, frame, config, interface, arrival, header, service, hash,
    ))
}

/// The flow that a packet belongs to, or that it is an ICMP error about.
#[inline(always)]
fn parse<const V6: bool>(frame: Frame) -> Result<Header, Verdict> {
    match packet::header::<V6, _>(&frame) {
        Err(Verdict::UnsupportedProtocol) => packet::quoted::<V6, _>(&frame),
        parsed => parsed,
    }
}

/// Only what is addressed to a VIP may be dropped, or answered.
#[inline(always)]
fn refuse<const V6: bool>(
    ctx: &XdpContext,
    config: &Config,
    head: lb_common::service::ServicesHead,
    destination: &Address,
    arrival: Arrival,
    reason: Verdict,
) -> Option<u32> {
    if !lookup::is_vip::<V6>(config, head, destination) {
        return arrival.none_of_ours();
    }
    Some(answer::call::<V6>(ctx, reason, arrival))
}

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined into its only caller; a struct would go through the stack"
)]
fn steer<const V6: bool>(
    ctx: &XdpContext,
    frame: Frame,
    config: &Config,
    interface: &Interface,
    arrival: Arrival,
    header: Header,
    service: ServiceValue,
    hash: u64,
) -> u32 {
    let counters = count::service(config, service.id());
    if let Some(line) = counters {
        let line = ptr::by_mut(line);
        line.packets += 1;
        line.bytes += frame.len();
    }
    let chosen = if service.has(ServiceValue::EMPTY) {
        Err(Verdict::NoEndpoint)
    } else {
        lookup::endpoint(service, hash).ok_or(Verdict::TableInconsistent)
    };
    let outcome = match chosen {
        Err(reason) => Err(reason),
        Ok((index, endpoint)) => {
            let is_local = endpoint.node == config.own_node;
            let steered_before = !is_local && forward::steered_before(frame, interface, arrival);
            if is_local && packet::is_error::<V6, _>(&frame) {
                return related::call::<V6>(ctx, hash);
            }
            if is_local || steered_before {
                let action = deliver::call::<V6>(ctx, hash, service, index, arrival, is_local);
                if action != deliver::UNKNOWN {
                    return action;
                }
            }
            let way = Way {
                node: endpoint.node,
                arrival,
                steered_before,
            };
            forward::forward::<V6>(ctx, frame, config, interface, &header, hash, way, counters)
        }
    };
    outcome.unwrap_or_else(|reason| {
        count::lost(config, service.id());
        answer::call::<V6>(ctx, reason, arrival)
    })
}
