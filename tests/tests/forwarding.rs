//! The lab itself, before any steering: every profile comes up, clients and pods reach each other directly, and the lab
//! sees the faults that it is there to see. Needs root.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use etherparse::PacketBuilder;
use lb_lab::topology::{self, POD_PORT};
use lb_lab::{
    DatagramLoad, FrameSocket, Lab, NODE_ASN, NODE_BGP_PORT, Pair, Process, Profile, ROUTER_ASN,
    Request, Segments, UPLINK, failures, per_pod, switch_port, vip, wait_until,
};

const SOON: Duration = Duration::from_secs(15);
/// How long an answer to a datagram may take.
const UDP_LIMIT: Duration = Duration::from_secs(10);

#[test]
fn every_profile_comes_up_and_forwards() -> Result<()> {
    for segments in [Segments::OneLan, Segments::Node3Routed, Segments::AllRouted] {
        for underlay_mtu in [1500, 1600] {
            let profile = Profile {
                segments,
                underlay_mtu,
                hostile: false,
            };
            let lab = Lab::build(&profile)?;
            println!("{profile:?}: up in {:?}", lab.build_time());
            client_reaches_every_pod(&lab)?;
            pods_reach_each_other(&lab)?;
        }
    }
    Ok(())
}

fn client_reaches_every_pod(lab: &Lab) -> Result<()> {
    let client = lab.client();
    for pod in lab.pods() {
        for address in pod.addresses().both() {
            let target = SocketAddr::new(address, POD_PORT);
            let record = client.http(&Request::to(target).from_port(20_001));
            ensure!(record.address_kept(), "{target}: {record:?}");
            ensure!(record.result?.pod == pod.name());
            let (source, seen) = client.udp(target, 20_001, 100, UDP_LIMIT)?;
            ensure!(
                (seen.client, seen.local, seen.received) == (source, target, 100),
                "{target}: {seen:?}"
            );
        }
    }
    Ok(())
}

fn pods_reach_each_other(lab: &Lab) -> Result<()> {
    let from = lb_lab::Client::new(lab.pod(1, 1).namespace());
    for pod in lab.pods().filter(|pod| pod.name() != "pod1-1") {
        for address in pod.addresses().both() {
            let seen = from.http_get((address, POD_PORT).into())?;
            ensure!(
                seen.client.ip() == lab.pod(1, 1).addresses().like(address),
                "{seen:?}"
            );
        }
    }
    Ok(())
}

/// The lab's floor under every forwarding by `XDP_TX`: what a node sends back arrives at the switch.
#[test]
fn what_xdp_sends_back_arrives() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let client = FrameSocket::open(lab.client_namespace(), UPLINK)?;
    let port = FrameSocket::open(lab.switch_namespace(), &switch_port(1))?;
    let seen_twice = |source_port: u16| -> Result<bool> {
        client.send(&udp_frame(lab.pod(1, 1).addresses(), source_port, false)?)?;
        let there = port.receive(UDP_LIMIT, |frame| is_udp_from(frame, source_port))?;
        ensure!(there.is_some(), "the frame never reached the node's port");
        let back = port.receive(Duration::from_millis(300), |frame| {
            is_udp_from(frame, source_port)
        })?;
        Ok(back.is_some())
    };
    ensure!(!seen_twice(30_004)?, "a frame came back without a program");
    let _program = lab.node(1).reflect()?;
    ensure!(seen_twice(30_005)?, "the frame did not come back");
    Ok(())
}

/// A packet of 1600 bytes crosses the larger underlay whole, and the smaller one in pieces.
#[test]
fn the_underlay_has_the_mtu_of_the_profile() -> Result<()> {
    for (underlay_mtu, whole) in [(1600, true), (1500, false)] {
        let lab = Lab::build(&Profile {
            underlay_mtu,
            ..Profile::default()
        })?;
        let uplink = FrameSocket::open(lab.node(2).namespace(), UPLINK)?;
        let target = SocketAddr::from((lab.node(2).addresses().v4, 9));
        lab.node(1).namespace().run(|| {
            let socket = UdpSocket::bind("0.0.0.0:30006")?;
            // 20 bytes of IPv4 and 8 of UDP in front.
            Ok(socket.send_to(&[0; 1600 - 28], target)?)
        })?;
        let frame = uplink.receive(UDP_LIMIT, |frame| is_udp_from(frame, 30_006))?;
        ensure!(
            frame.is_some_and(|frame| (frame.len() == 14 + 1600) == whole),
            "{underlay_mtu}"
        );
    }
    Ok(())
}

/// Bodies of many full-size segments both ways, in both families.
#[test]
fn full_size_packets_pass() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    for address in lab.pod(3, 2).addresses().both() {
        let request = Request {
            upload_bytes: 300_000,
            download_bytes: 300_000,
            ..Request::to((address, POD_PORT).into())
        };
        let seen = lab.client().http(&request).result?;
        ensure!((seen.received, seen.padding.len()) == (300_000, 300_000));
    }
    Ok(())
}

