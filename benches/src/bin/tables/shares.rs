//! How evenly rows are shared out, and how many move without need when a set changes: those that neither
//! belonged to who left nor go to who came. Sets are drawn by number, so every run gives the same figures.

use std::net::IpAddr;

use fairlead_benches::{
    maglev,
    measure::{Summary, thread_cpu_ns},
    report::Row,
};
use lb_common::hash;
use lb_core::{desired::Target, table};

const SEED: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];
/// Two of the sizes that Cilium lets one choose (primes).
const MAGLEV_ROWS: [u32; 2] = [4093, 16_381];
const SETS: u32 = 50;
const BUILDS: usize = 51;

/// The owner of each row, by the endpoint's number.
type Owners = Vec<u32>;
type Build = fn(std::ops::Range<u32>) -> Owners;

/// All but the steps.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = vec![leave(), grow(), there_and_back()];
    rows.extend([10, 100].into_iter().flat_map(balance));
    rows.extend(build_times());
    rows
}

/// Every step from 1 to 300 endpoints.
pub(crate) fn steps() -> Vec<Row> {
    let extra = |build: Build, count| joined(&build(0..count), &build(0..count + 1), count).1;
    let step = |count| {
        let ours = Summary::exact(extra(ours, count));
        Row::figure(format!("step-{count}"), "percent_of_rows", ours, 1)
            .beside(extra(maglev_large, count))
    };
    (1..=300).map(step).collect()
}

fn leave() -> Row {
    let extra = |build: fn(&[u32]) -> Owners| {
        let all: Vec<u32> = (0..100).collect();
        let before = build(&all);
        let of = |gone: u32| {
            let rest: Vec<_> = all.iter().copied().filter(|&n| n != gone).collect();
            let after = build(&rest);
            let moved = before.iter().zip(&after).filter(|(a, b)| a != b);
            percent(moved.filter(|(a, _)| **a != gone).count(), before.len())
        };
        (0..100).map(of).sum::<f64>() / 100.0
    };
    let value = Summary::exact(extra(|numbers| owners(numbers, table::rows)));
    Row::figure("leave-1-of-100-extra", "percent_of_rows", value, 100)
        .bar(0.2)
        .beside(extra(|numbers| maglev_owners(MAGLEV_ROWS[1], numbers)))
}

fn grow() -> Row {
    let moved = |build: Build| joined(&build(0..16), &build(0..17), 16).0;
    Row::figure(
        "grow-16-to-17-moved",
        "percent_of_rows",
        Summary::exact(moved(ours)),
        1,
    )
    .beside(moved(maglev_large))
}

/// Rows that are not as they were after 16, 17, 16 endpoints, fifty times.
fn there_and_back() -> Row {
    let first = ours(0..16);
    let changed = (0..50).map(|_| {
        let _ = ours(0..17);
        first
            .iter()
            .zip(ours(0..16))
            .filter(|(a, b)| *a != b)
            .count()
    });
    let changed = changed.sum::<usize>() as f64;
    Row::figure(
        "16-17-16-fifty-times-changed",
        "rows",
        Summary::exact(changed),
        50,
    )
    .bar(0.0)
}

fn balance(count: u32) -> [Row; 2] {
    let ratios = |build: Build| {
        let sets =
            (0..SETS).map(|set| max_over_average(&build(set * count..(set + 1) * count), count));
        let ratios: Vec<f64> = sets.collect();
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        (mean, ratios.into_iter().fold(0.0, f64::max))
    };
    let (own, peer) = (ratios(ours), ratios(maglev_large));
    let bar = if count <= 10 { 1.08 } else { 1.27 };
    let row = |what, own, peer| {
        let name = format!("max-over-average-{count}-{what}");
        Row::figure(name, "ratio", Summary::exact(own), SETS as usize)
            .bar(bar)
            .beside(peer)
    };
    [row("mean", own.0, peer.0), row("worst", own.1, peer.1)]
}

fn build_times() -> Vec<Row> {
    let targets = targets(&(0..100).collect::<Vec<_>>());
    let weighted: Vec<_> = targets
        .iter()
        .zip(1..)
        .map(|(target, number)| Target {
            weight: 1 + number % 4,
            ..*target
        })
        .collect();
    let backends: Vec<u64> = (0..100).collect();
    let time = |build: &dyn Fn() -> usize| {
        let once = |_| {
            let start = thread_cpu_ns();
            std::hint::black_box(build());
            (thread_cpu_ns() - start) as f64 / 1e3
        };
        Summary::of((0..BUILDS).map(once).collect())
    };
    let maglev = MAGLEV_ROWS.map(|rows| time(&|| maglev::table(rows, &backends).len()));
    let ours = [
        ("build-100", time(&|| table::rows(&SEED, &targets).place(0))),
        (
            "build-100-scalar",
            time(&|| table::rows_scalar(&SEED, &targets).place(0)),
        ),
        (
            "build-100-weighted",
            time(&|| table::rows(&SEED, &weighted).place(0)),
        ),
    ];
    let row = |name: &str, time| Row::figure(name, "cpu_us_per_table", time, BUILDS);
    let mut rows: Vec<_> = ours
        .map(|(name, time)| row(name, time).beside(maglev[1].median))
        .into();
    rows.push(row("build-100-maglev-4093", maglev[0]));
    rows
}

/// Percent of all rows that moved, and of those that moved without going to the newcomer.
fn joined(before: &Owners, after: &Owners, newcomer: u32) -> (f64, f64) {
    let moved = before.iter().zip(after).filter(|(a, b)| a != b);
    let extra = moved.clone().filter(|(_, owner)| **owner != newcomer);
    (
        percent(moved.count(), before.len()),
        percent(extra.count(), before.len()),
    )
}

fn percent(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64 * 100.0
}

fn max_over_average(owners: &Owners, count: u32) -> f64 {
    let first = *owners.iter().min().expect("a table has rows");
    let mut loads = vec![0usize; count as usize * 2];
    for owner in owners {
        loads[(owner - first) as usize] += 1;
    }
    let most = loads.into_iter().max().unwrap_or(0);
    most as f64 * f64::from(count) / owners.len() as f64
}

fn ours(numbers: std::ops::Range<u32>) -> Owners {
    owners(&numbers.collect::<Vec<_>>(), table::rows)
}

fn owners(numbers: &[u32], rows: fn(&[u64; 2], &[Target]) -> table::Rows) -> Owners {
    let table = rows(&SEED, &targets(numbers));
    // A service of one endpoint has no rows; as many as others have would all be its own.
    match table.places().len() {
        0 => vec![numbers[0]; 4096],
        _ => table.places().map(|place| numbers[place]).collect(),
    }
}

fn maglev_large(numbers: std::ops::Range<u32>) -> Owners {
    maglev_owners(MAGLEV_ROWS[1], &numbers.collect::<Vec<_>>())
}

fn maglev_owners(rows: u32, numbers: &[u32]) -> Owners {
    let names: Vec<_> = numbers
        .iter()
        .map(|&number| hash::word(SEED[0], number.into()))
        .collect();
    let table = maglev::table(rows, &names);
    table
        .into_iter()
        .map(|place| numbers[usize::from(place)])
        .collect()
}

fn targets(numbers: &[u32]) -> Vec<Target> {
    let target = |&number: &u32| Target {
        address: IpAddr::from((0x0a01_0000 + number).to_be_bytes()),
        port: 8080,
        node: 0,
        weight: 1,
    };
    numbers.iter().map(target).collect()
}
