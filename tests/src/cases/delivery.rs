//! The flow owner: from the first packet of a flow to its last.

use std::net::IpAddr;

use lb_common::{flow::State, verdict::Verdict};

use super::{Clients, ingress};
use crate::{
    addresses::{kinds, pod, pod_port, port_of, vips},
    case::{Case, Ground, Run},
    frame::{Packet, client},
    world::{XDP_DROP, XDP_PASS},
};

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for (vip, udp) in kinds() {
        let new = Packet {
            payload: b"odd".to_vec(),
            ..clients.packet(vip, port_of(1, udp), udp)
        };
        cases.push(delivered("a new flow", &new, Vec::new(), first_state(udp)));
        let full = clients.packet(vip, port_of(1, udp), udp);
        cases.push(Case {
            ground: Ground::Inconsistent,
            action: XDP_DROP,
            counted: &[Verdict::TableInconsistent],
            ..ingress("the table names an endpoint that is not there", &full)
        });
    }
    for vip in vips() {
        cases.extend(tcp(clients, vip));
        cases.extend(udp(clients, vip));
        cases.push(full(clients, vip));
    }
    cases
}

/// A TCP flow, packet by packet.
fn tcp(clients: &mut Clients, vip: IpAddr) -> Vec<Case> {
    let mut story = |description, runs: &[(&'static str, u32)], state| {
        let syn = clients.packet(vip, port_of(1, false), false);
        let packet = |(flags, acknowledgement): &(&'static str, u32)| Packet {
            flags,
            acknowledgement: *acknowledgement,
            ..syn.clone()
        };
        let mut before = Vec::new();
        let (last, first) = runs.split_last().expect("one at least");
        for run in first {
            before.push(match run {
                // In capitals: the pod's.
                ("REPLY", sequence) => Run::Egress(reply(&syn, "SA", *sequence).frame()),
                ("REPLY-FIN", sequence) => Run::Egress(reply(&syn, "FA", *sequence).frame()),
                ("REPLY-RST", sequence) => Run::Egress(reply(&syn, "RA", *sequence).frame()),
                client => Run::Ingress(packet(client).frame()),
            });
        }
        delivered(description, &packet(last), before, state)
    };
    let open = [("S", 0), ("REPLY", 5000), ("A", 5001)];
    let with = |last: &[(&'static str, u32)]| [&open[..], last].concat();
    vec![
        story(
            "a mid-flow packet that nobody knows",
            &[("A", 7)],
            State::Adopted,
        ),
        story("a SYN twice", &[("S", 0), ("S", 0)], State::SynReceived),
        story(
            "an acknowledgement before the pod's answer",
            &[("S", 0), ("A", 5001)],
            State::SynReceived,
        ),
        story(
            "a wrong acknowledgement",
            &[("S", 0), ("REPLY", 5000), ("A", 5000)],
            State::SynReceived,
        ),
        story("the right acknowledgement", &open, State::Established),
        story("data", &with(&[("A", 5001)]), State::Established),
        story(
            "a SYN on a live flow",
            &with(&[("S", 0)]),
            State::Established,
        ),
        story("FIN", &with(&[("FA", 5001)]), State::Closing),
        story(
            "after the pod's FIN",
            &with(&[("REPLY-FIN", 5001), ("A", 5002)]),
            State::Closing,
        ),
        story("RST", &with(&[("R", 0)]), State::Reset),
        story(
            "a SYN on a flow that is over",
            &with(&[("FA", 5001), ("S", 0)]),
            State::SynReceived,
        ),
        story(
            "a SYN after the pod's RST",
            &with(&[("REPLY-RST", 5001), ("S", 0)]),
            State::SynReceived,
        ),
    ]
}

/// A UDP flow, datagram by datagram.
fn udp(clients: &mut Clients, vip: IpAddr) -> Vec<Case> {
    let mut story = |description, before: &[bool], state| {
        let query = clients.packet(vip, port_of(1, true), true);
        let before = before.iter().map(|is_reply| {
            if *is_reply {
                Run::Egress(reply(&query, "", 0).frame())
            } else {
                Run::Ingress(query.frame())
            }
        });
        delivered(description, &query, before.collect(), state)
    };
    vec![
        story("two queries, no answer", &[false], State::Unreplied),
        story("a query after the answer", &[false, true], State::Stream),
        story("a stream", &[false, true, false], State::Stream),
    ]
}

fn full(clients: &mut Clients, vip: IpAddr) -> Case {
    let packet = clients.packet(vip, port_of(1, false), false);
    let others = (1..=400).map(|port| Run::Ingress(packet.clone().from_port(port).frame()));
    Case {
        ground: Ground::Narrow,
        before: others.collect(),
        action: XDP_DROP,
        counted: &[Verdict::FlowsFull],
        ..ingress("no room for another embryonic flow", &packet)
    }
}

fn first_state(udp: bool) -> State {
    if udp {
        State::Unreplied
    } else {
        State::SynReceived
    }
}

fn delivered(description: &'static str, packet: &Packet, before: Vec<Run>, state: State) -> Case {
    let to_pod = Packet {
        destination: (pod(packet.destination.0, 1, 2), pod_port(packet.udp)),
        ..packet.clone()
    };
    Case {
        before,
        action: XDP_PASS,
        out: to_pod.frame(),
        counted: &[Verdict::Delivered],
        flow: Some(state),
        ..ingress(description, packet)
    }
}

/// What the pod of `node1` says to the client of a packet.
pub(super) fn reply(packet: &Packet, flags: &'static str, sequence: u32) -> Packet {
    let vip = packet.destination.0;
    Packet {
        source: (pod(vip, 1, 2), pod_port(packet.udp)),
        destination: (client(vip), packet.source.1),
        flags,
        sequence,
        ..packet.clone()
    }
}
