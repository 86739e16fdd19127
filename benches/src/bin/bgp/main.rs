//! What announcing costs: encoding alone, then the agent beside BIRD and GoBGP telling the same routes to the same listeners
//! from the same node of a lab. Wall times of a shared machine: what counts is the ratio of speakers that took turns. Needs
//! root; all traffic is inside the labs.

mod encode;
mod scene;
mod speakers;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use fairlead_benches::{
    measure::Summary,
    report::{self, Row},
};

use crate::{
    scene::Scene,
    speakers::{Kind, Routes},
};

/// Rounds that a row's median is of.
const ROUNDS: usize = 5;
/// VIPs of a large site.
const MANY: u32 = 10_000;
/// VIPs and peers that must be done within [`PUSH_BAR_MS`].
const PUSHED: u32 = 1000;
const PUSH_PEERS: u8 = 16;
const PUSH_BAR_MS: f64 = 2000.0;
/// Peers more, for what one of them takes.
const MORE_PEERS: u8 = 16;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bgp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let json = report::json_argument("bgp")?;
    let mut rows = encode::rows(MANY, ROUNDS)?;
    for kind in [Kind::Fairlead, Kind::Bird, Kind::GoBgp] {
        eprintln!("{} ...", kind.name());
        rows.extend(cold(kind, Routes::Alike)?);
        rows.push(memory(kind)?);
    }
    for kind in [Kind::Fairlead, Kind::Bird] {
        eprintln!("{}, every route by itself ...", kind.name());
        rows.extend(cold(kind, Routes::Distinct)?);
    }
    eprintln!("{PUSHED} VIPs to {PUSH_PEERS} peers ...");
    rows.push(push()?);
    report::print(&rows);
    if let Some(path) = json {
        report::write_json(&path, &rows)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// From the begin of a session to the last of all routes; and from the start of the process, once.
fn cold(kind: Kind, routes: Routes) -> Result<Vec<Row>> {
    let scene = Scene::new(kind, 1)?;
    let count = routes.count();
    let (speaker, started) = scene.start(kind, routes, count, 1)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        scene.sinks.hang_up();
        times.push(scene.all_routes(count)?.session_ms);
    }
    drop(speaker);
    let name = |what: &str| format!("{what}-{}-{}", routes.name(), kind.name());
    let rates = times
        .iter()
        .map(|ms| f64::from(count) / ms * 1000.0)
        .collect();
    let mut rows = vec![
        Row::figure(
            name(&format!("session-{count}")),
            "ms",
            Summary::of(times),
            ROUNDS,
        ),
        Row::figure(name("rate"), "routes_per_s", Summary::of(rates), ROUNDS),
    ];
    if let (Kind::Fairlead, Routes::Alike) = (kind, routes) {
        let start = Summary::exact(started.start_ms);
        rows.push(Row::figure(name(&format!("start-{count}")), "ms", start, 1));
    }
    Ok(rows)
}

/// Resident memory that one more peer takes which has all routes.
fn memory(kind: Kind) -> Result<Row> {
    let resident = |peers: u8| -> Result<f64> {
        let scene = Scene::new(kind, peers)?;
        let (speaker, _) = scene.start(kind, Routes::Alike, MANY, peers)?;
        speaker.resident_kib()
    };
    let (one, more) = (resident(1)?, resident(1 + MORE_PEERS)?);
    let per_peer = Summary::exact((more - one) / f64::from(MORE_PEERS));
    let name = format!("memory-per-peer-{}", kind.name());
    Ok(Row::figure(name, "KiB", per_peer, 1).beside(one))
}

/// From the edit of the file to the last route at the last peer.
fn push() -> Result<Row> {
    let scene = Scene::new(Kind::Fairlead, PUSH_PEERS)?;
    let (speaker, _) = scene.start(Kind::Fairlead, Routes::Alike, 1, PUSH_PEERS)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(scene.push(&speaker, PUSHED, PUSH_PEERS)?);
        scene.push(&speaker, 1, PUSH_PEERS)?;
    }
    let row = Row::figure("push-1000x16", "ms", Summary::of(times), ROUNDS);
    Ok(row.bar(PUSH_BAR_MS))
}
