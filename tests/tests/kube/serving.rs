//! Three nodes with agents that a real API server tells what to do, behind a router that they announce to, while a client
//! asks all the time: the API server is killed, frozen and rolled back, our kinds are deleted, an agent starts meanwhile;
//! and nothing that is served changes, to the last word of the maps. Needs root.

use std::{fs, process::Command, time::Duration};

use anyhow::{Result, ensure};
use lb_lab::{Agent, ApiServer, Lab, Load, Profile, agent_binary, failures, output, wait_until};

use crate::cluster::{
    SOON, STATE_FILE, assign, ensure_maps, get, has_warning, maps, nodes_are_gateways, served,
    speaking, start_agent, start_server, status, target, wait_announced, web,
};
use crate::fixture;

/// The last known state is written at most every ten seconds.
const WRITTEN: Duration = Duration::from_secs(30);

/// What is served before a fault, and must be after it.
struct Before {
    served: Vec<Vec<String>>,
    maps: Vec<Vec<(&'static str, Vec<u64>)>>,
}

impl Before {
    fn of(lab: &Lab, agents: &[Agent]) -> Result<Self> {
        Ok(Self {
            served: agents.iter().map(served).collect::<Result<_>>()?,
            maps: (1..=3).map(|node| maps(lab, node)).collect::<Result<_>>()?,
        })
    }

    fn still_holds(&self, lab: &Lab, agents: &[Agent]) -> Result<()> {
        for (agent, before) in agents.iter().zip(&self.served) {
            let now = served(agent)?;
            ensure!(now == *before, "{now:#?}");
        }
        for (node, before) in (1..=3).zip(&self.maps) {
            ensure_maps(lab, node, before)?;
        }
        nodes_are_gateways(lab, &[1, 2, 3])
    }
}

fn none_lost(load: Load) -> Result<()> {
    let records = load.stop()?;
    let failed = failures(&records);
    let (lost, all) = (failed.len(), records.len());
    ensure!(failed.is_empty(), "{lost} of {all}: {failed:?}");
    ensure!(all > 100, "only {all} requests");
    println!("{all} requests, none lost");
    Ok(())
}

fn wait_warning(agents: &mut [Agent], words: &str) -> Result<()> {
    for agent in agents {
        agent.wait_for(SOON, "services", words, |shown| has_warning(shown, words))?;
    }
    Ok(())
}

/// A mark on the Node takes it out of service and back, and no request is lost.
fn a_mark_drains(lab: &Lab, server: &ApiServer) -> Result<()> {
    let load = lab.client().start_load(target(), 20_000..24_000, 4);
    server.kubectl(&["annotate", "node", "node3", "fairlead.io/drain=true"])?;
    nodes_are_gateways(lab, &[1, 2])?;
    server.kubectl(&["annotate", "node", "node3", "fairlead.io/drain-"])?;
    nodes_are_gateways(lab, &[1, 2, 3])?;
    none_lost(load)
}

/// What kubelet, Prometheus and a person are told of it.
fn is_told(lab: &Lab) -> Result<()> {
    let namespace = lab.node(1).namespace();
    let ready = namespace.run(|| get("/readyz"))?;
    ensure!(ready.contains("200 OK"), "{ready}");
    let metrics = namespace.run(|| get("/metrics"))?;
    for sample in [
        "fairlead_cluster_listed 1",
        "fairlead_cluster_stale 0",
        "fairlead_services 1",
    ] {
        ensure!(metrics.contains(sample), "{sample}: {metrics}");
    }
    let mut explain = Command::new(agent_binary()?);
    explain.args(["explain", "default/web"]);
    let explained = output(namespace, explain)?;
    ensure!(explained.contains("announced  10.99.0.1 to"), "{explained}");
    ensure!(explained.contains("This is one node's view"), "{explained}");
    Ok(())
}

/// Waits until a node has put down what it knows now: it writes every ten seconds, and what it wrote before has no
/// addresses yet, or the mark.
fn put_down(lab: &Lab, node: u8) -> Result<()> {
    wait_until(WRITTEN, "a node has put down what it knows", || {
        let read = || Ok(fs::read_to_string(STATE_FILE)?);
        let kept = lab.node(node).namespace().run(read)?;
        let has_all = ["\"10.99.0.1\"", "default/web-ipv4", "default/web-ipv6"]
            .iter()
            .all(|part| kept.contains(part));
        Ok((has_all && !kept.contains("\"is_marked\":true")).then_some(()))
    })
}

/// The kinds are deleted under the agents, and come back empty of what nobody applies again.
fn our_kinds_are_deleted(server: &ApiServer, agents: &mut [Agent]) -> Result<()> {
    let kinds =
        ["eips", "bgpconfs", "bgppeers"].map(|kind| format!("{kind}.network.kubesphere.io"));
    let words: Vec<&str> = ["delete", "crd"]
        .into_iter()
        .chain(kinds.iter().map(String::as_str))
        .collect();
    server.kubectl(&words)?;
    wait_warning(agents, "no longer serves")
}

#[test]
fn what_is_served_does_not_notice_what_becomes_of_the_api_server() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let _bird = lab.start_bird()?;
    let mut server = start_server(&lab, "self")?;
    let mut agents = (1..=3)
        .map(|node| start_agent(&lab, &server, node))
        .collect::<Result<Vec<_>>>()?;
    let saved = server.save()?;
    server.apply(&web(&lab))?;
    assign(&server)?;
    agents.iter_mut().try_for_each(wait_announced)?;
    nodes_are_gateways(&lab, &[1, 2, 3])?;
    wait_until(SOON, "every node says that it serves", || {
        let nodes = speaking(&server)?;
        ensure!(nodes == ["node1", "node2", "node3"], "{nodes:?}");
        let peer = status(&server, "bgppeer", "router")?;
        let session = &peer["nodesPeerStatus"]["node2"]["peerState"]["sessionState"];
        ensure!(session == "ESTABLISHED", "{peer}");
        Ok(Some(()))
    })?;
    a_mark_drains(&lab, &server)?;
    put_down(&lab, 1)?;
    put_down(&lab, 2)?;
    is_told(&lab)?;

    let before = Before::of(&lab, &agents)?;
    let client = lab.client();
    let load = client.start_load(target(), 24_000..32_000, 4);
    server.kill()?;
    wait_warning(&mut agents, "does not answer")?;
    // An agent that starts meanwhile goes by what was known last.
    agents[0].process().kill()?;
    agents[0].restart()?;
    wait_until(SOON, "the agent serves again", || {
        let now = served(&agents[0])?;
        ensure!(now == before.served[0], "{now:#?}");
        Ok(Some(()))
    })?;
    before.still_holds(&lab, &agents)?;

    server.roll_back(&saved)?;
    for agent in &mut agents {
        agent.wait_for(SOON, "services", "the API server went back", |shown| {
            has_warning(shown, "went back") && !has_warning(shown, "does not answer")
        })?;
    }
    before.still_holds(&lab, &agents)?;

    our_kinds_are_deleted(&server, &mut agents)?;
    before.still_holds(&lab, &agents)?;
    fixture::install(&server)?;

    // Connections stay, and nothing comes by them: an agent that starts now is not told that anything is wrong.
    server.freeze()?;
    agents[1].process().kill()?;
    agents[1].restart()?;
    wait_until(SOON, "the agent serves again", || {
        let now = served(&agents[1])?;
        ensure!(now == before.served[1], "{now:#?}");
        Ok(Some(()))
    })?;
    before.still_holds(&lab, &agents)?;
    server.thaw()?;
    none_lost(load)
}
