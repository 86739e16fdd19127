//! The real programs on single packets, by test run: verdict, every byte that matters of the packet that comes
//! out, counter, flow state. Both families, TCP and UDP. Needs root; nothing is attached, nothing leaves.

use std::net::IpAddr;

use anyhow::Result;
use fairlead_tests::{
    frame::{Icmp, Packet, Seen, client, echo_request, mss, see, see_icmp},
    world::{ROUTER_MAC, World, node_mac},
};
use lb_common::{flow::State, verdict::Verdict};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
/// Outer headers before the inner packet, with the Ethernet header: IPv4, IPv6.
const OUTER_V4: usize = 14 + 44;
const OUTER_V6: usize = 14 + 64;

fn vips() -> [IpAddr; 2] {
    [
        "10.99.0.1".parse().expect("an address"),
        "fd99::1".parse().expect("an address"),
    ]
}

fn pod(like: IpAddr, node: u8, host: u8) -> IpAddr {
    let text = if like.is_ipv4() {
        format!("10.1.{node}.{host}")
    } else {
        format!("fd01:{node}::{host}")
    };
    text.parse().expect("an address")
}

/// Every combination of family and protocol.
fn all() -> impl Iterator<Item = (IpAddr, bool)> {
    vips()
        .into_iter()
        .flat_map(|vip| [(vip, false), (vip, true)])
}

/// The port that leads to the endpoint on this node.
fn port_of(node: u8, udp: bool) -> u16 {
    u16::from(node) + if udp { 60 } else { 80 }
}

/// What GUE carries, as if it came alone.
fn inner(frame: &[u8], outer: usize) -> Seen {
    let v6 = frame[outer] >> 4 == 6;
    let mut bytes = frame[..12].to_vec();
    bytes.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
    bytes.extend(&frame[outer..]);
    see(&bytes)
}

#[test]
fn what_is_not_ours_passes_untouched() -> Result<()> {
    let world = World::new(1)?;
    for (vip, udp) in all() {
        let elsewhere = if vip.is_ipv4() {
            "10.99.0.3"
        } else {
            "fd99::3"
        }
        .parse()?;
        let mut flooded = Packet::to(vip, 80, udp);
        flooded.to_mac = node_mac(7);
        for packet in [Packet::to(elsewhere, 80, udp), flooded] {
            let frame = packet.frame();
            assert_eq!(world.receive(&frame)?, (XDP_PASS, frame));
        }
        let reply = Packet {
            source: (pod(vip, 1, 2), 8080),
            ..Packet::to(client(vip), 40_000, udp)
        };
        assert_eq!(
            world.send(&reply.frame())?,
            reply.frame(),
            "a pod's own traffic"
        );
    }
    let arp = [
        &[0xff; 6][..],
        &ROUTER_MAC,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &[0; 32],
    ]
    .concat();
    assert_eq!(world.receive(&arp)?, (XDP_PASS, arp));
    assert!(
        world.datapath.verdicts().iter().all(|count| *count == 0),
        "{:?}",
        world.datapath.verdicts()
    );
    Ok(())
}

#[test]
fn a_packet_for_a_local_endpoint_is_translated_and_passed() -> Result<()> {
    let world = World::new(1)?;
    for (delivered, (vip, udp)) in all().enumerate() {
        let packet = Packet {
            payload: b"odd".to_vec(),
            ..Packet::to(vip, port_of(1, udp), udp)
        };
        let (action, frame) = world.receive(&packet.frame())?;
        let wanted = Seen {
            destination: pod(vip, 1, 2),
            destination_port: if udp { 5353 } else { 8080 },
            ..see(&packet.frame())
        };
        assert_eq!((action, see(&frame)), (XDP_PASS, wanted));
        assert_eq!(world.count(Verdict::Delivered), delivered as u64 + 1);
        assert_eq!(world.datapath.flows().len(), delivered + 1);
    }
    Ok(())
}

