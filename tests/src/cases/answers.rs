//! What a VIP says itself.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use lb_common::verdict::Verdict;

use super::{Clients, ingress};
use crate::{
    addresses::{kinds, port_of, vips},
    case::{Case, Run},
    frame::{Packet, client, echo_request},
    icmp_error::{quoted, too_big},
    odd::{SERVICE_TAG, TAG, tagged, with_headers},
    world::{ROUTER_MAC, XDP_DROP, XDP_TX, node_mac},
};

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for vip in vips() {
        let closed: [(u16, &'static [Verdict]); 2] = [
            (9999, &[Verdict::NoSuchPort, Verdict::ResetSent]),
            (90, &[Verdict::NoEndpoint, Verdict::ResetSent]),
        ];
        for (port, counted) in closed {
            let syn = clients.packet(vip, port, false);
            cases.push(Case {
                action: XDP_TX,
                out: reset(&syn, 0, Some(syn.sequence + 1)),
                counted,
                ..ingress("a SYN where nobody listens", &syn)
            });
            let ack = Packet {
                flags: "A",
                acknowledgement: 9000,
                ..clients.packet(vip, port, false)
            };
            cases.push(Case {
                action: XDP_TX,
                out: reset(&ack, 9000, None),
                counted,
                ..ingress("mid-flow where nobody listens", &ack)
            });
            let rst = clients.packet(vip, port, false).flags("R");
            cases.push(Case {
                action: XDP_DROP,
                counted: &counted[..1],
                ..ingress("a reset draws none", &rst)
            });
        }
        let query = Packet {
            payload: vec![9; 40],
            ..clients.packet(vip, 9999, true)
        };
        let kind = if vip.is_ipv4() { (3, 3) } else { (1, 4) };
        cases.push(Case {
            action: XDP_TX,
            out: error(&query, kind, [0; 4]),
            counted: &[Verdict::NoSuchPort, Verdict::ErrorSent],
            ..ingress("a datagram where nobody listens", &query)
        });
        cases.push(behind_headers(clients, vip));
        cases.push(echo(clients, vip));
        cases.push(echo_of_the_other_family(clients, vip));
    }
    for (vip, udp) in kinds() {
        let old = Packet {
            hop_limit: 1,
            ..clients.packet(vip, port_of(2, udp), udp)
        };
        let exceeded = if vip.is_ipv4() { (11, 0) } else { (3, 0) };
        cases.push(Case {
            action: XDP_TX,
            out: error(&old, exceeded, [0; 4]),
            counted: &[Verdict::TtlExpired, Verdict::ErrorSent],
            ..ingress("a hop limit that would reach zero", &old)
        });
        let big = Packet {
            payload: vec![0; 1440],
            ..clients.packet(vip, port_of(3, udp), udp)
        };
        // 1500 less the outer header over IPv4, 44.
        let (kind, rest) = too_big(vip, 1456);
        cases.push(Case {
            action: XDP_TX,
            out: error(&big, kind, rest),
            counted: &[Verdict::TooBig, Verdict::ErrorSent],
            ..ingress("no room for an outer header", &big)
        });
        cases.extend(martian(clients, vip, udp));
    }
    let in_vlans: Vec<_> = cases.iter().flat_map(in_vlans).collect();
    cases.extend(in_vlans);
    cases
}

/// An error quotes the whole header.
fn behind_headers(clients: &mut Clients, vip: IpAddr) -> Case {
    let query = Packet {
        payload: vec![9; 40],
        ..clients.packet(vip, 9999, true)
    };
    let odd = with_headers(&query.frame());
    let kind = if vip.is_ipv4() { (3, 3) } else { (1, 4) };
    let bytes = quoted(vip) + odd.len() - query.frame().len();
    Case {
        packet: Run::Ingress(odd.clone()),
        action: XDP_TX,
        out: error_quoting(&query, kind, [0; 4], &odd[14..14 + bytes]),
        counted: &[Verdict::NoSuchPort, Verdict::ErrorSent],
        ..ingress(
            "a datagram behind options or extension headers where nobody listens",
            &query,
        )
    }
}

/// Nobody is at these addresses.
fn martian(clients: &mut Clients, vip: IpAddr, udp: bool) -> Vec<Case> {
    let martians = if vip.is_ipv4() {
        [
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "10.99.0.1",
        ]
    } else {
        ["::", "::1", "ff02::1", "::ffff:192.0.2.1", "fd99::1"]
    };
    let case = |martian: &str| {
        let packet = clients.packet(vip, 9999, udp);
        let packet = Packet {
            source: (martian.parse().expect("an address"), packet.source.1),
            ..packet
        };
        Case {
            action: XDP_DROP,
            counted: &[Verdict::NoSuchPort, Verdict::SourceMartian],
            ..ingress("a source that nobody can have", &packet)
        }
    };
    martians.map(case).into()
}

