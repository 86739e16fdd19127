//! A packet for no VIP of ours enters a node once: it does not go round between the router, which has a route for the
//! whole pool, and the node, whose default route leads to the router. Counted at the uplink. Needs root.

use std::{net::IpAddr, process::Command};

use anyhow::{Result, ensure};
use fairlead_tests::{
    steered::{SILENCE, SOON},
    steering::{datagram, is_for},
};
use lb_lab::{
    Agent, AgentOptions, FrameSocket, Lab, Profile, UPLINK, VIP_PORT, agent_binary, output,
    router_link,
    topology::{node_mac, router_mac},
    vip, wait_until,
};

const HOLD_TIME_S: u16 = 9;
const POOLS: &str = "dataplane: {pools: [10.99.0.0/24, \"fd99::/64\"]}\nservices:\n";
/// More than this often, and it is no accident that a packet is seen.
const ROUND_AND_ROUND: usize = 8;

#[test]
fn what_is_for_no_vip_of_a_pool_enters_once() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    for (pool, bits) in [(vip(0).v4.into(), 24), (vip(0).v6.into(), 64)] {
        lab.route_by_nodes((pool, bits), &[1])?;
    }
    let yaml = lab.agent_configuration(1, HOLD_TIME_S, &lab.web_service("web", 1));
    let mut agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    wait_for_rules(&lab, &mut agent, "lookup 6080")?;
    for unknown in vip(77).both() {
        let seen = times_seen(&lab, unknown)?;
        ensure!(
            seen >= ROUND_AND_ROUND,
            "without a pool, seen {seen} times only"
        );
    }
    agent.edit(&yaml.replace("services:\n", POOLS))?;
    wait_for_routes(&lab, "unreachable 10.99.0.0/24", "unreachable fd99::/64")?;
    for unknown in vip(77).both() {
        ensure!(
            times_seen(&lab, unknown)? == 1,
            "{unknown} does not enter once"
        );
    }
    agent.process().kill()?;
    ip(&lab, "rm /sys/fs/bpf/fairlead/v1/links/*")?;
    for known in vip(1).both() {
        ensure!(times_seen(&lab, known)? == 1, "{known}, without a program");
    }
    nothing_is_left_after_cleanup(&lab)
}

fn nothing_is_left_after_cleanup(lab: &Lab) -> Result<()> {
    let mut cleanup = Command::new(agent_binary()?);
    cleanup.arg("cleanup");
    let removed = output(lab.node(1).namespace(), cleanup)?;
    ensure!(
        removed.contains("rule from all iif eth0 lookup 6080"),
        "{removed}"
    );
    let left = ip(
        lab,
        "ip rule; ip -6 rule; ip route show table all proto 108; ip -6 route show table all proto 108; \
         ip neighbour show | grep 'proto 108' || true",
    )?;
    ensure!(!left.contains("6080") && !left.contains("108"), "{left}");
    Ok(())
}

/// How often a datagram for an address passes the node's uplink, in or out.
fn times_seen(lab: &Lab, address: IpAddr) -> Result<usize> {
    let uplink = FrameSocket::open(lab.node(1).namespace(), UPLINK)?;
    let lan = FrameSocket::open(lab.router_namespace(), &router_link(0))?;
    let target = (address, VIP_PORT).into();
    lan.send(&datagram(router_mac(0), node_mac(1), 27_000, target))?;
    let mut seen = 0;
    while seen < ROUND_AND_ROUND
        && uplink
            .receive(SILENCE, |frame| is_for(frame, address))?
            .is_some()
    {
        seen += 1;
    }
    Ok(seen)
}

fn wait_for_rules(lab: &Lab, agent: &mut Agent, wanted: &str) -> Result<()> {
    let waited = wait_until(SOON, "the rules", || {
        let rules = ip(lab, "ip rule; ip -6 rule")?;
        ensure!(rules.matches(wanted).count() == 2, "{rules}");
        Ok(Some(()))
    });
    waited.map_err(|error| agent.process().failure(&error))
}

fn wait_for_routes(lab: &Lab, v4: &str, v6: &str) -> Result<()> {
    wait_until(SOON, "the routes", || {
        let routes = ip(lab, "ip route show table 6080; ip -6 route show table 6080")?;
        ensure!(routes.contains(v4) && routes.contains(v6), "{routes}");
        Ok(Some(()))
    })
}

fn ip(lab: &Lab, script: &str) -> Result<String> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    output(lab.node(1).namespace(), command)
}
