//! Replies on their way out of an uplink: the pod's address and port become the VIP's again, if the packet
//! belongs to a flow of ours. Everything else goes on untouched; other programs of the chain run in any case.
//! Writes go through the skb helpers, which know about partial checksums and GSO.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR, TC_ACT_UNSPEC},
    helpers,
    programs::TcContext,
};
use lb_common::{
    Address, TCP, UDP,
    config::Config,
    flow::{Flow, State},
    packet::{self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, Layout, Packet as _},
    verdict::Verdict,
};

use crate::{
    count,
    deliver::tcp,
    egress_error,
    flows::{self, Found},
    lookup, maps, mss,
    ptr::{self, Frame},
    reply_fragments,
    reverse::{self, Tuple},
    way_back,
};

/// The next program of the chain decides (`TCX_NEXT`, linux/bpf.h).
pub(crate) const NEXT: i32 = TC_ACT_UNSPEC;

/// IPv6's fragment header (IANA).
const FRAGMENT_HEADER: u8 = 44;
/// More fragments, or an offset (RFC 791).
const FRAGMENT_MASK: u16 = 0x3fff_u16.to_be();

/// The tcx program.
#[inline(always)]
pub(crate) fn walk(ctx: &TcContext) -> i32 {
    // The first word of the skb's protocol says the family before any packet byte is touched.
    let protocol = ctx.skb.protocol() as u16;
    let left = match protocol {
        ETHERTYPE_IPV4 => reply::<false>(ctx),
        ETHERTYPE_IPV6 => reply::<true>(ctx),
        _ => None,
    };
    left.unwrap_or(NEXT)
}

/// `None` wherever it turns out not to be a reply of ours.
#[inline(always)]
fn reply<const V6: bool>(ctx: &TcContext) -> Option<i32> {
    let globals = maps::globals()?;
    let frame = linear(ctx, Layout::transport(V6) + 8)?;
    let protocol = packet::protocol::<V6, _>(&frame);
    if protocol != TCP && protocol != UDP {
        if protocol == packet::icmp_protocol(V6)
            && packet::is_error_type(V6, frame.load_u8(Layout::transport(V6)))
        {
            return Some(egress_error::call::<V6>(ctx));
        }
        if V6 && protocol == FRAGMENT_HEADER {
            return Some(reply_fragments::call::<V6>(ctx));
        }
        return None;
    }
    if !V6 && frame.load_u16(ETHERNET_BYTES + 6) & FRAGMENT_MASK != 0 {
        return Some(reply_fragments::call::<V6>(ctx));
    }
    let header = header::<V6>(frame, protocol)?;
    let port = header.source_port();
    if !lookup::may_be_endpoint::<V6>(globals, &header.source, port, header.protocol) {
        return None;
    }
    if protocol == TCP {
        linear(ctx, Layout::transport(V6) + 20)?;
    }
    Some(if V6 {
        egress_reply_v6(ctx.skb.skb)
    } else {
        egress_reply_v4(ctx.skb.skb)
    })
}

/// Translates what may be a reply, whose headers are in the linear part. Global: however they got there, the verifier walks
/// the rest once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn egress_reply_v4(skb: *mut __sk_buff) -> i32 {
    translate::<false>(&TcContext::new(skb)).unwrap_or(NEXT)
}

/// As [`egress_reply_v4`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn egress_reply_v6(skb: *mut __sk_buff) -> i32 {
    translate::<true>(&TcContext::new(skb)).unwrap_or(NEXT)
}

/// The frame with at least this many bytes in its linear part, if it is as long: a forwarded packet's headers may lie
/// outside.
#[inline(always)]
pub(crate) fn linear(ctx: &TcContext, bytes: usize) -> Option<Frame> {
    let frame = Frame::skb(ctx);
    if frame.has(bytes) {
        return Some(frame);
    }
    ctx.pull_data(bytes as u32).ok()?;
    let frame = Frame::skb(ctx);
    frame.has(bytes).then_some(frame)
}

/// What the skb says, trusted as far as this node's own stack goes.
#[inline(always)]
fn header<const V6: bool>(frame: Frame, protocol: u8) -> Option<Header> {
    let plain = V6 || frame.load_u8(ETHERNET_BYTES) == 0x45;
    plain.then(|| Header {
        source: frame.load_address::<V6>(Layout::source(V6)),
        destination: frame.load_address::<V6>(Layout::destination(V6)),
        ports: frame.load_u32(Layout::transport(V6)),
        protocol,
        hop_limit: 0,
        ip_bytes: 0,
    })
}

#[inline(always)]
fn translate<const V6: bool>(ctx: &TcContext) -> Option<i32> {
    let config = maps::config()?;
    let frame = Frame::skb(ctx);
    if !frame.has(Layout::transport(V6) + 8) {
        return None;
    }
    let header = &header::<V6>(frame, packet::protocol::<V6, _>(&frame))?;
    let tuple = Tuple {
        endpoint: &header.source,
        client: &header.destination,
        ports: header.ports,
        protocol: header.protocol,
    };
    let now = flows::now(config);
    let hash = tuple.hash::<V6>(config);
    let found = reverse::find::<V6>(config, &tuple, hash, now)?;
    let flow = flows::record_mut(found.number)?;
    let mut opens = false;
    if header.protocol == TCP {
        if !frame.has(Layout::transport(V6) + 20) {
            return None;
        }
        if begins_another::<V6>(frame, flow, found) {
            flows::touch(found, State::Free as u32, now);
            return None;
        }
        opens = note_tcp::<V6>(config, frame, flow, found, now);
    } else {
        flow.flags |= Flow::REPLIED;
        flows::touch(found, found.meta.state(), now);
    }
    rewrite::<V6>(ctx, Layout::transport(V6), header, flow)?;
    if opens {
        mss::clamp::<V6>(ctx, config);
    }
    count_reply(ctx, config, flow.service);
    count::verdict(Verdict::Replied);
    Some(way_back::leave(ctx, flow, found.number))
}

