//! What must hold wherever packets are steered. Each check names what is wrong when it does not; the canaries, data paths
//! with one mistake each, show that these checks can fail.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    ops::Range,
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{
    FrameSocket, Record, Request, UPLINK, failures, per_pod,
    topology::{self, POD_PORT},
};

use crate::{
    frame,
    steered::{ANSWER, Steered, node_of},
};

const CONCURRENT: usize = 16;
/// Labs have six pods.
const PODS: usize = 6;

/// Every request is answered, every pod sees the client's own address and port, and all pods are used.
///
/// # Errors
/// One of these does not hold.
pub fn requests_are_answered(
    steered: &Steered,
    target: SocketAddr,
    source_ports: Range<u16>,
) -> Result<Vec<Record>> {
    let client = steered.lab.client();
    let records = client.http_from_ports(target, source_ports, CONCURRENT)?;
    let failed = failures(&records);
    ensure!(
        failed.is_empty(),
        "{} of {} requests to {target} failed; the first: {}",
        failed.len(),
        records.len(),
        failed[0]
    );
    let changed = records.iter().find(|record| !record.address_kept());
    ensure!(
        changed.is_none(),
        "a pod saw another client than the one that asked: {changed:?}"
    );
    let pods = per_pod(&records);
    ensure!(pods.len() == PODS, "not all pods are used: {pods:?}");
    Ok(records)
}

/// Every datagram is answered, and its pod sees the client's own address and port; by source port, the pods.
///
/// # Errors
/// One of these does not hold.
pub fn datagrams_are_answered(
    steered: &Steered,
    target: SocketAddr,
    source_ports: Range<u16>,
) -> Result<BTreeMap<u16, String>> {
    const BYTES: usize = 100;
    let client = steered.lab.client();
    let mut pods = BTreeMap::new();
    for port in source_ports {
        let (source, seen) = client
            .udp(target, port, BYTES, ANSWER)
            .with_context(|| format!("a datagram from port {port} to {target}"))?;
        ensure!(
            seen.client == source && seen.received == BYTES,
            "from {source}, but the pod saw {seen:?}"
        );
        pods.insert(port, seen.pod);
    }
    Ok(pods)
}

/// The pods that requests from these ports reach by each node alone are the same.
///
/// # Errors
/// A flow depends on the node that it enters by.
pub fn every_node_steers_alike(
    steered: &Steered,
    target: SocketAddr,
    source_ports: Range<u16>,
) -> Result<()> {
    let mut first: Option<(Vec<String>, BTreeMap<u16, String>)> = None;
    for node in 1..=3 {
        steered.enter_by(target.ip(), &[node])?;
        let records = requests_are_answered(steered, target, source_ports.clone())
            .with_context(|| format!("entering by node{node}"))?;
        let seen = records.into_iter().flat_map(|record| record.result);
        let pods: Vec<_> = seen.map(|seen| seen.pod).collect();
        let datagrams = datagrams_are_answered(steered, target, source_ports.clone())
            .with_context(|| format!("entering by node{node}"))?;
        let expected = first.get_or_insert_with(|| (pods.clone(), datagrams.clone()));
        ensure!(
            (&pods, &datagrams) == (&expected.0, &expected.1),
            "by node1 to {expected:?}, by node{node} to {pods:?} and {datagrams:?}"
        );
    }
    steered.enter_by(target.ip(), &[1, 2, 3])
}

/// A packet that is sent on by another node reaches its pod with one hop less than one that is not.
///
/// # Errors
/// It does not.
pub fn forwarding_costs_a_hop(steered: &Steered, target: SocketAddr, port: u16) -> Result<()> {
    let pod = datagrams_are_answered(steered, target, port..port + 1)?;
    let owner = node_of(&pod[&port])?;
    let other = 1 + owner % 3;
    let by_owner = hop_limit_at_pod(steered, target, port, owner)?;
    let by_other = hop_limit_at_pod(steered, target, port, other)?;
    steered.enter_by(target.ip(), &[1, 2, 3])?;
    ensure!(
        by_other == by_owner - 1,
        "{} arrives with {by_owner} hops left by its own node, with {by_other} by another",
        pod[&port]
    );
    Ok(())
}

