//! Steering in labs: three agents, six pods, a router with static ECMP routes, all seen from outside. Needs root.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    ops::Range,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    hitless::Stream,
    steered::{ANSWER, SILENCE, Steered, node_of},
    steering::{
        datagram, datagrams_are_answered, every_node_steers_alike, forwarding_costs_a_hop, is_for,
        is_udp, pods_answer_directly, requests_are_answered,
    },
};
use lb_lab::{
    FrameSocket, Profile, Request, Segments, UPLINK, VIP_PORT, failures, output, per_pod,
    router_link,
    topology::{node_mac, router_mac},
    vip, wait_until,
};
use serde_json::Value;

/// A MAC that nobody has.
const NOBODY: [u8; 6] = [0x02, 0, 0, 0, 0xff, 0xff];

#[test]
fn nodes_of_one_lan_steer_by_mac() -> Result<()> {
    let steered = Steered::start(&Profile::default())?;
    every_flow_meets_its_pod(&steered)?;
    let verdicts = steered.all_verdicts()?;
    ensure!(
        !verdicts.contains_key("forwarded-gue") && verdicts["forwarded-direct"] > 0,
        "{verdicts:?}"
    );
    large_transfers_pass(&steered, 2)
}

#[test]
fn a_routed_node_is_steered_to_by_gue() -> Result<()> {
    let steered = Steered::start(&Profile {
        segments: Segments::Node3Routed,
        underlay_mtu: 1600,
        hostile: false,
    })?;
    every_flow_meets_its_pod(&steered)?;
    for (node, way) in [
        (1, "forwarded-direct"),
        (1, "forwarded-gue"),
        (3, "forwarded-gue"),
    ] {
        let verdicts = steered.verdicts(node)?;
        ensure!(verdicts.contains_key(way), "node{node}: {verdicts:?}");
    }
    let verdicts = steered.verdicts(3)?;
    ensure!(!verdicts.contains_key("forwarded-direct"), "{verdicts:?}");
    large_transfers_pass(&steered, 3)
}

fn every_flow_meets_its_pod(steered: &Steered) -> Result<()> {
    for target in Steered::targets() {
        requests_are_answered(steered, target, 20_000..20_300)?;
        datagrams_are_answered(steered, target, 20_000..20_050)?;
        every_node_steers_alike(steered, target, 21_000..21_040)?;
        forwarding_costs_a_hop(steered, target, 22_000)?;
        pods_answer_directly(steered, target, 23_000)?;
    }
    let verdicts = steered.all_verdicts()?;
    let dropped: Vec<_> = verdicts
        .iter()
        .filter(|(verdict, _)| !SERVED.contains(&verdict.as_str()))
        .collect();
    ensure!(dropped.is_empty(), "dropped: {dropped:?}");
    Ok(())
}

/// All that becomes of packets while nothing is wrong.
const SERVED: [&str; 4] = ["delivered", "forwarded-direct", "forwarded-gue", "replied"];

/// A megabyte up and one down, by node 1 to a pod of another node.
fn large_transfers_pass(steered: &Steered, owner: u8) -> Result<()> {
    const BYTES: usize = 1_000_000;
    for target in Steered::targets() {
        steered.enter_by(target.ip(), &[1])?;
        let records = requests_are_answered(steered, target, 24_000..24_040)?;
        let is_at_owner = |record: &&lb_lab::Record| {
            let seen = record.result.as_ref().ok();
            seen.is_some_and(|seen| node_of(&seen.pod).is_ok_and(|node| node == owner))
        };
        let port = records.iter().find(is_at_owner).context("no such flow")?;
        let request = Request {
            upload_bytes: BYTES,
            download_bytes: BYTES,
            ..Request::to(target).from_port(port.source.port())
        };
        let record = steered.lab.client().http(&request);
        let took = record.took;
        let seen = record
            .result
            .with_context(|| format!("a megabyte to {target}"))?;
        ensure!(node_of(&seen.pod)? == owner, "{}", seen.pod);
        ensure!((seen.received, seen.padding.len()) == (BYTES, BYTES));
        println!("{target}: a megabyte each way by way of node1 to node{owner} in {took:?}");
        steered.enter_by(target.ip(), &[1, 2, 3])?;
    }
    Ok(())
}