/// Counts a packet for the service that it is a reply of.
#[inline(always)]
pub(crate) fn count_reply(ctx: &TcContext, config: &Config, service: u16) {
    if let Some(line) = count::service(config, service) {
        let line = ptr::by_mut(line);
        line.reply_packets += 1;
        line.reply_bytes += u64::from(ctx.len());
    }
}

/// A SYN-ACK of a flow that is over, and not its own come late: the client has dialled the pod's own address from the same
/// port, and is owed an answer from there.
#[inline(always)]
fn begins_another<const V6: bool>(frame: Frame, flow: &Flow, found: Found) -> bool {
    let transport = Layout::transport(V6);
    let flags = frame.load_u8(transport + tcp::FLAGS_AT);
    let state = found.meta.state();
    let is_over = state == State::Closing as u32 || state == State::Reset as u32;
    let sequence = u32::from_be(frame.load_u32(transport + tcp::SEQUENCE_AT));
    is_over
        && flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK
        && sequence.wrapping_add(1) != flow.expected_ack
}

/// What the pod's segment means for the flow: SYN-ACK says what must be acknowledged, FIN and RST shorten it.
/// True for a SYN-ACK.
#[inline(always)]
fn note_tcp<const V6: bool>(
    config: &Config,
    frame: Frame,
    flow: &mut Flow,
    found: Found,
    now: u32,
) -> bool {
    let transport = Layout::transport(V6);
    let flags = frame.load_u8(transport + tcp::FLAGS_AT);
    let mut state = found.meta.state();
    let opens = flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK;
    if opens {
        flow.expected_ack =
            u32::from_be(frame.load_u32(transport + tcp::SEQUENCE_AT)).wrapping_add(1);
    }
    if flags & tcp::ACK != 0 {
        flow.endpoint_ack = u32::from_be(frame.load_u32(transport + tcp::ACKNOWLEDGEMENT_AT));
    }
    if flags & tcp::RST != 0 {
        state = State::Reset as u32;
        flow.flags &= !Flow::RESET_IN_DOUBT;
    } else {
        if flow.flags & Flow::RESET_IN_DOUBT != 0 {
            flow.flags &= !Flow::RESET_IN_DOUBT;
            state = lives_on(config, flow, found);
        }
        flow.flags |= Flow::REPLIED;
        if flags & tcp::FIN != 0 && state == State::Established as u32 {
            state = State::Closing as u32;
        }
    }
    flows::touch(found, state, now);
    opens
}

/// The state of a flow whose pod goes on after a RST.
#[inline(always)]
fn lives_on(config: &Config, flow: &Flow, found: Found) -> u32 {
    match (flows::is_embryonic(config, found.number), flow.expected_ack) {
        (false, _) => State::Established as u32,
        // No SYN-ACK has been seen: nothing to wait for.
        (true, 0) => State::Adopted as u32,
        (true, _) => State::SynReceived as u32,
    }
}

/// Source becomes the VIP, the client's port its own again; the transport header is at `transport`.
#[inline(always)]
pub(crate) fn rewrite<const V6: bool>(
    ctx: &TcContext,
    transport: usize,
    header: &Header,
    flow: &Flow,
) -> Option<()> {
    let ports = packet::ports(flow.vip_port, flow.client_port);
    let (checksum_at, flags) = if header.protocol == TCP {
        (transport + 16, 0)
    } else {
        (transport + 6, u64::from(BPF_F_MARK_MANGLED_0))
    };
    if V6 {
        let difference = difference(&header.source, &flow.vip)?;
        let pseudo = flags | u64::from(BPF_F_PSEUDO_HDR);
        ctx.l4_csum_replace(checksum_at, 0, difference, pseudo)
            .ok()?;
        ctx.l4_csum_replace(
            checksum_at,
            u64::from(header.ports),
            u64::from(ports),
            flags | 4,
        )
        .ok()?;
        ctx.store(Layout::source(true), &flow.vip, 0).ok()?;
    } else {
        let (old, new) = (u64::from(header.source[0]), u64::from(flow.vip[0]));
        ctx.l4_csum_replace(
            checksum_at,
            old,
            new,
            flags | u64::from(BPF_F_PSEUDO_HDR) | 4,
        )
        .ok()?;
        ctx.l4_csum_replace(
            checksum_at,
            u64::from(header.ports),
            u64::from(ports),
            flags | 4,
        )
        .ok()?;
        ctx.l3_csum_replace(ETHERNET_BYTES + 10, old, new, 4).ok()?;
        ctx.store(Layout::source(false), &flow.vip[0], 0).ok()?;
    }
    ctx.store(transport, &ports, 0).ok()
}

/// What exchanging two addresses does to a checksum (`bpf_csum_diff`).
#[inline(always)]
pub(crate) fn difference(old: &Address, new: &Address) -> Option<u64> {
    // SAFETY: both are sixteen bytes, aligned to four, as the helper wants.
    let sum = unsafe {
        helpers::bpf_csum_diff(old.as_ptr().cast_mut(), 16, new.as_ptr().cast_mut(), 16, 0)
    };
    u64::try_from(sum).ok()
}
