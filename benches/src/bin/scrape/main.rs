//! What a scrape of the agent's metrics costs with ten thousand services: the CPU time of the agent's process, and the time
//! that the scraper waits, from a real agent on a node of a lab over its own socket. Needs root; nothing leaves the lab.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fairlead_benches::{
    measure::Summary,
    report::{self, Row},
};
use lb_lab::{Agent, AgentOptions, Lab, Profile};

const SERVICES: u32 = 10_000;
const SCRAPES: usize = 21;
/// The most that one scrape may take, in milliseconds: a fiftieth of Prometheus' default timeout of 10 s.
const BAR_MS: f64 = 200.0;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scrape: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let json = report::json_argument("scrape")?;
    let lab = Lab::build(&Profile::default())?;
    let agent = start(&lab)?;
    let socket = PathBuf::from(format!(
        "/proc/{}/root/run/fairlead/agent.sock",
        agent.pid()
    ));
    let (mut cpu, mut wall, mut megabytes) = (Vec::new(), Vec::new(), 0.0);
    for _ in 0..SCRAPES {
        let (cpu_before, start) = (cpu_ms(agent.pid())?, Instant::now());
        let answer = scrape(&socket)?;
        wall.push(start.elapsed().as_secs_f64() * 1e3);
        cpu.push(cpu_ms(agent.pid())? - cpu_before);
        let packets = answer.matches("fairlead_service_packets_total{").count();
        ensure!(
            packets == SERVICES as usize,
            "{packets} services answered, not {SERVICES}"
        );
        megabytes = answer.len() as f64 / 1e6;
    }
    let row = |name, unit, values| Row::figure(name, unit, Summary::of(values), SCRAPES);
    let rows = [
        row("scrape-10000-services-cpu", "cpu_ms", cpu).bar(BAR_MS),
        row("scrape-10000-services-wall", "ms", wall).bar(BAR_MS),
        Row::figure(
            "scrape-10000-services-size",
            "MB",
            Summary::exact(megabytes),
            1,
        ),
    ];
    report::print(&rows);
    if let Some(path) = json {
        report::write_json(&path, &rows)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// An agent that has all of them in its data path.
fn start(lab: &Lab) -> Result<Agent> {
    let mut services = String::new();
    for number in 0..SERVICES {
        let [_, _, high, low] = (number + 1).to_be_bytes();
        let _ = writeln!(
            services,
            "  - name: bench/service-{number:05}
    addresses: [10.98.{high}.{low}]
    ports: [{{name: web, port: 80}}]
    endpoints:
      - {{address: 10.1.1.2, node: node1, ports: {{web: {}}}}}",
            10_000 + number
        );
    }
    let yaml = lab.agent_configuration(1, 9, &services);
    let yaml = format!("{yaml}\ndataplane: {{servicePorts: 32768, endpoints: 65536}}\n");
    let mut agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    agent.wait_for(Duration::from_secs(120), "services", "applied", |shown| {
        shown["rows"].as_array().is_some_and(|rows| {
            rows.len() == SERVICES as usize && rows.iter().all(|row| row["applied"] == true)
        })
    })?;
    Ok(agent)
}

/// The whole answer, headers included.
fn scrape(socket: &Path) -> Result<String> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("connecting to {}", socket.display()))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(
        answer.starts_with("HTTP/1.1 200"),
        "{}",
        answer.lines().next().unwrap_or_default()
    );
    Ok(answer)
}

/// CPU time that all threads of a process have used.
fn cpu_ms(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0.0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        let first = text
            .split_whitespace()
            .next()
            .context("schedstat is empty")?;
        nanoseconds += first.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e6)
}
