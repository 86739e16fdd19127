//! The room of a packet that the entry program has not finished with, once its headers were read: finds service and
//! endpoint, and the room that ends its walk. The same steps as at the entry, with nothing taken for granted about how
//! the packet came.

use lb_common::{
    config::{Config, Globals},
    gue,
    packet::{self, ETHERNET_BYTES, Header, Layout, Packet as _},
    service::ServiceValue,
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{count, forward, hook::Context, lookup, maps, ptr::Frame, rooms};

/// The program of the room.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &Context) -> u32 {
    let (Some(walk), Some(globals)) = (rooms::walk(), maps::globals()) else {
        return count::drop(Verdict::TableInconsistent);
    };
    let frame = Frame::untagged(ctx, walk);
    // The client is who got what an error quotes.
    let quoted_to = packet::quote(V6) + Layout::destination(V6) - ETHERNET_BYTES;
    let address_bytes = if V6 { 16 } else { 4 };
    let is_error = walk.has(Walk::IS_ERROR);
    if !frame.has(Layout::transport(V6)) || is_error && !frame.has(quoted_to + address_bytes) {
        return rooms::answer::<V6>(ctx, walk, Verdict::Malformed);
    }
    let source = if is_error {
        frame.load_address::<V6>(quoted_to)
    } else {
        frame.load_address::<V6>(Layout::source(V6))
    };
    let header = Header {
        source,
        destination: frame.load_address::<V6>(Layout::destination(V6)),
        ports: walk.ports,
        protocol: walk.protocol,
        hop_limit: 0,
        ip_bytes: walk.ip_bytes,
    };
    steer::<V6>(ctx, globals, walk, &header)
}

/// Leaves for the room, with what the headers said.
#[inline(always)]
pub(crate) fn leave<const V6: bool>(ctx: &Context, walk: &mut Walk, header: &Header) -> u32 {
    walk.ip_bytes = header.ip_bytes;
    walk.protocol = header.protocol;
    walk.ports = header.ports;
    leave_again::<V6>(ctx)
}

/// As [`leave`], for a packet whose record says all of it.
#[inline(always)]
pub(crate) fn leave_again<const V6: bool>(ctx: &Context) -> u32 {
    rooms::enter_by_family::<V6>(ctx, Room::SteerV4, Room::SteerV6)
}

#[inline(always)]
fn steer<const V6: bool>(
    ctx: &Context,
    globals: &Globals,
    walk: &mut Walk,
    header: &Header,
) -> u32 {
    let config = &globals.config;
    let service = lookup::service::<V6>(globals, header);
    if service.0 == 0 {
        walk.flags |= Walk::MAY_BE_VIP;
        return rooms::answer::<V6>(ctx, walk, Verdict::NoSuchPort);
    }
    let hash = lookup::flow_hash::<V6>(config, header);
    let is_judged = !walk.has(Walk::BY_GUE) || walk.has(Walk::FRAGMENT);
    if !is_judged && !tag_is_valid(config, walk, hash) {
        return count::drop(Verdict::GueBadTag);
    }
    walk.flags &= !Walk::MAY_BE_VIP;
    walk.hash = hash;
    walk.service = service.0;
    let bytes = u64::from(walk.ip_at) + u64::from(header.ip_bytes);
    if count::received(count::service(config, service.id()), bytes) {
        walk.flags |= Walk::SAMPLED;
    }
    if service.has_any(ServiceValue::CHOSEN_APART) {
        return rooms::enter_by_family::<V6>(ctx, Room::ChooseV4, Room::ChooseV6);
    }
    let Some((endpoint, node)) = lookup::endpoint(service, hash) else {
        return rooms::answer::<V6>(ctx, walk, Verdict::TableInconsistent);
    };
    walk.endpoint = endpoint;
    walk.node = node;
    go_on::<V6>(ctx, config, walk)
}

/// Enters the room of a packet whose endpoint is known.
#[inline(always)]
pub(crate) fn go_on<const V6: bool>(ctx: &Context, config: &Config, walk: &mut Walk) -> u32 {
    if walk.has(Walk::SAMPLED) {
        count::sample(walk.endpoint, walk.node);
    }
    if walk.node == config.own_node {
        walk.flags |= Walk::IS_LOCAL;
    } else {
        note_sender(ctx, walk);
    }
    if !walk.has(Walk::IS_LOCAL) && !walk.steered_before() {
        rooms::enter_by_family::<V6>(ctx, Room::ForwardV4, Room::ForwardV6)
    } else if walk.has(Walk::IS_ERROR) {
        rooms::enter_by_family::<V6>(ctx, Room::RelatedV4, Room::RelatedV6)
    } else {
        rooms::enter_by_family::<V6>(ctx, Room::DeliverV4, Room::DeliverV6)
    }
}

/// Finds out whether the frame comes from another node.
#[inline(always)]
pub(crate) fn note_sender(ctx: &Context, walk: &mut Walk) {
    if is_of_a_node(ctx, walk) {
        walk.flags |= Walk::OF_NODE;
    }
}

#[inline(always)]
fn is_of_a_node(ctx: &Context, walk: &Walk) -> bool {
    maps::interface(walk.slot).is_some_and(|interface| {
        !walk.has(Walk::BY_GUE) && forward::is_of_a_node(Frame::of(ctx), interface)
    })
}

/// Whether the tag is the cluster's for the inner flow, or for the pair of a fragment.
#[inline(always)]
pub(crate) fn tag_is_valid(config: &Config, walk: &Walk, hash: u64) -> bool {
    let due = gue::tag(
        &config.gue_key,
        hash,
        walk.hop,
        walk.private_flags,
        walk.ingress_node,
    );
    walk.tag == due
}
