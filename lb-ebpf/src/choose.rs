//! The room of services whose endpoint is not simply that of the flow's row: who may connect at all
//! (`loadBalancerSourceRanges`), a row by the client's address alone (`sessionAffinity: ClientIP`), the endpoints of
//! this node first (`externalTrafficPolicy: Local`), and what is left to the kernel. From here the packet goes the
//! way of all others.

use lb_common::{
    Address, TCP, UDP,
    packet::Packet as _,
    service::{LocalView, ServiceCold, ServiceValue},
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    affinity, count,
    deliver::tcp,
    flows,
    hook::Context,
    lookup, maps,
    ptr::{self, Frame},
    rooms, source, steer,
};

/// Offsets of headers stay below this; the verifier is shown it.
const OFFSET_MASK: usize = 511;
/// ICMP header in front of what it quotes.
const ICMP_BYTES: usize = 8;

/// The program of the room.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &Context) -> u32 {
    let (Some(walk), Some(config)) = (rooms::walk(), maps::config()) else {
        return count::drop(Verdict::TableInconsistent);
    };
    let service = ServiceValue(walk.service);
    let frame = Frame::of(ctx);
    let Some(client) = client::<V6>(frame, walk) else {
        return rooms::answer::<V6>(ctx, walk, Verdict::Malformed);
    };
    if service.has(ServiceValue::RANGES) && !source::admits::<V6>(service, &client) {
        return rooms::answer::<V6>(ctx, walk, Verdict::SourceRefused);
    }
    let mut row_hash = walk.hash;
    if service.has(ServiceValue::AFFINITY) {
        row_hash = affinity::client_hash::<V6>(config, &client);
        walk.client_hash = row_hash as u32;
    }
    steer::note_sender(ctx, walk);
    let view = if service.has(ServiceValue::LOCAL_VIEW) {
        local_view(frame, walk, service)
    } else {
        None
    };
    if view.is_none() && service.has(ServiceValue::KERNEL) {
        return ask_first::<V6>(ctx, walk, Verdict::LeftToKernel);
    }
    let (endpoint, node) = match lookup::endpoint_of(service, view, row_hash) {
        Ok(chosen) => chosen,
        Err(reason @ Verdict::NoEndpoint) => return ask_first::<V6>(ctx, walk, reason),
        Err(reason) => return rooms::answer::<V6>(ctx, walk, reason),
    };
    walk.endpoint = endpoint;
    walk.node = node;
    if service.has(ServiceValue::AFFINITY) && node == config.own_node {
        let now = flows::now(config);
        if let Some(kept) = affinity::kept(service, row_hash, now) {
            walk.endpoint = kept;
        }
    }
    if service.has(ServiceValue::LOCAL_VIEW) && node != config.own_node {
        // Flows that began here by the local view are known here; all others go by the rows of the cluster.
        return ask_here::<V6>(ctx, walk);
    }
    steer::go_on::<V6>(ctx, config, walk)
}

/// The service has no endpoint that is steered to, but flows that began before may still be with a pod of this node. All
/// others end for `reason` ([`rooms::without_endpoint`]).
#[inline(always)]
fn ask_first<const V6: bool>(ctx: &Context, walk: &mut Walk, reason: Verdict) -> u32 {
    walk.reason = reason as u32;
    walk.endpoint = u32::MAX;
    ask_here::<V6>(ctx, walk)
}

/// To the rooms of this node's flows, which send on what they do not know.
#[inline(always)]
fn ask_here<const V6: bool>(ctx: &Context, walk: &Walk) -> u32 {
    if walk.has(Walk::IS_ERROR) {
        rooms::enter_by_family::<V6>(ctx, Room::RelatedV4, Room::RelatedV6)
    } else {
        rooms::enter_by_family::<V6>(ctx, Room::DeliverV4, Room::DeliverV6)
    }
}

/// The address that dials: of an error, the destination of what it quotes.
#[inline(always)]
fn client<const V6: bool>(frame: Frame, walk: &Walk) -> Option<Address> {
    let at = if walk.has(Walk::IS_ERROR) {
        usize::from(walk.transport_at) + ICMP_BYTES + if V6 { 24 } else { 16 }
    } else {
        usize::from(walk.ip_at) + if V6 { 8 } else { 12 }
    };
    let at = ptr::opaque(at) & OFFSET_MASK;
    if !frame.has(at + if V6 { 16 } else { 4 }) {
        return None;
    }
    Some(frame.load_address::<V6>(at))
}

/// The node-local view, for what may be new and comes from outside; and for everything where the cluster has nobody.
#[inline(always)]
fn local_view(frame: Frame, walk: &Walk, service: ServiceValue) -> Option<LocalView> {
    let is_here = !walk.steered_before() && is_new(frame, walk);
    if !is_here && !service.has(ServiceValue::EMPTY) {
        return None;
    }
    let cold = maps::SERVICE_COLD.get_ptr(u32::from(service.id()))?;
    let cold: &ServiceCold = ptr::by_ref(cold);
    let view = LocalView(ptr::load_word(&raw const cold.local_view));
    (view.endpoint_lines() > 0).then_some(view)
}

/// A SYN, or any datagram: a flow that is known here goes to its own endpoint all the same. Parts of a datagram, which
/// may have been to another node, follow the rows of the cluster.
#[inline(always)]
fn is_new(frame: Frame, walk: &Walk) -> bool {
    if walk.flags & (Walk::IS_ERROR | Walk::FRAGMENT) != 0 {
        return false;
    }
    let at = ptr::opaque(usize::from(walk.transport_at)) & OFFSET_MASK;
    match walk.protocol {
        UDP => true,
        TCP if frame.has(at + tcp::FLAGS_AT + 1) => {
            frame.load_u8(at + tcp::FLAGS_AT) & (tcp::SYN | tcp::ACK) == tcp::SYN
        }
        _ => false,
    }
}
