//! One address for several Services: by port and by protocol they go to different pods, under different policies, and two
//! of them may share pods and their clients' ports all the same.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Result, ensure};
use fairlead_tests::{
    steered::{Steered, node_of},
    steering::datagrams_are_answered,
};
use lb_lab::{Profile, Request, per_pod};

use crate::{ECHO, HTTP, Service, answered, here, node_number, take};

#[test]
fn services_share_an_address() -> Result<()> {
    let mut steered = Steered::start_hostile(&Profile::default())?;
    let text = files(&steered);
    take(&mut steered, &text, "local", 10)?;
    for target in Steered::targets() {
        each_port_has_its_own_pods(&steered, target)?;
        one_client_port_serves_two_services(&steered, target)?;
    }
    Ok(())
}

/// TCP 80 goes to node 1, UDP 80 to node 2, TCP 81 to node 3, TCP 82 is local to nodes 1 and 2, TCP 83 has the pods of 80.
fn files(steered: &Steered) -> String {
    let local = "externalTrafficPolicy: Local";
    let on = |name, field, port, nodes: &[u8]| {
        let service = Service {
            name,
            field,
            ports: &[port],
        };
        service.text(steered, |pod| {
            nodes.contains(&node_number(pod)).then(|| here(pod))
        })
    };
    [
        on("http", "", HTTP, &[1]),
        on("echo", "", ECHO, &[2]),
        on("other", "", ("http", "TCP", 81), &[3]),
        on("local", local, ("http", "TCP", 82), &[1, 2]),
        on("again", "", ("http", "TCP", 83), &[1]),
    ]
    .concat()
}

fn each_port_has_its_own_pods(steered: &Steered, target: SocketAddr) -> Result<()> {
    for entry in 1..=3 {
        steered.enter_by(target.ip(), &[entry])?;
        let local: &[u8] = match entry {
            3 => &[1, 2],
            1 => &[1],
            _ => &[2],
        };
        for (port, wanted) in [(80, &[1][..]), (81, &[3]), (82, local), (83, &[1])] {
            let target = SocketAddr::new(target.ip(), port);
            let first = 20_000 + port * 40;
            let pods = per_pod(&answered(steered, target, first..first + 40)?).into_keys();
            let nodes: BTreeSet<u8> = pods.map(|pod| node_of(&pod)).collect::<Result<_>>()?;
            ensure!(
                nodes.iter().eq(wanted),
                "{target} by node{entry}: served by {nodes:?}"
            );
        }
        for pod in datagrams_are_answered(steered, target, 25_000..25_020)?.values() {
            ensure!(node_of(pod)? == 2, "a datagram to {target} went to {pod}");
        }
    }
    Ok(())
}

/// To its pod, two connections of a client from one port look alike, if it dials two Services that the pod is behind.
fn one_client_port_serves_two_services(steered: &Steered, target: SocketAddr) -> Result<()> {
    steered.enter_by(target.ip(), &[1, 2, 3])?;
    let clashes = |steered: &Steered| steered.verdict(1, "reverse-clash");
    let before = clashes(steered)?;
    let mut connections = Vec::new();
    for client_port in 26_000..26_020 {
        for port in [80, 83] {
            let target = SocketAddr::new(target.ip(), port);
            let request = Request::to(target).from_port(client_port);
            let mut connection = steered.lab.client().open(&request)?;
            connection.get(0)?;
            connections.push(connection);
        }
    }
    for connection in &mut connections {
        let source = connection.source();
        let seen = connection.get(1000)?;
        ensure!(
            seen.client.ip() == source.ip(),
            "{source} was seen as {seen:?}"
        );
    }
    ensure!(clashes(steered)? > before, "no two flows looked alike");
    Ok(())
}