#[test]
fn what_is_not_served_is_left_alone_or_refused() -> Result<()> {
    let steered = Steered::start(&Profile::default())?;
    for vip in vip(1).both() {
        a_closed_port_is_refused(&steered, vip)?;
        a_flooded_frame_is_left_alone(&steered, (vip, VIP_PORT).into())?;
    }
    for unknown in vip(77).both() {
        an_unknown_vip_passes(&steered, unknown)?;
    }
    Ok(())
}

fn a_closed_port_is_refused(steered: &Steered, vip: IpAddr) -> Result<()> {
    let closed = SocketAddr::new(vip, 81);
    steered.enter_by(vip, &[1])?;
    let before = steered.all_verdicts()?.get("no-such-port").copied();
    let before = before.unwrap_or(0);
    let client = steered.lab.client();
    let by_udp = client.udp(closed, 25_000, 10, ANSWER).map(drop);
    let by_tcp = client.http(&Request::to(closed)).result.map(drop);
    for refused in [by_udp, by_tcp] {
        let error = format!("{:#}", refused.expect_err("nobody serves it"));
        ensure!(error.contains("refused"), "not refused, but: {error}");
    }
    // One datagram and one SYN: seen once each, by the node that got them.
    let after = steered.all_verdicts()?["no-such-port"];
    ensure!(after == before + 2, "{before} before, {after} after");
    Ok(())
}

fn a_flooded_frame_is_left_alone(steered: &Steered, target: SocketAddr) -> Result<()> {
    let lan = FrameSocket::open(steered.lab.router_namespace(), &router_link(0))?;
    let answers = FrameSocket::open(steered.lab.client_namespace(), UPLINK)?;
    let uplinks: Vec<_> = steered
        .lab
        .nodes()
        .map(|node| FrameSocket::open(node.namespace(), UPLINK))
        .collect::<Result<_>>()?;
    let before = steered.all_verdicts()?;
    let frame = datagram(router_mac(0), NOBODY, 26_000, target);
    lan.send(&frame)?;
    for uplink in &uplinks {
        let seen = uplink.receive(ANSWER, |seen| seen == frame)?;
        ensure!(seen.is_some(), "the frame did not pass a node as it was");
    }
    let is_answer = |frame: &[u8]| is_udp(frame, VIP_PORT, 26_000);
    ensure!(answers.receive(SILENCE, is_answer)?.is_none(), "answered");
    ensure!(steered.all_verdicts()? == before, "counted");
    // The same datagram to a node's own MAC is served.
    lan.send(&datagram(router_mac(0), node_mac(2), 26_000, target))?;
    ensure!(answers.receive(ANSWER, is_answer)?.is_some(), "not served");
    Ok(())
}

fn an_unknown_vip_passes(steered: &Steered, address: IpAddr) -> Result<()> {
    let lan = FrameSocket::open(steered.lab.router_namespace(), &router_link(0))?;
    let uplink = FrameSocket::open(steered.lab.node(1).namespace(), UPLINK)?;
    let before = steered.all_verdicts()?;
    let frame = datagram(
        router_mac(0),
        node_mac(1),
        27_000,
        (address, VIP_PORT).into(),
    );
    lan.send(&frame)?;
    let seen = uplink.receive(ANSWER, |seen| seen == frame)?;
    ensure!(seen.is_some(), "the frame did not pass as it was");
    // The stack may send it back to the router, where it ends: nobody has a route.
    let mut more = 0;
    while uplink
        .receive(SILENCE, |seen| is_for(seen, address))?
        .is_some()
    {
        more += 1;
        ensure!(more <= 1, "{address} goes round");
    }
    ensure!(steered.all_verdicts()? == before, "counted");
    Ok(())
}