#[test]
fn the_reply_comes_from_the_vip_again() -> Result<()> {
    let world = World::new(1)?;
    for (vip, udp) in all() {
        let pod_port = if udp { 5353 } else { 8080 };
        world.receive(&Packet::to(vip, port_of(1, udp), udp).frame())?;
        let reply = Packet {
            source: (pod(vip, 1, 2), pod_port),
            payload: b"hello".to_vec(),
            flags: "SA",
            ..Packet::to(client(vip), 40_000, udp)
        };
        let seen = see(&world.send(&reply.frame())?);
        assert_eq!(
            seen,
            Seen {
                source: vip,
                source_port: port_of(1, udp),
                ..see(&reply.frame())
            }
        );
        // Another of the pod's own conversations, from the same port.
        let other = Packet {
            destination: (client(vip), 40_001),
            ..reply
        };
        assert_eq!(world.send(&other.frame())?, other.frame());
    }
    assert_eq!(world.count(Verdict::Replied), 4);
    Ok(())
}

#[test]
fn an_on_link_node_gets_the_packet_by_its_mac() -> Result<()> {
    let world = World::new(1)?;
    for (vip, udp) in all() {
        let packet = Packet::to(vip, port_of(2, udp), udp);
        let (action, frame) = world.receive(&packet.frame())?;
        let wanted = Seen {
            to_mac: node_mac(2),
            from_mac: node_mac(1),
            hop_limit: 61,
            ..see(&packet.frame())
        };
        assert_eq!((action, see(&frame)), (XDP_TX, wanted));
    }
    assert_eq!(world.count(Verdict::ForwardedDirect), 4);
    assert!(
        world.datapath.flows().is_empty(),
        "the ingress node keeps no flow"
    );
    Ok(())
}

#[test]
fn a_node_behind_a_router_gets_the_packet_by_gue() -> Result<()> {
    let (ingress, owner) = (World::new(1)?, World::new(3)?);
    for (vip, udp) in all() {
        let packet = Packet {
            payload: vec![7; 33],
            ..Packet::to(vip, port_of(3, udp), udp)
        };
        let (action, frame) = ingress.receive(&packet.frame())?;
        assert_eq!(action, XDP_TX);
        let outer = see(&frame);
        assert_eq!((outer.to_mac, outer.from_mac), (ROUTER_MAC, node_mac(1)));
        assert_eq!(
            (outer.source, outer.destination),
            ("10.0.0.11".parse()?, "10.0.1.13".parse()?)
        );
        assert_eq!(
            (outer.udp, outer.destination_port, outer.hop_limit),
            (true, 6080, 64)
        );
        assert!(outer.source_port >= 0xc000);
        assert_eq!(frame[20..22], [0x40, 0], "don't fragment");
        assert_eq!(frame[40..42], [0, 0], "no outer UDP checksum over IPv4");
        let wanted = Seen {
            hop_limit: 61,
            to_mac: ROUTER_MAC,
            from_mac: node_mac(1),
            ..see(&packet.frame())
        };
        assert_eq!(inner(&frame, OUTER_V4), wanted);

        let arrived = [&node_mac(3)[..], &frame[6..]].concat();
        let (action, frame) = owner.receive(&arrived)?;
        let pod_port = if udp { 5353 } else { 8080 };
        let wanted = Seen {
            destination: pod(vip, 3, 2),
            destination_port: pod_port,
            to_mac: node_mac(3),
            ..wanted
        };
        assert_eq!(
            (action, see(&frame)),
            (
                XDP_PASS,
                Seen {
                    from_mac: node_mac(1),
                    ..wanted
                }
            )
        );
    }
    assert_eq!(
        (
            ingress.count(Verdict::ForwardedGue),
            owner.count(Verdict::Delivered)
        ),
        (4, 4)
    );
    Ok(())
}

#[test]
fn over_ipv6_the_outer_checksum_is_that_of_the_whole_datagram() -> Result<()> {
    let (ingress, owner) = (World::new(1)?, World::new(4)?);
    for (vip, udp) in all() {
        for bytes in [0, 1, 8, 33] {
            let packet = Packet {
                payload: vec![0xa5; bytes],
                ..Packet::to(vip, port_of(4, udp), udp)
            };
            let (action, frame) = ingress.receive(&packet.frame())?;
            assert_eq!(action, XDP_TX);
            // `see` computes the outer checksum over the payload.
            let outer = see(&frame);
            assert_eq!(
                (outer.source, outer.destination),
                ("fd00::11".parse()?, "fd00:2::14".parse()?)
            );
            assert_ne!(frame[60..62], [0, 0], "a checksum");
            let arrived = [&node_mac(4)[..], &frame[6..]].concat();
            let (action, frame) = owner.receive(&arrived)?;
            assert_eq!(
                (action, see(&frame).destination),
                (XDP_PASS, pod(vip, 4, 2))
            );
        }
    }
    let mut frame = Packet {
        payload: vec![1],
        ..Packet::to(vips()[0], 64, true)
    }
    .frame();
    frame[40..42].fill(0);
    let (_, frame) = ingress.receive(&frame)?;
    assert_eq!(
        frame[60..62],
        [0, 0],
        "none where the inner datagram has none (RFC 6936)"
    );
    assert_eq!(inner(&frame, OUTER_V6).payload, [1]);
    Ok(())
}

