//! CPU nanoseconds a packet of the shipped XDP program over a program that swaps the MACs and transmits, both
//! called as the tail of one driver that restores and rewrites the packet under a repeated test run. Needs
//! root; nothing leaves the machine.

mod owner;

use std::{net::IpAddr, process::ExitCode};

use anyhow::{Context as _, Result, ensure};
use fairlead_benches::{
    cluster::{self, OWN_MAC, PORT, ROUTER_MAC, Shape},
    measure::{pin_to_cpu, thread_cpu_ns},
    report::{self, Row},
};
use lb_datapath::bench::{Driver, Orders, Subject};

/// Pairs of runs that a row's median is of.
const PAIRS: usize = 15;
/// Packets of one run.
const PACKETS: u32 = 400_000;
/// A frame of 64 bytes on the wire has 60 here; the driver writes 76, so that both families fit.
const FRAME_BYTES: usize = 78;

/// The row of flows at random, whose bar is that of one flow beside what its memory takes in the same run (docs/adr/0020).
const RANDOM: &str = "tcp4-gue-1Mflows-400svc";
/// The row of that memory alone.
const MEMORY: &str = "memory-of-1Mflows-400svc";
const ONE_FLOW_BAR: f64 = 30.0;

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// One row: what the data path holds, what packets come, what it may cost (design-dataplane section 5).
struct Case {
    name: &'static str,
    bar: Option<f64>,
    shape: Shape,
    flows: u64,
    random_destinations: bool,
    action: u32,
}

const ONE: Shape = Shape {
    services: 1,
    endpoints: 100,
    nodes: 50,
    on_link: false,
    v6: false,
    serves: false,
    source_ranges: 0,
    affinity: false,
};

