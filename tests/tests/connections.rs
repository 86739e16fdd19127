//! Many connections that stay open, in the unfriendliest profile and while the router changes its mind: each stays with
//! its pod, whatever node its packets enter by. Needs root.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::{
    steered::{ANSWER, Steered},
    steering::datagrams_are_answered,
};
use lb_lab::{Connection, Namespace, Profile, Request, Segments, UPLINK, output};

/// Connections that are open at once, half of them over IPv6.
const CONNECTIONS: u16 = 500;
/// Which nodes the router sends to, one after another: to all, to some, to one, and back.
const ROUTES: [&[u8]; 5] = [&[1, 2, 3], &[2, 3], &[1], &[3], &[1, 2, 3]];

#[test]
fn connections_stay_with_their_pods_with_offloads_on() -> Result<()> {
    connections_stay_with_their_pods(&hostile()?)
}

#[test]
fn connections_stay_with_their_pods_with_offloads_off() -> Result<()> {
    let steered = hostile()?;
    let lab = &steered.lab;
    let nodes = lab.nodes().map(|node| node.namespace());
    let pods = lab.pods().map(|pod| pod.namespace());
    for host in nodes.chain(pods).chain([lab.client_namespace()]) {
        without_offloads(host)?;
    }
    connections_stay_with_their_pods(&steered)
}

fn hostile() -> Result<Steered> {
    Steered::start_hostile(&Profile {
        segments: Segments::Node3Routed,
        ..Profile::default()
    })
}

fn connections_stay_with_their_pods(steered: &Steered) -> Result<()> {
    let client = steered.lab.client();
    let resets = steered.lab.tcp_counters()?.resets;
    let mut open: Vec<(Connection, String)> = Vec::new();
    for (target, first) in Steered::targets().into_iter().zip([30_000, 31_000]) {
        for port in first..first + CONNECTIONS / 2 {
            let request = Request {
                time_limit: 5 * ANSWER,
                ..Request::to(target).from_port(port)
            };
            let mut connection = client.open(&request)?;
            let pod = connection.get(0)?.pod;
            open.push((connection, pod));
        }
    }
    for nodes in ROUTES {
        for target in Steered::targets() {
            steered.enter_by(target.ip(), nodes)?;
        }
        for (connection, pod) in &mut open {
            let seen = connection
                .get(3000)
                .with_context(|| format!("entering by {nodes:?}"))?;
            ensure!(seen.pod == *pod, "from {pod} to {}: {nodes:?}", seen.pod);
            ensure!(seen.client == connection.source(), "{seen:?}");
            ensure!(seen.padding.len() == 3000, "{} bytes", seen.padding.len());
        }
    }
    let counters = steered.lab.tcp_counters()?;
    ensure!(
        counters.resets == resets,
        "{} resets",
        counters.resets - resets
    );
    ensure!(counters.wrong_checksums == 0, "{counters:?}");
    for target in Steered::targets() {
        datagrams_are_answered(steered, target, 32_000..32_040)?;
    }
    Ok(())
}

/// Nothing is merged, cut or summed up by a link: every frame is one packet with whole checksums.
fn without_offloads(host: &Namespace) -> Result<()> {
    let mut command = Command::new("ethtool");
    command.args([
        "-K", UPLINK, "gro", "off", "gso", "off", "tso", "off", "tx", "off",
    ]);
    output(host, command)?;
    Ok(())
}