/// A plain frame with a node's source MAC was steered already: it is served where it is, or moves once more, by GUE.
#[test]
fn a_frame_of_a_node_is_never_sent_on_by_mac() -> Result<()> {
    let steered = Steered::start(&Profile::default())?;
    for target in Steered::targets() {
        let pods = datagrams_are_answered(&steered, target, 28_000..28_040)?;
        for owner in 1..=3 {
            let mine = pods
                .iter()
                .find(|(_, pod)| node_of(pod).is_ok_and(|node| node == owner));
            let (&port, pod) = mine.with_context(|| format!("no flow of node{owner}"))?;
            from_node_2_to_node_1(&steered, target, port, owner)
                .with_context(|| format!("{target} from port {port}, which is {pod}'s"))?;
        }
    }
    Ok(())
}

fn from_node_2_to_node_1(
    steered: &Steered,
    target: SocketAddr,
    port: u16,
    owner: u8,
) -> Result<()> {
    let answers = FrameSocket::open(steered.lab.client_namespace(), UPLINK)?;
    let sender = FrameSocket::open(steered.lab.node(2).namespace(), UPLINK)?;
    // The client's port is open, or its ICMP error to the answer would be steered and counted as well.
    let any = if target.is_ipv4() { "0.0.0.0" } else { "::" };
    let open = || Ok(UdpSocket::bind((any, port))?);
    let _port = wait_until(ANSWER, "a free port", || {
        steered.lab.client_namespace().run(open).map(Some)
    })?;
    let direct = steered.verdict(1, "forwarded-direct")?;
    let gue = steered.verdict(1, "forwarded-gue")?;
    let delivered = steered.verdict(owner, "delivered")?;
    sender.send(&datagram(node_mac(2), node_mac(1), port, target))?;
    let answer = answers.receive(ANSWER, |frame| is_udp(frame, VIP_PORT, port))?;
    ensure!(answer.is_some(), "not answered");
    steered.wait_verdict(owner, "delivered", delivered + 1)?;
    steered.wait_verdict(1, "forwarded-gue", gue + u64::from(owner != 1))?;
    steered.wait_verdict(1, "forwarded-direct", direct)
}

/// Services and endpoints come and go under load, and only what must change does.
#[test]
fn changes_of_the_file_and_of_pods_disturb_nobody_else() -> Result<()> {
    let mut steered = Steered::start(&Profile::default())?;
    an_unrelated_service_comes_and_goes(&mut steered)?;
    a_removed_endpoint_gets_nothing_new(&mut steered)?;
    a_stopped_pod_is_out_until_it_is_back(&mut steered)
}

fn an_unrelated_service_comes_and_goes(steered: &mut Steered) -> Result<()> {
    let [target, _] = Steered::targets();
    let web = steered.lab.web_service("web", 1);
    let both = format!("{web}{}", steered.lab.web_service("other", 2));
    let before = steered.lab.tcp_counters()?;
    let stream = Stream::start(&steered.lab, target)?;
    let load = steered
        .lab
        .client()
        .start_load(target, 30_000..34_000, LOAD_WORKERS);
    for _ in 0..2 {
        steered.edit(&both)?;
        steered.wait_applied(8)?;
        steered.enter_by(vip(2).v4.into(), &[1, 2, 3])?;
        requests_are_answered(steered, (vip(2).v4, VIP_PORT).into(), 29_000..29_060)?;
        steered.edit(&web)?;
        steered.wait_applied(4)?;
    }
    let records = load.stop()?;
    stream.nothing_is_lost(&steered.lab)?;
    let resets = steered.lab.tcp_counters()?.since(before).resets;
    let failed = failures(&records);
    ensure!(
        failed.is_empty() && resets == 0 && records.len() > 100,
        "{} of {} requests lost, {resets} resets: {failed:?}",
        failed.len(),
        records.len()
    );
    Ok(())
}

