//! Bytes of a packet: fields, and checksums computed from scratch (RFC 1071) or kept as right or wrong as they were.
//! Arithmetic is modulo 65,535 on big-endian words, as the RFC has it.

use etherparse::{NetSlice, SlicedPacket, TransportSlice};

/// Ethernet header.
pub const ETHERNET: usize = 14;

/// Two bytes at an offset; the frame must have them.
#[must_use]
pub fn half(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// Four bytes at an offset; the frame must have them.
#[must_use]
pub fn word(frame: &[u8], at: usize) -> u32 {
    u32::from(half(frame, at)) << 16 | u32::from(half(frame, at + 2))
}

/// Writes over a part of the frame.
pub fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Sum of bytes as words, modulo 65,535; an odd last byte is padded.
#[must_use]
pub fn sum(bytes: &[u8]) -> u32 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    words.fold(0, |sum, word| (sum + word) % 0xffff)
}

/// Writes `new` over even-aligned bytes of what the checksum at `checksum_at` covers, and mends it, so that a right one
/// stays right and a wrong one wrong by as much.
pub fn replace(frame: &mut [u8], at: usize, new: &[u8], checksum_at: &[usize]) {
    let old = sum(&frame[at..at + new.len()]);
    put(frame, at, new);
    for place in checksum_at {
        mend(frame, *place, old, sum(new));
    }
}

/// The covered bytes added up to `old` and now add up to `new`.
pub fn mend(frame: &mut [u8], checksum_at: usize, old: u32, new: u32) {
    let before = u32::from(half(frame, checksum_at));
    let after = (before + old + 0xffff - new) % 0xffff;
    put(frame, checksum_at, &(after as u16).to_be_bytes());
}

/// Checks every checksum from the first header to the last, those of packets inside GUE included.
///
/// # Errors
/// Which one is wrong.
pub fn verify(frame: &[u8], gue_port: u16) -> Result<(), String> {
    let sliced = SlicedPacket::from_ethernet(frame).map_err(|error| error.to_string())?;
    let addresses = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => {
            right("the IPv4 header's", sum(ip.header().slice()))?;
            sum(&ip.header().source()) + sum(&ip.header().destination())
        }
        Some(NetSlice::Ipv6(ip)) => sum(&ip.header().source()) + sum(&ip.header().destination()),
        _ => return Ok(()),
    };
    let with_pseudo = |protocol: u32, segment: &[u8]| {
        (addresses + protocol + segment.len() as u32 + sum(segment)) % 0xffff
    };
    match &sliced.transport {
        Some(TransportSlice::Tcp(tcp)) => right("the TCP", with_pseudo(6, tcp.slice())),
        Some(TransportSlice::Udp(udp)) => {
            if udp.checksum() != 0 {
                right("the UDP", with_pseudo(17, udp.slice()))?;
            }
            if udp.destination_port() == gue_port {
                return verify_inner(frame, udp.payload(), gue_port);
            }
            Ok(())
        }
        Some(TransportSlice::Icmpv4(icmp)) => right("the ICMP", sum(icmp.slice())),
        Some(TransportSlice::Icmpv6(icmp)) => right("the ICMPv6", with_pseudo(58, icmp.slice())),
        _ => Ok(()),
    }
}

fn verify_inner(frame: &[u8], gue: &[u8], gue_port: u16) -> Result<(), String> {
    let inner = gue.get(16..).ok_or("no packet inside")?;
    let ethertype = if gue[1] == 41 { [0x86, 0xdd] } else { [8, 0] };
    verify(&[&frame[..12], &ethertype[..], inner].concat(), gue_port)
        .map_err(|error| format!("inside: {error}"))
}

/// With its checksum, what is covered adds up to zero.
fn right(what: &str, sum: u32) -> Result<(), String> {
    if sum.is_multiple_of(0xffff) {
        Ok(())
    } else {
        Err(format!("{what} checksum is off by {sum:04x}"))
    }
}
