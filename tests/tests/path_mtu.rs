//! Paths that carry less than their ends think: towards the client, where a router tells the VIP so, and between
//! nodes, where an outer header takes its share. Needs root.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    fragments::part,
    frame::Packet,
    steered::{ANSWER, Steered, node_of},
};
use lb_lab::{
    AgentOptions, FrameSocket, Lab, Netlink, Profile, ROUTER_WAN_LINK, Request, Seen, Segments,
    router_link, topology, wait_until,
};

/// What a download or upload has: some hundred full segments.
const BYTES: usize = 1 << 20;

fn routed() -> Profile {
    Profile {
        segments: Segments::Node3Routed,
        underlay_mtu: 1500,
        hostile: false,
    }
}

/// Downloads, one by way of each node, so that pods of all nodes answer.
fn download(steered: &Steered, ports: std::ops::Range<u16>) -> Result<()> {
    for target in Steered::targets() {
        for port in ports.clone() {
            let request = Request {
                download_bytes: BYTES,
                ..Request::to(target).from_port(port)
            };
            let seen = steered.lab.client().http(&request).result;
            let seen = seen.with_context(|| format!("a megabyte from {target} to port {port}"))?;
            ensure!(seen.padding.len() == BYTES, "{} bytes", seen.padding.len());
        }
    }
    Ok(())
}

#[test]
fn a_router_that_cannot_pass_a_reply_is_heard_by_the_pod() -> Result<()> {
    let steered = Steered::start_hostile(&routed())?;
    steered
        .lab
        .router_namespace()
        .run(|| Ok(Netlink::open()?.set_mtu(ROUTER_WAN_LINK, 1300)?))?;
    download(&steered, 30_000..30_012)?;
    let verdicts = steered.all_verdicts()?;
    let told = verdicts.get("icmp-error-delivered").copied().unwrap_or(0);
    ensure!(told > 0, "no pod was told of the path: {verdicts:?}");
    Ok(())
}

#[test]
fn full_segments_fit_behind_an_outer_header() -> Result<()> {
    let steered = Steered::start_hostile(&routed())?;
    for target in Steered::targets() {
        for port in 31_000..31_012 {
            let request = Request {
                upload_bytes: BYTES,
                ..Request::to(target).from_port(port)
            };
            let seen = steered.lab.client().http(&request).result;
            let seen = seen.with_context(|| format!("a megabyte to {target} from port {port}"))?;
            ensure!(seen.received == BYTES, "{} bytes", seen.received);
        }
    }
    let verdicts = steered.all_verdicts()?;
    ensure!(
        !verdicts.contains_key("too-big") && verdicts["forwarded-gue"] > 0,
        "{verdicts:?}"
    );
    Ok(())
}

/// Far more than every window and queue on the way, in IPv4; a fifth of it in IPv6.
const MANY_BYTES: usize = 100_000_000;
/// A sender of a busy machine may be held up now and then; one whose packets are too big never gets on.
const STALLS_MOST: u64 = 4;

#[test]
fn a_hundred_megabytes_pass_both_ways_without_a_stall() -> Result<()> {
    a_hundred_megabytes_pass(&Steered::start_hostile(&routed())?)
}

/// tc sees what the kernel has merged, and what has no checksum yet.
#[test]
fn a_hundred_megabytes_pass_behind_another_xdp_program() -> Result<()> {
    let lab = Lab::build(&routed())?;
    let others = [1, 2, 3].map(|number| lab.node(number).occupy_xdp());
    let steered = Steered::start_in(lab, &AgentOptions::default())?;
    a_hundred_megabytes_pass(&steered)?;
    for other in others {
        ensure!(other?.frames()? > 0, "the other program counts no more");
    }
    Ok(())
}

/// A pod on a busy machine takes seconds to write so long an answer; what stalls on the way, counters tell.
const PREPARED_WITHIN: Duration = Duration::from_secs(60);