#[test]
fn what_cannot_be_served_is_dropped_and_counted() -> Result<()> {
    let world = World::new(1)?;
    let cases = |vip: IpAddr| {
        let short = |packet: Packet, cut: usize| {
            let mut frame = packet.frame();
            frame.truncate(frame.len() - cut);
            frame
        };
        let changed = |at_v4: usize, v4: u8, at_v6: usize, v6: u8| {
            let mut frame = Packet::to(vip, 82, false).frame();
            if vip.is_ipv4() {
                frame[at_v4] = v4
            } else {
                frame[at_v6] = v6
            }
            frame
        };
        vec![
            (Verdict::NodeUnresolved, Packet::to(vip, 85, false).frame()),
            (Verdict::Malformed, short(Packet::to(vip, 82, false), 1)),
            (Verdict::Fragment, changed(20, 0x20, 20, 44)),
            (Verdict::HeaderOptions, changed(14, 0x46, 20, 60)),
            (Verdict::UnsupportedProtocol, changed(23, 1, 20, 58)),
        ]
    };
    for vip in vips() {
        for (reason, frame) in cases(vip) {
            let before = world.datapath.verdicts();
            let (action, after) = world.receive(&frame)?;
            assert_eq!(
                (action, after == frame),
                (XDP_DROP, true),
                "{reason:?} {vip}"
            );
            let mut expected = before;
            expected[reason as usize] += 1;
            assert_eq!(world.datapath.verdicts(), expected, "{reason:?} {vip}");
        }
    }
    Ok(())
}

#[test]
fn a_closed_port_answers_as_a_host_would() -> Result<()> {
    let world = World::new(1)?;
    let mut answers = 0;
    for vip in vips() {
        for (port, reason) in [(9999, Verdict::NoSuchPort), (90, Verdict::NoEndpoint)] {
            let before = world.count(reason);
            let syn = Packet {
                sequence: 7000,
                payload: b"early".to_vec(),
                ..Packet::to(vip, port, false)
            };
            let (action, frame) = world.receive(&syn.frame())?;
            let seen = see(&frame);
            assert_eq!(
                (action, seen.to_mac, seen.from_mac),
                (XDP_TX, ROUTER_MAC, node_mac(1))
            );
            assert_eq!(
                (seen.source, seen.source_port, seen.destination),
                (vip, port, client(vip))
            );
            assert_eq!(
                (seen.destination_port, seen.hop_limit, seen.payload.len()),
                (40_000, 64, 0)
            );
            assert_eq!(tcp_fields(&frame), (0, 7000 + 5 + 1, RST | ACK));
            let ack = Packet {
                flags: "A",
                sequence: 1,
                acknowledgement: 9000,
                ..syn.clone()
            };
            assert_eq!(tcp_fields(&world.receive(&ack.frame())?.1), (9000, 0, RST));
            assert_eq!(
                world.receive(&Packet { flags: "R", ..syn }.frame())?.0,
                XDP_DROP,
                "a reset draws none"
            );
            assert_eq!(
                world.count(reason),
                before + 3,
                "the reason is counted as well"
            );
            answers += 2;
        }
        let query = Packet {
            payload: vec![9; 40],
            ..Packet::to(vip, 9999, true)
        }
        .frame();
        let (action, frame) = world.receive(&query)?;
        let wanted = Icmp {
            to_mac: ROUTER_MAC,
            source: vip,
            destination: client(vip),
            hop_limit: 64,
            kind: if vip.is_ipv4() { (3, 3) } else { (1, 4) },
            rest: [0; 4],
            payload: query[14..14 + quoted(vip)].to_vec(),
        };
        assert_eq!((action, see_icmp(&frame)), (XDP_TX, wanted));
    }
    assert_eq!(
        (
            world.count(Verdict::ResetSent),
            world.count(Verdict::ErrorSent)
        ),
        (answers, 2)
    );
    Ok(())
}

