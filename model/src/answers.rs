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

/// What becomes of a packet that goes nowhere, from outside: the answer that is due, and that it was one too many.
pub(crate) fn answered(frame: &[u8], reason: &'static str, mtu_bytes: u16) -> Vec<Expected> {
    let Some(answer) = answer(frame, reason, mtu_bytes) else {
        return vec![Expected::drop(reason)];
    };
    let limited = Expected::new(Action::Drop, None, &[reason, "answer-limited"]);
    vec![answer.with(Effect::Answer), limited]
}

fn answer(frame: &[u8], reason: &'static str, mtu_bytes: u16) -> Option<Expected> {
    let v6 = parse::is_v6(frame)?;
    let at = ETHERNET + if v6 { 40 } else { 20 };
    frame.get(..at + 8)?;
    // Nothing is said about packets with options; extension headers are no transport protocol.
    if !v6 && frame[14] != 0x45 {
        return None;
    }
    let protocol = frame[if v6 { 20 } else { 23 }];
    match (reason, protocol) {
        ("no-such-port" | "no-endpoint", 6) => reset(frame, v6, at, reason),
        ("no-such-port" | "no-endpoint", 17) => {
            error(frame, v6, if v6 { (1, 4) } else { (3, 3) }, 0, reason)
        }
        ("ttl-expired", 6 | 17) => error(frame, v6, if v6 { (3, 0) } else { (11, 0) }, 0, reason),
        ("too-big", 6 | 17) => error(
            frame,
            v6,
            if v6 { (2, 0) } else { (3, 4) },
            mtu_bytes,
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
    expected.checksums.push(at + 16);
    Some(expected)
}

/// RFC 792, RFC 4443, RFC 1191: the IP header and eight bytes of what cannot go on.
fn error(
    frame: &[u8],
    v6: bool,
    kind: (u8, u8),
    mtu_bytes: u16,
    reason: &'static str,
) -> Option<Expected> {
    let quote = frame.get(ETHERNET..ETHERNET + if v6 { 48 } else { 28 })?;
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
