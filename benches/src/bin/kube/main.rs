//! From a change in a real API server to the data path of an agent: with 10,000 Services of ten endpoints each (or as many
//! as `BENCH_SERVICES` says), how long from the return of a PATCH until another process reads the endpoint from the pinned
//! map: alone, amid a storm of changes, and beside kube-proxy, which gets the same change; how long a cold start takes;
//! what memory an endpoint costs; how many requests the API server gets. Needs root and the Kubernetes programs of the
//! cluster tests; nothing leaves the lab.

mod agent;
mod cluster;
mod kube_proxy;
mod map;
mod storm;

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    process::ExitCode,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fairlead_benches::{
    measure::Summary,
    report::{self, Row},
};
use kube::Client;
use lb_lab::{AGENT, Agent, ApiServer, Lab, Profile, replay::Replay, wait_until};
use serde_json::Value;

use crate::{kube_proxy::KubeProxy, map::Map, storm::Replayed};

/// The most that a change may take while nothing else happens, and amid a storm, in milliseconds.
const BAR_IDLE_MS: f64 = 50.0;
const BAR_STORM_MS: f64 = 250.0;
/// The most that a cold start may take, in seconds.
const BAR_START_S: f64 = 10.0;
/// The most memory that an endpoint may cost, in bytes.
const BAR_ENDPOINT_BYTES: f64 = 1024.0;

const CHANGES: u32 = 200;
/// kube-proxy writes its rules once a second at most, so that each of these takes as long.
const CHANGES_BESIDE: u32 = 20;
const QUIET: Duration = Duration::from_secs(60);
/// After the rules of 10,000 Services were written, before anything is timed.
const SETTLE: Duration = Duration::from_secs(5);
/// The node of the agent that is measured, and kube-proxy's.
const NODE: u8 = 2;
const NODE_BESIDE: u8 = 3;
/// Where the replaying source listens, beside the API server.
const REPLAY_PORT: u16 = 8001;

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
    let kubeconfig = server.kubeconfig(AGENT)?;
    let (empty, _) = agent::start(lab, &kubeconfig, 1, services)?;
    tokio::time::sleep(SETTLE).await;
    let empty_bytes = agent::anonymous_bytes(empty.pid())?;
    drop(empty);

    let client = cluster::client(server).await?;
    let begun = Instant::now();
    cluster::fill(&client, services).await?;
    println!(
        "{services} Services are there, after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    let calls_before = requests(server)?;
    let (agent, cold) = agent::start(lab, &kubeconfig, NODE, services)?;
    let calls_of_start = requests(server)? - calls_before;
    println!("ready after {:.2} s", cold.as_secs_f64());
    tokio::time::sleep(QUIET).await;
    let endpoints = f64::from(services * cluster::ENDPOINTS);
    let bytes = (agent::anonymous_bytes(agent.pid())? - empty_bytes) / endpoints;
    let calls_in_quiet = requests(server)? - calls_before - calls_of_start;
    println!("{bytes:.0} bytes an endpoint");

    let bench = Bench {
        client,
        map: Map::open(lab, NODE)?,
        services,
    };
    let mut rows = vec![
        bench
            .figure("cold-start", "s", cold.as_secs_f64())
            .bar(BAR_START_S),
        bench
            .figure("endpoint-memory", "bytes", bytes)
            .bar(BAR_ENDPOINT_BYTES),
        bench.figure("requests-of-a-start", "requests", calls_of_start),
        bench.figure("requests-in-quiet-minute", "requests", calls_in_quiet),
    ];
    rows.extend(bench.alone_and_in_a_storm().await?);
    rows.extend(bench.beside_kube_proxy(lab, server).await?);
    rows.extend(bench.replayed(lab, server, agent).await?);
    Ok(rows)
}

/// What every part needs.
struct Bench {
    client: Client,
    map: Map,
    services: u32,
}

impl Bench {
    async fn alone_and_in_a_storm(&self) -> Result<Vec<Row>> {
        let idle = self.changes().await?;
        println!("alone: p50 {:.1} ms", percentile(&idle, 0.5));
        let storm = storm::by_writers(&self.client, self.services, self.changes());
        let (storm, rate) = storm.await?;
        println!(
            "amid {rate:.0} events/s: p50 {:.1} ms",
            percentile(&storm, 0.5)
        );
        let mut rows = self.times("change", &idle, BAR_IDLE_MS);
        rows.extend(self.times("change-in-storm-of-writers", &storm, BAR_STORM_MS));
        rows.push(self.figure("storm-of-writers", "events_per_s", rate));
        Ok(rows)
    }

    /// Milliseconds of each change, one after the other.
    async fn changes(&self) -> Result<Vec<f64>> {
        let mut taken = Vec::new();
        for _ in 0..CHANGES {
            let (service, address) = self.next();
            let place = self.map.place(service)?;
            cluster::change(&self.client, service, address).await?;
            let written = Instant::now();
            taken.push(millis(written, self.map.until(&place, address).await?));
        }
        Ok(taken)
    }

