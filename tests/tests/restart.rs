//! An agent that ends, however it ends, leaves its data path behind, and the next one takes it over: judged under load,
//! beside a control without the event, by every request and by what TCP counted at both ends. Needs root.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    hitless::Stream,
    steered::{ANSWER, SOON, Steered},
    steering::{datagrams_are_answered, requests_are_answered},
};
use lb_lab::{
    AgentOptions, Lab, Profile, Seen, Segments, agent_binary, failures, output, wait_until,
};

const LOAD_WORKERS: u16 = 8;

#[test]
fn agents_killed_under_load_lose_nothing() -> Result<()> {
    let mut steered = Steered::start(&routed())?;
    let target = Steered::targets()[0];
    let mut connections: Vec<_> = (0..12)
        .map(|_| LongLived::open(&steered, target))
        .collect::<Result<_>>()?;
    let maps = map_ids(&mut steered)?;

    under_load(&mut steered, target, nothing).context("the control, without any event")?;
    under_load(&mut steered, target, kill_all).context("killed")?;
    // Nobody is there: the data path goes on alone.
    requests_are_answered(&steered, target, 22_000..22_200)?;
    under_load(&mut steered, target, restart_all).context("started again")?;

    ensure!(map_ids(&mut steered)? == maps, "the maps are others");
    connections.iter_mut().try_for_each(LongLived::ask)
}

/// The judge itself: a path that is away for a moment does not pass for one that never was.
#[test]
fn a_gap_is_noticed() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let target = lab.pod(1, 1).socket([10, 0, 0, 0].into());
    let stream = Stream::start(&lab, target)?;
    stream.wait_sent(&lab, 100)?;
    stream.nothing_is_lost(&lab)?;
    let stream = Stream::start(&lab, target)?;
    stream.wait_sent(&lab, 100)?;
    lab.node(1).set_plugged(false)?;
    stream.wait_sent(&lab, 10)?;
    lab.node(1).set_plugged(true)?;
    ensure!(
        stream.nothing_is_lost(&lab).is_err(),
        "the gap was not noticed"
    );
    Ok(())
}

/// The control: as long as a restart takes.
fn nothing(steered: &mut Steered) -> Result<()> {
    requests_are_answered(steered, Steered::targets()[0], 20_000..21_500).map(drop)
}

fn kill_all(steered: &mut Steered) -> Result<()> {
    let mut agents = steered.agents.iter_mut();
    agents.try_for_each(|agent| agent.process().kill())
}

fn restart_all(steered: &mut Steered) -> Result<()> {
    for agent in &mut steered.agents {
        agent.restart()?;
    }
    steered.wait_applied(4)
}

#[test]
fn sigterm_leaves_the_path_forwarding() -> Result<()> {
    let mut steered = Steered::start(&Profile::default())?;
    let target = Steered::targets()[0];
    let mut connection = LongLived::open(&steered, target)?;
    under_load(&mut steered, target, |steered| {
        for agent in &mut steered.agents {
            let status = agent.terminate(SOON)?;
            ensure!(status.code() == Some(0), "ended with {status}");
        }
        Ok(())
    })?;
    for target in Steered::targets() {
        requests_are_answered(&steered, target, 22_000..22_100)?;
        datagrams_are_answered(&steered, target, 22_000..22_020)?;
    }
    connection.ask()
}

/// `run --once` brings the data path about and goes; `cleanup` takes all of it away.
#[test]
fn once_leaves_a_path_and_cleanup_leaves_nothing() -> Result<()> {
    let lab = Lab::build(&routed())?;
    let options = AgentOptions {
        arguments: vec!["--once".to_owned()],
        ..AgentOptions::default()
    };
    let services = lab.web_service("web", 1);
    for node in 1..=3 {
        let configuration = lab.agent_configuration(node, 9, &services);
        let mut agent = lab.start_agent(node, &configuration, &options)?;
        let process = agent.process();
        let ended = wait_until(SOON, "end of run --once", || process.ended());
        let status = ended.map_err(|error| process.failure(&error))?;
        ensure!(status.success(), "ended with {status}");
    }
    let steered = Steered {
        agents: Vec::new(),
        lab,
    };
    for target in Steered::targets() {
        steered.enter_by(target.ip(), &[1, 2, 3])?;
        requests_are_answered(&steered, target, 22_000..22_100)?;
        datagrams_are_answered(&steered, target, 22_000..22_020)?;
    }
    ensure!(on_node(&steered, &["bpftool", "net", "show"])?.contains("xdp:\neth0"));
    let removed = on_node(&steered, &["AGENT", "cleanup"])?;
    ensure!(removed.contains("removed"), "{removed}");
    // The kernel takes a link away soon after its last pin, not at once.
    wait_until(SOON, "the programs are detached", || {
        let net = on_node(&steered, &["bpftool", "net", "show"])?;
        ensure!(!net.contains("eth0"), "{net}");
        Ok(Some(()))
    })?;
    // The kernel puts two iterators of its own, `*.debug`, into every new bpffs.
    let find = [
        "find",
        "/sys/fs/bpf",
        "-mindepth",
        "1",
        "!",
        "-name",
        "*.debug",
    ];
    let left = on_node(&steered, &find)?;
    ensure!(left.is_empty(), "left behind: {left}");
    let again = on_node(&steered, &["AGENT", "cleanup"])?;
    ensure!(again.contains("nothing of ours"), "{again}");
    Ok(())
}