const RST: u8 = 4;
const ACK: u8 = 16;

/// Sequence number, acknowledgement number, flags.
fn tcp_fields(frame: &[u8]) -> (u32, u32, u8) {
    let at = if frame[12] == 8 { 34 } else { 54 };
    let word =
        |at: usize| u32::from_be_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    (word(at + 4), word(at + 8), frame[at + 13])
}

/// What an ICMP error quotes: the IP header and eight bytes.
fn quoted(like: IpAddr) -> usize {
    if like.is_ipv4() { 28 } else { 48 }
}

#[test]
fn what_cannot_go_on_is_told_to_its_sender() -> Result<()> {
    let world = World::new(1)?;
    for (vip, udp) in all() {
        let old = Packet {
            hop_limit: 1,
            ..Packet::to(vip, port_of(2, udp), udp)
        }
        .frame();
        let (action, frame) = world.receive(&old)?;
        let seen = see_icmp(&frame);
        let kind = if vip.is_ipv4() { (11, 0) } else { (3, 0) };
        assert_eq!(
            (action, seen.kind, seen.source, seen.destination),
            (XDP_TX, kind, vip, client(vip))
        );
        assert_eq!(seen.payload, old[14..14 + quoted(vip)]);

        let big = Packet {
            payload: vec![0; 1440],
            ..Packet::to(vip, port_of(3, udp), udp)
        }
        .frame();
        let (action, frame) = world.receive(&big)?;
        let seen = see_icmp(&frame);
        // 1500 less the largest outer header, 64.
        let (kind, rest) = if vip.is_ipv4() {
            ((3, 4), [0, 0, 0x05, 0x9c])
        } else {
            ((2, 0), [0, 0, 0x05, 0x9c])
        };
        assert_eq!((action, seen.kind, seen.rest), (XDP_TX, kind, rest));
        assert_eq!(seen.payload, big[14..14 + quoted(vip)]);
    }
    assert_eq!(world.count(Verdict::ErrorSent), 8);
    Ok(())
}

#[test]
fn a_vip_answers_ping() -> Result<()> {
    let world = World::new(1)?;
    for vip in vips() {
        for payload in [&b""[..], b"odd", &[0x5a; 1400]] {
            let (action, frame) = world.receive(&echo_request(vip, payload))?;
            let wanted = Icmp {
                to_mac: ROUTER_MAC,
                source: vip,
                destination: client(vip),
                hop_limit: 64,
                kind: (if vip.is_ipv4() { 0 } else { 129 }, 0),
                rest: [0, 7, 0, 9],
                payload: payload.to_vec(),
            };
            assert_eq!((action, see_icmp(&frame)), (XDP_TX, wanted));
        }
    }
    assert_eq!(world.count(Verdict::EchoAnswered), 6);
    Ok(())
}

/// A router says that a packet of `reply` could not go on: type, code, rest of the header; quoting `bytes` of it.
fn complaint(reply: &[u8], kind: (u8, u8), rest: [u8; 4], bytes: usize) -> Vec<u8> {
    let quote = &reply[14..14 + bytes];
    let v6 = reply[12] != 8;
    let vip = see(reply).source;
    let mut frame = Vec::new();
    let ethernet = etherparse::PacketBuilder::ethernet2(ROUTER_MAC, node_mac(1));
    let written = match (vip, v6) {
        (IpAddr::V4(vip), false) => ethernet
            .ipv4([192, 0, 2, 7], vip.octets(), 60)
            .icmpv4_raw(kind.0, kind.1, rest)
            .write(&mut frame, quote),
        (IpAddr::V6(vip), true) => {
            let router = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
            ethernet
                .ipv6(router.octets(), vip.octets(), 60)
                .icmpv6_raw(kind.0, kind.1, rest)
                .write(&mut frame, quote)
        }
        _ => panic!("one family a packet"),
    };
    written.expect("room");
    frame
}

