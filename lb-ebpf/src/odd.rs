//! The room of packets that are not plain TCP or UDP: tagged, with options or extension headers, in parts, ICMP, or none of
//! it. Finds out whether the packet is for a VIP, and what it is; anything else passes as it came.

use lb_common::{
    TCP, UDP,
    arp::ETHERTYPE_ARP,
    config::Globals,
    headers::{self, Extension, Fragment, Ip, Nested as _},
    ndp,
    packet::{self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Layout, Packet as _},
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count,
    hook::{self, Context, Raw},
    lookup, maps,
    ptr::Frame,
    rooms, steer, tunnel,
};

/// One step each over a list of headers. Global functions of numbers: the verifier walks a step once, not once for
/// every way through the list.
mod steps {
    use lb_common::headers;

    use super::{Context, ETHERNET_BYTES, Frame, Raw, rooms};

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn ipv4_option(ctx: *mut Raw, at: u32) -> u32 {
        from_ip(ctx).map_or(0, |ip| headers::beyond_option(&ip, at as u16).into())
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn ipv6_extension(ctx: *mut Raw, at: u32, protocol: u32) -> u64 {
        from_ip(ctx).map_or(0, |ip| {
            headers::beyond_extension(&ip, at as u16, protocol as u8).0
        })
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn parse_v4(ctx: *mut Raw) -> u32 {
        super::parse::<false>(&Context::new(ctx))
    }

    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn parse_v6(ctx: *mut Raw) -> u32 {
        super::parse::<true>(&Context::new(ctx))
    }

    #[inline(always)]
    fn from_ip(ctx: *mut Raw) -> Option<Frame> {
        let walk = rooms::walk()?;
        Some(Frame::untagged(&Context::new(ctx), walk).past(ETHERNET_BYTES))
    }
}

/// Tags, headers up to the transport's ([`headers::TRANSPORT_AT_MAX`]) and as much again in a quote, rounded up.
const HEADERS_BYTES: u32 = 576;

/// The program of the room.
#[inline(always)]
pub(crate) fn enter(ctx: &Context) -> u32 {
    let (Some(walk), Some(globals)) = (rooms::walk(), maps::globals()) else {
        return hook::PASS;
    };
    match receive(ctx, globals, walk) {
        Some(action) => action,
        None if walk.has(Walk::BY_GUE) => count::drop(Verdict::GueMalformed),
        None => hook::PASS,
    }
}

/// `None`: none of ours.
#[inline(always)]
fn receive(ctx: &Context, globals: &Globals, walk: &mut Walk) -> Option<u32> {
    hook::make_linear(ctx, HEADERS_BYTES);
    let frame = Frame::of(ctx);
    if !frame.has(ETHERNET_BYTES) {
        return None;
    }
    let (ethertype, ip_at) = headers::network(&frame)?;
    walk.ip_at = ip_at as u16;
    if ethertype == ETHERTYPE_ARP {
        return Some(rooms::enter_or_pass(ctx, Room::Arp));
    }
    if walk.has(Walk::TO_GROUP) {
        let is_ndp = ndp::may_concern(&Frame::untagged(ctx, walk));
        return is_ndp.then(|| rooms::enter_or_pass(ctx, Room::Ndp));
    }
    match ethertype {
        ETHERTYPE_IPV4 => odd::<false>(ctx, globals, walk),
        ETHERTYPE_IPV6 => odd::<true>(ctx, globals, walk),
        _ => None,
    }
}

#[inline(always)]
fn odd<const V6: bool>(ctx: &Context, globals: &Globals, walk: &mut Walk) -> Option<u32> {
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(Layout::transport(V6)) {
        return None;
    }
    walk.flags = walk.flags & !Walk::V6 | if V6 { Walk::V6 } else { 0 };
    let destination = frame.load_address::<V6>(Layout::destination(V6));
    if !lookup::may_be_vip::<V6>(globals, &destination) || !lookup::is_vip::<V6>(&destination) {
        let by_gue = walk.has(Walk::BY_GUE);
        let is_gue = !by_gue && tunnel::is_for_us::<V6>(frame, &globals.config, &destination);
        return is_gue.then(|| rooms::enter(ctx, Room::Tunnel));
    }
    walk.flags &= !Walk::MAY_BE_VIP;
    if V6 && !walk.has(Walk::BY_GUE) && ndp::may_concern(&frame) {
        return Some(rooms::enter_or_pass(ctx, Room::Ndp));
    }
    let outcome = if V6 {
        steps::parse_v6(hook::raw(ctx))
    } else {
        steps::parse_v4(hook::raw(ctx))
    };
    Some(match outcome {
        WHOLE => steer::leave_again::<V6>(ctx),
        PART => rooms::enter(ctx, Room::Fragment),
        reason => {
            walk.reason = reason;
            rooms::enter_by_family::<V6>(ctx, Room::AnswerV4, Room::AnswerV6)
        }
    })
}

/// What [`parse`] comes to, where it is no verdict.
const WHOLE: u32 = u32::MAX;
const PART: u32 = u32::MAX - 1;

/// Notes the flow that a packet belongs to, or that it is an ICMP error about. [`WHOLE`], [`PART`] of a datagram, or the
/// number of the verdict that ends it.
#[inline(always)]
fn parse<const V6: bool>(ctx: &Context) -> u32 {
    let Some(walk) = rooms::walk() else {
        return Verdict::TableInconsistent as u32;
    };
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(Layout::transport(V6)) {
        return Verdict::Malformed as u32;
    }
    match try_parse::<V6>(ctx, frame, walk) {
        Ok(true) => WHOLE,
        Ok(false) => PART,
        Err(reason) => reason as u32,
    }
}

/// Whether it is whole.
#[inline(always)]
fn try_parse<const V6: bool>(
    ctx: &Context,
    frame: Frame,
    walk: &mut Walk,
) -> Result<bool, Verdict> {
    let from_ip = frame.past(ETHERNET_BYTES);
    let ip = if V6 {
        headers::ipv6(&from_ip, |at, protocol| {
            Extension(steps::ipv6_extension(
                hook::raw(ctx),
                at.into(),
                protocol.into(),
            ))
        })?
    } else {
        headers::ipv4(&from_ip, |at| {
            steps::ipv4_option(hook::raw(ctx), at.into()) as u16
        })?
    };
    walk.ip_bytes = ip.bytes;
    walk.protocol = ip.protocol;
    walk.transport_at = walk.ip_at + ip.transport_at;
    let is_served = matches!(ip.protocol, TCP | UDP);
    let part = ip.fragment.unwrap_or(Fragment { id: 0, place: 0 });
    walk.fragment_id = part.id;
    walk.fragment_place = part.place;
    if part.place != 0 {
        walk.flags |= Walk::FRAGMENT;
        return if is_served {
            Ok(false)
        } else {
            Err(Verdict::Fragment)
        };
    }
    if !is_served {
        walk.flags |= Walk::IS_ERROR;
        return quoted::<V6>(ctx, frame, walk, &ip).map(|()| true);
    }
    let bytes = usize::from(ip.bytes - ip.transport_at);
    let transport = from_ip.beyond(usize::from(ip.transport_at));
    let ports = if ip.protocol == TCP {
        headers::tcp_ports(&transport, bytes)
    } else {
        headers::udp_ports(&transport, bytes, true)
    };
    walk.ports = ports.ok_or(Verdict::Malformed)?;
    Ok(true)
}

/// Notes the flow that an ICMP error is about, turned round so that it is the client's. One behind options or extension
/// headers is nobody's: no router puts any there.
#[inline(always)]
fn quoted<const V6: bool>(
    ctx: &Context,
    frame: Frame,
    walk: &mut Walk,
    ip: &Ip,
) -> Result<(), Verdict> {
    if ip.protocol != packet::icmp_protocol(V6) {
        return Err(Verdict::UnsupportedProtocol);
    }
    let from_ip = frame.past(ETHERNET_BYTES);
    let vip = frame.load_address::<V6>(Layout::destination(V6));
    packet::check_error::<V6, _>(&from_ip.beyond(usize::from(ip.transport_at)), &vip)?;
    let fixed = Layout::transport(V6) - ETHERNET_BYTES;
    if usize::from(ip.transport_at) != fixed {
        return Err(Verdict::HeaderOptions);
    }
    let at = (packet::quote(V6) - ETHERNET_BYTES) as u16;
    let found = if V6 {
        headers::quoted_v6(&from_ip, at, |at, protocol| {
            Extension(steps::ipv6_extension(
                hook::raw(ctx),
                at.into(),
                protocol.into(),
            ))
        })
    } else {
        headers::quoted_v4(&from_ip, at)
    };
    let Some((at, protocol @ (TCP | UDP))) = found else {
        return Err(Verdict::UnsupportedProtocol);
    };
    let transport = from_ip.beyond(usize::from(at));
    if !transport.has(8) {
        return Err(Verdict::UnsupportedProtocol);
    }
    walk.protocol = protocol;
    walk.ports = transport.load_u32(0).rotate_left(16);
    walk.quoted_at = walk.ip_at + at;
    Ok(())
}