fn a_hundred_megabytes_pass(steered: &Steered) -> Result<()> {
    for (target, bytes) in Steered::targets()
        .into_iter()
        .zip([MANY_BYTES, MANY_BYTES / 5])
    {
        steered.enter_by(target.ip(), &[1])?;
        // Node 2 is reached by MAC, node 3 by GUE.
        for owner in [2, 3] {
            let up = Request {
                upload_bytes: bytes,
                time_limit: PREPARED_WITHIN,
                ..Request::to(target).from_port(port_of(steered, target, owner)?)
            };
            let down = Request {
                upload_bytes: 0,
                download_bytes: bytes,
                ..up.clone()
            };
            let before = steered.lab.tcp_counters()?;
            for request in [up, down] {
                let seen = steered.lab.client().http(&request).result;
                let seen = seen.with_context(|| format!("{request:?}"))?;
                let passed = (seen.received, seen.padding.len());
                ensure!(
                    passed == (request.upload_bytes, request.download_bytes),
                    "{passed:?} bytes"
                );
                ensure!(node_of(&seen.pod)? == owner, "{}", seen.pod);
            }
            let counted = steered.lab.tcp_counters()?.since(before);
            ensure!(
                counted.timeouts <= STALLS_MOST
                    && counted.resets == 0
                    && counted.wrong_checksums == 0,
                "to {target} by node1 and node{owner}: {counted:?}"
            );
        }
    }
    let verdicts = steered.all_verdicts()?;
    ensure!(!verdicts.contains_key("too-big"), "{verdicts:?}");
    Ok(())
}

/// A source port whose flow is node `owner`'s.
fn port_of(steered: &Steered, target: std::net::SocketAddr, owner: u8) -> Result<u16> {
    for port in 38_000..38_060 {
        let seen = steered
            .lab
            .client()
            .http(&Request::to(target).from_port(port))
            .result?;
        if node_of(&seen.pod)? == owner {
            return Ok(port);
        }
    }
    anyhow::bail!("none of sixty flows is node{owner}'s")
}

/// Routers that spread packets over nodes by ports know none in a later fragment.
#[test]
fn a_datagram_arrives_whose_parts_enter_by_different_nodes() -> Result<()> {
    let steered = Steered::start(&Profile::default())?;
    let link = FrameSocket::open(steered.lab.router_namespace(), &router_link(0))?;
    let mut port = 33_000;
    for target in Steered::targets() {
        for (first, rest) in [(1, 2), (2, 3), (3, 1), (2, 1)] {
            port += 1;
            let answer = in_parts(&steered, &link, target, port, (first, rest));
            let answer = answer.with_context(|| format!("by node{first}, then by node{rest}"))?;
            ensure!(answer.received == DATAGRAM_BYTES, "{answer:?}");
        }
    }
    let verdicts = steered.all_verdicts()?;
    let sent_home = verdicts.get("fragment-sent-home").copied().unwrap_or(0);
    ensure!(sent_home > 0, "no part had another home: {verdicts:?}");
    Ok(())
}

/// In three parts.
const DATAGRAM_BYTES: usize = 3000;
/// Of the datagram with its UDP header, in each part but the last: they fit behind an outer header.
const PART_BYTES: usize = 1352;

/// Sends the first part by one node and, once it is with its pod, the rest by another; the pod's answer.
fn in_parts(
    steered: &Steered,
    link: &FrameSocket,
    target: SocketAddr,
    port: u16,
    (first, rest): (u8, u8),
) -> Result<Seen> {
    let client = topology::client().like(target.ip());
    let socket = steered
        .lab
        .client_namespace()
        .run(|| Ok(UdpSocket::bind((client, port))?))?;
    socket.set_read_timeout(Some(ANSWER))?;
    let packet = Packet {
        from_mac: topology::router_mac(0),
        source: (client, port),
        payload: vec![b'x'; DATAGRAM_BYTES],
        ..Packet::to(target.ip(), target.port(), true)
    };
    let whole = packet.frame();
    let end = DATAGRAM_BYTES + 8;
    let parts = [
        0..PART_BYTES,
        PART_BYTES..2 * PART_BYTES,
        2 * PART_BYTES..end,
    ];
    for (number, bytes) in parts.into_iter().enumerate() {
        let before = delivered(steered)?;
        let mut frame = part(&whole, port, bytes.clone(), bytes.end < end);
        let node = if number == 0 { first } else { rest };
        frame[..6].copy_from_slice(&topology::node_mac(node));
        link.send(&frame)?;
        // What overtakes the first part is dropped, so none is let to.
        wait_until(ANSWER, "the part is with its pod", || {
            Ok((delivered(steered)? > before).then_some(()))
        })?;
    }
    let mut answer = [0; 2048];
    let length = socket.recv(&mut answer).context("no answer")?;
    Ok(serde_json::from_slice(&answer[..length])?)
}

fn delivered(steered: &Steered) -> Result<u64> {
    Ok(steered
        .all_verdicts()?
        .get("delivered")
        .copied()
        .unwrap_or(0))
}
