//! Datagrams in parts: to their home, from there by GUE, and to the pod, which puts them together.

use std::net::IpAddr;

use lb_common::{flow::State, verdict::Verdict};

use super::{Clients, ingress};
use crate::{
    addresses::{kinds, no_vip, pod, pod_port, port_of, vips},
    case::{Case, Ground, Run},
    fragments::{part, split},
    frame::{Packet, echo_request},
    odd::with_extensions,
    outer::{Outer, arrives_at, home_of},
    world::{ROUTER_MAC, XDP_DROP, XDP_PASS, XDP_TX, node_mac},
};

/// Bytes of the first part, transport header included.
const FIRST: usize = 24;

/// A datagram, its parts, and the nodes that they pass.
struct Story {
    packet: Packet,
    id: u16,
    home: u8,
    /// Another node, by which they enter.
    ingress: u8,
    /// The endpoint's node: neither of them.
    owner: u8,
}

/// A host of the client's network.
fn nearby(like: IpAddr, host: u8) -> IpAddr {
    match like {
        IpAddr::V4(_) => [198, 51, 100, host].into(),
        IpAddr::V6(_) => [0x2001, 0xdb8, 0x100, 0, 0, 0, 0, host.into()].into(),
    }
}

impl Story {
    fn new(clients: &mut Clients, vip: IpAddr, udp: bool) -> Self {
        let from = |host: u8| Packet {
            source: (nearby(vip, host), 1),
            ..Packet::to(vip, 1, udp)
        };
        // `node5` cannot be reached.
        let mut dialled = (2..=u8::MAX).map(from);
        let found = dialled.find(|packet| home_of(packet) <= 3);
        let found = found.expect("one client of many");
        let home = home_of(&found);
        let others: Vec<u8> = (1..=3).filter(|&node| node != home).collect();
        let (ingress, owner) = (others[0], others[1]);
        let mut packet = Packet {
            payload: (0..60).collect(),
            ..clients.packet(vip, port_of(owner, udp), udp)
        };
        packet.source.0 = found.source.0;
        let id = packet.source.1;
        Self {
            packet,
            id,
            home,
            ingress,
            owner,
        }
    }

    /// As the router brings them to a node.
    fn parts_at(&self, node: u8) -> [Vec<u8>; 2] {
        let packet = Packet {
            to_mac: node_mac(node),
            from_mac: ROUTER_MAC,
            ..self.packet.clone()
        };
        split(&packet.frame(), self.id, FIRST)
    }

    /// With this many hops less.
    fn aged(&self, hops: u8) -> [Vec<u8>; 2] {
        let packet = Packet {
            hop_limit: self.packet.hop_limit - hops,
            ..self.packet.clone()
        };
        split(&packet.frame(), self.id, FIRST)
    }

    /// In GUE from one node to another.
    fn carried(&self, outer: Outer, hops: u8, part: usize) -> Vec<u8> {
        outer.around_part(&self.aged(hops)[part], &self.packet.frame())
    }

    /// As the home sends it to the owner, and the owner gets it.
    fn at_owner(&self, part: usize) -> Vec<u8> {
        arrives_at(
            self.owner,
            &self.carried(Outer::first(self.home, self.owner), 1, part),
        )
    }

    fn case(&self, description: &'static str, node: u8, frame: Vec<u8>) -> Case {
        Case {
            ground: Ground::Node(node),
            out: frame.clone(),
            packet: Run::Ingress(frame),
            ..ingress(description, &self.packet)
        }
    }
}

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for (vip, udp) in kinds() {
        let mut story = || Story::new(clients, vip, udp);
        for part in [0, 1] {
            cases.push(sent_home(&story(), part));
            cases.push(sent_on(&story(), part));
            cases.push(delivered(&story(), part));
        }
        cases.push(unknown(&story()));
        cases.push(overtaking(&story()));
        cases.push(overlapping(&story()));
        cases.push(passed(&story(), no_vip(vip)));
    }
    for vip in vips() {
        cases.push(tiny(&Story::new(clients, vip, false)));
        cases.push(overlapping_header(&Story::new(clients, vip, false)));
        cases.push(echo(&Story::new(clients, vip, true)));
        cases.push(last_of_few_bytes(&Story::new(clients, vip, true)));
    }
    for part in [0, 1] {
        cases.push(with_headers_inside(
            &Story::new(clients, vips()[1], true),
            part,
        ));
    }
    cases
}

fn sent_home(story: &Story, part: usize) -> Case {
    let frame = story.parts_at(story.ingress)[part].clone();
    Case {
        action: XDP_TX,
        out: story.carried(Outer::first(story.ingress, story.home), 1, part),
        counted: &[Verdict::FragmentSentHome],
        ..story.case("a fragment goes to its home", story.ingress, frame)
    }
}

