//! The entry: a plain TCP or UDP packet for a service port whose endpoint is on another node is sent there at once.
//! What is neither for a VIP nor GUE for this node passes untouched and uncounted; everything else goes on in a
//! room.

use lb_common::{
    config::Globals,
    headers::{self, ETHERTYPE_SERVICE_VLAN, ETHERTYPE_VLAN},
    interface::Interface,
    packet::{
        self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, Packet as _, is_group,
    },
    service::ServiceValue,
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count, forward,
    hook::{self, Context, Raw},
    lookup, maps, neighbours,
    ptr::Frame,
    rooms, steer, tunnel,
};

/// Headers of a plain packet: Ethernet, IPv6, TCP with all its options, rounded up.
const PLAIN_BYTES: u32 = 128;

/// The entry program.
#[inline(always)]
pub(crate) fn walk(ctx: &Context) -> u32 {
    try_walk(ctx).unwrap_or(hook::PASS)
}

/// `None`: none of ours.
#[inline(always)]
fn try_walk(ctx: &Context) -> Option<u32> {
    hook::make_linear(ctx, PLAIN_BYTES);
    let frame = if hook::IN_PARTS {
        Frame::of(ctx)
    } else {
        Frame::one_buffer(ctx)
    };
    if !frame.has(Layout::transport(false)) {
        return None;
    }
    let globals = maps::globals()?;
    let mac = packet::destination_mac(&frame);
    let interface = maps::interface_of(globals, maps::uplink_slot());
    if mac != interface.mac {
        return if is_group(mac) {
            ask_neighbours(ctx, frame)
        } else {
            None
        };
    }
    let ethertype = frame.load_u16(12);
    if ethertype == ETHERTYPE_IPV4 {
        return receive::<false>(ctx, frame, globals, interface);
    }
    match ethertype {
        ETHERTYPE_IPV6 => receive::<true>(ctx, frame, globals, interface),
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
fn receive<const V6: bool>(
    ctx: &Context,
    frame: Frame,
    globals: &Globals,
    interface: &Interface,
) -> Option<u32> {
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
    if forward::may_be_of_a_node(frame, interface) {
        let walk = begin::<V6>(0)?;
        return Some(steer::leave::<V6>(ctx, walk, &header));
    }
    let service = lookup::service::<V6>(globals, &header);
    if service.0 == 0 {
        let walk = begin::<V6>(Walk::MAY_BE_VIP)?;
        note(walk, &packet::fields::<V6, _>(&frame));
        return Some(rooms::answer::<V6>(ctx, walk, Verdict::NoSuchPort));
    }
    choose::<V6>(ctx, frame, globals, interface, service)
}

/// From the service to the node of the flow's endpoint. What the packet says is loaded anew after each look-up: cheaper
/// than to keep it, there are few registers.
#[inline(always)]
fn choose<const V6: bool>(
    ctx: &Context,
    frame: Frame,
    globals: &Globals,
    interface: &Interface,
    service: ServiceValue,
) -> Option<u32> {
    let config = &globals.config;
    let hash = lookup::flow_hash::<V6>(config, &packet::fields::<V6, _>(&frame));
    if service.has_any(ServiceValue::CHOSEN_APART) {
        begin_steered::<V6>(ctx, hash, service, Chosen::NOTHING, 0)?;
        return Some(rooms::enter_by_family::<V6>(
            ctx,
            Room::ChooseV4,
            Room::ChooseV6,
        ));
    }
    let Some((endpoint, node)) = lookup::endpoint(service, hash) else {
        let walk = begin_steered::<V6>(ctx, hash, service, Chosen::NOTHING, 0)?;
        let reason = Verdict::TableInconsistent;
        return Some(rooms::answer::<V6>(ctx, walk, reason));
    };
    let chosen = Chosen { endpoint, node };
    if node == config.own_node {
        let walk = begin_steered::<V6>(ctx, hash, service, chosen, Walk::IS_LOCAL)?;
        if walk.has(Walk::SAMPLED) {
            count::sample(endpoint, node);
        }
        return Some(rooms::enter_by_family::<V6>(
            ctx,
            Room::DeliverV4,
            Room::DeliverV6,
        ));
    }
    let Some(way) = forward::way::<V6>(ctx, frame, globals, node) else {
        begin_steered::<V6>(ctx, hash, service, chosen, 0)?;
        return Some(rooms::enter_by_family::<V6>(
            ctx,
            Room::ForwardV4,
            Room::ForwardV6,
        ));
    };
    // Before the packet is wrapped, while what is counted need not be kept for later.
    let (line, by_gue) = (count::service(config, service.id()), !way.is_direct());
    if count::sent_on(line, bytes::<V6>(frame), by_gue) {
        count::sample(endpoint, node);
    }
    Some(
        forward::plain::<V6>(ctx, frame, globals, interface, hash, way).unwrap_or_else(|| {
            count::not_forwarded(count::service(config, service.id()), by_gue);
            count::drop_of(config, service.id(), Verdict::NoHeadroom)
        }),
    )
}

/// Length of a plain packet's frame.
#[inline(always)]
fn bytes<const V6: bool>(frame: Frame) -> u64 {
    ETHERNET_BYTES as u64 + u64::from(packet::ip_bytes::<V6, _>(&frame))
}

/// Writes what a plain packet says into its record.
#[inline(always)]
fn note(walk: &mut Walk, header: &Header) {
    walk.ip_bytes = header.ip_bytes;
    walk.protocol = header.protocol;
    walk.ports = header.ports;
}

/// What the tables said of a packet.
#[derive(Clone, Copy)]
struct Chosen {
    /// Index in `endpoints`.
    endpoint: u32,
    node: u16,
}

impl Chosen {
    const NOTHING: Self = Self {
        endpoint: 0,
        node: 0,
    };
}

/// Counts a packet of a service that goes on in a room; its record.
#[inline(always)]
fn begin_steered<const V6: bool>(
    ctx: &Context,
    hash: u64,
    service: ServiceValue,
    chosen: Chosen,
    flags: u32,
) -> Option<&'static mut Walk> {
    let chosen = u64::from(chosen.endpoint) | u64::from(chosen.node) << 32;
    let has_begun = if V6 {
        begin_steered_v6(hook::raw(ctx), hash, service.0, chosen, flags)
    } else {
        begin_steered_v4(hook::raw(ctx), hash, service.0, chosen, flags)
    };
    if has_begun == 0 {
        return None;
    }
    rooms::walk()
}

/// [`steered`]; 0 if there is no record. Global, so that the verifier walks it once, not once an exit.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn begin_steered_v4(
    raw: *mut Raw,
    hash: u64,
    service: u64,
    chosen: u64,
    flags: u32,
) -> u32 {
    steered::<false>(&Context::new(raw), hash, service, chosen, flags).map_or(0, |()| 1)
}

/// As [`begin_steered_v4`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn begin_steered_v6(
    raw: *mut Raw,
    hash: u64,
    service: u64,
    chosen: u64,
    flags: u32,
) -> u32 {
    steered::<true>(&Context::new(raw), hash, service, chosen, flags).map_or(0, |()| 1)
}

#[inline(always)]
fn steered<const V6: bool>(
    ctx: &Context,
    hash: u64,
    service: u64,
    chosen: u64,
    flags: u32,
) -> Option<()> {
    let frame = Frame::one_buffer(ctx);
    let config = maps::config()?;
    // As [`receive`] found it.
    if !frame.has(Layout::transport(V6) + 8) {
        return None;
    }
    let line = count::service(config, ServiceValue(service).id());
    let is_sample = count::received(line, bytes::<V6>(frame));
    let sampled = if is_sample { Walk::SAMPLED } else { 0 };
    let walk = begin::<V6>(flags | sampled)?;
    walk.hash = hash;
    walk.service = service;
    walk.endpoint = chosen as u32;
    walk.node = (chosen >> 32) as u16;
    note(walk, &packet::fields::<V6, _>(&frame));
    Some(())
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
