//! The modes of an uplink: what is served in the driver is served in the network stack, and a restart leads from one to
//! the other. Needs root.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::steered::{SOON, Steered};
use lb_lab::{Profile, Request, Segments};

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
    let mut steered = Steered::start(&ROUTED)?;
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