const CASES: [Case; 10] = [
    Case {
        name: "tcp4-direct-1flow",
        bar: Some(15.0),
        shape: Shape {
            on_link: true,
            ..ONE
        },
        flows: 1,
        random_destinations: false,
        action: XDP_TX,
    },
    Case {
        name: "tcp4-gue-1flow",
        bar: Some(ONE_FLOW_BAR),
        shape: ONE,
        flows: 1,
        random_destinations: false,
        action: XDP_TX,
    },
    Case {
        name: "tcp6-gue-1flow",
        bar: Some(36.0),
        shape: Shape { v6: true, ..ONE },
        flows: 1,
        random_destinations: false,
        action: XDP_TX,
    },
    Case {
        name: RANDOM,
        bar: None,
        shape: Shape {
            services: 400,
            ..ONE
        },
        flows: 1_000_000,
        random_destinations: false,
        action: XDP_TX,
    },
    Case {
        name: "tcp4-gue-newflow",
        bar: Some(40.0),
        shape: ONE,
        flows: 0,
        random_destinations: false,
        action: XDP_TX,
    },
    Case {
        name: "not-vip",
        bar: Some(5.0),
        shape: Shape {
            services: 10_000,
            endpoints: 2,
            ..ONE
        },
        flows: 1,
        random_destinations: true,
        action: XDP_PASS,
    },
    Case {
        name: "tcp4-gue-1range",
        bar: None,
        shape: Shape {
            source_ranges: 1,
            ..ONE
        },
        flows: 1,
        random_destinations: false,
        action: XDP_TX,
    },
    Case {
        name: "tcp4-gue-8ranges",
        bar: None,
        shape: Shape {
            source_ranges: 8,
            ..ONE
        },
        flows: 1,
        random_destinations: false,
        action: XDP_TX,
    },
    Case {
        name: "tcp4-gue-1000ranges",
        bar: None,
        shape: Shape {
            source_ranges: 1000,
            ..ONE
        },
        flows: 1,
        random_destinations: false,
        action: XDP_TX,
    },
    Case {
        name: "tcp4-gue-affinity",
        bar: None,
        shape: Shape {
            affinity: true,
            ..ONE
        },
        flows: 1,
        random_destinations: false,
        action: XDP_TX,
    },
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("packet: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = report::arguments("packet")?;
    pin_to_cpu(0).context("cannot stay on one CPU")?;
    let mut driver = Driver::load()?;
    let mut rows = Vec::new();
    for case in CASES.iter().filter(|case| arguments.wants(case.name)) {
        let row = measure(&mut driver, case)?;
        if case.name == RANDOM {
            let memory = memory(&mut driver)?;
            rows.push(row.bar((ONE_FLOW_BAR + memory.value).round()));
            rows.push(memory);
        } else {
            rows.push(row);
        }
    }
    if arguments.wants(owner::OTHER) {
        rows.push(owner::other(&mut driver)?);
    }
    // These share what takes long to fill.
    for flows in [100_000, 1_000_000] {
        if arguments.wants(owner::name("owner", flows).as_str()) {
            rows.extend(owner::rows(&mut driver, flows)?);
        }
    }
    if arguments.wants("owner-100k-flooded") {
        rows.extend(owner::flooded(&mut driver, 100_000, &rows)?);
    }
    report::print(&rows);
    if let Some(path) = arguments.json {
        report::write_json(&path, &rows)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn measure(driver: &mut Driver, case: &Case) -> Result<Row> {
    eprintln!("{} ...", case.name);
    let datapath = cluster::fill(case.shape)?;
    let template = frame(cluster::vip(case.shape.v6, 0));
    let orders = Orders {
        flows: case.flows,
        destinations: u64::from(case.shape.services),
        frame_bytes: FRAME_BYTES as u64,
        random: 0x9E37_79B9_7F4A_7C15,
        random_destinations: u64::from(case.random_destinations),
        ..Orders::default()
    };
    // One packet that is looked at, then a run that fills the caches.
    let action = driver.run(Subject::Datapath(&datapath), orders, &template, 1)?;
    ensure!(
        action == case.action,
        "{}: the program answers {action}, not {}",
        case.name,
        case.action
    );
    driver.run(Subject::Datapath(&datapath), orders, &template, PACKETS)?;
    let mut differences = Vec::new();
    let mut floors = Vec::new();
    for _ in 0..PAIRS {
        let floor = nanoseconds(driver, Subject::Floor, orders, &template)?;
        let subject = nanoseconds(driver, Subject::Datapath(&datapath), orders, &template)?;
        differences.push(subject - floor);
        floors.push(floor);
    }
    Ok(Row::new(case.name, case.bar, differences, floors))
}

/// What the lines alone take that a packet of `tcp4-gue-1Mflows-400svc` looks at.
fn memory(driver: &mut Driver) -> Result<Row> {
    eprintln!("{MEMORY} ...");
    let template = frame(cluster::vip(false, 0));
    let orders = Orders {
        flows: 1_000_000,
        destinations: 400,
        frame_bytes: FRAME_BYTES as u64,
        random: 0x9E37_79B9_7F4A_7C15,
        ..Orders::default()
    };
    driver.run(Subject::Memory, orders, &template, PACKETS)?;
    let (mut differences, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let floor = nanoseconds(driver, Subject::Floor, orders, &template)?;
        differences.push(nanoseconds(driver, Subject::Memory, orders, &template)? - floor);
        floors.push(floor);
    }
    Ok(Row::new(MEMORY, None, differences, floors))
}

fn nanoseconds(
    driver: &mut Driver,
    subject: Subject<'_>,
    orders: Orders,
    template: &[u8],
) -> Result<f64> {
    let before = thread_cpu_ns();
    driver.run(subject, orders, template, PACKETS)?;
    Ok((thread_cpu_ns() - before) as f64 / f64::from(PACKETS))
}

/// A TCP segment to the VIP from a client that the driver counts up from.
fn frame(vip: IpAddr) -> Vec<u8> {
    let mut frame = [&OWN_MAC[..], &ROUTER_MAC].concat();
    match vip {
        IpAddr::V4(vip) => {
            frame.extend([8, 0, 0x45, 0, 0, 64, 0, 0, 0x40, 0, 64, 6, 0, 0]);
            frame.extend([100, 127, 0, 0]);
            frame.extend(vip.octets());
        }
        IpAddr::V6(vip) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 6, 64]);
            frame.extend(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).octets());
            frame.extend(vip.octets());
        }
    }
    frame.extend(40_000_u16.to_be_bytes());
    frame.extend(PORT.to_be_bytes());
    // Sequence, acknowledgement, offset 5, ACK, window, checksum, urgent.
    frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    frame.resize(FRAME_BYTES, 0);
    frame
}
