//! What an operator sees of flows and packets while traffic runs: `show flows` with its filters, with and without an agent,
//! flows alive by service, and `/metrics`. Counts are compared with what the client did. Needs root.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    steered::{SOON, Steered, node_of},
    steering::{datagrams_are_answered, requests_are_answered},
};
use lb_lab::{AgentOptions, Profile, agent_binary, output, topology, wait_until};
use serde_json::Value;

const DATAGRAMS: u16 = 60;

#[test]
fn flows_are_seen_as_they_are() -> Result<()> {
    let mut steered = Steered::start(&Profile::default())?;
    let [v4, v6] = Steered::targets();
    let pods = datagrams_are_answered(&steered, v4, 20_000..20_000 + DATAGRAMS)?;
    datagrams_are_answered(&steered, v6, 20_000..20_020)?;
    let here = |pod: &&String| node_of(pod).is_ok_and(|node| node == 1);
    let wanted = pods.values().filter(here).count();
    let vip = v4.ip().to_string();
    let of_vip = ["--vip", &vip, "--protocol", "udp"];
    ensure!(matched(&steered, &of_vip)? == wanted, "not {wanted}");
    each_filter_narrows(&steered, &of_vip, wanted)?;
    requests_are_answered(&steered, v4, 21_000..21_060)?;
    let states = flows(&steered, &["--protocol", "tcp", "--vip", &vip])?["states"].clone();
    ensure!(states["closing"].as_u64() > Some(0), "{states}");
    services_and_metrics_count_them(&mut steered, &vip, wanted)?;
    // A dead agent hides nothing.
    steered.agent(1).process().kill()?;
    ensure!(matched(&steered, &of_vip)? == wanted, "without an agent");
    Ok(())
}

fn each_filter_narrows(steered: &Steered, of_vip: &[&str], wanted: usize) -> Result<()> {
    let with = |more: &[&str]| matched(steered, &[of_vip, more].concat());
    let client = topology::client().v4.to_string();
    let network = format!("{}/24", client.replace(".2", ".0"));
    for all in [
        ["--client", &client],
        ["--client", &network],
        ["--port", "80"],
    ] {
        ensure!(with(&all)? == wanted, "{all:?}");
    }
    for none in [
        ["--client", "192.0.2.1"],
        ["--port", "81"],
        ["--state", "established"],
    ] {
        ensure!(with(&none)? == 0, "{none:?}");
    }
    let shown = flows(steered, &[of_vip, &["--limit", "1"]].concat())?;
    let row = &shown["rows"][0];
    ensure!(shown["rows"].as_array().map(Vec::len) == Some(1), "{shown}");
    ensure!(shown["matched"] == wanted, "{shown}");
    let pods = steered.lab.node_pods(1);
    let by_pod = |pod: &lb_lab::Pod| with(&["--endpoint", &pod.addresses().v4.to_string()]);
    let sum = pods.iter().map(by_pod).sum::<Result<usize>>()?;
    ensure!(sum == wanted, "{sum} by endpoint");
    ensure!(
        row["state"] == "unreplied" && row["protocol"] == "UDP",
        "{row}"
    );
    Ok(())
}

fn services_and_metrics_count_them(steered: &mut Steered, vip: &str, wanted: usize) -> Result<()> {
    let is_ours = |row: &&Value| row["vip"] == vip && row["protocol"] == "UDP";
    steered
        .agent(1)
        .wait_for(SOON, "services", "the flows are counted", |shown| {
            let mut rows = shown["rows"].as_array().into_iter().flatten();
            rows.find(is_ours)
                .is_some_and(|row| row["active_flows"] == wanted)
        })?;
    let metric = format!(
        "fairlead_service_active_flows{{service=\"default/web\",vip=\"{vip}\",protocol=\"UDP\",port=\"80\"}} {wanted}\n"
    );
    wait_until(SOON, "the metric", || {
        let metrics = metrics(steered)?;
        ensure!(metrics.contains(&metric), "{metrics}");
        ensure!(
            metrics.contains("fairlead_packets_total{verdict=\"delivered\"} "),
            "{metrics}"
        );
        Ok(Some(()))
    })
}

fn metrics(steered: &Steered) -> Result<String> {
    let socket = AgentOptions::default().socket;
    steered.lab.node(1).namespace().run(|| {
        let mut stream = UnixStream::connect(&socket).context("connecting to the agent")?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

fn matched(steered: &Steered, filters: &[&str]) -> Result<usize> {
    let shown = flows(steered, filters)?;
    let matched = shown["matched"].as_u64();
    Ok(matched.with_context(|| shown.to_string())?.try_into()?)
}

/// `lb-agent show flows` on node 1.
fn flows(steered: &Steered, filters: &[&str]) -> Result<Value> {
    let mut command = Command::new(agent_binary()?);
    command.args(["show", "flows", "-o", "json"]).args(filters);
    let answer = output(steered.lab.node(1).namespace(), command)?;
    Ok(serde_json::from_str(&answer)?)
}
