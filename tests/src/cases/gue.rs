//! GUE for this node, from whom it should not be or as it should not be.

use lb_common::verdict::Verdict;

use super::{Clients, ingress};
use crate::{
    addresses::{kinds, no_vip, pod, pod_port, port_of},
    case::{Case, Ground, Run},
    frame::Packet,
    outer::{Outer, arrives_at},
    world::{ROUTER_MAC, XDP_DROP, XDP_PASS, node_mac},
};
use lb_common::flow::State;

/// Bytes of the outer frame, over IPv4.
const SOURCE: usize = 29;
const VARIANT: usize = 42;
const VERSION: usize = 46;
const HOP: usize = 47;
const INGRESS: usize = 50;
const TAG: usize = 57;

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for (vip, udp) in kinds() {
        let good = clients.packet(vip, port_of(3, udp), udp);
        cases.push(Case {
            action: XDP_PASS,
            out: Packet {
                to_mac: node_mac(3),
                from_mac: node_mac(1),
                destination: (pod(vip, 3, 2), pod_port(udp)),
                ..good.clone()
            }
            .frame(),
            counted: &[Verdict::Delivered],
            flow: Some(if udp {
                State::Unreplied
            } else {
                State::SynReceived
            }),
            ..at_owner("good GUE", &good, None)
        });
        let faults: [(&'static str, usize, &'static [Verdict]); 6] = [
            ("from no node", SOURCE, &[Verdict::GueStranger]),
            ("variant", VARIANT, &[Verdict::GueMalformed]),
            ("version", VERSION, &[Verdict::GueMalformed]),
            ("forged hop", HOP, &[Verdict::GueBadTag]),
            ("forged ingress node", INGRESS, &[Verdict::GueBadTag]),
            ("forged tag", TAG, &[Verdict::GueBadTag]),
        ];
        for (description, at, counted) in faults {
            let packet = clients.packet(vip, port_of(3, udp), udp);
            let case = at_owner(description, &packet, Some(at));
            let keeps_outer = matches!(counted[0], Verdict::GueStranger | Verdict::GueMalformed);
            let out = if keeps_outer {
                case.packet.frame().to_vec()
            } else {
                case.out.clone()
            };
            cases.push(Case {
                counted,
                out,
                ..case
            });
        }
        let elsewhere = clients.packet(no_vip(vip), 80, udp);
        cases.push(Case {
            counted: &[Verdict::GueMalformed],
            ..at_owner("what it carries is for no VIP", &elsewhere, None)
        });
    }
    cases
}

/// From `node1` by GUE to `node3`, with a bit changed; dropped without its outer header.
fn at_owner(description: &'static str, packet: &Packet, changed: Option<usize>) -> Case {
    let mut frame = arrives_at(
        3,
        &Outer::first(1, 3).around(&packet.frame(), &packet.frame()),
    );
    if let Some(at) = changed {
        frame[at] ^= 0x40;
    }
    let from_mac = node_mac(1);
    debug_assert_ne!(from_mac, ROUTER_MAC, "as the sender wrote it");
    Case {
        ground: Ground::Node(3),
        packet: Run::Ingress(frame),
        action: XDP_DROP,
        out: Packet {
            to_mac: node_mac(3),
            from_mac,
            ..packet.clone()
        }
        .frame(),
        ..ingress(description, packet)
    }
}
