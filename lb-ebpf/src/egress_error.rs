//! ICMP errors that pods and nodes send about flows of ours (a closed port, an MTU, a TTL that ran out), on their way
//! to the client. Source and quote become the VIP's: a client knows no pod, and its kernel ignores an error about
//! one. Only what changes is written, checksums by difference (RFC 792, RFC 4443, RFC 1624); the flow's state
//! stays. Errors about anything else leave as they are.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use lb_common::{
    Address, TCP, UDP,
    checksum::Delta,
    flow::Flow,
    packet::{self, ETHERNET_BYTES, IPV6_BYTES, Layout},
    verdict::Verdict,
};

use crate::{
    count,
    egress::NEXT,
    flows, lookup, maps,
    reverse::{self, Tuple},
    way_back,
};

/// Fragment offset of the IPv4 header (RFC 791): the ports are in the first fragment alone.
const OFFSET_MASK: u16 = 0x1fff_u16.to_be();
/// Extension headers (IANA), and how many of them are looked at.
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
const EXTENSIONS_MAX: u32 = 6;
/// Where a transport header has its checksum.
const UDP_CHECKSUM_AT: usize = 6;
const TCP_CHECKSUM_AT: usize = 16;

/// Translates an error about a flow of ours; the program's return value.
#[inline(always)]
pub(crate) fn call<const V6: bool>(ctx: &TcContext) -> i32 {
    if V6 {
        egress_error_v6(ctx.skb.skb)
    } else {
        egress_error_v4(ctx.skb.skb)
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn egress_error_v4(skb: *mut __sk_buff) -> i32 {
    translate::<false>(&TcContext::new(skb)).unwrap_or(NEXT)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn egress_error_v6(skb: *mut __sk_buff) -> i32 {
    translate::<true>(&TcContext::new(skb)).unwrap_or(NEXT)
}

/// The packet that an error quotes: a client's, as the pod got it.
struct Quoted {
    /// Where its transport header begins.
    transport: usize,
    client: Address,
    endpoint: Address,
    /// As they lie there: the client's, then the pod's.
    ports: u32,
    protocol: u8,
}

/// `None`: not about a flow of ours, or too short to say.
#[inline(always)]
fn translate<const V6: bool>(ctx: &TcContext) -> Option<i32> {
    let config = maps::config()?;
    let quoted = quoted::<V6>(ctx)?;
    let receiver = load_address::<V6>(ctx, Layout::destination(V6))?;
    if !lookup::same_address::<V6>(&receiver, &quoted.client) {
        return None;
    }
    let tuple = Tuple {
        endpoint: &quoted.endpoint,
        client: &quoted.client,
        ports: quoted.ports.rotate_left(16),
        protocol: quoted.protocol,
    };
    let hash = tuple.hash::<V6>(config);
    let found = reverse::find::<V6>(config, &tuple, hash, flows::now(config))?;
    let flow = flows::record(found.number)?;
    rewrite::<V6>(ctx, &quoted, flow)?;
    count::verdict(Verdict::ErrorReplied);
    Some(way_back::leave(ctx, flow, found.number))
}

#[inline(always)]
fn quoted<const V6: bool>(ctx: &TcContext) -> Option<Quoted> {
    let quote = packet::quote(V6);
    let first = ctx.load::<u8>(quote).ok()?;
    let protocol = ctx.load::<u8>(quote + if V6 { 6 } else { 9 }).ok()?;
    if first >> 4 != if V6 { 6 } else { 4 } {
        return None;
    }
    let (transport, protocol) = if V6 {
        let found = beyond_extensions(ctx.skb.skb, (quote + IPV6_BYTES) as u32, protocol.into());
        (found as u32 as usize, (found >> 32) as u8)
    } else {
        let is_later = ctx.load::<u16>(quote + 6).ok()? & OFFSET_MASK != 0;
        let header_bytes = usize::from(first & 15) * 4;
        (quote + header_bytes, if is_later { 0 } else { protocol })
    };
    if protocol != TCP && protocol != UDP {
        return None;
    }
    Some(Quoted {
        transport,
        client: load_address::<V6>(ctx, quote + if V6 { 8 } else { 12 })?,
        endpoint: load_address::<V6>(ctx, quote + if V6 { 24 } else { 16 })?,
        ports: ctx.load::<u32>(transport).ok()?,
        protocol,
    })
}

/// Offset of the header behind an IPv6 packet's extension headers, and shifted left by 32 its protocol number, which is 0 of
/// a later fragment, behind too many headers, and of what is cut short.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn beyond_extensions(skb: *mut __sk_buff, first: u32, protocol: u32) -> u64 {
    let ctx = TcContext::new(skb);
    let (mut at, mut protocol) = (first, protocol as u8);
    for _ in 0..EXTENSIONS_MAX {
        let length_unit = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => 8,
            FRAGMENT => 0,
            _ => return u64::from(at) | u64::from(protocol) << 32,
        };
        let Ok([next, length, high, low]) = ctx.load::<[u8; 4]>(at as usize) else {
            return 0;
        };
        if protocol == FRAGMENT && u16::from_be_bytes([high, low]) >> 3 != 0 {
            return 0;
        }
        at += 8 + u32::from(length) * length_unit;
        protocol = next;
    }
    0
}

#[inline(always)]
fn rewrite<const V6: bool>(ctx: &TcContext, quoted: &Quoted, flow: &Flow) -> Option<()> {
    let quote = packet::quote(V6);
    let ports = packet::ports(flow.client_port, flow.vip_port);
    let port_change = Delta::new().word(quoted.ports, ports);
    let address_change = Delta::new().address(&quoted.endpoint, &flow.vip);
    // What the quoted bytes add to the sum of the message.
    let mut change = port_change.and(address_change);
    if let Some(half) = transport_checksum(ctx, quoted, change) {
        change = change.and(half);
    }
    let sender = load_address::<V6>(ctx, Layout::source(V6))?;
    let sender_change = Delta::new().address(&sender, &flow.vip);
    if V6 {
        // The pseudo-header is under the checksum (RFC 4443 section 2.3).
        change = change.and(sender_change);
    } else {
        change = change.and(header_checksum(ctx, quote, address_change)?);
        header_checksum(ctx, ETHERNET_BYTES, sender_change)?;
    }
    store_address::<V6>(ctx, Layout::source(V6), &flow.vip)?;
    store_address::<V6>(ctx, quote + if V6 { 24 } else { 16 }, &flow.vip)?;
    ctx.store(quoted.transport, &ports, 0).ok()?;
    let at = Layout::transport(V6) + 2;
    let checksum = change.apply(ctx.load::<u16>(at).ok()?);
    ctx.store(at, &checksum, 0).ok()
}

/// Brings the quoted transport header's checksum up to date, if the quote reaches that far; what that changes.
#[inline(always)]
fn transport_checksum(ctx: &TcContext, quoted: &Quoted, change: Delta) -> Option<Delta> {
    let is_udp = quoted.protocol == UDP;
    let at = quoted.transport
        + if is_udp {
            UDP_CHECKSUM_AT
        } else {
            TCP_CHECKSUM_AT
        };
    let old = ctx.load::<u16>(at).ok()?;
    let new = if is_udp {
        change.apply_udp(old)
    } else {
        change.apply(old)
    };
    ctx.store(at, &new, 0).ok()?;
    Some(Delta::new().half(old, new))
}

/// Brings an IPv4 header's checksum up to date; what that changes.
#[inline(always)]
fn header_checksum(ctx: &TcContext, header: usize, change: Delta) -> Option<Delta> {
    let old = ctx.load::<u16>(header + 10).ok()?;
    let new = change.apply(old);
    ctx.store(header + 10, &new, 0).ok()?;
    Some(Delta::new().half(old, new))
}

#[inline(always)]
fn load_address<const V6: bool>(ctx: &TcContext, at: usize) -> Option<Address> {
    if V6 {
        ctx.load::<Address>(at).ok()
    } else {
        Some([ctx.load::<u32>(at).ok()?, 0, 0, 0])
    }
}

#[inline(always)]
fn store_address<const V6: bool>(ctx: &TcContext, at: usize, address: &Address) -> Option<()> {
    if V6 {
        ctx.store(at, address, 0).ok()
    } else {
        ctx.store(at, &address[0], 0).ok()
    }
}
