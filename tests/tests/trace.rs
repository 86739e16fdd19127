//! `lb-agent trace` in a lab: what it says of a packet is what becomes of that packet when a client sends it, and asking
//! leaves no trace in the data path. Needs root.

use std::{fs, net::SocketAddr, process::Command};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::steered::{Steered, node_of};
use lb_lab::{Profile, Segments, agent_binary, output, vip};
use serde_json::Value;

/// Source ports that are traced, then used.
const PORTS: std::ops::Range<u16> = 26_000..26_016;

#[test]
fn a_trace_says_what_then_happens() -> Result<()> {
    let mut steered = Steered::start(&Profile {
        segments: Segments::Node3Routed,
        ..Profile::default()
    })?;
    let client = steered.lab.client();
    let mut by_gue = 0;
    for target in Steered::targets() {
        steered.enter_by(target.ip(), &[1])?;
        for port in PORTS {
            let traced = trace(&steered, &described(target, port))?;
            let said = &traced["verdicts"][0];
            let seen = client
                .http_from_ports(target, port..port + 1, 1)?
                .remove(0)
                .result?;
            let node = node_of(&seen.pod)?;
            if node == 1 {
                ensure!(said == "delivered", "{traced}");
                let pod = seen.local.to_string();
                let flow = traced["new_flow"].as_str().context("no new flow")?;
                ensure!(flow.ends_with(&format!("served by {pod}")), "{flow}; {pod}");
                continue;
            }
            let by = ["forwarded-direct", "forwarded-gue"][usize::from(node == 3)];
            ensure!(said == by, "{traced}: node{node} has the pod");
            by_gue += usize::from(node == 3);
            let name = traced["node"].as_str().context("no node")?;
            ensure!(name.starts_with(&format!("node{node} (")), "{name}");
            ensure!(
                traced["service"]
                    .as_str()
                    .is_some_and(|name| name.starts_with("default/web "))
            );
        }
    }
    ensure!(by_gue > 0, "no flow went to the node behind the router");
    steered.agent(1).process().kill()?;
    let traced = trace(&steered, &described(Steered::targets()[0], PORTS.start))?;
    ensure!(
        traced["service"] == "10.99.0.1:80/TCP",
        "without an agent: {traced}"
    );
    Ok(())
}

#[test]
fn asking_changes_nothing() -> Result<()> {
    let steered = Steered::start(&Profile::default())?;
    // A record counts only by its index word.
    let written = [
        "flow_index",
        "flow_reverse",
        "counters",
        "verdicts",
        "answers",
    ];
    let before = written.map(|map| dump(&steered, map));
    for port in PORTS.step_by(6) {
        for target in Steered::targets() {
            let row = trace(&steered, &described(target, port))?;
            ensure!(row["verdicts"] != Value::Array(Vec::new()), "{row}");
        }
        let closed = (vip(1).v4, 81).into();
        let row = trace(&steered, &described(closed, port))?;
        ensure!(row["verdicts"][0] == "no-such-port", "{row}");
    }
    let stranger: SocketAddr = ([10, 0, 0, 200], 80).into();
    let row = trace(&steered, &described(stranger, 40_000))?;
    ensure!(
        row["verdicts"] == Value::Array(Vec::new()) && row["action"] == "pass",
        "{row}"
    );
    for (map, before) in written.iter().zip(before) {
        ensure!(dump(&steered, map)? == before?, "{map} has changed");
    }
    Ok(())
}

#[test]
fn a_captured_packet_is_traced_as_a_described_one() -> Result<()> {
    let steered = Steered::start(&Profile::default())?;
    let target = Steered::targets()[0];
    let described = trace(&steered, &described(target, PORTS.start))?;
    // The SYN of the same flow as this lab's router would hand it over.
    let uplink = steered.lab.node(1).namespace().run(|| {
        Ok(fs::read_to_string("/sys/class/net/eth0/address")?
            .trim()
            .replace(':', ""))
    })?;
    let frame = format!(
        "{uplink}00005e0001010800\
         4500002800004000400600 00 c6336402 0a630001\
         {:04x}0050 00000001 00000001 5002ffff 00000000",
        PORTS.start
    );
    let row = trace(&steered, &["--frame".to_owned(), frame])?;
    for field in ["verdicts", "service", "action", "node"] {
        ensure!(
            row[field] == described[field],
            "{field}: {row}; {described}"
        );
    }
    let refused = run(&steered, &["--frame".to_owned(), "xyz".to_owned()])
        .err()
        .context("taken")?;
    ensure!(
        format!("{refused:#}").contains("not pairs of hexadecimal digits"),
        "{refused:#}"
    );
    let nowhere = ["--pin-dir", "/sys/fs/bpf/nowhere", "--frame", "00"].map(str::to_owned);
    let refused = run(&steered, &nowhere).err().context("traced nowhere")?;
    ensure!(
        format!("{refused:#}").contains("no data path of this version is pinned"),
        "{refused:#}"
    );
    Ok(())
}

fn described(target: SocketAddr, port: u16) -> Vec<String> {
    let client = SocketAddr::new(lb_lab::topology::client().like(target.ip()), port);
    vec![
        "--from".to_owned(),
        client.to_string(),
        "--to".to_owned(),
        target.to_string(),
    ]
}

fn trace(steered: &Steered, arguments: &[String]) -> Result<Value> {
    let text = run(steered, arguments)?;
    serde_json::from_str(&text).with_context(|| format!("reading {text}"))
}

/// On node 1.
fn run(steered: &Steered, arguments: &[String]) -> Result<String> {
    let mut command = Command::new(agent_binary()?);
    command.args(["trace", "-o", "json"]).args(arguments);
    output(steered.lab.node(1).namespace(), command)
}

/// The elements of a pinned map, as `bpftool` reads them.
fn dump(steered: &Steered, map: &str) -> Result<Vec<u8>> {
    let pin = format!("/sys/fs/bpf/fairlead/v1/maps/{map}");
    let mut command = Command::new("bpftool");
    command.args(["map", "dump", "pinned", &pin]);
    Ok(output(steered.lab.node(1).namespace(), command)?.into_bytes())
}
