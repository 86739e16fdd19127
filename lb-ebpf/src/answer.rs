//! What a VIP answers itself, in place of a host: echo requests, closed ports (TCP reset, port unreachable),
//! an expired TTL, a packet too big for the way. The frame that came is turned into the answer and sent back
//! where it came from, under a token bucket per CPU. Nothing that a node has steered draws an answer: its
//! sender's tables are ahead of ours, or behind.

use aya_ebpf::{
    bindings::xdp_action::{XDP_PASS, XDP_TX},
    programs::XdpContext,
};
use lb_common::{
    Address, TCP, UDP,
    checksum::{self, Delta},
    config::Config,
    packet::{
        self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_BYTES, IPV6_BYTES, Layout,
        Packet as _,
    },
    service::ServiceValue,
    verdict::Verdict,
    walk::Walk,
};

use crate::{
    count,
    deliver::tcp,
    ethernet, forward, lookup, maps,
    ptr::{self, Frame},
    rooms, tokens,
};

/// IP protocol numbers (IANA).
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Shortest frame on Ethernet without its check sequence.
const FRAME_BYTES_MIN: usize = 60;
/// TTL and hop limit of what a VIP sends itself (RFC 1700's default).
const HOP_LIMIT: u8 = 64;
/// What an error quotes: the IP header and the ports (RFC 792).
const QUOTE_V4: usize = IPV4_BYTES + 8;
const QUOTE_V6: usize = IPV6_BYTES + 8;
/// ICMP header.
const ICMP_BYTES: usize = 8;

/// The program of the room: counts why a packet goes nowhere, and answers it if there is an answer. Only what is
/// addressed to a VIP may be dropped, or answered.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &XdpContext) -> u32 {
    let (Some(walk), Some(config)) = (rooms::walk(), maps::config()) else {
        return count::drop(Verdict::TableInconsistent);
    };
    if walk.has(Walk::MAY_BE_VIP) && !is_for_vip::<V6>(ctx, walk) {
        return if walk.has(Walk::BY_GUE) {
            count::drop(Verdict::GueMalformed)
        } else {
            XDP_PASS
        };
    }
    if walk.service != 0 {
        count::lost(config, ServiceValue(walk.service).id());
    }
    let dropped = count::drop_number(walk.reason);
    match answer::<V6>(ctx, config, walk) {
        Some(what) => {
            swap_macs(Frame::xdp(ctx));
            count::verdict(what);
            XDP_TX
        }
        None => dropped,
    }
}

#[inline(always)]
fn is_for_vip<const V6: bool>(ctx: &XdpContext, walk: &Walk) -> bool {
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(Layout::transport(V6)) {
        return false;
    }
    let destination = frame.load_address::<V6>(Layout::destination(V6));
    lookup::is_vip::<V6>(&destination)
}

/// The answer to what no node has steered: `None` if there is none.
#[inline(always)]
fn answer<const V6: bool>(ctx: &XdpContext, config: &Config, walk: &Walk) -> Option<Verdict> {
    let interface = maps::interface(walk.slot)?;
    let whole = Frame::xdp(ctx);
    if walk.has(Walk::BY_GUE) || forward::is_of_a_node(whole, interface) {
        return None;
    }
    // Options, extension headers and parts of datagrams are not read here, so nothing is said about them.
    let is_plain =
        walk.transport_at == walk.ip_at + (Layout::transport(V6) - ETHERNET_BYTES) as u16;
    let frame = Frame::untagged(ctx, walk);
    if !is_plain || walk.has(Walk::FRAGMENT) || !frame.has(Layout::transport(V6) + 8) {
        return None;
    }
    if config.flags & silenced_by(walk.reason) != 0 {
        return None;
    }
    match (walk.reason, packet::protocol::<V6, _>(&frame)) {
        (NO_SUCH_PORT | NO_ENDPOINT, TCP) => reset::<V6>(ctx, walk, frame),
        (NO_SUCH_PORT | NO_ENDPOINT, UDP) => error::<V6>(ctx, walk, port_unreachable(V6), 0),
        (TTL_EXPIRED, TCP | UDP) => error::<V6>(ctx, walk, time_exceeded(V6), 0),
        (TOO_BIG, TCP | UDP) => error::<V6>(ctx, walk, too_big(V6), config.mss_v4_bytes + 40),
        (UNSUPPORTED, protocol) if protocol == packet::icmp_protocol(V6) => echo::<V6>(frame),
        _ => None,
    }
}

const NO_SUCH_PORT: u32 = Verdict::NoSuchPort as u32;
const NO_ENDPOINT: u32 = Verdict::NoEndpoint as u32;
const TTL_EXPIRED: u32 = Verdict::TtlExpired as u32;
const TOO_BIG: u32 = Verdict::TooBig as u32;
const UNSUPPORTED: u32 = Verdict::UnsupportedProtocol as u32;

