//! Routers configured as manuals print it, in `tests/manuals/`, with the lab's addresses in place of the manuals' and
//! nothing else changed; the agents are given what those manuals' YAML says.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{
    Agent, AgentOptions, Bird, Lab, NODE_BGP_PORT, Profile, Segments, VIP_PORT, failures, vip,
    wait_until,
};

use crate::cells::SESSION_LIMIT;

/// PorterLB's manual: the router, and the node that it dials.
const PORTER_ADDRESSES: [(&str, &str); 2] =
    [("192.168.0.5", "10.0.0.1"), ("192.168.0.2", "10.0.0.11")];

#[test]
fn porterlb_with_bird_1_6() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let text = printed("porterlb-bird.conf", &PORTER_ADDRESSES)?;
    let _bird = lab.start_bird1(&text)?;
    one_session_brings_all_nodes(&lab)
}

#[test]
fn porterlb_with_bird_2() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let text = printed("porterlb-bird2.conf", &PORTER_ADDRESSES)?;
    let _bird = lab.start_bird_from(lab.router_namespace(), "bird", &text)?;
    one_session_brings_all_nodes(&lab)
}

/// The router dials one node, and its kernel spreads over all of them.
fn one_session_brings_all_nodes(lab: &Lab) -> Result<()> {
    let bgp = |peers: &str| {
        format!(
            "  asn: 50000\n  listenPort: {NODE_BGP_PORT}\n  routerId: 10.0.0.11\n  peers:{peers}\n"
        )
    };
    let speaks = bgp("\n    - {address: 10.0.0.1, asn: 50001, nextHop: nodes}");
    let services = lab.web_service("web", 1);
    let mut agents = Vec::new();
    for node in 1..=3 {
        let section = if node == 1 {
            &speaks
        } else {
            &without_bgp_peers(node)
        };
        let yaml = lab.agent_configuration_with(node, section, &services);
        agents.push(lab.start_agent(node, &yaml, &AgentOptions::default())?);
    }
    applied(&mut agents)?;
    wait_gateways(lab, &[1, 2, 3])?;
    requests_are_answered(lab)
}

/// Two racks, each with a leaf of its own; the nodes' labels choose the leaf that they speak to.
#[test]
fn porterlb_in_two_racks() -> Result<()> {
    let lab = Lab::build(&Profile {
        segments: Segments::Node3Routed,
        ..Profile::default()
    })?;
    // Both leaves are on the lab's one router, each with its own address and its own table in the kernel.
    let leaf1 = leaf(&lab, "leaf1", "10.0.0.1", &[1])?;
    let leaf2 = leaf(&lab, "leaf2", "10.0.1.1", &[3])?;
    let bgp = format!(
        "  asn: 50000
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{address: 10.0.0.1, asn: 50001, nextHop: nodes, nodeSelector: {{porter.kubesphere.io/rack: leaf1}}}}
    - {{address: 10.0.1.1, asn: 50001, nextHop: nodes, nodeSelector: {{porter.kubesphere.io/rack: leaf2}}}}
"
    );
    let services = lab.web_service("web", 1);
    let mut agents = Vec::new();
    for node in 1..=3 {
        let yaml = lab.agent_configuration_with(node, &bgp, &services);
        let yaml = labelled(&yaml, &[("node1", "leaf1"), ("node3", "leaf2")]);
        agents.push(lab.start_agent(node, &yaml, &AgentOptions::default())?);
    }
    applied(&mut agents)?;
    wait_next_hops(&leaf1, &["10.0.0.11", "10.0.0.12"])?;
    wait_next_hops(&leaf2, &["10.0.1.13"])?;
    // A node without the label of a rack speaks to none.
    let shown = agents[1].show("bgp")?;
    ensure!(
        shown["rows"].as_array().is_some_and(Vec::is_empty),
        "{shown}"
    );
    Ok(())
}

/// A leaf that dials nodes as in [`PORTER_ADDRESSES`]' manual.
fn leaf(lab: &Lab, name: &str, address: &str, nodes: &[u8]) -> Result<Bird> {
    let text = printed("porterlb-bird2.conf", &[])?;
    let (head, protocol) = text
        .split_once("protocol bgp")
        .context("no protocol in the manual's file")?;
    let table = if name == "leaf1" { 101 } else { 102 };
    let mut text = head.replace("192.168.0.5", address).replace(
        "scan time 60;",
        &format!("scan time 60; kernel table {table};"),
    );
    for &node in nodes {
        let neighbour = lab.node(node).addresses().v4.to_string();
        let protocol = protocol
            .replace("neighbor1", &lab.node(node).name())
            .replace("192.168.0.5;", &format!("{address}; strict bind on;"))
            .replace("192.168.0.2", &neighbour);
        text += &format!("protocol bgp{protocol}");
    }
    lab.start_bird_from(lab.router_namespace(), name, &text)
}