fn a_removed_endpoint_gets_nothing_new(steered: &mut Steered) -> Result<()> {
    let web = steered.lab.web_service("web", 1);
    let pod = steered.lab.pod(1, 1).addresses();
    let of_pod = |line: &&str| {
        pod.both()
            .iter()
            .any(|ip| line.contains(&format!("\"{ip}\"")))
    };
    let without: String = web
        .lines()
        .filter(|line| !of_pod(line))
        .map(|line| format!("{line}\n"))
        .collect();
    steered.edit(&without)?;
    steered.wait_used(5)?;
    for target in Steered::targets() {
        pods_are_used(steered, target, 35_000..35_200, "pod1-1")?;
    }
    steered.edit(&web)?;
    steered.wait_used(6)?;
    let [target, _] = Steered::targets();
    requests_are_answered(steered, target, 35_300..35_400).map(drop)
}

fn a_stopped_pod_is_out_until_it_is_back(steered: &mut Steered) -> Result<()> {
    steered.lab.pod_mut(2, 1).stop();
    steered.wait_used(5)?;
    for target in Steered::targets() {
        pods_are_used(steered, target, 36_000..36_200, "pod2-1")?;
    }
    steered.lab.pod_mut(2, 1).start()?;
    steered.wait_used(6)?;
    let [target, _] = Steered::targets();
    requests_are_answered(steered, target, 36_300..36_400).map(drop)
}

/// All requests are answered, by every pod but this one.
fn pods_are_used(
    steered: &Steered,
    target: SocketAddr,
    source_ports: Range<u16>,
    without: &str,
) -> Result<()> {
    let client = steered.lab.client();
    let records = client.http_from_ports(target, source_ports, 16)?;
    let (failed, pods) = (failures(&records), per_pod(&records));
    ensure!(failed.is_empty(), "without {without}: {failed:?}");
    ensure!(
        pods.len() == 5 && !pods.contains_key(without),
        "without {without}: {pods:?}"
    );
    Ok(())
}

const LOAD_WORKERS: u16 = 8;

/// What a person sees with bpftool: every map of ours, with its fields by name.
#[test]
fn pinned_maps_are_readable() -> Result<()> {
    let mut steered = Steered::start(&Profile::default())?;
    let maps = steered.agent(1).show("maps")?;
    let names = maps.as_array().context("no maps")?.iter();
    let names: Vec<_> = names.filter_map(|row| row["name"].as_str()).collect();
    ensure!(names.len() > 10, "{names:?}");
    for name in names {
        // A trie has no element 0; that it can be dumped is enough.
        if name == "source_trie" {
            ensure!(bpftool(&steered, &["dump", name])?.is_array(), "{name}");
            continue;
        }
        let arguments = ["lookup", name, "key", "0", "0", "0", "0"];
        let element = bpftool(&steered, &arguments)?;
        let value = &element["formatted"]["value"];
        // Filters and heads are single words; all else has fields.
        ensure!(
            value.is_u64() || value.as_object().is_some_and(|fields| !fields.is_empty()),
            "{name}: {element}"
        );
    }
    let config = bpftool(&steered, &["dump", "config"])?;
    let first = &config[0]["formatted"]["value"]["interfaces"][0];
    let [a, b, c, d, e, f] = node_mac(1);
    let mac = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
    ensure!(first["mac"] == mac, "{first}");
    Ok(())
}

/// `bpftool map VERB pinned NAME ...` on node 1.
fn bpftool(steered: &Steered, arguments: &[&str]) -> Result<Value> {
    let (verb, name) = (arguments[0], arguments[1]);
    let mut command = Command::new("bpftool");
    command.args(["-j", "map", verb, "pinned"]);
    command.arg(format!("/sys/fs/bpf/fairlead/v1/maps/{name}"));
    command.args(&arguments[2..]);
    let text = output(steered.lab.node(1).namespace(), command)?;
    serde_json::from_str(&text).with_context(|| format!("reading {text}"))
}
