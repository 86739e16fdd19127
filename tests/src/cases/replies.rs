//! What leaves by the uplink: a reply of a flow comes from the VIP, all else goes as it is.

use std::net::IpAddr;

use lb_common::{flow::State, verdict::Verdict};

use super::{Clients, delivery::reply, ingress};
use crate::{
    addresses::{kinds, pod, pod_port, port_of, vips},
    case::{Case, Run, TCX_NEXT},
    fragments::split,
    frame::Packet,
    icmp_error::{quoted, refusal},
};

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for (vip, udp) in kinds() {
        let query = clients.packet(vip, port_of(1, udp), udp);
        let flags = if udp { "" } else { "A" };
        let answer = Packet {
            payload: b"answer".to_vec(),
            ..reply(&query, flags, 5000)
        };
        let from_vip = Packet {
            source: query.destination,
            ..answer.clone()
        };
        let state = if udp {
            State::Unreplied
        } else {
            State::SynReceived
        };
        cases.push(Case {
            before: vec![Run::Ingress(query.frame())],
            packet: Run::Egress(answer.frame()),
            action: TCX_NEXT,
            out: from_vip.frame(),
            counted: &[Verdict::Replied],
            flow: Some(state),
            ..ingress("a reply", &query)
        });
        let stranger = clients.packet(vip, port_of(1, udp), udp);
        let own = reply(&stranger, flags, 5000).frame();
        cases.push(Case {
            packet: Run::Egress(own.clone()),
            action: TCX_NEXT,
            out: own,
            ..ingress("a pod's own conversation from the same port", &stranger)
        });
        let closed = clients.packet(vip, port_of(1, udp), udp);
        cases.push(refused(&closed, state));
    }
    for vip in vips() {
        cases.push(later_fragment(clients, vip));
    }
    cases
}

/// The pod says that its port is closed.
fn refused(query: &Packet, state: State) -> Case {
    let vip = query.destination.0;
    let at_pod = Packet {
        destination: (pod(vip, 1, 2), pod_port(query.udp)),
        ..query.clone()
    };
    let kind = if vip.is_ipv4() { (3, 3) } else { (1, 4) };
    let says = |sender, about: &Packet| refusal(&about.frame(), sender, kind, [0; 4], quoted(vip));
    Case {
        before: vec![Run::Ingress(query.frame())],
        packet: Run::Egress(says(at_pod.destination.0, &at_pod)),
        action: TCX_NEXT,
        out: says(vip, query),
        counted: &[Verdict::ErrorReplied],
        flow: Some(state),
        ..ingress("an ICMP error about a client's packet", query)
    }
}

fn later_fragment(clients: &mut Clients, vip: IpAddr) -> Case {
    let query = clients.packet(vip, port_of(1, true), true);
    let answer = Packet {
        payload: vec![7; 2000],
        ..reply(&query, "", 0)
    };
    let from_vip = Packet {
        source: query.destination,
        ..answer.clone()
    };
    let [first, second] = split(&answer.frame(), query.source.1, 1480);
    let [_, out] = split(&from_vip.frame(), query.source.1, 1480);
    Case {
        before: vec![Run::Ingress(query.frame()), Run::Egress(first)],
        packet: Run::Egress(second),
        action: TCX_NEXT,
        out,
        counted: &[Verdict::ReplyFragment],
        flow: Some(State::Unreplied),
        ..ingress("the rest of a reply in fragments", &query)
    }
}
