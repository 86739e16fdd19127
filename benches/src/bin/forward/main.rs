//! CPU nanoseconds a packet that a node spends on it through real links: Fairlead beside plain kernel forwarding and
//! kube-proxy's rules in both modes, with a thousand services each, all ways in turn in every round. Ratios to nftables
//! of the same round are what counts; the machine may be shared. Needs root; all traffic is inside the labs.

mod firewall;
mod rules;
mod scene;
mod services;
mod threads;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use fairlead_benches::{
    measure::{Summary, pin_to_cpu},
    report::{self, Row},
};
use lb_datapath::bench::Driver;

use crate::scene::{Flows, Sample, Scene, Way};

/// Rounds that a row's median is of.
const ROUNDS: usize = 5;
/// The ways, as the rows call them; nftables is what the others are compared with.
const WAYS: [(Way, &str); 5] = [
    (Way::Plain, "plain"),
    (Way::Nftables, "nftables"),
    (Way::Iptables, "iptables"),
    (Way::Direct, "direct"),
    (Way::Gue, "gue"),
];
/// Place of nftables in [`WAYS`].
const PEER: usize = 1;
/// Places of Fairlead's ways in [`WAYS`].
const OWN: [usize; 2] = [3, 4];

/// What is measured in every scene, in this order: known flows before new ones fill the tables.
const KINDS: [Kind; 6] = [
    Kind {
        name: "ingress-known",
        bar: Some(0.25),
        of: |round| round.remote_known.ingress,
    },
    Kind {
        name: "ingress-new",
        bar: Some(0.2),
        of: |round| round.remote_new.ingress,
    },
    Kind {
        name: "sum-known",
        bar: None,
        of: |round| round.remote_known.sum(),
    },
    Kind {
        name: "sum-new",
        bar: None,
        of: |round| round.remote_new.sum(),
    },
    Kind {
        name: "local-known",
        bar: Some(1.0),
        of: |round| round.local_known.ingress,
    },
    Kind {
        name: "local-new",
        bar: None,
        of: |round| round.local_new.ingress,
    },
];

/// One figure of a scene.
struct Kind {
    name: &'static str,
    /// The most that Fairlead may be of nftables.
    bar: Option<f64>,
    of: fn(&Round) -> f64,
}

/// All measurements of one scene.
struct Round {
    remote_known: Sample,
    local_known: Sample,
    remote_new: Sample,
    local_new: Sample,
}

impl Sample {
    fn sum(self) -> f64 {
        self.ingress + self.owner
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forward: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let json = report::json_argument("forward")?;
    pin_to_cpu(1).context("two CPUs are needed: one for the nodes, one for the rest")?;
    let mut driver = Driver::load()?;
    let services = services::all();
    let mut rounds: [Vec<Round>; WAYS.len()] = Default::default();
    let mut floors = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS} ...");
        floors.push(floor(&mut driver, &services)?);
        for ((way, _), rounds) in WAYS.iter().zip(&mut rounds) {
            rounds.push(measure(&mut driver, *way, &services)?);
        }
    }
    let mut rows = rows(&rounds);
    rows.extend(beyond_the_floor(&rounds, &floors));
    report::print(&rows);
    if let Some(path) = json {
        report::write_json(&path, &rows)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What the links alone take of the ingress node.
fn floor(driver: &mut Driver, services: &[services::Service]) -> Result<f64> {
    let scene = Scene::build(Way::Floor, services, driver)?;
    Ok(scene.remote(driver, Flows::Known)?.ingress)
}

fn measure(driver: &mut Driver, way: Way, services: &[services::Service]) -> Result<Round> {
    let scene = Scene::build(way, services, driver)?;
    Ok(Round {
        remote_known: scene.remote(driver, Flows::Known)?,
        local_known: scene.local(driver, Flows::Known)?,
        remote_new: scene.remote(driver, Flows::New)?,
        local_new: scene.local(driver, Flows::New)?,
    })
}

/// For each kind the times of all ways, then the ratios of Fairlead's to nftables'.
fn rows(rounds: &[Vec<Round>; WAYS.len()]) -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in &KINDS {
        for ((_, way), rounds) in WAYS.iter().zip(rounds) {
            let times = rounds.iter().map(kind.of).collect();
            let name = format!("{}-{way}", kind.name);
            rows.push(Row::figure(
                name,
                "cpu_ns_per_packet",
                Summary::of(times),
                ROUNDS,
            ));
        }
        for place in OWN {
            let ratios = rounds[place].iter().zip(&rounds[PEER]);
            let ratios = ratios
                .map(|(own, peer)| (kind.of)(own) / (kind.of)(peer))
                .collect();
            let name = format!("{}-{}-to-nftables", kind.name, WAYS[place].1);
            let row = Row::figure(name, "ratio", Summary::of(ratios), ROUNDS);
            rows.push(match kind.bar {
                Some(bar) => row.bar(bar),
                None => row,
            });
        }
    }
    rows
}

/// The floor, and the ratios of what comes to it: what Fairlead does with a packet to what nftables does.
fn beyond_the_floor(rounds: &[Vec<Round>; WAYS.len()], floors: &[f64]) -> Vec<Row> {
    let summary = Summary::of(floors.to_vec());
    let mut rows = vec![Row::figure(
        "ingress-floor".to_owned(),
        "cpu_ns_per_packet",
        summary,
        ROUNDS,
    )];
    for kind in KINDS.iter().filter(|kind| kind.name.starts_with("ingress")) {
        for place in OWN {
            let pairs = rounds[place].iter().zip(&rounds[PEER]).zip(floors);
            let ratios = pairs
                .map(|((own, peer), floor)| ((kind.of)(own) - floor) / ((kind.of)(peer) - floor));
            let name = format!("{}-{}-to-nftables-beyond-floor", kind.name, WAYS[place].1);
            let summary = Summary::of(ratios.collect());
            rows.push(Row::figure(name, "ratio", summary, ROUNDS));
        }
    }
    rows
}
