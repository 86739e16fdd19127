//! The agent that is measured: how it is started, when it is ready, what memory it has.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{Agent, AgentOptions, Lab, UPLINK, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9080);
/// Slots that ten endpoints of a Service take: a power of two.
const SLOTS_PER_SERVICE: u32 = 16;
const SLOTS_MIN: u32 = 65_536;

/// An agent on a node, and how long it took until it was ready.
pub(crate) fn start(
    lab: &Lab,
    kubeconfig: &Path,
    node: u8,
    services: u32,
) -> Result<(Agent, Duration)> {
    let slots = (services * SLOTS_PER_SERVICE)
        .next_power_of_two()
        .max(SLOTS_MIN);
    let settings = format!(
        "node: {{name: node{node}, uplinks: [{UPLINK}]}}\ndataplane: {{servicePorts: 32768, endpoints: {slots}}}\n"
    );
    let kubeconfig = kubeconfig.display().to_string();
    let http = HTTP.to_string();
    let arguments = [
        "--kubernetes",
        "--kubeconfig",
        &kubeconfig,
        "--namespace",
        "fairlead-system",
        "--state-file",
        "/run/fairlead/kubernetes.json",
        "--http",
        &http,
    ];
    let options = AgentOptions {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..AgentOptions::default()
    };
    let begun = Instant::now();
    let agent = lab.start_agent(node, &settings, &options)?;
    wait_until(LIMIT, "the agent is ready", || {
        let answer = lab.node(node).namespace().run(|| get(HTTP, "/readyz"))?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok(Some(()))
    })?;
    Ok((agent, begun.elapsed()))
}

fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Memory that is the process's own: maps of the data path are not in it.
pub(crate) fn anonymous_bytes(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("RssAnon")?;
    Ok(kib.parse::<f64>()? * 1024.0)
}
