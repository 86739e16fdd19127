//! ICMP errors about a flow of ours, to the pod that has the flow: the error's destination becomes the pod's
//! address, and so does the source of what it quotes, as if no VIP had ever been. Without this a path MTU smaller
//! than the client's own stays unknown to the pod, and its large answers vanish.

use lb_common::{
    UDP,
    checksum::Delta,
    config::Config,
    flow::Flow,
    headers::Nested as _,
    packet::{self, ETHERNET_BYTES, IPV4_BYTES, IPV6_BYTES, Layout, Packet as _},
    service::ServiceValue,
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{count, flows, hook::Context, maps, ptr::Frame, rooms};

/// The program of the room: delivers an error that was parsed by [`packet::quoted`]. One that another node has steered
/// may be about a flow that is known here although its row leads elsewhere by now.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &Context) -> u32 {
    let (Some(walk), Some(config)) = (rooms::walk(), maps::config()) else {
        return count::drop(Verdict::TableInconsistent);
    };
    match deliver::<V6>(ctx, config, walk) {
        Some(action) => action,
        None if walk.reason != 0 => rooms::without_endpoint::<V6>(ctx, walk),
        None if walk.has(Walk::IS_LOCAL) => {
            let service = ServiceValue(walk.service);
            count::drop_of(config, service.id(), Verdict::ErrorOfNoFlow)
        }
        None => rooms::enter_by_family::<V6>(ctx, Room::ForwardV4, Room::ForwardV6),
    }
}

#[inline(always)]
fn deliver<const V6: bool>(ctx: &Context, config: &Config, walk: &Walk) -> Option<u32> {
    let frame = Frame::untagged(ctx, walk);
    let transport = Frame::of(ctx).beyond(usize::from(walk.quoted_at));
    let quoted = packet::quote(V6) + if V6 { IPV6_BYTES } else { IPV4_BYTES };
    if !frame.has(quoted) || !transport.has(8) {
        return None;
    }
    let found = flows::find::<V6, true>(config, frame, walk, flows::now(config))?;
    translate::<V6>(frame, flows::record(found.number)?, transport);
    Some(count::pass(Verdict::ErrorDelivered))
}

/// Every byte that changes under the ICMP checksum, and under the IPv4 headers' own.
#[inline(always)]
fn translate<const V6: bool>(frame: Frame, flow: &Flow, transport: Frame) {
    let destination = Layout::destination(V6);
    let inner = packet::quote(V6);
    let inner_source = inner + if V6 { 8 } else { 12 };
    let ports = packet::ports(flow.endpoint_port, flow.mapped_port);
    let mut delta = Delta::new().word(transport.load_u32(0), ports);
    if V6 {
        let vip = frame.load_address::<true>(destination);
        // Once as part of the pseudo-header (RFC 4443 section 2.3), once in the quote.
        delta = delta
            .address(&vip, &flow.endpoint)
            .address(&vip, &flow.endpoint);
    } else {
        let vip = frame.load_u32(destination);
        let address = Delta::new().word(vip, flow.endpoint[0]);
        let outer = ETHERNET_BYTES + 10;
        frame.store_u16(outer, address.apply(frame.load_u16(outer)));
        let old = frame.load_u16(inner + 10);
        let new = address.apply(old);
        frame.store_u16(inner + 10, new);
        delta = delta.word(vip, flow.endpoint[0]).half(old, new);
    }
    if flow.protocol == UDP {
        // In the quote even if that has eight bytes; TCP's is beyond them, and nobody verifies a quote.
        let pod = Delta::new().word(transport.load_u32(0), ports);
        let pod = pod.address(&frame.load_address::<V6>(destination), &flow.endpoint);
        let old = transport.load_u16(6);
        let new = pod.apply_udp(old);
        transport.store_u16(6, new);
        delta = delta.half(old, new);
    }
    frame.store_address::<V6>(destination, &flow.endpoint);
    frame.store_address::<V6>(inner_source, &flow.endpoint);
    transport.store_u32(0, ports);
    let checksum = Layout::transport(V6) + 2;
    frame.store_u16(checksum, delta.apply(frame.load_u16(checksum)));
}
