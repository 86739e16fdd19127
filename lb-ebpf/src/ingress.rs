//! The entry: a plain TCP or UDP packet for a service port whose endpoint is on another node is sent there at once.
//! What is neither for a VIP nor GUE for this node passes untouched and uncounted; everything else goes on in a
//! room.

use lb_common::{
    config::{Config, Globals},
    headers::{self, ETHERTYPE_SERVICE_VLAN, ETHERTYPE_VLAN},
    packet::{
        self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, Packet as _, is_group,
    },
    service::ServiceValue,
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count, forward,
    hook::{self, Context},
    lookup, maps, neighbours,
    ptr::Frame,
    rooms, steer, tunnel,
};

/// The entry program.
#[inline(always)]
pub(crate) fn walk(ctx: &Context) -> u32 {
    try_walk(ctx).unwrap_or(hook::PASS)
}

/// `None`: none of ours.
#[inline(always)]
fn try_walk(ctx: &Context) -> Option<u32> {
    let frame = Frame::one_buffer(ctx);
    if !frame.has(Layout::transport(false)) {
        return None;
    }
    let globals = maps::globals()?;
    let mac = packet::destination_mac(&frame);
    if mac != maps::interface_of(globals, maps::uplink_slot()).mac {
        return if is_group(mac) {
            ask_neighbours(ctx, frame)
        } else {
            None
        };
    }
    let ethertype = frame.load_u16(12);
    if ethertype == ETHERTYPE_IPV4 {
        return receive::<false>(ctx, frame, globals);
    }
    match ethertype {
        ETHERTYPE_IPV6 => receive::<true>(ctx, frame, globals),
        ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN => {
            begin::<false>(0)?;
            Some(rooms::enter_or_pass(ctx, Room::Odd))
        }
        _ => ask_neighbours(ctx, frame),
    }
}

/// Goes on in a room of ARP and Neighbour Discovery, if the frame is of these, or tagged.
#[inline(always)]
fn ask_neighbours(ctx: &Context, frame: Frame) -> Option<u32> {
    if headers::is_tag(frame.load_u16(12)) {
        begin::<false>(Walk::TO_GROUP)?;
        return Some(rooms::enter_or_pass(ctx, Room::Odd));
    }
    let room = neighbours::room(frame)?;
    begin::<false>(0)?;
    Some(rooms::enter_or_pass(ctx, room))
}

/// Stops what is none of ours (`None`), and sends away what is not plain.
#[inline(always)]
fn receive<const V6: bool>(ctx: &Context, frame: Frame, globals: &Globals) -> Option<u32> {
    if !frame.has(Layout::transport(V6)) {
        return None;
    }
    let destination = frame.load_address::<V6>(Layout::destination(V6));
    if !lookup::may_be_vip::<V6>(globals, &destination) {
        if !tunnel::is_for_us::<V6>(frame, &globals.config, &destination) {
            return None;
        }
        begin::<V6>(0)?;
        return Some(rooms::enter(ctx, Room::Tunnel));
    }
    if !packet::is_plain::<V6, _>(&frame) {
        begin::<V6>(Walk::MAY_BE_VIP)?;
        return Some(rooms::enter_or_pass(ctx, Room::Odd));
    }
    let header = packet::fields::<V6, _>(&frame);
    if forward::may_be_of_a_node(frame, maps::interface_of(globals, maps::uplink_slot())) {
        let walk = begin::<V6>(0)?;
        return Some(steer::leave::<V6>(ctx, walk, &header));
    }
    let service = lookup::service::<V6>(globals, &header);
    if service.0 == 0 {
        let walk = begin::<V6>(Walk::MAY_BE_VIP)?;
        note(walk, &packet::fields::<V6, _>(&frame));
        return Some(rooms::answer::<V6>(ctx, walk, Verdict::NoSuchPort));
    }
    choose::<V6>(ctx, frame, globals, service)
}

/// From the service to the node of the flow's endpoint. What the packet says is loaded anew after each look-up: cheaper
/// than to keep it, there are few registers.
#[inline(always)]
fn choose<const V6: bool>(
    ctx: &Context,
    frame: Frame,
    globals: &Globals,
    service: ServiceValue,
) -> Option<u32> {
    let config = &globals.config;
    let hash = lookup::flow_hash::<V6>(config, &packet::fields::<V6, _>(&frame));
    if service.has_any(ServiceValue::CHOSEN_APART) {
        begin_steered::<V6>(config, frame, 0, service, hash)?;
        return Some(rooms::enter_by_family::<V6>(
            ctx,
            Room::ChooseV4,
            Room::ChooseV6,
        ));
    }
    let Some((endpoint, node)) = lookup::endpoint(service, hash) else {
        let walk = begin_steered::<V6>(config, frame, 0, service, hash)?;
        let reason = Verdict::TableInconsistent;
        return Some(rooms::answer::<V6>(ctx, walk, reason));
    };
    if node == config.own_node {
        let walk = begin_steered::<V6>(config, frame, Walk::IS_LOCAL, service, hash)?;
        walk.endpoint = endpoint;
        walk.node = node;
        if walk.has(Walk::SAMPLED) {
            count::sample(endpoint, node);
        }
        return Some(rooms::enter_by_family::<V6>(
            ctx,
            Room::DeliverV4,
            Room::DeliverV6,
        ));
    }
    let hop_limit = frame.load_u8(Layout::hop_limit(V6));
    let way = match forward::ready(globals, hop_limit, node) {
        Ok(way) => way,
        Err(reason) => {
            let walk = begin_steered::<V6>(config, frame, 0, service, hash)?;
            walk.node = node;
            return Some(if matches!(reason, Verdict::NodeUnresolved) {
                rooms::enter_by_family::<V6>(ctx, Room::ForwardV4, Room::ForwardV6)
            } else {
                rooms::answer::<V6>(ctx, walk, reason)
            });
        }
    };
    let header = packet::fields::<V6, _>(&frame);
    let bytes = (ETHERNET_BYTES + usize::from(header.ip_bytes)) as u64;
    match forward::plain::<V6>(ctx, frame, globals, hash, way) {
        Ok((action, by_gue)) => {
            if count::sent_on(count::service(config, service.id()), bytes, by_gue) {
                count::sample(endpoint, node);
            }
            Some(action)
        }
        Err(reason) => {
            // The frame may have been moved: what it said is known from before.
            count::received(count::service(config, service.id()), bytes);
            let walk = begin::<V6>(0)?;
            walk.service = service.0;
            walk.node = node;
            note(walk, &header);
            Some(rooms::answer::<V6>(ctx, walk, reason))
        }
    }
}

/// Writes what a plain packet says into its record.
#[inline(always)]
fn note(walk: &mut Walk, header: &Header) {
    walk.ip_bytes = header.ip_bytes;
    walk.protocol = header.protocol;
    walk.ports = header.ports;
}

/// Counts a packet of a service that goes on in a room; its record.
#[inline(always)]
fn begin_steered<const V6: bool>(
    config: &Config,
    frame: Frame,
    flags: u32,
    service: ServiceValue,
    hash: u64,
) -> Option<&'static mut Walk> {
    let header = packet::fields::<V6, _>(&frame);
    let bytes = (ETHERNET_BYTES + usize::from(header.ip_bytes)) as u64;
    let is_sample = count::received(count::service(config, service.id()), bytes);
    let walk = begin::<V6>(flags)?;
    if is_sample {
        walk.flags |= Walk::SAMPLED;
    }
    walk.hash = hash;
    walk.service = service.0;
    note(walk, &header);
    Some(walk)
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
