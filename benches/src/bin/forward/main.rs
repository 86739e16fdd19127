//! CPU nanoseconds a packet that a node spends on it through real links: Fairlead beside plain kernel forwarding and
//! kube-proxy's rules in both modes, with a thousand services each, all ways in turn in every round. Ratios to nftables
//! of the same round are what counts; the machine may be shared. What the links take whoever decides is told by a relay of
//! a dozen instructions that sends packets the way that Fairlead does. Needs root; all traffic is inside the labs.

mod firewall;
mod rules;
mod scene;
mod services;
mod threads;
mod traffic;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use fairlead_benches::{
    measure::{Summary, pin_to_cpu, prefer_thread},
    report::{self, Arguments, Row},
};
use lb_datapath::bench::Driver;

use crate::{
    scene::{Sample, Scene, Way},
    traffic::Course,
};

/// Rounds that a row's median is of.
const ROUNDS: usize = 5;
/// The ways, as the rows call them; nftables is what the others are compared with.
const WAYS: [(Way, &str); 8] = [
    (Way::Relay, "relay"),
    (Way::Plain, "plain"),
    (Way::Nftables, "nftables"),
    (Way::NftablesBesideXdp, "nftables-beside-xdp"),
    (Way::NftablesBesideRule, "nftables-beside-rule"),
    (Way::Iptables, "iptables"),
    (Way::Direct, "direct"),
    (Way::Gue, "gue"),
];
/// Places in [`WAYS`].
const RELAY: usize = 0;
const PEER: usize = 2;
const PEERS_BESIDE: [usize; 2] = [3, 4];
const OWN: [usize; 2] = [6, 7];

/// What is measured in every scene.
const KINDS: [Kind; 6] = [
    Kind {
        name: "ingress-known",
        bar: Some(0.25),
        course: Course::RemoteKnown,
        of: |sample| sample.ingress,
    },
    Kind {
        name: "ingress-new",
        bar: Some(0.2),
        course: Course::RemoteNew,
        of: |sample| sample.ingress,
    },
    Kind {
        name: "sum-known",
        bar: None,
        course: Course::RemoteKnown,
        of: |sample| sample.ingress + sample.owner,
    },
    Kind {
        name: "sum-new",
        bar: None,
        course: Course::RemoteNew,
        of: |sample| sample.ingress + sample.owner,
    },
    Kind {
        name: "local-known",
        bar: Some(1.0),
        course: Course::LocalKnown,
        of: |sample| sample.ingress,
    },
    Kind {
        name: "local-new",
        bar: None,
        course: Course::LocalNew,
        of: |sample| sample.ingress,
    },
];

/// One figure of a scene.
struct Kind {
    name: &'static str,
    /// The most that Fairlead may be of nftables.
    bar: Option<f64>,
    course: Course,
    of: fn(&Sample) -> f64,
}

/// What one scene came to; what was not asked for is not there.
type Round = Vec<(Course, Sample)>;

impl Kind {
    /// CPU nanoseconds a packet.
    fn in_round(&self, round: &Round) -> Option<f64> {
        let (_, sample) = round.iter().find(|(course, _)| *course == self.course)?;
        Some((self.of)(sample))
    }

    fn row_name(&self, way: usize) -> String {
        format!("{}-{}", self.name, WAYS[way].1)
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
    let given = report::arguments("forward")?;
    pin_to_cpu(1).context("two CPUs are needed: one for the nodes, one for the rest")?;
    prefer_thread(0, 1).context("cannot run before what else this machine does")?;
    let mut driver = Driver::load()?;
    let services = services::all();
    let mut rounds: [Vec<Round>; WAYS.len()] = Default::default();
    for round in 1..=ROUNDS {
        eprintln!("round {round} of {ROUNDS} ...");
        for (way, rounds) in rounds.iter_mut().enumerate() {
            let courses = courses(&given, way);
            if courses.is_empty() {
                continue;
            }
            let scene = Scene::build(WAYS[way].0, &services, &mut driver)?;
            let samples = courses
                .into_iter()
                .map(|course| Ok((course, scene.measure(&mut driver, course)?)));
            rounds.push(samples.collect::<Result<Round>>()?);
        }
    }
    let rows = rows(&rounds);
    report::print(&rows);
    if let Some(path) = given.json {
        report::write_json(&path, &rows)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// What is to be measured of a way: known flows before new ones fill the tables.
fn courses(given: &Arguments, way: usize) -> Vec<Course> {
    let is_wanted = |course: &Course| {
        let mut kinds = KINDS.iter().filter(|kind| kind.course == *course);
        kinds.any(|kind| given.wants(&kind.row_name(way)))
    };
    let all: &[Course] = if way == RELAY {
        &[Course::RemoteKnown]
    } else {
        &Course::ALL
    };
    all.iter().copied().filter(is_wanted).collect()
}

/// For each kind the times of all ways, then the ratios of Fairlead's to nftables'.
fn rows(rounds: &[Vec<Round>; WAYS.len()]) -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in &KINDS {
        for (way, rounds) in rounds.iter().enumerate() {
            let times = rounds.iter().map(|round| kind.in_round(round)).collect();
            rows.extend(figure(kind.row_name(way), "cpu_ns_per_packet", times));
        }
        for own in OWN {
            let name = format!("{}-to-nftables", kind.row_name(own));
            let row = figure(name, "ratio", ratios(kind, rounds, own, PEER, None));
            rows.extend(row.map(|row| match kind.bar {
                Some(bar) => row.bar(bar),
                None => row,
            }));
            for peer in PEERS_BESIDE {
                let name = format!("{}-to-{}", kind.row_name(own), WAYS[peer].1);
                let ratio = ratios(kind, rounds, own, peer, None);
                rows.extend(figure(name, "ratio", ratio));
            }
            if kind.name.starts_with("ingress") {
                let name = format!("{}-to-nftables-beyond-relay", kind.row_name(own));
                let ratio = ratios(kind, rounds, own, PEER, Some(RELAY));
                rows.extend(figure(name, "ratio", ratio));
            }
        }
    }
    rows
}

/// What one way takes over what another takes, by rounds; less what the relay takes of known flows, if asked for.
fn ratios(
    kind: &Kind,
    rounds: &[Vec<Round>; WAYS.len()],
    own: usize,
    peer: usize,
    floor: Option<usize>,
) -> Option<Vec<f64>> {
    let time = |way: usize, round: usize| kind.in_round(rounds[way].get(round)?);
    let floor = |round: usize| match floor {
        Some(way) => KINDS[0].in_round(rounds[way].get(round)?),
        None => Some(0.0),
    };
    (0..rounds[own].len())
        .map(|round| {
            let floor = floor(round)?;
            Some((time(own, round)? - floor) / (time(peer, round)? - floor))
        })
        .collect()
}

/// A row, if there is something to say.
fn figure(name: String, unit: &'static str, values: Option<Vec<f64>>) -> Option<Row> {
    let values = values.filter(|values| !values.is_empty())?;
    let runs = values.len();
    Some(Row::figure(name, unit, Summary::of(values), runs))
}
