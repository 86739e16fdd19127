//! From a change in a real API server to the data path of an agent: with 10,000 Services of ten endpoints each (or as many
//! as `BENCH_SERVICES` says), how long from the return of a PATCH until another process reads the endpoint from the pinned
//! map, alone and amid a storm of changes; how long a cold start takes; what memory an endpoint costs; how many requests
//! the API server gets. Needs root and the API server of the cluster tests; nothing leaves the lab.

mod cluster;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fairlead_benches::{
    measure::Summary,
    report::{self, Row},
};
use futures_util::future;
use kube::Client;
use lb_common::{Address, endpoint::Endpoint};
use lb_datapath::EndpointReader;
use lb_lab::{AGENT, Agent, AgentOptions, ApiServer, Lab, Profile, UPLINK, wait_until};

/// The most that a change may take while nothing else happens, and amid a storm, in milliseconds.
const BAR_IDLE_MS: f64 = 50.0;
const BAR_STORM_MS: f64 = 250.0;
/// The most that a cold start may take, in seconds.
const BAR_START_S: f64 = 10.0;
/// The most memory that an endpoint may cost, in bytes.
const BAR_ENDPOINT_BYTES: f64 = 1024.0;

const CHANGES: u32 = 200;
/// Writers of the storm, each with one request under way.
const STORM_WRITERS: u32 = 32;
const QUIET: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks into the map.
const LOOK_INTERVAL: Duration = Duration::from_micros(500);
const HTTP: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9080);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kube: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let json = report::json_argument("kube")?;
    let services: u32 = match std::env::var("BENCH_SERVICES") {
        Ok(text) => text.parse().context("BENCH_SERVICES is a number")?,
        Err(_) => 10_000,
    };
    let lab = Lab::build(&Profile::default())?;
    let server = lab.start_api_server()?;
    cluster::install(&lab, &server)?;
    let rows = lab.router_namespace().run(|| {
        // Sockets of the client must be made in the router's namespace, so everything stays on this thread.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(measure(&lab, &server, services))
    })?;
    report::print(&rows);
    if let Some(path) = json {
        report::write_json(&path, &rows)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

async fn measure(lab: &Lab, server: &ApiServer, services: u32) -> Result<Vec<Row>> {
    let (empty, _) = start(lab, server, 1, services)?;
    let empty_bytes = anonymous_bytes(empty.pid())?;
    drop(empty);

    let client = cluster::client(server).await?;
    cluster::fill(&client, services).await?;
    println!("{services} Services are there");
    let calls_before = requests(server)?;
    let (agent, cold) = start(lab, server, 2, services)?;
    let calls_of_start = requests(server)? - calls_before;
    tokio::time::sleep(QUIET).await;
    let endpoints = f64::from(services * cluster::ENDPOINTS);
    let bytes = (anonymous_bytes(agent.pid())? - empty_bytes) / endpoints;
    let calls_in_quiet = requests(server)? - calls_before - calls_of_start;

    let pins = AgentOptions::default().pin_dir;
    let reader = lab
        .node(2)
        .namespace()
        .run(|| Ok(EndpointReader::open(&pins)?))?;
    let idle = changes(&client, &reader, services).await?;
    let (storm, rate) = storm(&client, &reader, services).await?;
    let p99 = |values: &[f64]| percentile(values, 0.99);
    let figure = |name: &str, unit, value| {
        Row::figure(
            format!("kube-{services}-{name}"),
            unit,
            Summary::exact(value),
            1,
        )
    };
    let row = |name: &str, values: &[f64]| {
        Row::figure(
            format!("kube-{services}-{name}"),
            "ms",
            Summary::of(values.to_vec()),
            values.len(),
        )
    };
    Ok(vec![
        row("change-p50", &idle),
        figure("change-p99", "ms", p99(&idle)).bar(BAR_IDLE_MS),
        row("change-in-storm-p50", &storm),
        figure("change-in-storm-p99", "ms", p99(&storm)).bar(BAR_STORM_MS),
        figure("storm", "events_per_s", rate),
        figure("cold-start", "s", cold.as_secs_f64()).bar(BAR_START_S),
        figure("endpoint-memory", "bytes", bytes).bar(BAR_ENDPOINT_BYTES),
        figure("requests-of-a-start", "requests", calls_of_start),
        figure("requests-in-quiet-minute", "requests", calls_in_quiet),
    ])
}

/// An agent, and how long it took until it was ready.
fn start(lab: &Lab, server: &ApiServer, node: u8, services: u32) -> Result<(Agent, Duration)> {
    let slots = (services * 16).next_power_of_two().max(65_536);
    let settings = format!(
        "node: {{name: node{node}, uplinks: [{UPLINK}]}}\ndataplane: {{servicePorts: 32768, endpoints: {slots}}}\n"
    );
    let kubeconfig = server.kubeconfig(AGENT)?.display().to_string();
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
    stream.write_all(
        format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Milliseconds of each change, one after the other.
async fn changes(client: &Client, reader: &EndpointReader, services: u32) -> Result<Vec<f64>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut taken = Vec::new();
    for _ in 0..CHANGES {
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = serial.to_be_bytes();
        let address = Ipv4Addr::new(10, 2, high, low);
        let number = serial * 7 % (services / 2);
        cluster::change(client, number, address).await?;
        let written = Instant::now();
        let wanted = Endpoint {
            address: in_map(address),
            ..Endpoint::default()
        };
        while reader.slots_of(&wanted) == 0 {
            ensure!(
                written.elapsed() < LIMIT,
                "{address} never came into the map"
            );
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        taken.push(written.elapsed().as_secs_f64() * 1e3);
    }
    Ok(taken)
}

/// The same while writers change other Services as fast as the API server takes it, and how many events a second that was.
async fn storm(client: &Client, reader: &EndpointReader, services: u32) -> Result<(Vec<f64>, f64)> {
    let (ends, events, begun) = (AtomicBool::new(false), AtomicU32::new(0), Instant::now());
    let writers = (0..STORM_WRITERS).map(|writer| {
        let (ends, events) = (&ends, &events);
        async move {
            let mut round = writer;
            while !ends.load(Ordering::Relaxed) {
                let [_, _, high, low] = round.to_be_bytes();
                // The other half: a change that is measured is not written over.
                let number = services / 2 + round % (services / 2);
                cluster::change(client, number, Ipv4Addr::new(10, 3, high, low)).await?;
                events.fetch_add(1, Ordering::Relaxed);
                round += STORM_WRITERS;
            }
            anyhow::Ok(())
        }
    });
    let measured = async {
        let taken = changes(client, reader, services).await;
        ends.store(true, Ordering::Relaxed);
        taken
    };
    let (taken, written) = future::join(measured, future::try_join_all(writers)).await;
    written?;
    let rate = f64::from(events.load(Ordering::Relaxed)) / begun.elapsed().as_secs_f64();
    Ok((taken?, rate))
}

/// As the map of endpoints has it.
fn in_map(address: Ipv4Addr) -> Address {
    [u32::from_ne_bytes(address.octets()), 0, 0, 0]
}

fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

/// Memory that is the process's own: maps of the data path are not in it.
fn anonymous_bytes(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line
        .and_then(|line| line.split_whitespace().next())
        .context("RssAnon")?;
    Ok(kib.parse::<f64>()? * 1024.0)
}

/// Requests that the API server has answered, its own and this question's included.
fn requests(server: &ApiServer) -> Result<f64> {
    let metrics = server.kubectl(&["get", "--raw", "/metrics"])?;
    let of_requests = metrics
        .lines()
        .filter(|line| line.starts_with("apiserver_request_total{"));
    let numbers = of_requests.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(numbers.sum())
}