/// Shorter than a transport header, and than a frame on Ethernet; virtual links pad nothing.
fn last_of_few_bytes(story: &Story) -> Case {
    let last = |packet: Packet| {
        let whole = packet.frame();
        let bytes = packet.payload.len() + 8;
        part(&whole, story.id, bytes / 8 * 8..bytes, false)
    };
    let frame = last(Packet {
        to_mac: node_mac(story.ingress),
        from_mac: ROUTER_MAC,
        ..story.packet.clone()
    });
    let aged = last(Packet {
        hop_limit: story.packet.hop_limit - 1,
        ..story.packet.clone()
    });
    let outer = Outer::first(story.ingress, story.home);
    Case {
        action: XDP_TX,
        out: outer.around_part(&aged, &story.packet.frame()),
        counted: &[Verdict::FragmentSentHome],
        ..story.case("a last part of four bytes", story.ingress, frame)
    }
}

fn sent_on(story: &Story, part: usize) -> Case {
    let parts = story.parts_at(story.home);
    let before = parts[..part].iter().cloned().map(Run::Ingress);
    Case {
        before: before.collect(),
        action: XDP_TX,
        out: story.carried(Outer::first(story.home, story.owner), 1, part),
        counted: &[Verdict::ForwardedGue],
        ..story.case("home sends it on by GUE", story.home, parts[part].clone())
    }
}

fn delivered(story: &Story, part: usize) -> Case {
    let before = (0..part).map(|part| Run::Ingress(story.at_owner(part)));
    let vip = story.packet.destination.0;
    let to_pod = Packet {
        to_mac: node_mac(story.owner),
        from_mac: if story.home == story.owner {
            ROUTER_MAC
        } else {
            node_mac(story.home)
        },
        destination: (pod(vip, story.owner, 2), pod_port(story.packet.udp)),
        hop_limit: story.packet.hop_limit - 1,
        ..story.packet.clone()
    };
    let mut out = split(&to_pod.frame(), story.id, FIRST)[part].clone();
    let case = story.case("the owner delivers it", story.owner, story.at_owner(part));
    out[6..12].copy_from_slice(&case.packet.frame()[6..12]);
    Case {
        before: before.collect(),
        action: XDP_PASS,
        out,
        counted: &[Verdict::Delivered],
        flow: Some(if story.packet.udp {
            State::Unreplied
        } else {
            State::SynReceived
        }),
        ..case
    }
}

/// By GUE, at a node that has not seen the first: never sent home again.
fn unknown(story: &Story) -> Case {
    let frame = story.at_owner(1);
    let inner = [&frame[..12], &story.aged(1)[1][12..]].concat();
    Case {
        action: XDP_DROP,
        out: inner,
        counted: &[Verdict::FragmentUnknown],
        ..story.case(
            "a later fragment by GUE without its first",
            story.owner,
            frame,
        )
    }
}

fn overtaking(story: &Story) -> Case {
    let [_, later] = story.parts_at(story.home);
    Case {
        action: XDP_DROP,
        counted: &[Verdict::FragmentUnknown],
        ..story.case("a later fragment overtakes the first", story.home, later)
    }
}

fn overlapping(story: &Story) -> Case {
    let [first, _] = story.parts_at(story.home);
    let whole = whole_at_home(story);
    let again = part(&whole, story.id, FIRST - 8..FIRST + 8, true);
    Case {
        before: vec![Run::Ingress(first)],
        action: XDP_DROP,
        counted: &[Verdict::FragmentOverlap],
        ..story.case("what has come already", story.home, again)
    }
}

fn overlapping_header(story: &Story) -> Case {
    let [first, _] = story.parts_at(story.home);
    let second = part(&whole_at_home(story), story.id, 8..32, true);
    Case {
        before: vec![Run::Ingress(first)],
        action: XDP_DROP,
        counted: &[Verdict::FragmentOverlap],
        ..story.case("another TCP header in a later fragment", story.home, second)
    }
}

fn tiny(story: &Story) -> Case {
    let first = part(&whole_at_home(story), story.id, 0..16, true);
    Case {
        action: XDP_DROP,
        counted: &[Verdict::FragmentTiny],
        ..story.case(
            "a first fragment without the whole header",
            story.home,
            first,
        )
    }
}

/// Neither TCP nor UDP.
fn echo(story: &Story) -> Case {
    let request = echo_request(story.packet.destination.0, &[7; 64]);
    let [first, _] = split(&request, story.id, FIRST);
    Case {
        action: XDP_DROP,
        counted: &[Verdict::Fragment],
        ..story.case("an echo request in parts", 1, first)
    }
}

/// Extension headers behind the fragment header: only the first part has them.
fn with_headers_inside(story: &Story, part: usize) -> Case {
    let whole = with_extensions(&story.packet.frame(), &[60]);
    let frame = split(&whole, story.id, FIRST)[part].clone();
    Case {
        action: XDP_DROP,
        counted: &[Verdict::HeaderOptions],
        ..story.case("extension headers behind the fragment header", 1, frame)
    }
}

fn passed(story: &Story, to: IpAddr) -> Case {
    let packet = Packet {
        destination: (to, 80),
        ..story.packet.clone()
    };
    let [first, _] = split(&packet.frame(), story.id, FIRST);
    story.case("a fragment that is for no VIP", 1, first)
}

fn whole_at_home(story: &Story) -> Vec<u8> {
    Packet {
        to_mac: node_mac(story.home),
        from_mac: ROUTER_MAC,
        ..story.packet.clone()
    }
    .frame()
}
