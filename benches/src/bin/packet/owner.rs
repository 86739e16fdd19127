//! The flow owner: packets of flows that it knows, of flows that it must make, replies, and what leaves that is none.
//! Published without a bar but for the last: most of it is the memory that flows are in.

use std::{cell::Cell, net::IpAddr};

use anyhow::{Result, ensure};
use fairlead_benches::{
    cluster::{self, PORT, Shape},
    measure::thread_cpu_ns,
    report::Row,
};
use lb_common::{flow::State, limits::Capacity};
use lb_datapath::{
    Datapath, Error,
    bench::{Driver, Orders, Subject},
};

use crate::{FRAME_BYTES, PAIRS, XDP_PASS, frame};

/// One endpoint, on this node, so that the bench knows who answers whom.
const OWNER: Shape = Shape {
    services: 1,
    endpoints: 1,
    nodes: 0,
    on_link: true,
    v6: false,
    serves: true,
    source_ranges: 0,
    affinity: false,
};
/// Room for all flows at once, embryonic first and established then.
const ROOM: u32 = 1 << 21;
/// Packets of one run: all new flows of one fit beside the known ones.
const PACKETS: u32 = 100_000;
/// Flows that are established together: before the first of them is too old.
const BLOCK: u64 = 1 << 17;
/// Hosts that the driver counts up for a block, and the last byte of the client's address in a packet and in an answer.
const BLOCK_HOSTS: u8 = 4;
const CLIENT_AT: usize = 29;
const ANSWERED_AT: usize = 33;
/// `TCX_NEXT` as a test run returns it.
const NEXT: u32 = u32::MAX;
/// The row of what leaves and is none of ours.
pub(crate) const OTHER: &str = "egress-other";
/// Bar of what leaves and is none of ours (design-dataplane section 5).
const OTHER_BAR: f64 = 8.0;
/// What a flood may make a packet dearer, at most.
const FLOODED_BAR: f64 = 1.5;
/// Longer than an embryonic TCP flow lives.
const EMBRYONIC_TICKS: u32 = 15;

/// An unrelated packet that leaves.
pub(crate) fn other(driver: &mut Driver) -> Result<Row> {
    eprintln!("egress-other ...");
    let datapath = cluster::fill(OWNER)?;
    let template = reply([10, 0, 0, 1].into());
    let timed = |driver: &mut Driver, subject: Subject<'_>| {
        leaving(driver, subject, orders(0), &template, 4 * PACKETS)
    };
    pairs(driver, OTHER, Some(OTHER_BAR), &datapath, timed)
}

/// Of what is measured among so many flows.
pub(crate) fn name(what: &str, flows: u64) -> String {
    let size = if flows < 1_000_000 { "100k" } else { "1M" };
    format!("{what}-{size}")
}

/// Known flows, new ones beside them, and replies.
pub(crate) fn rows(driver: &mut Driver, flows: u64) -> Result<Vec<Row>> {
    let name = |what| name(what, flows);
    eprintln!("{} ...", name("owner"));
    let datapath = cluster::fill_with(OWNER, roomy())?;
    let vip = cluster::vip(false, 0);
    let (packet, answer) = (frame(vip), reply([100, 64, 0, 0].into()));
    establish(driver, &datapath, flows, &packet, &answer)?;
    let known = |driver: &mut Driver, subject: Subject<'_>| {
        arriving(driver, subject, orders(flows), &packet, 4 * PACKETS)
    };
    let replied = |driver: &mut Driver, subject: Subject<'_>| {
        leaving(driver, subject, orders(flows), &answer, 4 * PACKETS)
    };
    let mut strange = packet.clone();
    strange[26..30].copy_from_slice(&[100, 120, 0, 0]);
    let new = |driver: &mut Driver, subject: Subject<'_>| {
        datapath.age_flows(EMBRYONIC_TICKS);
        arriving(driver, subject, orders(0), &strange, PACKETS)
    };
    Ok(vec![
        pairs(driver, &name("owner-known"), None, &datapath, known)?,
        pairs(driver, &name("reply"), None, &datapath, replied)?,
        pairs(driver, &name("owner-new"), None, &datapath, new)?,
    ])
}

