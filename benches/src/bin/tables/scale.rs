//! 10,000 services of 100 endpoints each on 50 nodes, announced by BGP: what a start costs, and what the change
//! of one endpoint costs from the event to the writes, and the writes themselves.

use std::{fs, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use fairlead_benches::{
    cluster::{self, Shape},
    measure::{Summary, thread_cpu_ns},
    report::Row,
};
use lb_common::{
    abi::MapId,
    image::{Image, MapWrite},
};
use lb_core::{DesiredState, Snapshot, image::Placements, plan, snapshot::DatapathFacts};
use lb_datapath::{Datapath, Options};

const SHAPE: Shape = Shape {
    services: 10_000,
    endpoints: 100,
    nodes: 49,
    on_link: true,
    v6: false,
    serves: true,
    source_ranges: 0,
    affinity: false,
};
const CHANGES: usize = 101;
/// Rows of the larger Maglev table, four bytes each as in Cilium and Katran.
const MAGLEV_BYTES: f64 = 16_381.0 * 4.0;

pub(crate) fn rows() -> Result<Vec<Row>> {
    let mut datapath = Datapath::open(&Options::unpinned(SHAPE.capacity()))
        .context("cannot load the data path (this needs root)")?;
    let facts = datapath.facts();
    let facts = DatapathFacts {
        capacity: facts.capacity,
        jiffies_per_second: facts.jiffies_per_second,
        tick_shift: facts.tick_shift,
        timeout_ticks: facts.timeout_ticks,
    };
    let snapshot = cluster::snapshot(SHAPE, facts)?;
    let resident = resident_mb()?;
    let (desired, planned) = timed(|| plan(&snapshot, &DesiredState::default()));
    let agent = resident_mb()? - resident;
    let mut maps = datapath.image();
    let (outcome, imaged) =
        timed(|| cluster::placed(&desired, &snapshot, &maps, Placements::default()));
    let outcome = outcome?;
    maps.apply(&outcome.writes);
    datapath.apply(&outcome.writes)?;
    let once = |name, unit, value| Row::figure(name, unit, Summary::exact(value), 1);
    let mut rows = vec![
        once("cold-10000x100-plan", "cpu_s", planned / 1e9).bar(3.0),
        once("cold-10000x100-image", "cpu_s", imaged / 1e9),
        once("memory-10000x100-maps", "MB", used_mb(&maps))
            .bar(100.0)
            .beside(MAGLEV_BYTES * f64::from(SHAPE.services) / 1e6),
        once("memory-10000x100-agent", "MB", agent),
    ];
    let applied = outcome.feedback();
    let mut running = Running {
        snapshot: Snapshot {
            applied,
            ..snapshot
        },
        desired,
        maps,
        placements: outcome.placements,
    };
    running.desired = plan(&running.snapshot, &running.desired);
    rows.extend(running.changes(&mut datapath)?);
    Ok(rows)
}

struct Running {
    snapshot: Snapshot,
    desired: DesiredState,
    maps: Image,
    placements: Placements,
}

impl Running {
    /// One endpoint leaves a service, another service each time.
    fn changes(mut self, datapath: &mut Datapath) -> Result<Vec<Row>> {
        let (mut plans, mut images, mut both) = (Vec::new(), Vec::new(), Vec::new());
        let (mut writing, mut words) = (Vec::new(), Vec::new());
        for round in 0..CHANGES {
            self.edit(round);
            let (next, planned) = timed(|| plan(&self.snapshot, &self.desired));
            let placements = std::mem::take(&mut self.placements);
            let (outcome, imaged) =
                timed(|| cluster::placed(&next, &self.snapshot, &self.maps, placements));
            let outcome = outcome?;
            let (written, wrote) = timed(|| datapath.apply(&outcome.writes));
            written?;
            self.maps.apply(&outcome.writes);
            self.snapshot.applied = outcome.feedback();
            (self.desired, self.placements) = (next, outcome.placements);
            plans.push(planned / 1e6);
            images.push(imaged / 1e6);
            both.push((planned + imaged + wrote) / 1e6);
            writing.push(wrote / 1e3);
            words.push(outcome.writes.iter().map(stored).sum::<usize>() as f64);
        }
        let row = |name, unit, values| Row::figure(name, unit, Summary::of(values), CHANGES);
        Ok(vec![
            row("change-at-10000-plan", "cpu_ms", plans),
            row("change-at-10000-image", "cpu_ms", images),
            row("change-at-10000-in-all", "cpu_ms", both).bar(50.0),
            row("change-writing", "cpu_us", writing).bar(50.0),
            row("change-writing-words", "words", words),
        ])
    }

    fn edit(&mut self, round: usize) {
        // A prime stride, so that no two rounds meet the same service.
        let place = round * 7919 % self.snapshot.services.len();
        let service = self.snapshot.services.values().nth(place);
        let mut service = (**service.expect("within bounds")).clone();
        service.endpoints.remove(round % service.endpoints.len());
        self.snapshot.set_service(Arc::new(service));
        self.snapshot.now += Duration::from_millis(20);
    }
}

/// CPU nanoseconds beside the result.
fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = thread_cpu_ns();
    let result = work();
    (result, (thread_cpu_ns() - start) as f64)
}

fn stored(write: &MapWrite) -> usize {
    match write {
        MapWrite::Store { values, .. } => values.len(),
        MapWrite::AddRange(_) | MapWrite::RemoveRange(_) => 1,
        MapWrite::Grace => 0,
    }
}

/// Bytes of the tables and of the endpoints that they name.
fn used_mb(maps: &Image) -> f64 {
    let words = maps.words(MapId::Rows).len() + maps.words(MapId::Endpoints).len();
    words as f64 * 8.0 / 1e6
}

/// Resident memory of this process (proc(5), `statm`), pages of 4 KiB.
fn resident_mb() -> Result<f64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages = statm
        .split_whitespace()
        .nth(1)
        .context("statm has no second field")?;
    Ok(pages.parse::<f64>()? * 4096.0 / 1e6)
}