/// "Too big for 1,400 bytes", by family.
fn too_big(like: IpAddr, mtu: u16) -> ((u8, u8), [u8; 4]) {
    let [high, low] = mtu.to_be_bytes();
    (
        if like.is_ipv4() { (3, 4) } else { (2, 0) },
        [0, 0, high, low],
    )
}

#[test]
fn an_icmp_error_about_a_flow_reaches_the_pod_that_has_it() -> Result<()> {
    let (ingress, owner) = (World::new(1)?, World::new(3)?);
    for (vip, udp) in all() {
        let pod_port = if udp { 5353 } else { 8080 };
        let answer = |world: &World, node: u8| {
            let reply = Packet {
                source: (pod(vip, node, 2), pod_port),
                flags: "SA",
                payload: vec![3; 64],
                ..Packet::to(client(vip), 40_000, udp)
            };
            Ok::<_, anyhow::Error>((world.send(&reply.frame())?, reply))
        };
        // A flow of this node's own; the quote as long as it is, and as short as RFC 792 allows.
        ingress.receive(&Packet::to(vip, port_of(1, udp), udp).frame())?;
        let (sent, reply) = answer(&ingress, 1)?;
        for bytes in [quoted(vip), sent.len() - 14] {
            let (kind, rest) = too_big(vip, 1400);
            let (action, frame) = ingress.receive(&complaint(&sent, kind, rest, bytes))?;
            let seen = see_icmp(&frame);
            assert_eq!(
                (action, seen.destination, seen.kind, seen.rest),
                (XDP_PASS, pod(vip, 1, 2), kind, rest)
            );
            assert_eq!(
                seen.payload[..quoted(vip)],
                reply.frame()[14..14 + quoted(vip)],
                "as the pod sent it"
            );
        }
        // A flow of node3's: the error comes in here and goes there by GUE.
        let (_, frame) = ingress.receive(&Packet::to(vip, port_of(3, udp), udp).frame())?;
        owner.receive(&[&node_mac(3)[..], &frame[6..]].concat())?;
        let (sent, _) = answer(&owner, 3)?;
        let (kind, rest) = too_big(vip, 1400);
        let (action, frame) = ingress.receive(&complaint(&sent, kind, rest, quoted(vip)))?;
        assert_eq!((action, see(&frame).destination_port), (XDP_TX, 6080));
        let (action, frame) = owner.receive(&[&node_mac(3)[..], &frame[6..]].concat())?;
        assert_eq!(
            (action, see_icmp(&frame).destination),
            (XDP_PASS, pod(vip, 3, 2))
        );

        let none = Packet {
            source: (vip, port_of(1, udp)),
            ..Packet::to(client(vip), 40_009, udp)
        }
        .frame();
        let bogus = too_big(vip, if vip.is_ipv4() { 551 } else { 1279 });
        for (reason, frame) in [
            (
                Verdict::ErrorOfNoFlow,
                complaint(&none, kind, rest, quoted(vip)),
            ),
            (
                Verdict::Malformed,
                complaint(&sent, bogus.0, bogus.1, quoted(vip)),
            ),
        ] {
            let before = ingress.count(reason);
            assert_eq!(ingress.receive(&frame)?.0, XDP_DROP, "{reason:?}");
            assert_eq!(ingress.count(reason), before + 1, "{reason:?}");
        }
    }
    assert_eq!(
        (
            ingress.count(Verdict::ErrorDelivered),
            owner.count(Verdict::ErrorDelivered)
        ),
        (8, 4)
    );
    Ok(())
}

#[test]
fn what_a_node_has_steered_draws_no_answer() -> Result<()> {
    let world = World::new(1)?;
    for (vip, udp) in all() {
        for packet in [
            Packet::to(vip, 9999, udp),
            Packet {
                hop_limit: 1,
                ..Packet::to(vip, port_of(2, udp), udp)
            },
        ] {
            let frame = Packet {
                from_mac: node_mac(2),
                ..packet
            }
            .frame();
            assert_eq!(world.receive(&frame)?, (XDP_DROP, frame));
        }
    }
    Ok(())
}