/// The setting that forbids an answer. Of what is neither TCP nor UDP, only echo requests are answered.
const fn silenced_by(reason: u32) -> u32 {
    match reason {
        NO_SUCH_PORT | NO_ENDPOINT => Config::SILENT_ON_CLOSED_PORTS,
        UNSUPPORTED => Config::SILENT_ON_ECHO,
        _ => 0,
    }
}

/// Type and code (RFC 792, RFC 4443).
const fn port_unreachable(v6: bool) -> (u8, u8) {
    if v6 { (1, 4) } else { (3, 3) }
}

const fn time_exceeded(v6: bool) -> (u8, u8) {
    if v6 { (3, 0) } else { (11, 0) }
}

const fn too_big(v6: bool) -> (u8, u8) {
    if v6 { (2, 0) } else { (3, 4) }
}

/// Takes a token.
#[inline(always)]
fn may_answer() -> bool {
    tokens::token_of_vip() != 0
}

/// An echo request becomes its reply: types differ, so the checksum does by their difference alone; exchanging
/// the addresses leaves sums as they are.
#[inline(always)]
fn echo<const V6: bool>(frame: Frame) -> Option<Verdict> {
    let at = Layout::transport(V6);
    let (request, reply) = if V6 { (128, 129) } else { (8, 0) };
    if frame.load_u8(at) != request || frame.load_u8(at + 1) != 0 || !may_answer() {
        return None;
    }
    let delta = Delta::new().half(
        u16::from_ne_bytes([request, 0]),
        u16::from_ne_bytes([reply, 0]),
    );
    frame.store_u8(at, reply);
    frame.store_u16(at + 2, delta.apply(frame.load_u16(at + 2)));
    let (source, destination) = addresses::<V6>(frame);
    frame.store_address::<V6>(Layout::source(V6), &destination);
    frame.store_address::<V6>(Layout::destination(V6), &source);
    let hop_limit = Layout::hop_limit(V6);
    if !V6 {
        // TTL is the first byte of its word, the protocol the second.
        let (old, new) = ([frame.load_u8(hop_limit), ICMP], [HOP_LIMIT, ICMP]);
        let delta = Delta::new().half(u16::from_ne_bytes(old), u16::from_ne_bytes(new));
        frame.store_u16(
            ETHERNET_BYTES + 10,
            delta.apply(frame.load_u16(ETHERNET_BYTES + 10)),
        );
    }
    frame.store_u8(hop_limit, HOP_LIMIT);
    Some(Verdict::EchoAnswered)
}

/// A segment to a closed port becomes its reset (RFC 9293 3.10.7.1); a reset draws none.
#[inline(always)]
fn reset<const V6: bool>(ctx: &XdpContext, walk: &Walk, frame: Frame) -> Option<Verdict> {
    let at = Layout::transport(V6);
    if !frame.has(at + 20) {
        return None;
    }
    let flags = frame.load_u8(at + tcp::FLAGS_AT);
    if flags & tcp::RST != 0 || !may_answer() {
        return None;
    }
    let ip_bytes = if V6 {
        u32::from(u16::from_be(frame.load_u16(ETHERNET_BYTES + 4))) + IPV6_BYTES as u32
    } else {
        u32::from(u16::from_be(frame.load_u16(ETHERNET_BYTES + 2)))
    };
    let header = u32::from(frame.load_u8(at + 12) >> 4) * 4 + (at - ETHERNET_BYTES) as u32;
    let length = ip_bytes.wrapping_sub(header)
        + u32::from(flags & tcp::SYN != 0)
        + u32::from(flags & tcp::FIN != 0);
    let (sequence, acknowledgement, flags) = if flags & tcp::ACK != 0 {
        (frame.load_u32(at + tcp::ACKNOWLEDGEMENT_AT), 0, tcp::RST)
    } else {
        let received = u32::from_be(frame.load_u32(at + tcp::SEQUENCE_AT));
        (
            0,
            received.wrapping_add(length).to_be(),
            tcp::RST | tcp::ACK,
        )
    };
    let ports = frame.load_u32(at).rotate_left(16);
    let (client, vip) = addresses::<V6>(frame);
    trim(ctx, frame, (at + 20).max(FRAME_BYTES_MIN))?;
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(at + 20) {
        return None;
    }
    store_ip::<V6>(frame, &vip, &client, TCP, 20);
    frame.store_u32(at, ports);
    frame.store_u32(at + 4, sequence);
    frame.store_u32(at + 8, acknowledgement);
    frame.store_u32(at + 12, u32::from_ne_bytes([0x50, flags, 0, 0]));
    frame.store_u32(at + 16, 0);
    let sum = pseudo_sum::<V6>(&vip, &client, TCP, 20) + sum_of::<5>(frame, at);
    frame.store_u16(at + 16, !checksum::fold(sum));
    Some(Verdict::ResetSent)
}