#[test]
fn many_requests_keep_their_source_ports() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let target = lab.pod(2, 1).socket(topology::client().v4.into());
    let records = lab.client().http_from_ports(target, 20_000..20_200, 8)?;
    ensure!(failures(&records).is_empty(), "{:?}", failures(&records));
    ensure!(records.iter().all(lb_lab::Record::address_kept));
    ensure!(
        records
            .iter()
            .map(|record| record.source.port())
            .eq(20_000..20_200)
    );
    ensure!(per_pod(&records) == [("pod2-1".to_owned(), 200)].into());
    Ok(())
}

#[test]
fn hostile_nodes_block_pods_until_the_rule_is_added() -> Result<()> {
    let lab = Lab::build(&Profile {
        hostile: true,
        ..Profile::default()
    })?;
    let pod = lab.pod(1, 1);
    for address in pod.addresses().both() {
        let request = Request {
            time_limit: Duration::from_millis(300),
            ..Request::to((address, POD_PORT).into())
        };
        ensure!(
            lab.client().http(&request).result.is_err(),
            "{address} answered through FORWARD policy DROP"
        );
    }
    for node in lab.nodes() {
        node.accept_forwarding()?;
    }
    client_reaches_every_pod(&lab)?;
    // The masquerade is there too: what a pod starts leaves the pod network under its node's address.
    let from = lb_lab::Client::new(pod.namespace());
    let _receiver = lab
        .client_namespace()
        .run(|| Ok(UdpSocket::bind("198.51.100.2:9")?))?;
    let capture = FrameSocket::open(lab.client_namespace(), UPLINK)?;
    let target = (topology::client().v4, 9).into();
    ensure!(
        from.udp(target, 20_002, 10, Duration::from_millis(50))
            .is_err()
    );
    let expected = lab.node(1).addresses().v4.octets();
    let frame = capture.receive(UDP_LIMIT, |frame| {
        frame.get(12..14) == Some(&[8, 0]) && frame[23] == 17
    })?;
    ensure!(
        frame.is_some_and(|frame| frame[26..30] == expected),
        "not masqueraded"
    );
    Ok(())
}

/// The lab's floor under every checksum canary: a wrong transport checksum ends at the pod, a right one is answered.
#[test]
fn a_wrong_checksum_is_seen() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let link = FrameSocket::open(lab.client_namespace(), UPLINK)?;
    for (port, corrupt) in [(30_001, false), (30_002, true)] {
        link.send(&udp_frame(lab.pod(1, 1).addresses(), port, corrupt)?)?;
        let limit = if corrupt {
            Duration::from_millis(300)
        } else {
            UDP_LIMIT
        };
        let answer = link.receive(limit, |frame| is_udp_to(frame, port))?;
        ensure!(
            answer.is_some() != corrupt,
            "corrupt: {corrupt}, answered: {}",
            answer.is_some()
        );
    }
    Ok(())
}

/// Frames that reach a node's uplink carry whole checksums, whoever made them, so that XDP sees what real wires carry.
#[test]
fn frames_reach_nodes_with_whole_checksums() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let uplink = FrameSocket::open(lab.node(1).namespace(), UPLINK)?;
    let target = lab.pod(1, 1).socket(topology::client().v4.into());
    lab.client().udp(target, 30_003, 40, UDP_LIMIT)?;
    let pod_port = POD_PORT.to_be_bytes();
    let frame = uplink.receive(UDP_LIMIT, |frame| {
        frame.get(36..38) == Some(&pod_port) && frame[23] == 17
    })?;
    let Some(frame) = frame else {
        anyhow::bail!("the request was not captured");
    };
    let packet = etherparse::PacketHeaders::from_ethernet_slice(&frame)?;
    let (Some(etherparse::NetHeaders::Ipv4(ip, _)), Some(etherparse::TransportHeader::Udp(udp))) =
        (packet.net, packet.transport)
    else {
        anyhow::bail!("captured something else");
    };
    let whole = udp.calc_checksum_ipv4(&ip, packet.payload.slice())?;
    ensure!(
        udp.checksum == whole,
        "checksum {:#x} instead of {whole:#x}",
        udp.checksum
    );
    Ok(())
}

#[test]
fn a_pulled_cable_cuts_a_node_off_and_back() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let target = lab.pod(1, 1).socket(topology::client().v4.into());
    let request = Request {
        time_limit: Duration::from_millis(300),
        ..Request::to(target)
    };
    lab.node(1).set_plugged(false)?;
    ensure!(
        lab.client().http(&request).result.is_err(),
        "a node without a cable answered"
    );
    lab.node(1).set_plugged(true)?;
    let back = || Ok(lab.client().http(&request).result.ok());
    wait_until(Duration::from_secs(5), "the node answers again", back)?;
    Ok(())
}

