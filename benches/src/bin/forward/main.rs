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
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS} ...");
        for ((way, _), rounds) in WAYS.iter().zip(&mut rounds) {
            rounds.push(measure(&mut driver, *way, &services)?);
        }
    }
    let rows = rows(&rounds);
    report::print(&rows);
    if let Some(path) = json {
        report::write_json(&path, &rows)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
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
        for place in [3, 4] {
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