/// Puts an ICMP error in front of the packet's first bytes and cuts off the rest.
#[inline(always)]
fn error<const V6: bool>(
    ctx: &XdpContext,
    walk: &Walk,
    (kind, code): (u8, u8),
    mtu_bytes: u16,
) -> Option<Verdict> {
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(Layout::transport(V6)) || !may_answer() {
        return None;
    }
    let (client, vip) = addresses::<V6>(frame);
    let at = Layout::transport(V6);
    let (room, quote) = if V6 {
        (IPV6_BYTES + ICMP_BYTES, QUOTE_V6)
    } else {
        (IPV4_BYTES + ICMP_BYTES, QUOTE_V4)
    };
    if !ptr::move_head(ctx, -(room as i32)) {
        return None;
    }
    let end = at + ICMP_BYTES + quote;
    let ethertype = if V6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    ethernet::move_header(Frame::xdp(ctx), room, 0, ptr::tag_bytes(walk), ethertype)?;
    trim(ctx, Frame::untagged(ctx, walk), end.max(FRAME_BYTES_MIN))?;
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(end) {
        return None;
    }
    let bytes = (ICMP_BYTES + quote) as u16;
    let protocol = if V6 { ICMPV6 } else { ICMP };
    store_ip::<V6>(frame, &vip, &client, protocol, bytes);
    frame.store_u32(at, u32::from_ne_bytes([kind, code, 0, 0]));
    // "Next-hop MTU" is the last half of the word in ICMP (RFC 1191), the whole word in ICMPv6.
    frame.store_u32(at + 4, u32::from(mtu_bytes).to_be());
    let sum = if V6 {
        pseudo_sum::<true>(&vip, &client, ICMPV6, bytes)
            + sum_of::<{ (ICMP_BYTES + QUOTE_V6) / 4 }>(frame, at)
    } else {
        sum_of::<{ (ICMP_BYTES + QUOTE_V4) / 4 }>(frame, at)
    };
    frame.store_u16(at + 2, !checksum::fold(sum));
    Some(Verdict::ErrorSent)
}

/// Cuts the frame to a length, if it is longer. It is to be looked at anew.
#[inline(always)]
pub(crate) fn trim(ctx: &XdpContext, frame: Frame, bytes: usize) -> Option<()> {
    let surplus = ptr::opaque(frame.len()).saturating_sub(bytes as u64) as i32;
    (surplus <= 0 || ptr::move_tail(ctx, -surplus)).then_some(())
}

/// A fresh IP header, with its checksum; `bytes` of payload.
#[inline(always)]
fn store_ip<const V6: bool>(
    frame: Frame,
    source: &Address,
    destination: &Address,
    protocol: u8,
    bytes: u16,
) {
    let at = ETHERNET_BYTES;
    if V6 {
        frame.store_u32(at, u32::from_ne_bytes([0x60, 0, 0, 0]));
        frame.store_u16(at + 4, bytes.to_be());
        frame.store_u16(at + 6, u16::from_ne_bytes([protocol, HOP_LIMIT]));
    } else {
        let total = bytes + IPV4_BYTES as u16;
        frame.store_u16(at, u16::from_ne_bytes([0x45, 0]));
        frame.store_u16(at + 2, total.to_be());
        frame.store_u32(at + 4, u32::from_ne_bytes([0, 0, 0x40, 0]));
        frame.store_u32(at + 8, u32::from_ne_bytes([HOP_LIMIT, protocol, 0, 0]));
    }
    frame.store_address::<V6>(Layout::source(V6), source);
    frame.store_address::<V6>(Layout::destination(V6), destination);
    if !V6 {
        frame.store_u16(at + 10, !checksum::fold(sum_of::<5>(frame, at)));
    }
}

#[inline(always)]
fn pseudo_sum<const V6: bool>(
    source: &Address,
    destination: &Address,
    protocol: u8,
    bytes: u16,
) -> u64 {
    let words = if V6 { 4 } else { 1 };
    let mut sum = u64::from(bytes.to_be()) + u64::from(u16::from(protocol).to_be());
    for word in 0..words {
        sum += u64::from(source[word]) + u64::from(destination[word]);
    }
    sum
}

/// Sum of whole words of the frame, which must have them.
#[inline(always)]
fn sum_of<const WORDS: usize>(frame: Frame, at: usize) -> u64 {
    let mut sum = 0;
    for word in 0..WORDS {
        sum += u64::from(frame.load_u32(at + word * 4));
    }
    sum
}

#[inline(always)]
fn addresses<const V6: bool>(frame: Frame) -> (Address, Address) {
    (
        frame.load_address::<V6>(Layout::source(V6)),
        frame.load_address::<V6>(Layout::destination(V6)),
    )
}

#[inline(always)]
fn swap_macs(frame: Frame) {
    if !frame.has(ETHERNET_BYTES) {
        return;
    }
    let (to, to_end) = (frame.load_u32(0), frame.load_u16(4));
    let (from, from_end) = (frame.load_u16(6), frame.load_u32(8));
    frame.store_u16(0, from);
    frame.store_u32(2, from_end);
    frame.store_u32(6, to);
    frame.store_u16(10, to_end);
}
