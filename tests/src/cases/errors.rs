//! ICMP errors from outside about what a VIP has sent.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use lb_common::{flow::State, verdict::Verdict};

use super::{Clients, delivery::reply, ingress};
use crate::{
    addresses::{kinds, pod, port_of},
    case::{Case, Run},
    frame::Packet,
    icmp_error::{complaint, quoted, too_big},
    world::{ROUTER_MAC, XDP_DROP, XDP_PASS, node_mac},
};

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for (vip, udp) in kinds() {
        let query = clients.packet(vip, port_of(1, udp), udp);
        let flags = if udp { "" } else { "A" };
        let answer = Packet {
            payload: vec![3; 64],
            ..reply(&query, flags, 5000)
        };
        let sent = Packet {
            source: query.destination,
            ..answer.clone()
        }
        .frame();
        let (kind, rest) = too_big(vip, 1400);
        let state = if udp {
            State::Unreplied
        } else {
            State::SynReceived
        };
        cases.push(Case {
            before: vec![Run::Ingress(query.frame()), Run::Egress(answer.frame())],
            packet: Run::Ingress(complaint(&sent, kind, rest, quoted(vip))),
            action: XDP_PASS,
            out: at_pod(&answer.frame(), pod(vip, 1, 2), kind, rest),
            counted: &[Verdict::ErrorDelivered],
            flow: Some(state),
            ..ingress("packet too big, about a flow", &query)
        });
        let stranger = clients.packet(vip, port_of(1, udp), udp);
        let sent = Packet {
            source: stranger.destination,
            ..reply(&stranger, flags, 5000)
        }
        .frame();
        let about_none = complaint(&sent, kind, rest, quoted(vip));
        cases.push(Case {
            packet: Run::Ingress(about_none.clone()),
            action: XDP_DROP,
            out: about_none,
            counted: &[Verdict::ErrorOfNoFlow],
            ..ingress("packet too big, about no flow", &stranger)
        });
        let (kind, rest) = too_big(vip, if vip.is_ipv4() { 551 } else { 1279 });
        let bogus = complaint(&sent, kind, rest, quoted(vip));
        cases.push(Case {
            packet: Run::Ingress(bogus.clone()),
            action: XDP_DROP,
            out: bogus,
            counted: &[Verdict::Malformed],
            ..ingress("packet too big for what every path must carry", &stranger)
        });
    }
    cases
}

/// The error as the pod gets it: about what the pod itself sent.
fn at_pod(sent: &[u8], pod: IpAddr, kind: (u8, u8), rest: [u8; 4]) -> Vec<u8> {
    let quote = &sent[14..14 + quoted(pod)];
    let ethernet = PacketBuilder::ethernet2(ROUTER_MAC, node_mac(1));
    let mut out = Vec::new();
    match pod {
        IpAddr::V4(pod) => ethernet
            .ipv4([192, 0, 2, 7], pod.octets(), 60)
            .icmpv4_raw(kind.0, kind.1, rest)
            .write(&mut out, quote),
        IpAddr::V6(pod) => {
            let router = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
            ethernet
                .ipv6(router.octets(), pod.octets(), 60)
                .icmpv6_raw(kind.0, kind.1, rest)
                .write(&mut out, quote)
        }
    }
    .expect("room");
    out
}