/// MetalLB's article: the commands typed into Quagga's vty, here FRR's; its routers are dialled by the nodes.
#[test]
fn metallb_with_quaggas_commands() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let addresses = [("192.168.1.5", "10.0.0.11"), ("192.168.1.6", "10.0.0.12")];
    let commands = printed("metallb-quagga.conf", &addresses)?;
    let _frr = lab.start_frr_from(&commands, &[])?;
    let bgp = format!(
        "  asn: 65001
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{address: 10.0.0.1, asn: 65000}}
"
    );
    let services = lab.web_service("web", 1);
    let mut agents = Vec::new();
    for node in 1..=3 {
        let section = if node == 3 {
            &without_bgp_peers(3)
        } else {
            &bgp
        };
        let yaml = lab.agent_configuration_with(node, section, &services);
        agents.push(lab.start_agent(node, &yaml, &AgentOptions::default())?);
    }
    applied(&mut agents)?;
    wait_gateways(&lab, &[1, 2])?;
    requests_are_answered(&lab)
}

/// A file of `tests/manuals/` with other addresses.
pub(crate) fn printed(file: &str, addresses: &[(&str, &str)]) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("manuals")
        .join(file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let replace = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    Ok(addresses.iter().fold(text, replace))
}

/// The section `bgp` of a node that announces nothing itself.
fn without_bgp_peers(node: u8) -> String {
    format!(
        "  asn: 50000\n  listenPort: {NODE_BGP_PORT}\n  routerId: 10.0.0.1{node}\n  peers: []\n"
    )
}

/// The configuration with the label of a rack on some of its nodes.
fn labelled(yaml: &str, racks: &[(&str, &str)]) -> String {
    let label = |yaml: String, (node, rack): &(&str, &str)| {
        let name = format!("  - {{name: {node}, ");
        let labels = format!("labels: {{porter.kubesphere.io/rack: {rack}}}, ");
        yaml.replace(&name, &format!("{name}{labels}"))
    };
    racks.iter().fold(yaml.to_owned(), label)
}

/// Waits until every agent's data path holds the service.
pub(crate) fn applied(agents: &mut [Agent]) -> Result<()> {
    for agent in agents {
        agent.wait_for(SESSION_LIMIT, "services", "services are applied", |shown| {
            let rows = shown["rows"].as_array();
            rows.is_some_and(|rows| {
                rows.len() == 4 && rows.iter().all(|row| row["applied"] == true)
            })
        })?;
    }
    Ok(())
}

/// Waits until the router's kernel sends the IPv4 VIP to exactly these nodes.
pub(crate) fn wait_gateways(lab: &Lab, nodes: &[u8]) -> Result<()> {
    let address = |&node: &u8| IpAddr::from(lab.node(node).addresses().v4);
    let expected: Vec<_> = nodes.iter().map(address).collect();
    wait_until(SESSION_LIMIT, "the router's routes", || {
        let gateways = lab.router_gateways((vip(1).v4.into(), 32))?;
        ensure!(gateways == expected, "{gateways:?}");
        Ok(Some(()))
    })
}

fn wait_next_hops(leaf: &Bird, next_hops: &[&str]) -> Result<()> {
    let vip = vip(1).v4;
    wait_until(SESSION_LIMIT, "the leaf's next hops", || {
        let answer = leaf.query(&format!("show route for {vip} all"))?;
        let lines = answer.lines();
        let mut seen: Vec<_> = lines
            .filter_map(|line| line.trim().strip_prefix("BGP.next_hop: "))
            .collect();
        seen.sort_unstable();
        ensure!(seen == next_hops, "{answer}");
        Ok(Some(()))
    })
}

fn requests_are_answered(lab: &Lab) -> Result<()> {
    let target = (vip(1).v4, VIP_PORT).into();
    let records = lab.client().http_from_ports(target, 20_000..20_060, 8)?;
    let failed = failures(&records);
    ensure!(failed.is_empty(), "{failed:?}");
    Ok(())
}
