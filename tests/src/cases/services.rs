//! Services whose endpoint is not simply that of the flow's row: who may connect, the node's own endpoints first, what
//! is left to the kernel.

use std::net::IpAddr;

use lb_common::{flow::State, verdict::Verdict};

use super::Clients;
use crate::{
    addresses::{pod, pod_port},
    case::{Case, Ground, Run},
    frame::Packet,
    outer::Outer,
    world::{XDP_DROP, XDP_PASS, XDP_TX, node_mac},
};

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for vip in ["10.99.0.9", "fd99::9"] {
        let vip: IpAddr = vip.parse().expect("an address");
        for udp in [false, true] {
            cases.extend(ranges(clients, vip, udp));
            cases.extend(local(clients, vip, udp));
            let packet = clients.packet(vip, port(95, udp), udp);
            cases.push(Case {
                action: XDP_PASS,
                counted: &[Verdict::LeftToKernel],
                ..ingress("endpoints outside the cluster only", &packet)
            });
        }
        cases.extend(local_mid_flow(clients, vip));
    }
    cases
}

/// The service port of a kind; of UDP they are twenty lower.
fn port(tcp: u16, udp: bool) -> u16 {
    tcp - if udp { 20 } else { 0 }
}

fn ranges(clients: &mut Clients, vip: IpAddr, udp: bool) -> [Case; 3] {
    let few = clients.packet(vip, port(91, udp), udp);
    let many = clients.packet(vip, port(92, udp), udp);
    let refused = clients.packet(vip, port(93, udp), udp);
    [
        delivered("one of a few ranges holds the client", &few),
        delivered("one of many ranges holds the client", &many),
        Case {
            action: XDP_DROP,
            counted: &[Verdict::SourceRefused],
            ..ingress("no range holds the client", &refused)
        },
    ]
}

/// `node1` has a terminating endpoint, the cluster a ready one on `node2`.
fn local(clients: &mut Clients, vip: IpAddr, udp: bool) -> [Case; 2] {
    let new = clients.packet(vip, port(94, udp), udp);
    let steered = Packet {
        from_mac: node_mac(2),
        ..clients.packet(vip, port(94, udp), udp)
    };
    let once_more = Outer {
        hop: 1,
        ..Outer::first(1, 2)
    };
    [
        delivered("Local: a new flow stays on the node", &new),
        Case {
            action: XDP_TX,
            out: once_more.around(&aged(&steered).frame(), &steered.frame()),
            counted: &[Verdict::ForwardedGue],
            ..ingress(
                "Local: what a node has steered goes by the cluster's rows",
                &steered,
            )
        },
    ]
}

fn local_mid_flow(clients: &mut Clients, vip: IpAddr) -> [Case; 2] {
    let unknown = clients.packet(vip, 94, false).flags("A");
    let syn = clients.packet(vip, 94, false);
    let known = syn.clone().flags("A");
    [
        Case {
            action: XDP_TX,
            out: Packet {
                to_mac: node_mac(2),
                from_mac: node_mac(1),
                ..aged(&unknown)
            }
            .frame(),
            counted: &[Verdict::ForwardedDirect],
            ..ingress(
                "Local: mid-flow and not known here goes by the cluster's rows",
                &unknown,
            )
        },
        Case {
            before: vec![Run::Ingress(syn.frame())],
            ..delivered("Local: mid-flow and known here stays", &known)
        },
    ]
}

fn aged(packet: &Packet) -> Packet {
    Packet {
        hop_limit: packet.hop_limit - 1,
        ..packet.clone()
    }
}

/// To the pod of `node1`.
fn delivered(description: &'static str, packet: &Packet) -> Case {
    let to_pod = Packet {
        destination: (pod(packet.destination.0, 1, 2), pod_port(packet.udp)),
        ..packet.clone()
    };
    Case {
        action: XDP_PASS,
        out: to_pod.frame(),
        counted: &[Verdict::Delivered],
        flow: Some(match packet.udp {
            true => State::Unreplied,
            false => State::SynReceived,
        }),
        ..ingress(description, packet)
    }
}

fn ingress(description: &'static str, packet: &Packet) -> Case {
    Case {
        ground: Ground::Services,
        ..super::ingress(description, packet)
    }
}