/// Known flows and the flood's own packets while spoofed SYNs have filled the table of flows in the making. `calm` has the
/// rows of the same packets without a flood.
pub(crate) fn flooded(driver: &mut Driver, flows: u64, calm: &[Row]) -> Result<Vec<Row>> {
    eprintln!("owner, flooded ...");
    let datapath = cluster::fill_with(OWNER, roomy())?;
    let vip = cluster::vip(false, 0);
    let (packet, answer) = (frame(vip), reply([100, 64, 0, 0].into()));
    establish(driver, &datapath, flows, &packet, &answer)?;
    let mut strange = packet.clone();
    strange[26..30].copy_from_slice(&[100, 120, 0, 0]);
    let sent = Cell::new(0);
    let flood = |driver: &mut Driver, subject: Subject<'_>| {
        let count = sent.replace(sent.get() + u64::from(PACKETS));
        let orders = Orders { count, ..orders(0) };
        arriving(driver, subject, orders, &strange, PACKETS)
    };
    for _ in 0..=ROOM / PACKETS {
        flood(driver, Subject::Datapath(&datapath))?;
    }
    let known = |driver: &mut Driver, subject: Subject<'_>| {
        flood(driver, Subject::Datapath(&datapath))?;
        arriving(driver, subject, orders(flows), &packet, 4 * PACKETS)
    };
    let bar = |name: &str| {
        let row = calm.iter().find(|row| row.name == name);
        row.map(|row| (row.value * FLOODED_BAR).round())
    };
    let known_bar = bar("owner-known-100k");
    let new_bar = bar("owner-new-100k");
    Ok(vec![
        pairs(
            driver,
            "owner-known-100k-flooded",
            known_bar,
            &datapath,
            known,
        )?,
        pairs(driver, "owner-new-100k-flooded", new_bar, &datapath, flood)?,
    ])
}

fn roomy() -> Capacity {
    Capacity {
        established_flows: ROOM,
        embryonic_flows: ROOM,
        ..OWNER.capacity()
    }
}

/// Lets every flow begin, be answered, and be proven.
fn establish(
    driver: &mut Driver,
    datapath: &Datapath,
    flows: u64,
    packet: &[u8],
    answer: &[u8],
) -> Result<()> {
    let subject = Subject::Datapath(datapath);
    let (mut packet, mut answer) = (packet.to_vec(), answer.to_vec());
    let mut left = flows;
    while left > 0 {
        let block = left.min(BLOCK);
        // Flows are drawn: of four times as many packets, one flow in fifty gets none.
        let packets = block as u32 * 4;
        let action = driver.run(subject, orders(block), &packet, packets)?;
        ensure!(action == XDP_PASS, "the owner answers {action}");
        let action = driver.run_leaving(subject, orders(block), &answer, packets)?;
        ensure!(action == NEXT, "the egress program answers {action}");
        driver.run(subject, orders(block), &packet, packets)?;
        packet[CLIENT_AT] += BLOCK_HOSTS;
        answer[ANSWERED_AT] += BLOCK_HOSTS;
        left -= block;
    }
    let established = datapath
        .flows()
        .into_iter()
        .filter(|(meta, _)| meta.state() == State::Established as u32);
    let established = established.count() as u64;
    ensure!(
        established * 10 > flows * 9,
        "{established} of {flows} flows are established"
    );
    Ok(())
}

fn orders(flows: u64) -> Orders {
    Orders {
        flows,
        destinations: 1,
        frame_bytes: FRAME_BYTES as u64,
        random: 0x9E37_79B9_7F4A_7C15,
        ..Orders::default()
    }
}

fn pairs(
    driver: &mut Driver,
    name: &str,
    bar: Option<f64>,
    datapath: &Datapath,
    timed: impl Fn(&mut Driver, Subject<'_>) -> Result<f64>,
) -> Result<Row> {
    timed(driver, Subject::Datapath(datapath))?;
    let (mut differences, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let floor = timed(driver, Subject::Floor)?;
        differences.push(timed(driver, Subject::Datapath(datapath))? - floor);
        floors.push(floor);
    }
    Ok(Row::new(name, bar, differences, floors))
}

fn arriving(
    driver: &mut Driver,
    subject: Subject<'_>,
    orders: Orders,
    template: &[u8],
    packets: u32,
) -> Result<f64> {
    a_packet(packets, || driver.run(subject, orders, template, packets))
}

fn leaving(
    driver: &mut Driver,
    subject: Subject<'_>,
    orders: Orders,
    template: &[u8],
    packets: u32,
) -> Result<f64> {
    a_packet(packets, || {
        driver.run_leaving(subject, orders, template, packets)
    })
}

/// CPU nanoseconds that one of so many packets takes.
fn a_packet(packets: u32, run: impl FnOnce() -> Result<u32, Error>) -> Result<f64> {
    let before = thread_cpu_ns();
    run()?;
    Ok((thread_cpu_ns() - before) as f64 / f64::from(packets))
}

/// A segment from the endpoint, or somebody else, to the client that the driver counts up from.
fn reply(from: IpAddr) -> Vec<u8> {
    let mut frame = frame(cluster::vip(false, 0));
    if let IpAddr::V4(from) = from {
        frame[26..30].copy_from_slice(&from.octets());
    }
    frame[30..34].copy_from_slice(&[100, 127, 0, 0]);
    frame[34..36].copy_from_slice(&8080_u16.to_be_bytes());
    frame[36..38].copy_from_slice(&PORT.to_be_bytes());
    frame
}
