//! The modes of an uplink: what is served in the driver is served in the network stack, and a restart leads from one to
//! the other. Needs root.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::steered::{ANSWER, SOON, Steered};
use lb_lab::{
    AgentOptions, CountingProgram, Lab, Profile, Request, Segments, set_transmit_checksum,
    switch_port,
};

/// What an upload or download has: some hundred full segments.
const BYTES: usize = 1 << 20;

/// One node is reached by GUE, the other by its MAC.
const ROUTED: Profile = Profile {
    segments: Segments::Node3Routed,
    underlay_mtu: 1500,
    hostile: false,
};

#[test]
fn transfers_pass_in_each_mode() -> Result<()> {
    let mut steered = Steered::start_hostile(&ROUTED)?;
    for (first_port, mode) in [(30_000, "generic"), (30_100, "native"), (30_200, "auto")] {
        restart_in(&mut steered, mode)?;
        transfer(&steered, first_port).with_context(|| format!("in mode {mode}"))?;
    }
    Ok(())
}

/// Frames of a large MTU do not fit into one buffer of the driver.
#[test]
fn jumbo_frames_are_taken_in_the_driver() -> Result<()> {
    let mut steered = Steered::start(&Profile {
        underlay_mtu: 9000,
        ..ROUTED
    })?;
    steered.wait_for("uplinks", "the uplink's mode", |rows| {
        rows.len() == 1 && rows[0]["xdp"] == "native"
    })?;
    transfer(&steered, 30_300)
}

/// What another tool's program leaves of a packet is served all the same, by tc, and its program stays. With whole
/// checksums and with promises of them, merged and alone.
#[test]
fn another_xdp_program_stays_and_all_is_served_behind_it() -> Result<()> {
    let lab = Lab::build(&ROUTED)?;
    let mut others = Vec::new();
    for number in 1..=3 {
        others.push(lab.node(number).occupy_xdp()?);
    }
    let mut steered = Steered::start_in(lab, &AgentOptions::default())?;
    steered.wait_for("uplinks", "the uplink's mode", |rows| {
        rows.len() == 1
            && rows[0]["xdp"] == "tc"
            && rows[0]["egress"] == "tcx"
            && rows[0]["not_in_driver"]
                .as_str()
                .is_some_and(|why| why.contains("another XDP program"))
    })?;
    transfer(&steered, 30_400)?;
    promise_checksums(&steered.lab, true)?;
    transfer(&steered, 30_500)?;
    refusals_come_back(&steered)?;
    let frames = || {
        others
            .iter()
            .map(CountingProgram::frames)
            .collect::<Result<Vec<_>, _>>()
    };
    let before = frames()?;
    transfer(&steered, 30_600)?;
    let counts_on = before
        .iter()
        .zip(frames()?)
        .all(|(before, now)| now > *before);
    ensure!(counts_on, "the other programs count no more");
    drop(others);
    promise_checksums(&steered.lab, false)?;
    steered.wait_for("uplinks", "the uplink's mode", |rows| {
        rows.len() == 1 && rows[0]["xdp"] == "native" && rows[0]["not_in_driver"].is_null()
    })?;
    transfer(&steered, 30_700)
}

/// Whether frames come to the nodes with the checksums that their senders' stacks left to a device.
fn promise_checksums(lab: &Lab, on: bool) -> Result<()> {
    lab.switch_namespace().run(|| {
        for number in 1..=3 {
            set_transmit_checksum(&switch_port(number), on)?;
        }
        Ok(())
    })
}

/// A closed port of TCP and one of UDP are refused by the VIP itself.
fn refusals_come_back(steered: &Steered) -> Result<()> {
    for target in Steered::targets() {
        let closed = SocketAddr::new(target.ip(), 81);
        steered.lab.client_namespace().run(|| {
            let refused = TcpStream::connect_timeout(&closed, ANSWER).err();
            let kind = refused.map(|error| error.kind());
            ensure!(
                kind == Some(ErrorKind::ConnectionRefused),
                "{closed}/tcp: {kind:?}"
            );
            let any: IpAddr = match target {
                SocketAddr::V4(_) => [0; 4].into(),
                SocketAddr::V6(_) => [0; 16].into(),
            };
            let socket = UdpSocket::bind((any, 0))?;
            socket.set_read_timeout(Some(ANSWER))?;
            socket.connect(closed)?;
            socket.send(b"anybody?")?;
            let kind = socket.recv(&mut [0]).err().map(|error| error.kind());
            ensure!(
                kind == Some(ErrorKind::ConnectionRefused),
                "{closed}/udp: {kind:?}"
            );
            Ok(())
        })?;
    }
    Ok(())
}

/// Restarts every agent with `node.mode`, and waits until it says that its uplink is in that mode.
fn restart_in(steered: &mut Steered, mode: &str) -> Result<()> {
    for agent in &mut steered.agents {
        let yaml = fs::read_to_string(agent.config())?;
        let (before, rest) = yaml.split_once("uplinks: [eth0]").context("no uplinks")?;
        let (_, after) = rest.split_once('}').context("no end of `node`")?;
        agent.edit(&format!("{before}uplinks: [eth0], mode: {mode}}}{after}"))?;
        agent.terminate(SOON)?;
        agent.restart()?;
    }
    steered.wait_applied(4)?;
    steered.wait_resolved()?;
    let shown = if mode == "auto" { "native" } else { mode };
    steered.wait_for("uplinks", "the uplink's mode", |rows| {
        rows.len() == 1 && rows[0]["xdp"] == shown && rows[0]["egress"] == "tcx"
    })
}

/// A megabyte up and a megabyte down on a few connections, so that pods of all nodes have some.
fn transfer(steered: &Steered, first_port: u16) -> Result<()> {
    for target in Steered::targets() {
        for port in first_port..first_port + 12 {
            let request = Request {
                upload_bytes: BYTES,
                download_bytes: BYTES,
                ..Request::to(target).from_port(port)
            };
            let seen = steered.lab.client().http(&request).result;
            let seen = seen.with_context(|| format!("{target} from port {port}"))?;
            ensure!(
                (seen.received, seen.padding.len()) == (BYTES, BYTES),
                "{} up, {} down",
                seen.received,
                seen.padding.len()
            );
        }
    }
    Ok(())
}
