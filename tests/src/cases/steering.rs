//! To another node: by MAC, by GUE, or not at all.

use lb_common::verdict::Verdict;

use super::{Clients, ingress};
use crate::{
    addresses::{kinds, port_of},
    case::{Case, Ground, Run},
    frame::Packet,
    outer::{Outer, arrives_at, detour_of},
    world::{XDP_DROP, XDP_TX, node_mac},
};

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for (vip, udp) in kinds() {
        let packet = clients.packet(vip, port_of(2, udp), udp);
        cases.push(Case {
            action: XDP_TX,
            out: by_mac(&packet, 2).frame(),
            counted: &[Verdict::ForwardedDirect],
            ..ingress("an on-link node gets it by its MAC", &packet)
        });
        for node in [3, 4] {
            let packet = clients.packet(vip, port_of(node, udp), udp);
            cases.push(Case {
                action: XDP_TX,
                out: Outer::first(1, node).around(&aged(&packet), &packet.frame()),
                counted: &[Verdict::ForwardedGue],
                ..ingress("a node behind a router gets it by GUE", &packet)
            });
        }
        let headers = if udp { 28 } else { 40 } + if vip.is_ipv4() { 0 } else { 20 };
        let packet = Packet {
            payload: vec![7; 1500 - 44 - headers],
            ..clients.packet(vip, port_of(3, udp), udp)
        };
        cases.push(Case {
            action: XDP_TX,
            out: Outer::first(1, 3).around(&aged(&packet), &packet.frame()),
            counted: &[Verdict::ForwardedGue],
            ..ingress("just room for an outer header", &packet)
        });
        let packet = clients.packet(vip, port_of(5, udp), udp);
        cases.push(match detour_of(&packet) {
            Some(node) => Case {
                action: XDP_TX,
                out: Outer::first(1, node).around(&aged(&packet), &packet.frame()),
                counted: &[Verdict::ForwardedGue, Verdict::Detoured],
                ..ingress("a node without a MAC, by way of another", &packet)
            },
            None => Case {
                action: XDP_DROP,
                counted: &[Verdict::NodeUnresolved],
                ..ingress("a node without a MAC", &packet)
            },
        });
        let packet = Packet {
            from_mac: node_mac(2),
            ..clients.packet(vip, port_of(5, udp), udp)
        };
        cases.push(Case {
            action: XDP_DROP,
            counted: &[Verdict::NodeUnresolved],
            ..ingress("steered already, for a node without a MAC", &packet)
        });
        cases.extend(steered(clients, vip, udp));
    }
    cases
}

/// What another node has steered goes on once by GUE, and no further.
fn steered(clients: &mut Clients, vip: std::net::IpAddr, udp: bool) -> [Case; 3] {
    let from_node = Packet {
        from_mac: node_mac(2),
        ..clients.packet(vip, port_of(2, udp), udp)
    };
    let once_more = Outer {
        hop: 1,
        ..Outer::first(1, 2)
    };
    let expired = Packet {
        hop_limit: 1,
        from_mac: node_mac(2),
        ..clients.packet(vip, port_of(2, udp), udp)
    };
    let packet = clients.packet(vip, port_of(3, udp), udp);
    let astray = Outer {
        hop: 1,
        ..Outer::first(1, 2)
    };
    let astray = arrives_at(2, &astray.around(&packet.frame(), &packet.frame()));
    [
        Case {
            action: XDP_TX,
            out: once_more.around(&aged(&from_node), &from_node.frame()),
            counted: &[Verdict::ForwardedGue],
            ..ingress("a node's MAC: on by GUE with hop 1", &from_node)
        },
        Case {
            action: XDP_DROP,
            counted: &[Verdict::TtlExpired],
            ..ingress("a node's MAC: no answer", &expired)
        },
        Case {
            ground: Ground::Node(2),
            packet: Run::Ingress(astray),
            action: XDP_DROP,
            out: packet_at(2, &packet),
            counted: &[Verdict::HopLimit],
            ..ingress("hop 1 and not here", &packet)
        },
    ]
}

/// The packet that comes out of GUE at a node.
fn packet_at(node: u8, packet: &Packet) -> Vec<u8> {
    Packet {
        to_mac: node_mac(node),
        from_mac: node_mac(1),
        ..packet.clone()
    }
    .frame()
}

/// With a hop less, to a node's MAC.
fn by_mac(packet: &Packet, node: u8) -> Packet {
    Packet {
        to_mac: node_mac(node),
        from_mac: node_mac(1),
        hop_limit: packet.hop_limit - 1,
        ..packet.clone()
    }
}

/// With a hop less.
fn aged(packet: &Packet) -> Vec<u8> {
    by_mac(packet, 1).frame()
}