    /// The same changes by the agent of one node and kube-proxy of another.
    async fn beside_kube_proxy(&self, lab: &Lab, server: &ApiServer) -> Result<Vec<Row>> {
        let program = lb_lab::kube_proxy()?;
        let (proxy, started) =
            KubeProxy::start(lab, server, (NODE_BESIDE, self.services), program)?;
        println!("kube-proxy is ready after {:.1} s", started.as_secs_f64());
        tokio::time::sleep(SETTLE).await;
        let alone = self.changes_beside(&proxy).await?;
        let storm = storm::by_writers(&self.client, self.services, self.changes_beside(&proxy));
        let (storm, rate) = storm.await?;
        let mut rows = vec![
            self.figure("kube-proxy-start", "s", started.as_secs_f64()),
            self.figure("storm-beside-kube-proxy", "events_per_s", rate),
        ];
        for (name, (ours, theirs)) in [("beside", alone), ("beside-in-storm", storm)] {
            for (part, of) in [("p50", 0.5), ("p99", 0.99)] {
                let name = format!("change-{name}-kube-proxy-{part}");
                let row = self.figure(&name, "ms", percentile(&ours, of));
                rows.push(row.beside(percentile(&theirs, of)));
            }
        }
        Ok(rows)
    }

    async fn changes_beside(&self, proxy: &KubeProxy) -> Result<(Vec<f64>, Vec<f64>)> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..CHANGES_BESIDE {
            let (service, address) = self.next();
            let place = self.map.place(service)?;
            let position = proxy.position()?;
            cluster::change(&self.client, service, address).await?;
            let written = Instant::now();
            let map = self.map.until(&place, address);
            let rules = proxy.until(position, address);
            let (map, rules) = futures_util::future::try_join(map, rules).await?;
            ours.push(millis(written, map));
            theirs.push(millis(written, rules));
        }
        Ok((ours, theirs))
    }

    /// The agent again, behind a source that tells 10,000 events a second.
    async fn replayed(&self, lab: &Lab, server: &ApiServer, mut agent: Agent) -> Result<Vec<Row>> {
        agent.process().kill()?;
        drop(agent);
        let address = server.address().ip();
        let replay = Replay::start(TcpListener::bind((address, REPLAY_PORT))?)?;
        let slices = storm::copy(server, &replay)?;
        let kubeconfig = lab.folder().join("replay.kubeconfig");
        fs::write(&kubeconfig, replay.kubeconfig())?;
        let (agent, warm) = agent::start(lab, &kubeconfig, NODE, self.services)?;
        wait_until(Duration::from_secs(10), "the slices are watched", || {
            Ok((replay.watches(cluster::SLICES) == 1).then_some(()))
        })?;
        let bytes_before = agent::anonymous_bytes(agent.pid())?;
        let storm = Replayed::start(&replay, &slices);
        let taken = self.changes_replayed(&replay, &slices).await;
        let bytes = agent::anonymous_bytes(agent.pid())? - bytes_before;
        let rate = storm.end();
        let taken = taken?;
        ensure!(!taken.is_empty(), "nothing was timed");
        let mut rows = self.times("change-in-replayed-storm", &taken, BAR_STORM_MS);
        rows.extend([
            self.figure("replayed-storm", "events_per_s", rate),
            self.figure("replayed-storm-memory", "bytes", bytes),
            self.figure("start-with-pins", "s", warm.as_secs_f64()),
        ]);
        Ok(rows)
    }

    async fn changes_replayed(&self, replay: &Replay, slices: &[Value]) -> Result<Vec<f64>> {
        let mut taken = Vec::new();
        for _ in 0..CHANGES {
            let (service, address) = self.next();
            let place = self.map.place(service)?;
            let line = storm::changed(&slices[service as usize], address);
            let told = Instant::now();
            replay.tell(cluster::SLICES, &line);
            taken.push(millis(told, self.map.until(&place, address).await?));
        }
        Ok(taken)
    }

    /// A Service of the first half, and an endpoint that no Service has had.
    fn next(&self) -> (u32, Ipv4Addr) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = serial.to_be_bytes();
        let service = serial * 7 % (self.services / 2);
        (service, Ipv4Addr::new(10, 2, high, low))
    }

    fn figure(&self, name: &str, unit: &'static str, value: f64) -> Row {
        let name = format!("kube-{}-{name}", self.services);
        Row::figure(name, unit, Summary::exact(value), 1)
    }

    /// Half of the changes, and all but one in a hundred, took less than this.
    fn times(&self, name: &str, taken: &[f64], bar: f64) -> Vec<Row> {
        let row = |part: &str, of| {
            let row = self.figure(&format!("{name}-{part}"), "ms", percentile(taken, of));
            Row {
                n: taken.len(),
                ..row
            }
        };
        vec![row("p50", 0.5), row("p99", 0.99).bar(bar)]
    }
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.duration_since(from).as_secs_f64() * 1e3
}

fn percentile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
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
