//! Beside Calico: in every node its BIRD on port 179 speaks to a route reflector, the BIRD 1.6 of the manual as printed,
//! and the same router has a protocol for each agent's port 17900, as PorterLB's manual prints it. A router picks the
//! protocol of a connection by the remote address alone, so an agent that dialled it would take the CNI's session. Neither
//! speaker's sessions may notice the other's restarts.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{Agent, AgentOptions, Bird, Bird1, Lab, NODE_BGP_PORT, Profile, wait_until};

use crate::{
    cells::SESSION_LIMIT,
    manuals::{applied, printed, wait_gateways},
};

/// The route reflector, and the manual's four nodes; the last is nobody.
const ADDRESSES: [(&str, &str); 4] = [
    ("192.168.0.40", "10.0.0.1"),
    ("192.168.0.7 ", "10.0.0.11 "),
    ("192.168.0.25 ", "10.0.0.12 "),
    ("192.168.2.14 ", "10.0.0.13 "),
];
/// The manual's names of the first three.
const CALICO: [&str; 3] = ["Node_192_168_0_7", "Node_192_168_0_25", "Node_192_168_2_14"];
/// Ours.
const FAIRLEAD: [&str; 3] = ["neighbor1", "neighbor2", "neighbor3"];

#[test]
fn neither_speaker_notices_the_others_restarts() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let reflector = lab.start_bird1(&reflector_configuration()?)?;
    let mut calico: Vec<Bird> = (1..=3)
        .map(|node| start_calico(&lab, node))
        .collect::<Result<_>>()?;
    wait_up(&reflector, &CALICO)?;

    let before = since(&reflector, &CALICO)?;
    let mut agents = start_agents(&lab)?;
    applied(&mut agents)?;
    wait_up(&reflector, &FAIRLEAD)?;
    wait_gateways(&lab, &[1, 2, 3])?;
    ensure!(
        since(&reflector, &CALICO)? == before,
        "Calico's sessions were begun anew"
    );

    for agent in &mut agents {
        agent.process().kill()?;
        agent.restart()?;
    }
    applied(&mut agents)?;
    wait_up(&reflector, &FAIRLEAD)?;
    wait_gateways(&lab, &[1, 2, 3])?;
    ensure!(
        since(&reflector, &CALICO)? == before,
        "Calico's sessions noticed our restart"
    );

    let before = since(&reflector, &FAIRLEAD)?;
    for (node, bird) in (1..=3).zip(&mut calico) {
        bird.process().kill()?;
        *bird = start_calico(&lab, node)?;
    }
    wait_up(&reflector, &CALICO)?;
    ensure!(
        since(&reflector, &FAIRLEAD)? == before,
        "ours noticed Calico's restart"
    );
    Ok(())
}

/// Where no CNI's speaker is up yet, the agents' connections are the first that the router sees from a node; and both may be
/// away and come back in either order.
#[test]
fn the_agents_may_come_first() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let reflector = lab.start_bird1(&reflector_configuration()?)?;
    let mut agents = start_agents(&lab)?;
    applied(&mut agents)?;
    wait_up(&reflector, &FAIRLEAD)?;
    let mut calico: Vec<Bird> = (1..=3)
        .map(|node| start_calico(&lab, node))
        .collect::<Result<_>>()?;
    all_up(&lab, &reflector)?;

    for agent_first in [true, false] {
        for bird in &mut calico {
            bird.process().kill()?;
        }
        for agent in &mut agents {
            agent.process().kill()?;
        }
        if agent_first {
            agents.iter_mut().try_for_each(Agent::restart)?;
            wait_up(&reflector, &FAIRLEAD)?;
        }
        for (node, bird) in (1..=3).zip(&mut calico) {
            *bird = start_calico(&lab, node)?;
        }
        if !agent_first {
            wait_up(&reflector, &CALICO)?;
            agents.iter_mut().try_for_each(Agent::restart)?;
        }
        all_up(&lab, &reflector).with_context(|| format!("agents first: {agent_first}"))?;
    }
    Ok(())
}

/// The sessions of both are up, and stay.
fn all_up(lab: &Lab, reflector: &Bird1) -> Result<()> {
    wait_up(reflector, &CALICO)?;
    wait_up(reflector, &FAIRLEAD)?;
    wait_gateways(lab, &[1, 2, 3])?;
    let before = (since(reflector, &CALICO)?, since(reflector, &FAIRLEAD)?);
    // Longer than an agent needs to find another speaker.
    let until = Instant::now() + Duration::from_secs(4);
    wait_until(Duration::from_secs(5), "a while has passed", || {
        let now = (since(reflector, &CALICO)?, since(reflector, &FAIRLEAD)?);
        ensure!(now == before, "a session was begun anew");
        Ok((Instant::now() > until).then_some(()))
    })
}

fn reflector_configuration() -> Result<String> {
    let mut text = printed("calico-bird.conf", &ADDRESSES)?;
    let porter = printed("porterlb-bird.conf", &[("192.168.0.5", "10.0.0.1")])?;
    let (_, protocol) = porter.split_once("protocol bgp").context("no protocol")?;
    for node in 1..=3 {
        let protocol = protocol
            .replace("neighbor1", &format!("neighbor{node}"))
            .replace("192.168.0.2 ", &format!("10.0.0.1{node} "));
        text += &format!("\nprotocol bgp{protocol}");
    }
    Ok(text)
}

/// What Calico gives the BIRD of a node, in BIRD 2's syntax: a block of pods' addresses and one session.
fn start_calico(lab: &Lab, node: u8) -> Result<Bird> {
    let own = lab.node(node).addresses().v4;
    let text = format!(
        "router id {own};
log stderr all;
protocol device {{ scan time 2; }}
protocol static {{ ipv4; route 10.41.{node}.0/26 blackhole; }}
protocol bgp reflector {{
    local {own} as 63400;
    neighbor 10.0.0.1 as 63400;
    connect delay time 2;
    connect retry time 5;
    error wait time 5, 30;
    ipv4 {{ import all; export all; next hop self; add paths on; }};
}}
"
    );
    let namespace = Arc::clone(lab.node(node).namespace());
    lab.start_bird_from(&namespace, &format!("calico-node{node}"), &text)
}

fn start_agents(lab: &Lab) -> Result<Vec<Agent>> {
    let bgp = format!(
        "  asn: 50000
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{address: 10.0.0.1, asn: 50001}}
"
    );
    let services = lab.web_service("web", 1);
    let start = |node| {
        let yaml = lab.agent_configuration_with(node, &bgp, &services);
        lab.start_agent(node, &yaml, &AgentOptions::default())
    };
    (1..=3).map(start).collect()
}

fn wait_up(bird: &Bird1, protocols: &[&str]) -> Result<()> {
    wait_until(
        SESSION_LIMIT + SESSION_LIMIT,
        "sessions of the reflector",
        || since(bird, protocols).map(Some),
    )?;
    Ok(())
}

/// Since when each of these sessions is up; an error if one is not.
fn since(bird: &Bird1, protocols: &[&str]) -> Result<BTreeMap<String, String>> {
    let answer = bird.query("show protocols")?;
    let mut since = BTreeMap::new();
    for line in answer.lines().filter(|line| line.contains("Established")) {
        let words: Vec<_> = line.split_whitespace().collect();
        if let [name, _, _, _, when, ..] = words[..]
            && protocols.contains(&name)
        {
            since.insert(name.to_owned(), when.to_owned());
        }
    }
    ensure!(since.len() == protocols.len(), "{answer}");
    Ok(since)
}
