//! What a VIP says itself, in place of a host: resets, ICMP errors and echo replies. Everything is built anew, as a
//! host would build it.

use std::net::IpAddr;

use etherparse::{IpHeaders, PacketBuilder, PacketBuilderStep};

use crate::{
    compare::{Action, Effect, Expected},
    parse::{self, Segment},
    wire::{ETHERNET, half, put, replace},
};

/// TTL of what a VIP sends.
const HOP_LIMIT: u8 = 64;
/// Shortest frame on Ethernet.
const FRAME_MIN: usize = 60;

/// Most that an error quotes: the longest IPv4 header, or an IPv6 header with 64 bytes of extension headers, and eight bytes.
const QUOTE_MAX: [usize; 2] = [60 + 8, 40 + 64 + 8];
/// No IPv6 host makes its packets smaller.
const IPV6_MTU_MIN: u16 = 1280;

/// What becomes of a packet that goes nowhere, from outside: the answer that is due, and that it was one too many.
/// `mtu_bytes` is what the way would carry.
pub(crate) fn answered(frame: &[u8], reason: &'static str, mtu_bytes: u16) -> Vec<Expected> {
    let Some((v6, outline)) = parse::is_v6(frame).zip(parse::outline(frame)) else {
        return vec![Expected::drop(reason)];
    };
    if is_due(v6, outline, reason) && is_martian(frame, v6) {
        return vec![Expected::drop(reason).also("source-martian")];
    }
    let Some(answer) = answer(frame, v6, outline, reason, mtu_bytes) else {
        return vec![Expected::drop(reason)];
    };
    let limited = Expected::new(Action::Drop, None, &[reason, "answer-limited"]);
    vec![answer.with(Effect::Answer), limited]
}

/// Whether somebody who can have sent it would want an answer. A reset would have to acknowledge what is in other parts.
fn is_due(v6: bool, outline: parse::Outline, reason: &str) -> bool {
    match (reason, outline.protocol) {
        ("no-such-port" | "no-endpoint", 6) => !outline.is_part,
        ("no-such-port" | "no-endpoint" | "ttl-expired" | "too-big", 6 | 17) => true,
        ("unsupported-protocol", 1) => !v6,
        ("unsupported-protocol", 58) => v6,
        _ => false,
    }
}

/// RFC 1122 section 3.2.1.3, RFC 4443 section 2.4, RFC 6890.
fn is_martian(frame: &[u8], v6: bool) -> bool {
    let at = |offset| parse::address_at(frame, v6, ETHERNET + offset);
    let (from, to) = if v6 { (8, 24) } else { (12, 16) };
    let special = match at(from) {
        IpAddr::V4(v4) => v4.octets()[0] == 0 || v4.is_loopback() || v4.octets()[0] >= 224,
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || v6.is_loopback()
                || v6.is_multicast()
                || v6.to_ipv4_mapped().is_some()
        }
    };
    special || at(from) == at(to)
}

fn answer(
    frame: &[u8],
    v6: bool,
    outline: parse::Outline,
    reason: &'static str,
    mtu_bytes: u16,
) -> Option<Expected> {
    let at = outline.payload_at;
    frame.get(..at + 8)?;
    match (reason, outline.protocol) {
        ("no-such-port" | "no-endpoint", 6) if outline.is_part => None,
        ("no-such-port" | "no-endpoint", 6) => reset(frame, v6, at, reason),
        ("no-such-port" | "no-endpoint", 17) => {
            error(frame, v6, at, if v6 { (1, 4) } else { (3, 3) }, 0, reason)
        }
        ("ttl-expired", 6 | 17) => {
            error(frame, v6, at, if v6 { (3, 0) } else { (11, 0) }, 0, reason)
        }
        ("too-big", 6 | 17) => error(
            frame,
            v6,
            at,
            if v6 { (2, 0) } else { (3, 4) },
            if v6 {
                mtu_bytes.max(IPV6_MTU_MIN)
            } else {
                mtu_bytes
            },
            reason,
        ),
        ("unsupported-protocol", 1) if !v6 => echo(frame, v6, at, reason),
        ("unsupported-protocol", 58) if v6 => echo(frame, v6, at, reason),
        _ => None,
    }
}

