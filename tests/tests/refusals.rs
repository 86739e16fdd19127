//! What the agent refuses: one clear sentence, the right exit code, and everything as it was before. Needs root.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    steered::{SOON, Steered},
    steering::requests_are_answered,
};
use lb_lab::{
    AgentOptions, Lab, NODE_BGP_PORT, Namespace, Process, Profile, agent_binary, output, wait_until,
};
use serde_json::Value;

/// The thing failed.
const FAILED: i32 = 1;
/// It cannot work here.
const CANNOT_RUN_HERE: i32 = 2;

/// What a refused command left behind: its exit code and all it said.
struct Refusal {
    code: Option<i32>,
    said: String,
}

impl Refusal {
    fn expect(&self, code: i32, words: &[&str]) -> Result<()> {
        let said = &self.said;
        ensure!(self.code == Some(code), "exit code {:?}: {said}", self.code);
        let missing: Vec<_> = words.iter().filter(|word| !said.contains(**word)).collect();
        ensure!(missing.is_empty(), "does not say {missing:?}, but: {said}");
        let sentences = said.lines().filter(|line| line.starts_with("lb-agent: "));
        ensure!(sentences.count() == 1, "not one sentence: {said}");
        println!("{said}");
        Ok(())
    }
}

#[test]
fn a_wrong_file_is_refused_with_its_line() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let good = configuration(&lab, 1);
    let cases = [
        ("port: 80", "port: eighty", "port"),
        (
            "protocol: TCP, ",
            "protocol: SCTP, ",
            "SCTP is not supported",
        ),
        ("asn: 65000", "asm: 65000", "asm"),
        (
            "services:\n",
            "layer2: {interfaces: [eth7]}\nservices:\n",
            "not among `node.uplinks`",
        ),
        (
            "    ports:\n",
            "    sessionAffinity: Client\n    ports:\n",
            "Client",
        ),
        ("10.99.0.1,", "10.1.1.2,", "10.1.1.2"),
    ];
    for (number, (old, new, word)) in cases.into_iter().enumerate() {
        let wrong = good.replacen(old, new, 1);
        ensure!(wrong != good, "{old} is not in the file");
        let line = 1 + wrong
            .lines()
            .zip(good.lines())
            .take_while(|(a, b)| a == b)
            .count();
        let file = lab.folder().join(format!("wrong{number}.yaml"));
        fs::write(&file, wrong)?;
        let place = format!("--> {}:{line}:", file.display());
        for command in [check(&file)?, run(&file)?] {
            let refusal = ended(&lab, "refused", command)?;
            refusal.expect(FAILED, &[word, &place, "| ", "^"])?;
        }
    }
    nothing_is_left(&lab)
}

#[test]
fn what_the_host_lacks_is_named() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let good = configuration(&lab, 1);
    let file = lab.folder().join("uplink.yaml");
    fs::write(&file, good.replace("uplinks: [eth0]", "uplinks: [eth7]"))?;
    let refusal = ended(&lab, "uplink", run(&file)?)?;
    refusal.expect(FAILED, &["no interface eth7", "it has ", "eth0"])?;

    let file = lab.folder().join("capability.yaml");
    fs::write(&file, good)?;
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-bpf,-sys_admin");
    let refusal = ended(&lab, "capability", with_run(command, &file)?)?;
    refusal.expect(CANNOT_RUN_HERE, &["missing capabilities: CAP_BPF;"])?;
    nothing_is_left(&lab)
}

#[test]
fn anothers_xdp_program_stays() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let _other = lab.node(1).reflect()?;
    let before = attached(lab.node(1).namespace())?;
    let file = lab.folder().join("taken.yaml");
    let native = configuration(&lab, 1).replace("uplinks: [eth0]", "uplinks: [eth0], mode: native");
    fs::write(&file, native)?;
    let refusal = ended(&lab, "taken", run(&file)?)?;
    refusal.expect(
        FAILED,
        &["another XDP program is attached to eth0 and stays"],
    )?;
    let after = attached(lab.node(1).namespace())?;
    ensure!(before == after, "{before} before, {after} after");
    nothing_is_pinned(&lab)
}

#[test]
fn a_running_agent_keeps_what_it_has() -> Result<()> {
    let mut steered = Steered::start(&Profile::default())?;
    a_bad_edit_changes_nothing(&mut steered)?;
    a_second_agent_is_refused(&steered)?;
    requests_are_answered(&steered, Steered::targets()[0], 20_000..20_100).map(drop)
}

fn a_bad_edit_changes_nothing(steered: &mut Steered) -> Result<()> {
    let good = configuration(&steered.lab, 1);
    let bad = good.replacen("port: 80", "port: 80000", 1);
    let line = 1 + bad
        .lines()
        .zip(good.lines())
        .take_while(|(a, b)| a == b)
        .count();
    let agent = steered.agent(1);
    agent.edit(&bad)?;
    let place = format!("{}:{line}:", agent.config().display());
    let shown = agent.wait_for(SOON, "services", "the file is refused", warns(&place))?;
    let rows = shown["rows"].as_array().context("no rows")?;
    ensure!(
        rows.len() == 4 && rows.iter().all(|row| row["applied"] == true),
        "{shown}"
    );
    requests_are_answered(steered, Steered::targets()[0], 21_000..21_100)?;
    let agent = steered.agent(1);
    agent.edit(&good)?;
    agent.wait_for(SOON, "services", "the warning is gone", |shown| {
        shown["warnings"].as_array().is_some_and(Vec::is_empty)
    })?;
    Ok(())
}

