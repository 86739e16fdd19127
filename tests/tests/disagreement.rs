//! Nodes that do not know the same, for a moment or for longer: files that contradict each other, a neighbour whose MAC
//! is another one, a neighbour entry that is gone. No packet goes round, nobody is reset, and what was right before
//! is right again afterwards. Needs root.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    frame::Packet,
    steered::{SILENCE, SOON, Steered},
    steering::{is_for, requests_are_answered},
};
use lb_lab::{
    FrameSocket, Pod, Profile, Request, Segments, UPLINK, output, switch_port, topology, vip,
    wait_until,
};
use serde_json::Value;

/// How long a link may need until a new MAC is known: the kernel asks every known neighbour again within 15 s.
const MAC_LEARNED: Duration = Duration::from_secs(20);

#[test]
fn files_that_contradict_each_other_send_no_packet_round() -> Result<()> {
    for segments in [Segments::OneLan, Segments::AllRouted] {
        let mut steered = Steered::start(&Profile {
            segments,
            ..Profile::default()
        })?;
        // Each of the two believes that the other has the only pod.
        contradict(&steered)?;
        steered.wait_for("services", "every node has its one pod", |rows| {
            let is_there = |row: &Value| row["endpoints_used"] == 1 && row["applied"] == true;
            rows.iter().all(is_there)
        })?;
        for target in Steered::targets() {
            steered.enter_by(target.ip(), &[1])?;
            // Each time another flow: one that a pod has stays with it.
            let mut ports = 33_000..;
            wait_until(SOON, "the contradiction is in force", || {
                let port = ports.next().context("no port is left")?;
                let before = steered
                    .all_verdicts()?
                    .get("hop-limit")
                    .copied()
                    .unwrap_or(0);
                let _ = steered.lab.client().udp(target, port, 10, SILENCE / 6);
                let after = steered
                    .all_verdicts()?
                    .get("hop-limit")
                    .copied()
                    .unwrap_or(0);
                Ok((after > before).then_some(()))
            })?;
            a_packet_makes_two_hops_and_ends(&steered, target)?;
        }
        steered.edit(&steered.lab.web_service("web", 1))?;
        for target in Steered::targets() {
            steered.enter_by(target.ip(), &[1, 2, 3])?;
            wait_until(SOON, "all is well again", || {
                Ok(requests_are_answered(&steered, target, 34_000..34_060).ok())
            })?;
        }
    }
    Ok(())
}

/// Counted where node 1 is plugged in: the packet comes in, goes on once, comes back once at most, and nobody answers.
fn a_packet_makes_two_hops_and_ends(steered: &Steered, target: std::net::SocketAddr) -> Result<()> {
    const PACKETS: u64 = 20;
    let lab = &steered.lab;
    let port = FrameSocket::open(lab.switch_namespace(), &switch_port(1))?;
    let client = FrameSocket::open(lab.client_namespace(), UPLINK)?;
    let all_before = steered.all_verdicts()?;
    let before = all_before.get("hop-limit").copied().unwrap_or(0);
    for number in 0..PACKETS {
        let frame = Packet {
            to_mac: topology::node_mac(1),
            from_mac: topology::router_mac(0),
            source: (topology::client().like(target.ip()), 35_000 + number as u16),
            ..Packet::to(target.ip(), target.port(), number % 2 == 0)
        };
        port.send(&frame.frame())?;
    }
    let ended = wait_until(SOON, "every packet has ended", || {
        let ended = steered
            .all_verdicts()?
            .get("hop-limit")
            .copied()
            .unwrap_or(0)
            - before;
        ensure!(ended <= PACKETS, "{ended} of {PACKETS} packets ended");
        Ok((ended == PACKETS).then_some(()))
    });
    ended.with_context(|| format!("{all_before:?}; now {:?}", steered.all_verdicts()))?;
    let mut seen = 0;
    while port
        .receive(SILENCE, |frame| carries(frame, target))?
        .is_some()
    {
        seen += 1;
    }
    ensure!(
        seen <= 3 * PACKETS,
        "{PACKETS} packets were {seen} frames at node 1"
    );
    let answer = client.receive(SILENCE, |frame| comes_from(frame, target))?;
    ensure!(answer.is_none(), "the client was answered: {answer:02x?}");
    Ok(())
}

