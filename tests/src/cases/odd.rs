//! Tags, options and extension headers: served like any packet, and kept; beyond the bounds dropped if they are a VIP's.

use lb_common::{flow::State, verdict::Verdict};

use super::{Clients, ingress};
use crate::{
    addresses::{kinds, no_vip, pod, pod_port, port_of, vips},
    case::{Case, Ground, Run},
    frame::Packet,
    odd::{SERVICE_TAG, SOURCE_ROUTE, TAG, tagged, with_extensions, with_headers, with_options},
    outer::{Outer, arrives_at, without_checksum},
    world::{XDP_DROP, XDP_PASS, XDP_TX, node_mac},
};

/// How a plain frame becomes an odd one.
type Change = fn(&[u8]) -> Vec<u8>;

const CHANGES: [(&str, Change); 5] = [
    ("one tag", |frame| tagged(frame, &[TAG])),
    ("two tags", |frame| tagged(frame, &[SERVICE_TAG, TAG])),
    ("options or extension headers", with_headers),
    ("a tag and options or extension headers", |frame| {
        tagged(&with_headers(frame), &[TAG])
    }),
    ("two tags and options or extension headers", |frame| {
        tagged(&with_headers(frame), &[SERVICE_TAG, TAG])
    }),
];

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for (vip, udp) in kinds() {
        for (description, change) in CHANGES {
            let packet = clients.packet(vip, port_of(2, udp), udp);
            let moved = by_mac(&packet, 2).frame();
            cases.push(odd(
                description,
                &packet,
                change,
                XDP_TX,
                change(&moved),
                &[Verdict::ForwardedDirect],
            ));
            for node in [3, 4] {
                let packet = clients.packet(vip, port_of(node, udp), udp);
                let out = by_gue(&packet, node, change);
                cases.push(odd(
                    description,
                    &packet,
                    change,
                    XDP_TX,
                    out,
                    &[Verdict::ForwardedGue],
                ));
            }
            let packet = clients.packet(vip, port_of(1, udp), udp);
            let case = odd(
                description,
                &packet,
                change,
                XDP_PASS,
                change(&to_pod(&packet, 1)),
                &[Verdict::Delivered],
            );
            cases.push(Case {
                flow: Some(first_state(udp)),
                ..case
            });
            let missed = clients.packet(no_vip(vip), port_of(1, udp), udp);
            cases.push(odd(
                description,
                &missed,
                change,
                XDP_PASS,
                change(&missed.frame()),
                &[],
            ));
            cases.push(at_owner(
                description,
                &clients.packet(vip, port_of(3, udp), udp),
                change,
            ));
        }
        let packet = clients.packet(vip, port_of(2, udp), udp);
        let thrice: Change = |frame| tagged(frame, &[TAG, TAG, TAG]);
        cases.push(odd(
            "a third tag",
            &packet,
            thrice,
            XDP_PASS,
            thrice(&packet.frame()),
            &[],
        ));
    }
    cases.extend(vips().into_iter().flat_map(|vip| refused(clients, vip)));
    cases
}

/// Beyond the bounds, or not to be trusted.
fn refused(clients: &mut Clients, vip: std::net::IpAddr) -> Vec<Case> {
    let changes: [(&'static str, Change); 2] = if vip.is_ipv4() {
        [
            ("a source route", |frame| with_options(frame, &SOURCE_ROUTE)),
            ("twelve options", |frame| with_options(frame, &[1; 12])),
        ]
    } else {
        [
            ("a route with a segment left", |frame| {
                let mut frame = with_extensions(frame, &[43]);
                frame[14 + 40 + 3] = 1;
                frame
            }),
            ("seven extension headers", |frame| {
                with_extensions(frame, &[60; 7])
            }),
        ]
    };
    let mut cases = Vec::new();
    for (description, change) in changes {
        let packet = clients.packet(vip, port_of(2, false), false);
        cases.push(odd(
            description,
            &packet,
            change,
            XDP_DROP,
            change(&packet.frame()),
            &[Verdict::HeaderOptions],
        ));
        let missed = clients.packet(no_vip(vip), port_of(2, false), false);
        cases.push(odd(
            description,
            &missed,
            change,
            XDP_PASS,
            change(&missed.frame()),
            &[],
        ));
    }
    cases
}

fn odd(
    description: &'static str,
    packet: &Packet,
    change: Change,
    action: u32,
    out: Vec<u8>,
    counted: &'static [Verdict],
) -> Case {
    Case {
        packet: Run::Ingress(change(&packet.frame())),
        action,
        out,
        counted,
        ..ingress(description, packet)
    }
}

/// Tags stay in front, all else is carried.
fn by_gue(packet: &Packet, node: u8, change: Change) -> Vec<u8> {
    let changed = change(&by_mac(packet, 1).frame());
    let (tags, inner) = tags_and_rest(&changed);
    let outer = Outer::first(1, node).around(&inner, &packet.frame());
    let is_plain = inner.len() == packet.frame().len();
    let outer = if node == 4 && !is_plain {
        without_checksum(&outer)
    } else {
        outer
    };
    tagged(&outer, &tags)
}

/// From `node1` by GUE to `node3`, whose frames have the tags that they came with.
fn at_owner(description: &'static str, packet: &Packet, change: Change) -> Case {
    let changed = change(&packet.frame());
    let (tags, inner) = tags_and_rest(&changed);
    let outer = Outer::first(1, 3).around(&inner, &packet.frame());
    let pod = change(&to_pod(packet, 3));
    let macs = [node_mac(3), node_mac(1)].concat();
    Case {
        ground: Ground::Node(3),
        packet: Run::Ingress(arrives_at(3, &tagged(&outer, &tags))),
        action: XDP_PASS,
        out: [&macs, &pod[12..]].concat(),
        counted: &[Verdict::Delivered],
        flow: Some(first_state(packet.udp)),
        ..ingress(description, packet)
    }
}

fn tags_and_rest(frame: &[u8]) -> (Vec<[u8; 4]>, Vec<u8>) {
    let mut tags = Vec::new();
    let mut at = 12;
    while matches!(frame[at..at + 2], [0x81, 0] | [0x88, 0xa8]) {
        tags.push(frame[at..at + 4].try_into().expect("four bytes"));
        at += 4;
    }
    (tags, [&frame[..12], &frame[at..]].concat())
}

fn to_pod(packet: &Packet, node: u8) -> Vec<u8> {
    Packet {
        destination: (pod(packet.destination.0, node, 2), pod_port(packet.udp)),
        ..packet.clone()
    }
    .frame()
}

fn by_mac(packet: &Packet, node: u8) -> Packet {
    Packet {
        to_mac: node_mac(node),
        from_mac: node_mac(1),
        hop_limit: packet.hop_limit - 1,
        ..packet.clone()
    }
}

fn first_state(udp: bool) -> State {
    if udp {
        State::Unreplied
    } else {
        State::SynReceived
    }
}
