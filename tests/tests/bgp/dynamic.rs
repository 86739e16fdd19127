//! Routers that name no neighbour but take whoever dials from the nodes' network: the agents dial, from all nodes alike.

use anyhow::Result;
use lb_lab::{Agent, AgentOptions, Lab, NODE_ASN, NODE_BGP_PORT, Profile, ROUTER_ASN};

use crate::manuals::{applied, wait_gateways};

#[test]
fn frrs_listen_range_takes_the_nodes() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let commands = format!(
        "router bgp {ROUTER_ASN}
 bgp router-id 198.51.100.1
 no bgp ebgp-requires-policy
 neighbor nodes peer-group
 neighbor nodes remote-as {NODE_ASN}
 bgp listen range 10.0.0.0/24 peer-group nodes
"
    );
    let _frr = lab.start_frr_from(&commands, &[])?;
    all_nodes_are_gateways(&lab)
}

#[test]
fn birds_neighbour_range_takes_the_nodes() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let text = format!(
        "router id 198.51.100.1;
log stderr all;
protocol device {{ scan time 1; }}
protocol kernel {{ ipv4 {{ import none; export all; }}; merge paths on; }}
protocol bgp nodes {{
    local 10.0.0.1 as {ROUTER_ASN};
    neighbor range 10.0.0.0/24 as {NODE_ASN};
    dynamic name \"node\";
    ipv4 {{ import all; export none; }};
}}
"
    );
    let _bird = lab.start_bird_from(lab.router_namespace(), "bird", &text)?;
    all_nodes_are_gateways(&lab)
}

fn all_nodes_are_gateways(lab: &Lab) -> Result<()> {
    let bgp = format!(
        "  asn: {NODE_ASN}
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{address: 10.0.0.1, asn: {ROUTER_ASN}, connectRetry: 1s}}
"
    );
    let services = lab.web_service("web", 1);
    let start = |node| {
        let yaml = lab.agent_configuration_with(node, &bgp, &services);
        lab.start_agent(node, &yaml, &AgentOptions::default())
    };
    let mut agents = (1..=3).map(start).collect::<Result<Vec<Agent>>>()?;
    applied(&mut agents)?;
    wait_gateways(lab, &[1, 2, 3])
}
