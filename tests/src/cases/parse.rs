//! Headers that cannot be, or that are not served: dropped, if they are a VIP's.

use std::net::IpAddr;

use lb_common::verdict::Verdict;

use super::{Clients, ingress};
use crate::{
    addresses::{kinds, no_vip, port_of, vips},
    case::{Case, Run},
    world::{XDP_DROP, XDP_PASS},
};

/// A byte of the frame and what it becomes, for IPv4 and for IPv6.
type Change = [(usize, u8); 2];

/// Length one byte longer than the frame, and a version that is not the family's.
const LENGTH: Change = [(17, 41), (19, 21)];
const VERSION: Change = [(14, 0x55), (14, 0x50)];
/// OSPF.
const PROTOCOL: Change = [(23, 89), (20, 89)];

/// Data offset 4, and beyond the packet.
const OFFSET_SMALL: Change = [(46, 0x40), (66, 0x40)];
const OFFSET_LARGE: Change = [(46, 0x60), (66, 0x60)];

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    let changes: [(&'static str, Change, &'static [Verdict]); 5] = [
        (
            "a TCP header too short",
            OFFSET_SMALL,
            &[Verdict::Malformed],
        ),
        (
            "a TCP header longer than the packet",
            OFFSET_LARGE,
            &[Verdict::Malformed],
        ),
        ("longer than its frame", LENGTH, &[Verdict::Malformed]),
        ("the other version", VERSION, &[Verdict::Malformed]),
        (
            "neither TCP, UDP nor ICMP",
            PROTOCOL,
            &[Verdict::UnsupportedProtocol],
        ),
    ];
    for vip in vips() {
        for (description, change, counted) in changes {
            let to_vip = changed(clients, description, vip, change);
            cases.push(Case {
                action: XDP_DROP,
                counted,
                ..to_vip
            });
            let missed = changed(clients, description, no_vip(vip), change);
            cases.push(Case {
                action: XDP_PASS,
                ..missed
            });
        }
    }
    for (vip, udp) in kinds() {
        cases.push(short(clients, vip, udp));
    }
    cases
}

fn changed(clients: &mut Clients, description: &'static str, to: IpAddr, change: Change) -> Case {
    let packet = clients.packet(to, port_of(2, false), false);
    let mut frame = packet.frame();
    let (at, value) = change[usize::from(to.is_ipv6())];
    frame[at] = value;
    Case {
        packet: Run::Ingress(frame.clone()),
        out: frame,
        ..ingress(description, &packet)
    }
}

/// The length says that the transport header is a byte short.
fn short(clients: &mut Clients, vip: IpAddr, udp: bool) -> Case {
    let packet = clients.packet(vip, port_of(2, udp), udp);
    let mut frame = packet.frame();
    let header = if udp { 7 } else { 19 };
    let (at, bytes) = if vip.is_ipv4() {
        (17, 20 + header)
    } else {
        (19, header)
    };
    frame[at] = bytes;
    Case {
        packet: Run::Ingress(frame.clone()),
        out: frame,
        action: XDP_DROP,
        counted: &[Verdict::Malformed],
        ..ingress("no room for a transport header", &packet)
    }
}