#[test]
fn cleanup_refuses_beside_a_running_agent() -> Result<()> {
    let steered = Steered::start(&Profile::default())?;
    let refused = on_node(&steered, &["AGENT", "cleanup"]);
    let error = format!("{:#}", refused.expect_err("an agent runs"));
    ensure!(error.contains("an agent runs here"), "{error}");
    requests_are_answered(&steered, Steered::targets()[0], 22_000..22_060).map(drop)
}

/// Something happens in the middle of a load, and nothing is lost.
fn under_load(
    steered: &mut Steered,
    target: SocketAddr,
    event: impl FnOnce(&mut Steered) -> Result<()>,
) -> Result<()> {
    let before = steered.lab.tcp_counters()?;
    let client = steered.lab.client();
    let stream = Stream::start(&steered.lab, target)?;
    let load = client.start_load(target, 24_000..28_000, LOAD_WORKERS);
    let mut records = client.http_from_ports(target, 28_000..28_500, 8)?;
    event(steered)?;
    records.extend(client.http_from_ports(target, 28_500..29_000, 8)?);
    records.extend(load.stop()?);
    stream.nothing_is_lost(&steered.lab)?;
    let counted = steered.lab.tcp_counters()?.since(before);
    let failed = failures(&records);
    ensure!(
        failed.is_empty() && counted.resets == 0,
        "{} of {} requests failed, {counted:?}: {failed:?}",
        failed.len(),
        records.len()
    );
    let changed = records.iter().find(|record| !record.address_kept());
    ensure!(changed.is_none(), "{changed:?}");
    println!("{} requests, none lost", records.len());
    Ok(())
}

/// A connection to the VIP that stays open.
struct LongLived {
    stream: TcpStream,
    pod: Option<String>,
}

impl LongLived {
    fn open(steered: &Steered, target: SocketAddr) -> Result<Self> {
        let connect = || Ok(TcpStream::connect_timeout(&target, ANSWER)?);
        let stream = steered.lab.client_namespace().run(connect)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut connection = Self { stream, pod: None };
        connection.ask()?;
        Ok(connection)
    }

    /// Asks on the same connection, and the same pod answers.
    fn ask(&mut self) -> Result<()> {
        let own = self.stream.local_addr()?;
        let ask = b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n";
        self.stream.write_all(ask)?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut more = [0; 1024];
            let read = self.stream.read(&mut more);
            let read = read.with_context(|| format!("no answer on the connection from {own}"))?;
            ensure!(read > 0, "the connection from {own} was closed");
            answer.extend_from_slice(&more[..read]);
        }
        let answer = String::from_utf8(answer)?;
        let body = answer.split_once("\r\n\r\n").context("no body")?.1;
        let seen: Seen = serde_json::from_str(body)?;
        ensure!(seen.client == own, "{own}: {seen:?}");
        let pod = self.pod.get_or_insert_with(|| seen.pod.clone());
        ensure!(*pod == seen.pod, "{own} moved from {pod} to {}", seen.pod);
        Ok(())
    }
}

/// The kernel's ids of the pinned maps of node 1.
fn map_ids(steered: &mut Steered) -> Result<Vec<u64>> {
    let maps = steered.agent(1).show("maps")?;
    let rows = maps.as_array().context("no maps")?.iter();
    Ok(rows.filter_map(|row| row["id"].as_u64()).collect())
}

/// Runs a command on node 1; `AGENT` stands for the agent's binary.
fn on_node(steered: &Steered, words: &[&str]) -> Result<String> {
    let program = match words[0] {
        "AGENT" => agent_binary()?,
        other => other.into(),
    };
    let mut command = Command::new(program);
    command.args(&words[1..]);
    output(steered.lab.node(1).namespace(), command)
}

/// Node 3 is behind the router, so that every way of steering is in use.
fn routed() -> Profile {
    Profile {
        segments: Segments::Node3Routed,
        underlay_mtu: 1600,
        hostile: false,
    }
}
