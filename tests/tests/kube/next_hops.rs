//! `nextHop: nodes`, the default: each node announces every node that delivers. Who that is, is told by Nodes and by what
//! the agents say of themselves in the API server; racks have a number of their own and keep to themselves. Judged by
//! what the router has received. Needs root.

use std::{collections::BTreeSet, net::IpAddr, process::Command, time::Duration};

use anyhow::{Result, ensure};
use lb_lab::{
    AGENT, Agent, ApiServer, Lab, Neighbour, Profile, Router, agent_binary, output, vip, wait_until,
};

use crate::cluster::{assign, speaking, start_agent, start_server, wait_announced, web};
use crate::fixture;

/// A status is written at most once in ten seconds.
const LIMIT: Duration = Duration::from_secs(20);

/// Waits until what a node has told the router leads to exactly these nodes.
fn wait_next_hops(lab: &Lab, router: &mut dyn Router, told_by: u8, nodes: &[u8]) -> Result<()> {
    let neighbour: IpAddr = lab.node(told_by).addresses().v4.into();
    let address = |node: &u8| IpAddr::from(lab.node(*node).addresses().v4);
    let wanted: BTreeSet<IpAddr> = nodes.iter().map(address).collect();
    let prefix = (vip(1).v4.into(), 32);
    let what = format!("next hops {nodes:?}");
    let routes = router.wait_routes(LIMIT, (neighbour, prefix), &what, |routes| {
        let hops: BTreeSet<IpAddr> = routes.iter().filter_map(|route| route.next_hop).collect();
        hops == wanted
    });
    routes.map(drop)
}

fn ready(server: &ApiServer, node: &str, is_ready: bool) -> Result<()> {
    let value = if is_ready { "True" } else { "False" };
    let condition = format!(
        "{{\"status\":{{\"conditions\":[{{\"type\":\"Ready\",\"status\":\"{value}\",\"reason\":\"Test\",\"message\":\"\"}}]}}}}"
    );
    fixture::patch_status(server, &format!("node/{node}"), &condition)
}

fn rack(lab: &Lab, node: u8, asn: u32) -> Neighbour {
    Neighbour {
        asn,
        ..Neighbour::of(lab.node(node))
    }
}

/// Takes an agent off its node, and the node out of the API server.
fn clean_up(lab: &Lab, server: &ApiServer, node: u8, mut agent: Agent) -> Result<String> {
    agent.process().kill()?;
    drop(agent);
    let mut cleanup = Command::new(agent_binary()?);
    cleanup.args(["cleanup", "--node-name", &lab.node(node).name()]);
    cleanup.arg("--kubeconfig").arg(server.kubeconfig(AGENT)?);
    output(lab.node(node).namespace(), cleanup)
}

#[test]
fn are_the_nodes_that_say_so_and_are_fit() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let mut bird = lab.start_bird()?;
    let server = start_server(&lab, "nodes")?;
    server.apply(&web(&lab))?;
    assign(&server)?;
    let mut agents = (1..=3)
        .map(|node| start_agent(&lab, &server, node))
        .collect::<Result<Vec<_>>>()?;
    agents.iter_mut().try_for_each(wait_announced)?;
    for node in 1..=3 {
        wait_next_hops(&lab, &mut bird, node, &[1, 2, 3])?;
    }

    ready(&server, "node3", false)?;
    wait_next_hops(&lab, &mut bird, 1, &[1, 2])?;
    // Of itself it is sure.
    wait_next_hops(&lab, &mut bird, 3, &[1, 2, 3])?;
    ready(&server, "node3", true)?;
    wait_next_hops(&lab, &mut bird, 1, &[1, 2, 3])?;

    server.kubectl(&["annotate", "node", "node2", "fairlead.io/drain=true"])?;
    wait_next_hops(&lab, &mut bird, 1, &[1, 3])?;
    server.kubectl(&["annotate", "node", "node2", "fairlead.io/drain-"])?;
    wait_next_hops(&lab, &mut bird, 1, &[1, 2, 3])?;

    let third = agents.remove(2);
    let said = clean_up(&lab, &server, 3, third)?;
    ensure!(
        said.contains("removed status of node3: BgpConf default, BgpPeer router"),
        "{said}"
    );
    ensure!(speaking(&server)? == ["node1", "node2"]);
    wait_next_hops(&lab, &mut bird, 1, &[1, 2])?;

    // Two racks, each with its own number.
    bird.configure(&[rack(&lab, 1, 65_011), rack(&lab, 2, 65_012)])?;
    for (node, leaf) in [("node1", "leaf1"), ("node2", "leaf2")] {
        let label = format!("openelb.kubesphere.io/rack={leaf}");
        server.kubectl(&["label", "node", node, &label])?;
    }
    let racks = "{\"spec\":{\"asPerRack\":{\"leaf1\":65011,\"leaf2\":65012}}}";
    server.kubectl(&["patch", "bgpconf", "default", "--type=merge", "-p", racks])?;
    wait_next_hops(&lab, &mut bird, 1, &[1])?;
    wait_next_hops(&lab, &mut bird, 2, &[2])?;
    wait_until(LIMIT, "the nodes tell their numbers", || {
        let status = crate::cluster::status(&server, "bgpconf", "default")?;
        let asn = |node: &str| status["nodesConfStatus"][node]["as"].as_u64();
        ensure!(
            (asn("node1"), asn("node2")) == (Some(65_011), Some(65_012)),
            "{status}"
        );
        Ok(Some(()))
    })
}