#[test]
fn answers_come_from_a_bucket() -> Result<()> {
    let world = World::new(1)?;
    let frame = Packet::to(vips()[0], 9999, false).frame();
    let answered = (0..6000)
        .map(|_| world.receive(&frame))
        .filter(|run| matches!(run, Ok((XDP_TX, _))))
        .count();
    let limited = world.count(Verdict::AnswerLimited);
    assert!(
        answered >= 1000 && limited > 0 && answered as u64 + limited == 6000,
        "{answered} {limited}"
    );
    Ok(())
}

#[test]
fn the_same_faults_pass_if_they_are_not_for_a_vip() -> Result<()> {
    let world = World::new(1)?;
    for like in vips() {
        let elsewhere: IpAddr = if like.is_ipv4() {
            "10.99.0.3"
        } else {
            "fd99::3"
        }
        .parse()?;
        for at in 14..34 {
            for value in [0u8, 1, 0x46, 44, 60, 0xff] {
                let mut frame = Packet::to(elsewhere, 82, false).frame();
                if at < 26 && frame[at] != value {
                    frame[at] = value;
                    assert_eq!(
                        world.receive(&frame)?,
                        (XDP_PASS, frame),
                        "byte {at} = {value}"
                    );
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_strangers_gue_is_dropped_and_a_forged_tag_too() -> Result<()> {
    let (ingress, owner) = (World::new(1)?, World::new(3)?);
    for (vip, udp) in all() {
        let (_, frame) = ingress.receive(&Packet::to(vip, port_of(3, udp), udp).frame())?;
        let good = [&node_mac(3)[..], &frame[6..]].concat();
        let with = |at: usize, value: u8| {
            let mut frame = good.clone();
            frame[at] ^= value;
            frame
        };
        // Source address, version, hop, ingress node, tag, a byte of the inner destination port.
        let inner_port = OUTER_V4 + if vip.is_ipv4() { 23 } else { 43 };
        for (reason, frame) in [
            (Verdict::GueStranger, with(29, 0x40)),
            (Verdict::GueMalformed, with(46, 1)),
            (Verdict::GueBadTag, with(47, 1)),
            (Verdict::GueBadTag, with(50, 1)),
            (Verdict::GueBadTag, with(57, 1)),
            (Verdict::NoSuchPort, with(inner_port, 0x80)),
        ] {
            let before = owner.count(reason);
            assert_eq!(owner.receive(&frame)?.0, XDP_DROP, "{reason:?}");
            assert_eq!(owner.count(reason), before + 1, "{reason:?}");
        }
        assert!(owner.datapath.flows().is_empty());
    }
    Ok(())
}

#[test]
fn what_a_node_has_steered_moves_once_more_by_gue_and_then_no_further() -> Result<()> {
    let (first, second) = (World::new(1)?, World::new(2)?);
    for (vip, udp) in all() {
        // node2's table said node1, node1's says node3: one hop more, whatever the way there would be.
        let from_node = Packet {
            from_mac: node_mac(2),
            ..Packet::to(vip, port_of(2, udp), udp)
        };
        let (action, frame) = first.receive(&from_node.frame())?;
        assert_eq!(
            (action, see(&frame).destination_port, frame[47]),
            (XDP_TX, 6080, 1),
            "GUE with hop 1, not by MAC"
        );
        let wrong_owner = [&node_mac(2)[..], &frame[6..]].concat();
        assert_eq!(
            second.receive(&wrong_owner)?.0,
            XDP_PASS,
            "its own endpoint"
        );

        let (_, frame) = first.receive(
            &Packet {
                from_mac: node_mac(2),
                ..Packet::to(vip, port_of(3, udp), udp)
            }
            .frame(),
        )?;
        let astray = [&node_mac(2)[..], &frame[6..]].concat();
        let mut astray = astray;
        // As if node1 took node2 for the owner: to node2's address, which must not send it on.
        astray[30..34].copy_from_slice(&[10, 0, 0, 12]);
        let before = second.count(Verdict::HopLimit);
        assert_eq!(second.receive(&astray)?.0, XDP_DROP);
        assert_eq!(second.count(Verdict::HopLimit), before + 1);

        let local = Packet {
            from_mac: node_mac(2),
            ..Packet::to(vip, port_of(1, udp), udp)
        };
        assert_eq!(first.receive(&local.frame())?.0, XDP_PASS, "served here");
    }
    Ok(())
}

/// State of the only flow.
fn only_state(world: &World) -> u32 {
    let flows = world.datapath.flows();
    assert_eq!(flows.len(), 1, "{flows:?}");
    flows[0].0.state()
}

#[test]
fn only_the_right_acknowledgement_establishes_a_tcp_flow() -> Result<()> {
    for vip in vips() {
        let world = World::new(1)?;
        let syn = Packet::to(vip, 81, false);
        world.receive(&syn.frame())?;
        assert_eq!(only_state(&world), State::SynReceived as u32);
        world.receive(
            &Packet {
                flags: "A",
                acknowledgement: 5001,
                ..syn.clone()
            }
            .frame(),
        )?;
        assert_eq!(
            only_state(&world),
            State::SynReceived as u32,
            "the pod has not answered"
        );
        let reply = Packet {
            source: (pod(vip, 1, 2), 8080),
            flags: "SA",
            sequence: 5000,
            ..Packet::to(client(vip), 40_000, false)
        };
        world.send(&reply.frame())?;
        world.receive(
            &Packet {
                flags: "A",
                acknowledgement: 5000,
                ..syn.clone()
            }
            .frame(),
        )?;
        assert_eq!(
            only_state(&world),
            State::SynReceived as u32,
            "a wrong acknowledgement"
        );
        world.receive(
            &Packet {
                flags: "A",
                acknowledgement: 5001,
                ..syn.clone()
            }
            .frame(),
        )?;
        assert_eq!(only_state(&world), State::Established as u32);
        let data = Packet {
            flags: "A",
            sequence: 5001,
            ..reply.clone()
        };
        assert_eq!(
            see(&world.send(&data.frame())?).source,
            vip,
            "replies find it in its new place"
        );
        world.receive(
            &Packet {
                flags: "FA",
                acknowledgement: 5001,
                ..syn.clone()
            }
            .frame(),
        )?;
        assert_eq!(only_state(&world), State::Closing as u32);
        world.receive(&syn.frame())?;
        assert_eq!(
            only_state(&world),
            State::SynReceived as u32,
            "the port is used again"
        );
        world.send(
            &Packet {
                flags: "RA",
                ..reply
            }
            .frame(),
        )?;
        assert_eq!(only_state(&world), State::Reset as u32);
    }
    Ok(())
}

/// MSS 1460 first, as Linux writes it; the same behind a NOP, at an odd place; and behind window scale.
const MSS_OPTIONS: [&[u8]; 3] = [
    &[2, 4, 0x05, 0xb4, 4, 2, 0, 0],
    &[1, 2, 4, 0x05, 0xb4, 1, 1, 0],
    &[3, 3, 7, 1, 2, 4, 0x05, 0xb4],
];

#[test]
fn a_syn_ack_offers_no_more_than_fits_behind_an_outer_header() -> Result<()> {
    for vip in vips() {
        for options in MSS_OPTIONS {
            let world = World::new(1)?;
            world.receive(&Packet::to(vip, 81, false).frame())?;
            let reply = Packet {
                source: (pod(vip, 1, 2), 8080),
                flags: "SA",
                options,
                ..Packet::to(client(vip), 40_000, false)
            };
            // 1500 less the largest outer header, 64, less IP and TCP: `see` verifies the checksum.
            let sent = world.send(&reply.frame())?;
            assert_eq!(
                (see(&sent).source, mss(&sent)),
                (vip, if vip.is_ipv4() { 1396 } else { 1376 })
            );
            let small: &[u8] = &[2, 4, 0x02, 0x00, 0, 0, 0, 0];
            assert_eq!(
                mss(&world.send(
                    &Packet {
                        options: small,
                        ..reply.clone()
                    }
                    .frame()
                )?),
                512
            );
            let own = Packet {
                destination: (client(vip), 40_001),
                ..reply
            };
            assert_eq!(
                mss(&world.send(&own.frame())?),
                1460,
                "a conversation of the pod's own"
            );
        }
    }
    Ok(())
}

#[test]
fn a_udp_flow_lives_on_when_both_sides_have_spoken() -> Result<()> {
    for vip in vips() {
        let world = World::new(1)?;
        let query = Packet::to(vip, 61, true);
        let answer = Packet {
            source: (pod(vip, 1, 2), 5353),
            ..Packet::to(client(vip), 40_000, true)
        };
        world.receive(&query.frame())?;
        world.receive(&query.frame())?;
        assert_eq!(only_state(&world), State::Unreplied as u32);
        world.send(&answer.frame())?;
        assert_eq!(only_state(&world), State::Unreplied as u32);
        world.receive(&query.frame())?;
        assert_eq!(only_state(&world), State::Stream as u32);
        assert_eq!(see(&world.send(&answer.frame())?).source, vip);
    }
    Ok(())
}

#[test]
fn a_mid_flow_packet_that_nobody_knows_goes_to_the_rows_endpoint() -> Result<()> {
    let world = World::new(1)?;
    let (action, frame) = world.receive(&Packet::to(vips()[0], 81, false).flags("A").frame())?;
    assert_eq!(
        (action, see(&frame).destination),
        (XDP_PASS, pod(vips()[0], 1, 2))
    );
    assert_eq!(only_state(&world), State::Adopted as u32);
    Ok(())
}

#[test]
fn two_vips_cannot_share_a_pods_tuple() -> Result<()> {
    let world = World::new(1)?;
    let second: IpAddr = "10.99.0.2".parse()?;
    world.receive(&Packet::to(vips()[0], 81, false).frame())?;
    assert_eq!(
        world.receive(&Packet::to(second, 80, false).frame())?.0,
        XDP_DROP
    );
    assert_eq!(world.count(Verdict::ReverseClash), 1);
    assert_eq!(
        world
            .receive(&Packet::to(second, 80, false).from_port(40_001).frame())?
            .0,
        XDP_PASS
    );
    assert_eq!(world.datapath.flows().len(), 2);
    Ok(())
}

#[test]
fn every_node_sends_a_flow_to_the_same_endpoint() -> Result<()> {
    let worlds = [World::new(1)?, World::new(2)?, World::new(3)?];
    for (vip, udp) in all() {
        let mut used = std::collections::BTreeSet::new();
        for port in 20_000..20_300 {
            let packet = Packet::to(vip, if udp { 53 } else { 80 }, udp).from_port(port);
            let owners: Vec<_> = (1..=3)
                .map(|node| final_destination(&worlds, node, &packet))
                .collect::<Result<_>>()?;
            assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
            used.insert(owners[0]);
        }
        assert_eq!(used.len(), 6, "all endpoints are used");
    }
    Ok(())
}

/// Where the pod is that gets a packet which enters at `node`.
fn final_destination(worlds: &[World; 3], node: u8, packet: &Packet) -> Result<IpAddr> {
    let entering = Packet {
        to_mac: node_mac(node),
        ..packet.clone()
    };
    let (action, mut frame) = worlds[usize::from(node) - 1].receive(&entering.frame())?;
    if action == XDP_TX {
        let seen = see(&frame);
        let owner = match (seen.destination_port, seen.destination) {
            (6080, IpAddr::V4(address)) => address.octets()[3] - 10,
            _ => frame[5],
        };
        frame[..6].copy_from_slice(&node_mac(owner));
        let (action, delivered) = worlds[usize::from(owner) - 1].receive(&frame)?;
        anyhow::ensure!(action == XDP_PASS, "node {owner}: action {action}");
        frame = delivered;
    }
    Ok(see(&frame).destination)
}

#[test]
fn the_counters_of_a_service_say_what_happened() -> Result<()> {
    let world = World::new(1)?;
    for port in [81, 82, 85] {
        world.receive(&Packet::to(vips()[0], port, false).frame())?;
    }
    let counters = world.datapath.service_counters();
    let sum = |field: fn(&lb_common::counter::ServiceCounters) -> u64| {
        counters.iter().map(field).sum::<u64>()
    };
    assert_eq!(sum(|line| line.packets), 3);
    assert_eq!(sum(|line| line.bytes), 3 * 54);
    assert_eq!(sum(|line| line.new_flows), 1);
    assert_eq!(sum(|line| line.dropped), 1);
    Ok(())
}

/// Design, section 5 of the data plane: what the verifier walks, all programs together.
#[test]
fn the_verifier_walks_few_instructions() -> Result<()> {
    let walked = World::new(1)?.datapath.verified_instructions();
    let total: u32 = walked.iter().map(|(_, instructions)| instructions).sum();
    assert!((1..=60_000).contains(&total), "{walked:?}");
    Ok(())
}
