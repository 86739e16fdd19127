//! ICMP errors: as routers on the client's side send them to a VIP, about what the VIP sent; and as a pod or its node
//! sends them to a client, about what the client sent.

use std::net::IpAddr;

use etherparse::PacketBuilder;

use crate::world::{ROUTER_MAC, node_mac};

/// What an ICMP error quotes at least: the IP header and eight bytes (RFC 792).
#[must_use]
pub fn quoted(like: IpAddr) -> usize {
    if like.is_ipv4() { 28 } else { 48 }
}

/// A router says that a packet of `reply` could not go on: type, code, rest of the header; quoting `bytes` of it.
///
/// # Panics
/// If the reply is shorter.
#[must_use]
pub fn complaint(reply: &[u8], kind: (u8, u8), rest: [u8; 4], bytes: usize) -> Vec<u8> {
    let vip = source(reply);
    let router: IpAddr = match vip {
        IpAddr::V4(_) => [192, 0, 2, 7].into(),
        IpAddr::V6(_) => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 7].into(),
    };
    message((router, vip), kind, rest, &reply[14..14 + bytes])
}

/// `sender` says that what a client sent, as it was `delivered` to a pod, could not be taken: as [`complaint`].
///
/// # Panics
/// If what was delivered is shorter.
#[must_use]
pub fn refusal(
    delivered: &[u8],
    sender: IpAddr,
    kind: (u8, u8),
    rest: [u8; 4],
    bytes: usize,
) -> Vec<u8> {
    let client = source(delivered);
    message((sender, client), kind, rest, &delivered[14..14 + bytes])
}

fn message(
    (sender, receiver): (IpAddr, IpAddr),
    kind: (u8, u8),
    rest: [u8; 4],
    quote: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::new();
    let ethernet = PacketBuilder::ethernet2(ROUTER_MAC, node_mac(1));
    let written = match (sender, receiver) {
        (IpAddr::V4(sender), IpAddr::V4(receiver)) => ethernet
            .ipv4(sender.octets(), receiver.octets(), 60)
            .icmpv4_raw(kind.0, kind.1, rest)
            .write(&mut frame, quote),
        (IpAddr::V6(sender), IpAddr::V6(receiver)) => ethernet
            .ipv6(sender.octets(), receiver.octets(), 60)
            .icmpv6_raw(kind.0, kind.1, rest)
            .write(&mut frame, quote),
        _ => panic!("one family a packet"),
    };
    written.expect("room");
    frame
}

/// "Too big for `mtu` bytes", by family: type and code, second word of the header.
#[must_use]
pub fn too_big(like: IpAddr, mtu: u16) -> ((u8, u8), [u8; 4]) {
    let [high, low] = mtu.to_be_bytes();
    (
        if like.is_ipv4() { (3, 4) } else { (2, 0) },
        [0, 0, high, low],
    )
}

/// As it stands there, whatever else is wrong with the frame.
fn source(frame: &[u8]) -> IpAddr {
    if frame[12] == 8 {
        IpAddr::from(<[u8; 4]>::try_from(&frame[26..30]).expect("four bytes"))
    } else {
        IpAddr::from(<[u8; 16]>::try_from(&frame[22..38]).expect("sixteen bytes"))
    }
}
