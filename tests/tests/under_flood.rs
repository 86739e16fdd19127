//! A flood through the router at nodes that serve: spoofed frames on the router's link, connections that idle meanwhile, and
//! a client a tenth of a second away that connects a hundred times a second. All in the unfriendliest profile. Needs root.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    dice::Dice,
    frame::Packet,
    steered::{ANSWER, Steered},
};
use lb_lab::{
    Connection, FrameSocket, Namespace, Profile, Request, Segments, failures, output, router_link,
    topology,
};

const ROUND_TRIP: Duration = Duration::from_millis(100);
/// Requests of the far client that are under way at once: a hundred a second, of three round trips each.
const UNDER_WAY: usize = 30;
/// Frames between two pauses, and the pause: at most 32,000 a second.
const BURST: u32 = 64;
const PAUSE: Duration = Duration::from_millis(2);

/// What spoofed sources send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syn,
    Udp,
    Ack,
}

/// How much of it.
struct Size {
    idle: u16,
    frames: u32,
    connects: u16,
}

/// What fits a tier.
const SHORT: Size = Size {
    idle: 200,
    frames: 50_000,
    connects: 200,
};
/// A lab's pod has a thread for each connection; ten thousand idle ones are in `flood`, at the owner's program.
const LONG: Size = Size {
    idle: 1_000,
    frames: 1_000_000,
    connects: 1000,
};

#[test]
fn a_short_flood_of_syns_is_not_noticed() -> Result<()> {
    let steered = hostile()?;
    flood(&steered, Kind::Syn, Steered::targets()[0], &SHORT)?;
    flood(&steered, Kind::Syn, Steered::targets()[1], &SHORT)
}

#[test]
#[ignore = "soak: a million frames of each kind, in either family, beside a thousand connections"]
fn a_flood_is_not_noticed() -> Result<()> {
    for target in Steered::targets() {
        for kind in [Kind::Syn, Kind::Udp, Kind::Ack] {
            flood(&hostile()?, kind, target, &LONG)
                .with_context(|| format!("{kind:?} to {target}"))?;
        }
    }
    Ok(())
}

fn hostile() -> Result<Steered> {
    let steered = Steered::start(&Profile {
        segments: Segments::Node3Routed,
        underlay_mtu: 1500,
        hostile: true,
    })?;
    for node in steered.lab.nodes() {
        node.accept_forwarding()?;
    }
    // What is sent back to nobody ends in the router, and draws no error.
    let router = steered.lab.router_namespace();
    for (family, nobody) in [("-4", "100.64.0.0/10"), ("-6", "2001:db8:bad::/48")] {
        ip(router, &[family, "route", "add", "blackhole", nobody])?;
    }
    Ok(steered)
}

fn ip(namespace: &Namespace, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments);
    output(namespace, command).map(drop)
}

fn flood(steered: &Steered, kind: Kind, target: SocketAddr, size: &Size) -> Result<()> {
    let far = steered.lab.far_client(ROUND_TRIP)?;
    let mut idle = idle(steered, target, size.idle)?;
    let is_over = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let records = thread::scope(|scope| {
        let attack = scope.spawn(|| attack(steered, kind, target, size.frames, &is_over, &sent));
        let ports = 40_000..40_000 + size.connects;
        let records = far.client().http_from_ports(target, ports, UNDER_WAY);
        is_over.store(true, Ordering::Relaxed);
        attack
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        records
    })?;
    let failed = failures(&records);
    println!(
        "{kind:?} to {target}: {} frames, {} of {} connects got through",
        sent.load(Ordering::Relaxed),
        records.len() - failed.len(),
        records.len()
    );
    ensure!(
        failed.len() * 100 <= records.len(),
        "{} failed: {failed:?}",
        failed.len()
    );
    for connection in &mut idle {
        let source = connection.source();
        connection
            .get(0)
            .with_context(|| format!("{source} was idle"))?;
    }
    Ok(())
}

/// Connections that have been answered once.
fn idle(steered: &Steered, target: SocketAddr, count: u16) -> Result<Vec<Connection>> {
    let client = steered.lab.client();
    let open = |port| {
        let request = Request {
            time_limit: 5 * ANSWER,
            ..Request::to(target).from_port(port)
        };
        let mut connection = client.open(&request)?;
        connection.get(0)?;
        Ok(connection)
    };
    (20_000..20_000 + count).map(open).collect()
}

/// At least so many frames, and until it is over.
fn attack(
    steered: &Steered,
    kind: Kind,
    target: SocketAddr,
    frames: u32,
    is_over: &AtomicBool,
    sent: &AtomicU64,
) -> Result<()> {
    let link = FrameSocket::open(steered.lab.router_namespace(), &router_link(0))?;
    let mut dice = Dice::seeded(1);
    let mut count = 0;
    while count < frames || !is_over.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            link.send(&spoofed(kind, target, dice.roll()))?;
        }
        count += BURST;
        sent.store(count.into(), Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// A frame of a source that nobody has, as the router sends it to node 1, with right checksums.
fn spoofed(kind: Kind, target: SocketAddr, random: u64) -> Vec<u8> {
    let source = match target.ip() {
        IpAddr::V4(_) => IpAddr::from((0x6440_0000 | random as u32 & 0x003f_ffff).to_be_bytes()),
        IpAddr::V6(_) => {
            IpAddr::from((0x2001_0db8_0bad_u128 << 80 | u128::from(random)).to_be_bytes())
        }
    };
    let port = 1024 + (random >> 48) as u16 % 60_000;
    Packet {
        to_mac: topology::node_mac(1),
        from_mac: topology::router_mac(0),
        source: (source, port),
        flags: if kind == Kind::Ack { "A" } else { "S" },
        sequence: (random >> 16) as u32,
        ..Packet::to(target.ip(), target.port(), kind == Kind::Udp)
    }
    .frame()
}
