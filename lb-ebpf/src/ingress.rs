//! The entry: a plain TCP or UDP packet for a service port whose endpoint is on another node is sent there at once.
//! What is neither for a VIP nor GUE for this node passes untouched and uncounted; everything else goes on in a
//! room.

use aya_ebpf::{bindings::xdp_action::XDP_PASS, programs::XdpContext};
use lb_common::{
    config::Config,
    headers::{ETHERTYPE_SERVICE_VLAN, ETHERTYPE_VLAN},
    interface::Interface,
    packet::{
        self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, Packet as _, is_group,
    },
    service::ServiceValue,
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count, forward, lookup, maps, neighbours,
    ptr::{self, Frame},
    rooms, steer, tunnel,
};

/// The entry program.
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
    let mac = packet::destination_mac(&frame);
    let is_for_us = mac == interface.mac;
    if !is_for_us && !is_group(mac) {
        return None;
    }
    let config: &Config = ptr::by_ref(maps::CONFIG.get_ptr(0)?);
    match frame.load_u16(12) {
        ETHERTYPE_IPV4 if is_for_us => receive::<false>(ctx, frame, config, interface),
        ETHERTYPE_IPV6 if is_for_us => receive::<true>(ctx, frame, config, interface),
        ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN if is_for_us => {
            begin::<false>(0)?;
            Some(rooms::enter_or_pass(ctx, Room::Odd))
        }
        _ => ask_neighbours(ctx, frame),
    }
}

/// Goes on in a room of ARP and Neighbour Discovery, if the frame is of these.
#[inline(always)]
fn ask_neighbours(ctx: &XdpContext, frame: Frame) -> Option<u32> {
    let room = neighbours::room(frame)?;
    begin::<false>(0)?;
    Some(rooms::enter_or_pass(ctx, room))
}

/// Stops what is none of ours (`None`), and sends away what is not plain.
#[inline(always)]
fn receive<const V6: bool>(
    ctx: &XdpContext,
    frame: Frame,
    config: &Config,
    interface: &Interface,
) -> Option<u32> {
    if !frame.has(Layout::transport(V6)) {
        return None;
    }
    let destination = frame.load_address::<V6>(Layout::destination(V6));
    if !lookup::may_be_vip::<V6>(config, &destination) {
        if !tunnel::is_for_us::<V6>(frame, config, &destination) {
            return None;
        }
        begin::<V6>(0)?;
        return Some(rooms::enter(ctx, Room::Tunnel));
    }
    let Ok(header) = packet::header::<V6, _>(&frame) else {
        begin::<V6>(Walk::MAY_BE_VIP)?;
        return Some(rooms::enter_or_pass(ctx, Room::Odd));
    };
    if forward::may_be_of_a_node(frame, interface) {
        let walk = begin::<V6>(0)?;
        return Some(steer::leave::<V6>(ctx, walk, &header));
    }
    let service = lookup::service::<V6>(config, lookup::head(), &header);
    if service.0 == 0 {
        let walk = begin::<V6>(Walk::MAY_BE_VIP)?;
        return Some(rooms::answer::<V6>(ctx, walk, Verdict::NoSuchPort));
    }
    choose::<V6>(ctx, frame, config, interface, &header, service)
}

/// From the service to the node of the flow's endpoint.
#[inline(always)]
fn choose<const V6: bool>(
    ctx: &XdpContext,
    frame: Frame,
    config: &Config,
    interface: &Interface,
    header: &Header,
    service: ServiceValue,
) -> Option<u32> {
    let counters = count::service(config, service.id());
    count::received(counters, frame);
    let hash = lookup::flow_hash::<V6>(config, header);
    if service.has_any(ServiceValue::CHOSEN_APART) {
        let walk = begin::<V6>(0)?;
        walk.hash = hash;
        walk.service = service.0;
        walk.ip_bytes = header.ip_bytes;
        walk.protocol = header.protocol;
        walk.ports = header.ports;
        return Some(rooms::enter_by_family::<V6>(
            ctx,
            Room::ChooseV4,
            Room::ChooseV6,
        ));
    }
    let (endpoint, node) = match lookup::endpoint(service, hash) {
        Ok(chosen) => chosen,
        Err(reason) => {
            let walk = begin::<V6>(0)?;
            walk.service = service.0;
            return Some(rooms::answer::<V6>(ctx, walk, reason));
        }
    };
    if node != config.own_node {
        let sent = forward::plain::<V6>(ctx, frame, config, interface, header, hash, node);
        return match sent {
            Ok((action, by_gue)) => {
                count::forwarded(counters, by_gue);
                Some(action)
            }
            Err(reason) => {
                let walk = begin::<V6>(0)?;
                walk.service = service.0;
                Some(rooms::answer::<V6>(ctx, walk, reason))
            }
        };
    }
    let walk = begin::<V6>(Walk::IS_LOCAL)?;
    walk.hash = hash;
    walk.service = service.0;
    walk.endpoint = endpoint;
    walk.node = node;
    walk.ip_bytes = header.ip_bytes;
    walk.protocol = header.protocol;
    walk.ports = header.ports;
    Some(rooms::enter_by_family::<V6>(
        ctx,
        Room::DeliverV4,
        Room::DeliverV6,
    ))
}

/// The record of a packet without tags, options or extension headers.
#[inline(always)]
fn begin<const V6: bool>(flags: u32) -> Option<&'static mut Walk> {
    let walk = rooms::begin()?;
    walk.slot = maps::uplink_slot() as u8;
    walk.flags = flags | if V6 { Walk::V6 } else { 0 };
    walk.ip_at = ETHERNET_BYTES as u16;
    walk.transport_at = Layout::transport(V6) as u16;
    Some(walk)
}
