//! The way of a packet that the entry program has not finished with: from what it was parsed to, to the room that
//! ends its walk. The same steps as at the entry, with nothing taken for granted about how the packet came.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    config::Config,
    gue,
    interface::Interface,
    packet::Header,
    service::ServiceValue,
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count, forward, lookup, maps,
    ptr::{self, Frame},
    rooms,
};

/// Looks up service and endpoint of a parsed packet, and enters the room that is next.
#[inline(always)]
pub(crate) fn steer<const V6: bool>(
    ctx: &XdpContext,
    config: &Config,
    walk: &mut Walk,
    header: &Header,
) -> u32 {
    walk.ip_bytes = header.ip_bytes;
    walk.protocol = header.protocol;
    let service = lookup::service::<V6>(config, lookup::head(), header);
    if service.0 == 0 {
        walk.flags |= Walk::MAY_BE_VIP;
        return rooms::answer::<V6>(ctx, walk, Verdict::NoSuchPort);
    }
    let hash = lookup::flow_hash::<V6>(config, header);
    if walk.has(Walk::BY_GUE) && !tag_is_valid(config, walk, hash) {
        return count::drop(Verdict::GueBadTag);
    }
    walk.flags &= !Walk::MAY_BE_VIP;
    walk.hash = hash;
    walk.service = service.0;
    let frame = Frame::xdp(ctx);
    count::received(count::service(config, service.id()), frame);
    if service.has_any(ServiceValue::CHOSEN_APART) {
        return rooms::enter_by_family::<V6>(ctx, Room::ChooseV4, Room::ChooseV6);
    }
    let (endpoint, node) = match lookup::endpoint(service, hash) {
        Ok(chosen) => chosen,
        Err(reason) => return rooms::answer::<V6>(ctx, walk, reason),
    };
    walk.endpoint = endpoint;
    walk.node = node;
    enter::<V6>(ctx, config, walk)
}

/// The room of a packet whose endpoint is known.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &XdpContext, config: &Config, walk: &mut Walk) -> u32 {
    if walk.node == config.own_node {
        walk.flags |= Walk::IS_LOCAL;
    } else {
        note_sender(ctx, walk);
    }
    match (walk.has(Walk::IS_LOCAL), walk.has(Walk::IS_ERROR)) {
        (true, true) => rooms::enter_by_family::<V6>(ctx, Room::RelatedV4, Room::RelatedV6),
        (false, true) => rooms::enter_by_family::<V6>(ctx, Room::ForwardV4, Room::ForwardV6),
        (local, false) if local || walk.steered_before() => {
            rooms::enter_by_family::<V6>(ctx, Room::DeliverV4, Room::DeliverV6)
        }
        _ => rooms::enter_by_family::<V6>(ctx, Room::ForwardV4, Room::ForwardV6),
    }
}

/// Finds out whether the frame comes from another node.
#[inline(always)]
pub(crate) fn note_sender(ctx: &XdpContext, walk: &mut Walk) {
    if is_of_a_node(ctx, walk) {
        walk.flags |= Walk::OF_NODE;
    }
}

#[inline(always)]
fn is_of_a_node(ctx: &XdpContext, walk: &Walk) -> bool {
    let interface = maps::INTERFACES.get_ptr(u32::from(walk.slot));
    interface.is_some_and(|interface| {
        let interface: &Interface = ptr::by_ref(interface);
        !walk.has(Walk::BY_GUE) && forward::is_of_a_node(Frame::xdp(ctx), interface)
    })
}

/// Whether the tag is the cluster's for the inner flow.
#[inline(always)]
fn tag_is_valid(config: &Config, walk: &Walk, hash: u64) -> bool {
    let due = gue::tag(
        &config.gue_key,
        hash,
        walk.hop,
        walk.private_flags,
        walk.ingress_node,
    );
    walk.tag == due
}