fn a_second_agent_is_refused(steered: &Steered) -> Result<()> {
    let file = steered.lab.folder().join("node1.yaml");
    let same = ended(&steered.lab, "second", run(&file)?)?;
    same.expect(
        FAILED,
        &["another agent runs here", "/run/fairlead/agent.sock"],
    )?;
    let mut own_socket = run(&file)?;
    own_socket.args(["--socket", "/run/fairlead/second.sock"]);
    let same_pins = ended(&steered.lab, "pins", own_socket)?;
    same_pins.expect(FAILED, &["an agent runs here", "/sys/fs/bpf/fairlead"])
}

/// The agent serves all the same, says who has the port, and listens as soon as it is free.
#[test]
fn a_taken_bgp_port_costs_only_listening() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let namespace = lab.node(1).namespace();
    let holder = namespace.run(|| Ok(TcpListener::bind(("0.0.0.0", NODE_BGP_PORT))?))?;
    let mut agent = lab.start_agent(1, &configuration(&lab, 1), &AgentOptions::default())?;
    agent.wait_for(SOON, "services", "services are applied", |shown| {
        let rows = shown["rows"].as_array();
        rows.is_some_and(|rows| rows.len() == 4 && rows.iter().all(|row| row["applied"] == true))
    })?;
    let port = format!(":{NODE_BGP_PORT}");
    let shown = agent.wait_for(SOON, "bgp", "the port is taken", warns(&port))?;
    let own_pid = std::process::id().to_string();
    ensure!(
        shown["warnings"][0].to_string().contains(&own_pid),
        "{shown}"
    );
    drop(holder);
    // Listening is tried again every few seconds.
    agent.wait_for(2 * SOON, "bgp", "the port is free", |shown| {
        shown["warnings"].as_array().is_some_and(Vec::is_empty)
    })?;
    Ok(())
}

fn warns(of: &str) -> impl Fn(&Value) -> bool + use<> {
    let of = of.to_owned();
    move |shown| {
        let warnings = shown["warnings"].as_array();
        warnings.is_some_and(|all| all.iter().any(|warning| warning.to_string().contains(&of)))
    }
}

fn configuration(lab: &Lab, node: u8) -> String {
    lab.agent_configuration(node, 9, &lab.web_service("web", 1))
}

fn check(file: &Path) -> Result<Command> {
    let mut command = Command::new(agent_binary()?);
    command.arg("check").arg(file);
    Ok(command)
}

fn run(file: &Path) -> Result<Command> {
    let mut command = Command::new(agent_binary()?);
    command.args(["run", "--config"]).arg(file);
    Ok(command)
}

/// `lb-agent run` by way of a command that lowers its rights first.
fn with_run(mut command: Command, file: &Path) -> Result<Command> {
    command
        .arg(agent_binary()?)
        .args(["run", "--config"])
        .arg(file);
    Ok(command)
}

/// Runs a command on node 1 to its end.
fn ended(lab: &Lab, name: &str, command: Command) -> Result<Refusal> {
    let log: PathBuf = lab.folder().join(format!("{name}.log"));
    if log.exists() {
        fs::remove_file(&log)?;
    }
    let mut process = Process::start(lab.node(1).namespace(), name, command, lab.folder())?;
    let status = wait_until(SOON, &format!("end of {name}"), || process.ended());
    let status = status.map_err(|error| process.failure(&error))?;
    Ok(Refusal {
        code: status.code(),
        said: fs::read_to_string(log)?,
    })
}

/// No pin and no program of ours is on node 1.
fn nothing_is_left(lab: &Lab) -> Result<()> {
    nothing_is_pinned(lab)?;
    let attached = attached(lab.node(1).namespace())?;
    ensure!(!attached.contains("eth0"), "attached: {attached}");
    Ok(())
}

/// Neither maps nor links nor the socket are there.
fn nothing_is_pinned(lab: &Lab) -> Result<()> {
    let mut find = Command::new("find");
    find.args([
        "/sys/fs/bpf",
        "/run",
        "-mindepth",
        "1",
        "!",
        "-type",
        "d",
        "!",
        "-name",
        "*.debug",
    ]);
    let left = output(lab.node(1).namespace(), find)?;
    ensure!(left.is_empty(), "left behind: {left}");
    Ok(())
}

/// The programs attached to the interfaces of a namespace, by bpftool.
fn attached(namespace: &Namespace) -> Result<String> {
    let mut command = Command::new("bpftool");
    command.args(["net", "show"]);
    output(namespace, command)
}
