//! `externalTrafficPolicy: Local` behind a real router: only nodes with an endpoint attract packets, each keeps what it
//! gets, and the routes follow the endpoints.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::steered::{Steered, node_of};
use lb_lab::{Agent, AgentOptions, Lab, Profile, failures, vip, wait_until};

use crate::cells::{SESSION_LIMIT, SOON};

/// Nodes that have endpoints, one after another.
const STEPS: [&[u8]; 3] = [&[1, 2], &[2], &[2, 3]];
const CONCURRENT: usize = 8;

#[test]
fn only_nodes_with_endpoints_attract_packets() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let _bird = lab.start_bird()?;
    let configuration = |node, nodes| lab.agent_configuration(node, 9, &service(&lab, nodes));
    let start = |node| {
        let yaml = configuration(node, STEPS[0]);
        lab.start_agent(node, &yaml, &AgentOptions::default())
    };
    let agents: Vec<Agent> = (1..=3).map(start).collect::<Result<_>>()?;
    for (number, nodes) in STEPS.into_iter().enumerate() {
        for (node, agent) in (1..).zip(&agents) {
            agent.edit(&configuration(node, nodes))?;
        }
        let limit = if number == 0 { SESSION_LIMIT } else { SOON };
        for address in vip(1).both() {
            let expected: BTreeSet<_> = nodes.iter().copied().collect();
            wait_until(
                limit,
                "the routes are those to the endpoints' nodes",
                || {
                    let have = gateways(&lab, address)?;
                    ensure!(have == expected, "{have:?}, not {expected:?}");
                    Ok(Some(()))
                },
            )?;
        }
        stays_where_it_comes(&lab, nodes).with_context(|| format!("endpoints on {nodes:?}"))?;
    }
    Ok(())
}

/// `default/web` with endpoints on these nodes alone.
fn service(lab: &Lab, nodes: &[u8]) -> String {
    let text = lab.web_service("web", 1);
    let is_kept = |line: &&str| {
        let is_there = |node: &u8| line.contains(&format!("node: node{node},"));
        !line.contains("- {address: ") || nodes.iter().any(is_there)
    };
    let lines = text.lines().filter(is_kept).map(|line| format!("{line}\n"));
    let text: String = lines.collect();
    text.replacen(
        "    ports:\n",
        "    externalTrafficPolicy: Local\n    ports:\n",
        1,
    )
}

/// Nodes that the router sends to.
fn gateways(lab: &Lab, address: IpAddr) -> Result<BTreeSet<u8>> {
    let prefix_len = if address.is_ipv4() { 32 } else { 128 };
    let gateways = lab.router_gateways((address, prefix_len))?;
    let node_of = |gateway: &IpAddr| {
        let mut nodes = lab.nodes();
        let node = nodes.find(|node| node.addresses().both().contains(gateway));
        node.map(|node| node.number())
            .with_context(|| format!("{gateway} is no node's"))
    };
    gateways.iter().map(node_of).collect()
}

fn stays_where_it_comes(lab: &Lab, nodes: &[u8]) -> Result<()> {
    for target in Steered::targets() {
        let records = lab
            .client()
            .http_from_ports(target, 20_000..20_060, CONCURRENT)?;
        let failed = failures(&records);
        ensure!(failed.is_empty(), "{} failed: {}", failed.len(), failed[0]);
        for record in &records {
            ensure!(record.address_kept(), "{record:?}");
            let pod = &record.result.as_ref().expect("none failed").pod;
            ensure!(nodes.contains(&node_of(pod)?), "{pod} answered");
        }
    }
    Ok(())
}