fn hop_limit_at_pod(steered: &Steered, target: SocketAddr, port: u16, node: u8) -> Result<u8> {
    steered.enter_by(target.ip(), &[node])?;
    let captures: Vec<_> = steered
        .lab
        .pods()
        .map(|pod| Ok((pod.name(), FrameSocket::open(pod.namespace(), UPLINK)?)))
        .collect::<Result<_>>()?;
    let pod = datagrams_are_answered(steered, target, port..port + 1)?;
    let (_, capture) = captures
        .iter()
        .find(|(name, _)| *name == pod[&port])
        .context("no such pod")?;
    let frame = capture.receive(ANSWER, |frame| is_udp(frame, port, POD_PORT))?;
    let frame = frame.context("the pod answered what it never received")?;
    Ok(frame::see(&frame).hop_limit)
}

/// Every pod answers under its own address, also to a client port that has just had a flow to the VIP.
///
/// # Errors
/// One does not.
pub fn pods_answer_directly(steered: &Steered, target: SocketAddr, port: u16) -> Result<()> {
    let client = steered.lab.client();
    let by_vip = client.http(&Request::to(target).from_port(port)).result;
    by_vip.context("a request to the VIP")?;
    for pod in steered.lab.pods() {
        let own = pod.socket(target.ip());
        let request = Request {
            time_limit: ANSWER,
            ..Request::to(own).from_port(port)
        };
        let seen = client.http(&request).result;
        let seen = seen.with_context(|| format!("{} under its own address {own}", pod.name()))?;
        ensure!(
            seen.pod == pod.name() && seen.local == own,
            "{own}: {seen:?}"
        );
    }
    let by_vip = client.http(&Request::to(target).from_port(port)).result;
    by_vip.context("a request to the VIP again")?;
    a_flow_of_the_vip_leaves_others_alone(steered, target, port)
}

/// While a pod has a flow of the VIP, it answers datagrams under its own address to the client's other ports.
fn a_flow_of_the_vip_leaves_others_alone(
    steered: &Steered,
    target: SocketAddr,
    port: u16,
) -> Result<()> {
    let client = steered.lab.client();
    let of_vip = datagrams_are_answered(steered, target, port..port + 1)?;
    let pod = steered.lab.pods().find(|pod| pod.name() == of_vip[&port]);
    let own = pod.context("no such pod")?.socket(target.ip());
    let seen = client.udp(own, port + 1, 10, ANSWER);
    let (_, seen) = seen.with_context(|| format!("a datagram to {own} under its own address"))?;
    ensure!(seen.local == own, "{own}: {seen:?}");
    Ok(())
}

/// A datagram of the client for `target`, as a frame between these MACs.
#[must_use]
pub fn datagram(
    from_mac: [u8; 6],
    to_mac: [u8; 6],
    source_port: u16,
    target: SocketAddr,
) -> Vec<u8> {
    let packet = frame::Packet::to(target.ip(), target.port(), true).from_port(source_port);
    frame::Packet {
        to_mac,
        from_mac,
        source: (topology::client().like(target.ip()), source_port),
        payload: b"datagram".to_vec(),
        ..packet
    }
    .frame()
}

/// Whether a frame is a plain UDP datagram between these ports, in either family.
#[must_use]
pub fn is_udp(frame: &[u8], source_port: u16, destination_port: u16) -> bool {
    const UDP: u8 = 17;
    let transport = match frame.get(12..14) {
        Some([0x08, 0x00]) if frame.get(23) == Some(&UDP) => 34,
        Some([0x86, 0xdd]) if frame.get(20) == Some(&UDP) => 54,
        _ => return false,
    };
    let ports = [source_port.to_be_bytes(), destination_port.to_be_bytes()].concat();
    frame.get(transport..transport + 4) == Some(&ports[..])
}

/// Whether a frame is for this address, in either family.
#[must_use]
pub fn is_for(frame: &[u8], address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            frame.get(12..14) == Some(&[0x08, 0x00]) && frame.get(30..34) == Some(&address.octets())
        }
        IpAddr::V6(address) => {
            frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(38..54) == Some(&address.octets())
        }
    }
}