/// A frame for the VIP, bare or within GUE.
fn carries(frame: &[u8], target: std::net::SocketAddr) -> bool {
    let inner = |outer: usize| {
        let mut bare = frame.get(..12)?.to_vec();
        bare.extend(if target.is_ipv4() {
            [8, 0]
        } else {
            [0x86, 0xdd]
        });
        bare.extend(frame.get(14 + outer..)?);
        Some(is_for(&bare, target.ip()))
    };
    is_for(frame, target.ip()) || inner(44) == Some(true) || inner(64) == Some(true)
}

fn comes_from(frame: &[u8], target: std::net::SocketAddr) -> bool {
    match target.ip() {
        std::net::IpAddr::V4(vip) => frame.get(26..30) == Some(&vip.octets()),
        std::net::IpAddr::V6(vip) => frame.get(22..38) == Some(&vip.octets()),
    }
}

fn contradict(steered: &Steered) -> Result<()> {
    let lab = &steered.lab;
    for (number, agent) in (1..).zip(&steered.agents) {
        let pod = lab.pod(if number == 1 { 2 } else { 1 }, 1);
        agent.edit(&lab.agent_configuration(number, 9, &only(pod)))?;
    }
    Ok(())
}

/// `default/web` with one pod.
fn only(pod: &Pod) -> String {
    let node = &pod.name()[3..4];
    let mut service = format!(
        "  - name: default/web
    addresses: [{}, \"{}\"]
    ports: [{{name: http, protocol: TCP, port: 80}}, {{name: echo, protocol: UDP, port: 80}}]
    endpoints:
",
        vip(1).v4,
        vip(1).v6
    );
    for address in pod.addresses().both() {
        service += &format!(
            "      - {{address: \"{address}\", node: node{node}, ports: {{http: 8080, echo: 8080}}}}\n"
        );
    }
    service
}

#[test]
fn a_node_with_another_mac_is_found_again() -> Result<()> {
    let mut steered = Steered::start(&Profile::default())?;
    let mac = "02:00:00:00:aa:02";
    on_node(
        &steered,
        2,
        &format!("ip link set dev {UPLINK} address {mac}"),
    )?;
    steered
        .agent(1)
        .wait_for(MAC_LEARNED, "nodes", "the new MAC", |shown| {
            shown["rows"]
                .as_array()
                .is_some_and(|rows| rows.iter().any(|row| row["mac"] == mac))
        })?;
    for target in Steered::targets() {
        steered.enter_by(target.ip(), &[1])?;
        wait_until(MAC_LEARNED, "requests reach all pods again", || {
            Ok(requests_are_answered(&steered, target, 36_000..36_060).ok())
        })?;
    }
    Ok(())
}

#[test]
fn a_neighbour_entry_that_is_gone_comes_back() -> Result<()> {
    let mut steered = Steered::start(&Profile::default())?;
    let client = steered.lab.client();
    for target in Steered::targets() {
        steered.enter_by(target.ip(), &[1])?;
        let mut open: Vec<_> = (37_000..37_012)
            .map(|port| client.open(&Request::to(target).from_port(port)))
            .collect::<Result<_>>()?;
        for node in [2, 3] {
            let address = steered.lab.node(node).addresses().like(target.ip());
            on_node(&steered, 1, &format!("ip neigh del {address} dev {UPLINK}"))?;
        }
        steered
            .agent(1)
            .wait_for(SOON, "nodes", "resolved ways", |shown| {
                shown["rows"].as_array().is_some_and(|rows| {
                    rows.iter()
                        .all(|row| row["mode"] == "own" || row["mac"].is_string())
                })
            })?;
        for connection in &mut open {
            connection.get(100).context("after the entry was gone")?;
        }
    }
    Ok(())
}

fn on_node(steered: &Steered, node: u8, words: &str) -> Result<()> {
    let mut words = words.split(' ');
    let mut command = Command::new(words.next().context("no command")?);
    command.args(words);
    output(steered.lab.node(node).namespace(), command)?;
    Ok(())
}
