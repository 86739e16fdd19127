//! Many VIPs to many peers: all of them are told all, in few messages, and nothing once nothing changes. How long it takes is
//! for `cargo xtask bench bgp` to say.

use std::{fs, net::IpAddr, time::Duration};

use anyhow::{Result, ensure};
use lb_lab::{
    Agent, AgentOptions, Lab, NODE_BGP_PORT, Netlink, Pair, Profile, ROUTER_ASN, Sinks, UPLINK,
    router_link, wait_until,
};

use crate::cells::{SESSION_LIMIT, SOON};

const PEERS: u8 = 16;
const VIPS: u16 = 1000;
/// Where the peers listen.
const PORT: u16 = 1790;
/// UPDATEs that a peer may be told a thousand routes by: 800 fit into one, and the data path takes them in batches.
const UPDATES_MAX: u64 = 50;

#[test]
fn a_thousand_vips_go_to_sixteen_peers_once() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let peers = peers(&lab)?;
    let sinks = Sinks::listen(lab.router_namespace(), PORT, u16::try_from(ROUTER_ASN)?)?;
    let yaml = configuration(&lab, &peers, VIPS);
    let mut agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    let heard = sinks.wait_routes(SESSION_LIMIT, &peers, VIPS.into())?;
    for heard in &heard {
        ensure!(heard.announced == u64::from(VIPS), "told twice: {heard:?}");
        ensure!(heard.updates <= UPDATES_MAX, "too many messages: {heard:?}");
    }

    // The same once more: the agent plans, and has nothing to say.
    let before = updates(&sinks, &mut agent, &peers)?;
    agent.edit(&format!("{yaml}# the same\n"))?;
    let log = agent.process().log().to_owned();
    wait_until(SOON, "the agent has read its file", || {
        let read = fs::read_to_string(&log)?.contains("was edited and is in force");
        Ok(read.then_some(()))
    })?;
    // What it would have sent for that comes before what it sends for this.
    agent.edit(&configuration(&lab, &peers, VIPS - 1))?;
    wait_until(SOON, "one route is withdrawn", || {
        let withdrawn = peers
            .iter()
            .map(|peer| sinks.heard(*peer).map(|h| h.withdrawn));
        let withdrawn: Vec<_> = withdrawn.collect();
        ensure!(
            withdrawn.iter().all(|count| *count == Some(1)),
            "{withdrawn:?}"
        );
        Ok(Some(()))
    })?;
    let after = updates(&sinks, &mut agent, &peers)?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(after - before == 1, "{} UPDATEs", after - before);
    }
    Ok(())
}

/// Gives the router as many addresses as there shall be peers.
fn peers(lab: &Lab) -> Result<Vec<IpAddr>> {
    let peers: Vec<_> = (0..PEERS)
        .map(|peer| IpAddr::from([10, 0, 0, 101 + peer]))
        .collect();
    lab.router_namespace().run(|| {
        let mut netlink = Netlink::open()?;
        for peer in &peers {
            netlink.add_address(&router_link(0), (*peer, 32))?;
        }
        Ok(())
    })?;
    Ok(peers)
}

/// UPDATEs that each peer has had, which is what the agent says of them too.
fn updates(sinks: &Sinks, agent: &mut Agent, peers: &[IpAddr]) -> Result<Vec<u64>> {
    let counted = |address: &IpAddr| sinks.heard(*address).map_or(0, |heard| heard.updates);
    let heard: Vec<u64> = peers.iter().map(counted).collect();
    // Its figures are told once a second.
    agent.wait_for(Duration::from_secs(5), "bgp", "the same counts", |shown| {
        let rows = shown["rows"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let sent = rows.iter().filter_map(|row| row["updates_sent"].as_u64());
        sent.collect::<Vec<_>>() == heard
    })?;
    Ok(heard)
}

fn configuration(lab: &Lab, peers: &[IpAddr], vips: u16) -> String {
    let Pair { v4, .. } = lab.node(1).addresses();
    let peers: String = peers
        .iter()
        .map(|peer| {
            format!("    - {{address: {peer}, asn: {ROUTER_ASN}, port: {PORT}, holdTime: 90s}}\n")
        })
        .collect();
    let services: String = (0..vips).map(service).collect();
    format!(
        "node: {{name: node1, uplinks: [{UPLINK}]}}
nodes:
  - {{name: node1, addresses: [{v4}]}}
bgp:
  asn: 65000
  listenPort: {NODE_BGP_PORT}
  peers:
{peers}services:
{services}"
    )
}

fn service(number: u16) -> String {
    let [high, low] = number.to_be_bytes();
    format!(
        "  - name: default/s{number}
    addresses: [10.98.{high}.{low}]
    ports: [{{name: http, port: 80}}]
    endpoints:
      - {{address: 10.1.1.2, node: node1, ports: {{http: 8080}}}}
"
    )
}