/// The judge of loss counts what a cut takes, and nothing beside it.
#[test]
fn datagrams_count_what_is_lost() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let target = lab.pod(1, 1).socket(topology::client().v4.into());
    let some = |load: &DatagramLoad| {
        wait_until(SOON, "twenty answers", || {
            Ok((load.so_far().0 >= 20).then_some(()))
        })
    };
    let load = lab.client().start_datagrams(target, 27_000..27_002);
    some(&load)?;
    let quiet = load.stop()?;
    ensure!(
        (quiet.unanswered, quiet.address_changed) == (0, 0),
        "{quiet:?}"
    );

    let load = lab.client().start_datagrams(target, 27_000..27_002);
    some(&load)?;
    lab.node(1).set_plugged(false)?;
    wait_until(SOON, "what the cut takes is missed", || {
        Ok((load.so_far().1 >= 2).then_some(()))
    })?;
    lab.node(1).set_plugged(true)?;
    let cut = load.stop()?;
    // Each flow waits for the answer to the one datagram that the cut took.
    ensure!(cut.unanswered >= 2, "{cut:?}");
    Ok(())
}

#[test]
fn a_stopped_pod_refuses_and_comes_back() -> Result<()> {
    let mut lab = Lab::build(&Profile::default())?;
    let target = lab.pod(1, 1).socket(topology::client().v6.into());
    lab.pod_mut(1, 1).stop();
    ensure!(lab.client().http_get(target).is_err());
    lab.pod_mut(1, 1).start()?;
    ensure!(lab.client().http_get(target)?.pod == "pod1-1");
    Ok(())
}

/// The router under test elsewhere, with speakers that are known to be right: it learns a VIP from each node that
/// announces it, puts all of them into one route of the kernel, and takes out the one that goes.
#[test]
fn bird_spreads_a_vip_over_the_nodes_that_announce_it() -> Result<()> {
    let lab = Lab::build(&Profile {
        segments: Segments::Node3Routed,
        ..Profile::default()
    })?;
    let mut bird = lab.start_bird()?;
    let speakers: Vec<Process> = (1..=3)
        .map(|node| start_speaker(&lab, node))
        .collect::<Result<_>>()?;
    bird.wait_established(Duration::from_secs(20))?;
    let spread_over = |nodes: &[u8]| {
        for destination in host_routes(vip(9)) {
            let address = |&node: &u8| lab.node(node).addresses().like(destination.0);
            let expected: Vec<_> = nodes.iter().map(address).collect();
            let what = format!("the route to {} over {expected:?}", destination.0);
            wait_until(Duration::from_secs(20), &what, || {
                let gateways = lab.router_gateways(destination)?;
                ensure!(gateways == expected, "{gateways:?}");
                Ok(Some(()))
            })?;
        }
        anyhow::Ok(())
    };
    spread_over(&[1, 2, 3])?;
    lab.node(2).set_plugged(false)?;
    spread_over(&[1, 3])?;
    drop(speakers);
    Ok(())
}

fn host_routes(vip: Pair) -> [(IpAddr, u8); 2] {
    [(vip.v4.into(), 32), (vip.v6.into(), 128)]
}

/// A BIRD on a node that announces a VIP as an agent would.
fn start_speaker(lab: &Lab, number: u8) -> Result<Process> {
    let node = lab.node(number);
    let (own, router, vip) = (node.addresses(), node.router(), vip(9));
    let text = format!(
        "router id {own_v4};
log stderr all;
protocol device {{}}
protocol static {{ ipv4; route {vip_v4}/32 blackhole; }}
protocol static {{ ipv6; route {vip_v6}/128 blackhole; }}
protocol bgp upstream {{
    local {own_v4} port {NODE_BGP_PORT} as {NODE_ASN};
    neighbor {router_v4} as {ROUTER_ASN};
    hold time 3;
    connect delay time 1;
    ipv4 {{ import none; export all; }};
    ipv6 {{ import none; export all; next hop address {own_v6}; }};
}}
",
        own_v4 = own.v4,
        own_v6 = own.v6,
        router_v4 = router.v4,
        vip_v4 = vip.v4,
        vip_v6 = vip.v6,
    );
    let config = lab.folder().join(format!("bird-{}.conf", node.name()));
    fs::write(&config, text)?;
    let mut command = Command::new("bird");
    command
        .arg("-f")
        .arg("-c")
        .arg(&config)
        .args(["-s", "/run/bird.ctl"]);
    Process::start(
        node.namespace(),
        &format!("bird-{}", node.name()),
        command,
        lab.folder(),
    )
}

/// A UDP datagram from the client to a pod, by way of the router.
fn udp_frame(pod: Pair, source_port: u16, corrupt: bool) -> Result<Vec<u8>> {
    let builder = PacketBuilder::ethernet2(topology::CLIENT_MAC, topology::ROUTER_WAN_MAC)
        .ipv4(topology::client().v4.octets(), pod.v4.octets(), 64)
        .udp(source_port, POD_PORT);
    let mut frame = Vec::new();
    builder.write(&mut frame, b"checksum")?;
    if corrupt {
        // Ethernet 14, IPv4 20, then source port, destination port, length and checksum of UDP.
        frame[40] ^= 0x55;
    }
    Ok(frame)
}

fn is_udp_from(frame: &[u8], port: u16) -> bool {
    frame.get(34..36) == Some(&port.to_be_bytes()) && frame[23] == 17
}

fn is_udp_to(frame: &[u8], port: u16) -> bool {
    frame.get(36..38) == Some(&port.to_be_bytes()) && frame[23] == 17
}