/// Back to where the packet came from.
fn back(frame: &[u8], v6: bool) -> Option<PacketBuilderStep<IpHeaders>> {
    let mac = |at: usize| -> [u8; 6] { frame[at..at + 6].try_into().expect("six bytes") };
    let ethernet = PacketBuilder::ethernet2(mac(0), mac(6));
    let (from, to) = if v6 { (22, 38) } else { (26, 30) };
    match (
        parse::address(frame, v6, from)?,
        parse::address(frame, v6, to)?,
    ) {
        (IpAddr::V4(client), IpAddr::V4(vip)) => {
            Some(ethernet.ipv4(vip.octets(), client.octets(), HOP_LIMIT))
        }
        (IpAddr::V6(client), IpAddr::V6(vip)) => {
            Some(ethernet.ipv6(vip.octets(), client.octets(), HOP_LIMIT))
        }
        _ => None,
    }
}

/// RFC 9293 section 3.10.7.1.
fn reset(frame: &[u8], v6: bool, at: usize, reason: &'static str) -> Option<Expected> {
    let segment = Segment::at(frame, at);
    if segment.rst {
        return None;
    }
    let ip_bytes = if v6 {
        usize::from(half(frame, 18)) + 40
    } else {
        usize::from(half(frame, 16))
    };
    let payload = (ip_bytes + ETHERNET).wrapping_sub(at + segment.header_bytes);
    let length = (payload as u32)
        .wrapping_add(u32::from(segment.syn))
        .wrapping_add(u32::from(segment.fin));
    let (client_port, vip_port) = (half(frame, at), half(frame, at + 2));
    let ip = back(frame, v6)?;
    let tcp = if segment.ack {
        ip.tcp(vip_port, client_port, segment.acknowledgement, 0)
            .rst()
    } else {
        let acknowledges = segment.sequence.wrapping_add(length);
        ip.tcp(vip_port, client_port, 0, 0).rst().ack(acknowledges)
    };
    let mut out = Vec::new();
    tcp.write(&mut out, &[]).ok()?;
    let end = out.len();
    out.resize(end.max(frame.len().min(FRAME_MIN)), 0);
    let mut expected = Expected::new(Action::Transmit, Some(out), &[reason, "reset-sent"]);
    // Padding.
    let padded = expected.frame.as_ref().map_or(end, Vec::len);
    expected.free.push(end..padded);
    expected
        .checksums
        .push(ETHERNET + if v6 { 40 } else { 20 } + 16);
    Some(expected)
}

/// RFC 792, RFC 4443, RFC 1191: the IP header with all that belongs to it, and eight bytes of what cannot go on.
fn error(
    frame: &[u8],
    v6: bool,
    at: usize,
    kind: (u8, u8),
    mtu_bytes: u16,
    reason: &'static str,
) -> Option<Expected> {
    let quote = frame.get(ETHERNET..at + 8)?;
    if quote.len() > QUOTE_MAX[usize::from(v6)] {
        return None;
    }
    let [high, low] = mtu_bytes.to_be_bytes();
    let rest = [0, 0, high, low];
    let mut out = Vec::new();
    let ip = back(frame, v6)?;
    if v6 {
        ip.icmpv6_raw(kind.0, kind.1, rest).write(&mut out, quote)
    } else {
        ip.icmpv4_raw(kind.0, kind.1, rest).write(&mut out, quote)
    }
    .ok()?;
    let mut expected = Expected::new(Action::Transmit, Some(out), &[reason, "error-sent"]);
    expected.checksums.push(ETHERNET + if v6 { 42 } else { 22 });
    Some(expected)
}

/// RFC 1122 section 3.2.2.6: all of it comes back.
fn echo(frame: &[u8], v6: bool, at: usize, reason: &'static str) -> Option<Expected> {
    let (request, reply) = if v6 { (128, 129) } else { (8, 0) };
    if frame[at] != request || frame[at + 1] != 0 {
        return None;
    }
    let mut out = frame.to_vec();
    put(&mut out, 0, &frame[6..12]);
    put(&mut out, 6, &frame[..6]);
    let (source, bytes) = if v6 { (22, 16) } else { (26, 4) };
    put(&mut out, source, &frame[source + bytes..source + 2 * bytes]);
    put(&mut out, source + bytes, &frame[source..source + bytes]);
    if v6 {
        out[21] = HOP_LIMIT;
    } else {
        replace(&mut out, 22, &[HOP_LIMIT, frame[23]], &[24]);
    }
    replace(&mut out, at, &[reply, 0], &[at + 2]);
    let mut expected = Expected::new(Action::Transmit, Some(out), &[reason, "echo-answered"]);
    expected.checksums.push(at + 2);
    if !v6 {
        expected.checksums.push(24);
    }
    Some(expected)
}
