//! A flood through the router at nodes that serve: spoofed frames on the router's link, connections that idle meanwhile, and
//! a client a tenth of a second away that connects a hundred times a second. All in the unfriendliest profile. Needs root.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use fairlead_tests::{dice::Dice, frame::Packet, steered::Steered};
use lb_lab::{
    FrameSocket, Namespace, Process, Profile, Segments, agent_binary, failures, output,
    router_link, topology, wait_until,
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
const LONG: Size = Size {
    idle: 10_000,
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
#[ignore = "soak: a million frames of each kind, beside ten thousand connections"]
fn a_flood_over_ipv4_is_not_noticed() -> Result<()> {
    floods(Steered::targets()[0])
}

#[test]
#[ignore = "soak: a million frames of each kind, beside ten thousand connections"]
fn a_flood_over_ipv6_is_not_noticed() -> Result<()> {
    floods(Steered::targets()[1])
}

fn floods(target: SocketAddr) -> Result<()> {
    for kind in [Kind::Ack, Kind::Syn, Kind::Udp] {
        let of = || format!("{kind:?} to {target}");
        flood(&hostile()?, kind, target, &LONG).with_context(of)?;
    }
    Ok(())
}

fn hostile() -> Result<Steered> {
    let steered = Steered::start_hostile(&Profile {
        segments: Segments::Node3Routed,
        ..Profile::default()
    })?;
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
    let idle = Idle::open(steered, target, size.idle)?;
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
    idle.all_answer()
}

/// Connections that have been answered once, in a process of their own.
struct Idle {
    process: Process,
    end: PathBuf,
}

impl Idle {
    fn open(steered: &Steered, target: SocketAddr, count: u16) -> Result<Self> {
        let end = steered.lab.folder().join(format!("end-{target}"));
        let mut hold = Command::new(agent_binary()?.with_file_name("lb-lab"));
        hold.args(["hold", "--target", &target.to_string()])
            .args(["--first-port", "20000", "--count", &count.to_string()])
            .arg("--until")
            .arg(&end);
        let name = format!("idle-{}", if target.is_ipv4() { "ipv4" } else { "ipv6" });
        let client = steered.lab.client_namespace();
        let process = Process::start(client, &name, hold, steered.lab.folder())?;
        let mut idle = Self { process, end };
        wait_until(OPEN_LIMIT, "idle connections", || {
            if let Some(status) = idle.process.ended()? {
                return Ok(Some(Err(anyhow!("could not be opened: {status}"))));
            }
            let log = fs::read_to_string(idle.process.log())?;
            Ok(log.lines().any(|line| line == "open").then_some(Ok(())))
        })
        .and_then(|opened| opened)
        .map_err(|error| idle.process.failure(&error))?;
        Ok(idle)
    }

    /// Each is asked once more.
    fn all_answer(mut self) -> Result<()> {
        fs::write(&self.end, "")?;
        let status = wait_until(OPEN_LIMIT, "answers to all that idled", || {
            self.process.ended()
        })?;
        let log = fs::read_to_string(self.process.log())?;
        println!("idle: {}", log.lines().last().unwrap_or_default());
        ensure!(status.success(), "idle connections: {log}");
        Ok(())
    }
}

/// Ten thousand connections take a while, one after the other.
const OPEN_LIMIT: Duration = Duration::from_secs(300);

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