/// What is answered is answered in the VLAN that it came by.
fn in_vlans(case: &Case) -> Vec<Case> {
    let tags: [(&'static str, &[[u8; 4]]); 2] = [
        ("answered in its VLAN", &[TAG]),
        ("answered in its VLAN of a provider's", &[SERVICE_TAG, TAG]),
    ];
    let in_vlan = |(description, tags): &(&'static str, &[[u8; 4]])| Case {
        description,
        packet: Run::Ingress(tagged(case.packet.frame(), tags)),
        out: tagged(&case.out, tags),
        ..case.clone()
    };
    tags.iter()
        .filter(|_| case.action == XDP_TX)
        .map(in_vlan)
        .collect()
}

fn echo(clients: &mut Clients, vip: IpAddr) -> Case {
    let request = echo_request(vip, b"odd");
    let ethernet = PacketBuilder::ethernet2(node_mac(1), ROUTER_MAC);
    let mut out = Vec::new();
    match (vip, client(vip)) {
        (IpAddr::V4(vip), IpAddr::V4(client)) => ethernet
            .ipv4(vip.octets(), client.octets(), 64)
            .icmpv4_echo_reply(7, 9)
            .write(&mut out, b"odd"),
        (IpAddr::V6(vip), IpAddr::V6(client)) => ethernet
            .ipv6(vip.octets(), client.octets(), 64)
            .icmpv6_echo_reply(7, 9)
            .write(&mut out, b"odd"),
        _ => unreachable!("one family"),
    }
    .expect("room");
    Case {
        packet: Run::Ingress(request),
        action: XDP_TX,
        out,
        counted: &[Verdict::UnsupportedProtocol, Verdict::EchoAnswered],
        ..ingress("an echo request", &clients.packet(vip, 1, true))
    }
}

/// ICMP in IPv6 and ICMPv6 in IPv4 are nothing that a host knows.
fn echo_of_the_other_family(clients: &mut Clients, vip: IpAddr) -> Case {
    let mut request = echo_request(vip, b"odd");
    let (at, protocol) = if vip.is_ipv4() { (23, 58) } else { (20, 1) };
    request[at] = protocol;
    Case {
        packet: Run::Ingress(request.clone()),
        action: XDP_DROP,
        out: request,
        counted: &[Verdict::UnsupportedProtocol],
        ..ingress(
            "an echo request of the other family",
            &clients.packet(vip, 1, true),
        )
    }
}

/// The reset that a closed port sends: its sequence number, and what it acknowledges.
fn reset(to: &Packet, sequence: u32, acknowledges: Option<u32>) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(to.to_mac, to.from_mac);
    let ip = match (to.destination.0, to.source.0) {
        (IpAddr::V4(vip), IpAddr::V4(client)) => ethernet.ipv4(vip.octets(), client.octets(), 64),
        (IpAddr::V6(vip), IpAddr::V6(client)) => ethernet.ipv6(vip.octets(), client.octets(), 64),
        _ => unreachable!("one family"),
    };
    let tcp = ip.tcp(to.destination.1, to.source.1, sequence, 0).rst();
    let tcp = match acknowledges {
        Some(number) => tcp.ack(number),
        None => tcp,
    };
    let mut out = Vec::new();
    tcp.write(&mut out, &[]).expect("room");
    out
}

/// The ICMP error that a VIP sends about a packet to it.
fn error(about: &Packet, kind: (u8, u8), rest: [u8; 4]) -> Vec<u8> {
    let bytes = quoted(about.destination.0);
    error_quoting(about, kind, rest, &about.frame()[14..14 + bytes])
}

fn error_quoting(about: &Packet, kind: (u8, u8), rest: [u8; 4], quote: &[u8]) -> Vec<u8> {
    let vip = about.destination.0;
    let ethernet = PacketBuilder::ethernet2(about.to_mac, about.from_mac);
    let mut out = Vec::new();
    match (vip, about.source.0) {
        (IpAddr::V4(vip), IpAddr::V4(client)) => ethernet
            .ipv4(vip.octets(), client.octets(), 64)
            .icmpv4_raw(kind.0, kind.1, rest)
            .write(&mut out, quote),
        (IpAddr::V6(vip), IpAddr::V6(client)) => ethernet
            .ipv6(vip.octets(), client.octets(), 64)
            .icmpv6_raw(kind.0, kind.1, rest)
            .write(&mut out, quote),
        _ => unreachable!("one family"),
    }
    .expect("room");
    out
}
