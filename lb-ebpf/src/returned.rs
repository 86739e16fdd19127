//! Replies that their pod's node has sent back here in GUE ([`crate::return_by`]), because the flow came in by this node: on to the
//! client, by the way that the kernel's routing table knows. Their source is a VIP, so a stack that filters by reverse path would
//! not take them: it gets only what it must ask a next hop's MAC for.

use lb_common::{
    Address,
    config::Config,
    hash,
    interface::Interface,
    packet::{self, ETHERNET_BYTES, Layout, Packet as _, store_mac},
    verdict::Verdict,
    walk::Walk,
};

use crate::{
    count, forward,
    hook::{self, Context},
    lookup, maps,
    ptr::Frame,
    rooms, steer,
};

/// What the tag of a reply is made from: client, VIP and the protocol number in the IP header, so that parts of datagrams and
/// ICMP errors need not be looked into.
#[inline(always)]
pub(crate) fn hash<const V6: bool>(
    config: &Config,
    client: &Address,
    vip: &Address,
    protocol: u8,
) -> u64 {
    if V6 {
        hash::flow_v6(&config.seed, client, vip, 0, protocol)
    } else {
        hash::flow_v4(&config.seed, client[0], vip[0], 0, protocol)
    }
}

/// The program of the room.
#[inline(always)]
pub(crate) fn enter(ctx: &Context) -> u32 {
    let Some(walk) = rooms::walk() else {
        return count::drop(Verdict::TableInconsistent);
    };
    let sent = if walk.has(Walk::V6) {
        send::<true>(ctx, walk)
    } else {
        send::<false>(ctx, walk)
    };
    sent.unwrap_or_else(count::drop)
}

#[inline(always)]
fn send<const V6: bool>(ctx: &Context, walk: &Walk) -> Result<u32, Verdict> {
    let globals = maps::globals().ok_or(Verdict::TableInconsistent)?;
    let interface = maps::interface_of(globals, walk.slot.into());
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(Layout::transport(V6)) {
        return Err(Verdict::GueMalformed);
    }
    let (vip, client) = frame.load_addresses::<V6>(Layout::source(V6));
    let protocol = packet::protocol::<V6, _>(&frame);
    let hash = hash::<V6>(&globals.config, &client, &vip, protocol);
    if !steer::tag_is_valid(&globals.config, walk, hash) {
        return Err(Verdict::GueBadTag);
    }
    if !lookup::is_vip::<V6>(&vip) {
        return Err(Verdict::GueMalformed);
    }
    if frame.load_u8(Layout::hop_limit(V6)) <= 1 {
        return Err(Verdict::TtlExpired);
    }
    let Some(way) = way_to::<V6>(ctx, interface, &vip, &client)? else {
        // The stack forwards it, and asks for the next hop's MAC.
        return Ok(count::pass(Verdict::ReturnForwarded));
    };
    let mut whole = Frame::of(ctx);
    let frame = Frame::untagged(ctx, walk);
    if !whole.has(ETHERNET_BYTES) || !frame.has(Layout::transport(V6)) {
        return Err(Verdict::GueMalformed);
    }
    forward::decrement_hop_limit::<V6>(frame);
    store_mac(&mut whole, 0, way.to);
    store_mac(&mut whole, 6, way.from);
    count::verdict(Verdict::ReturnForwarded);
    if way.ifindex == interface.ifindex {
        Ok(hook::send_back(interface))
    } else {
        Ok(hook::redirect(way.ifindex))
    }
}

/// The next hop: MACs as in [`Interface::mac`].
struct Way {
    ifindex: u32,
    to: u64,
    from: u64,
}

/// `None` if the next hop's MAC is not known.
///
/// # Errors
/// `ReturnUnroutable` if the kernel has no route.
#[inline(always)]
fn way_to<const V6: bool>(
    ctx: &Context,
    interface: &Interface,
    source: &Address,
    destination: &Address,
) -> Result<Option<Way>, Verdict> {
    /// `BPF_FIB_LKUP_RET_SUCCESS`, `BPF_FIB_LKUP_RET_NO_NEIGH` (linux/bpf.h).
    const FOUND: i64 = 0;
    const NO_NEIGHBOUR: i64 = 7;
    /// Families as sockets number them (`AF_INET`, `AF_INET6`).
    const FAMILIES: [u8; 2] = [2, 10];
    // `struct bpf_fib_lookup` (linux/bpf.h).
    let mut question = [0_u32; 16];
    question[0] = u32::from_ne_bytes([FAMILIES[usize::from(V6)], 0, 0, 0]);
    question[2] = interface.ifindex;
    question[4..8].copy_from_slice(source);
    question[8..12].copy_from_slice(destination);
    match hook::fib_lookup(ctx, &mut question) {
        FOUND => {}
        NO_NEIGHBOUR => return Ok(None),
        _ => return Err(Verdict::ReturnUnroutable),
    }
    let [.., a, b, c] = question;
    let (from, to) = (
        u64::from(a) | u64::from(b & 0xffff) << 32,
        u64::from(b >> 16) | u64::from(c) << 16,
    );
    Ok(Some(Way {
        ifindex: question[2],
        to,
        from,
    }))
}
