//! Layer 2 on a switch that snoops multicast and asks who listens: a VIP is resolved by ARP and Neighbour Discovery, with
//! and without a living agent, and only as long as its node owns it. Needs root.

use std::{net::IpAddr, process::Command, time::Duration};

use anyhow::{Result, ensure};
use fairlead_tests::{
    steered::{SILENCE, SOON, Steered},
    steering::{datagrams_are_answered, requests_are_answered},
};
use lb_lab::{
    AgentOptions, FrameSocket, Lab, Namespace, Netlink, Profile, UPLINK, output, router_link,
    topology::node_mac, vip, wait_until,
};

const HOLD_TIME_S: u16 = 9;
/// The switch asks every second, and forgets who has been silent for two. It floods what it does not know for one response
/// interval after it begins to ask, so that comes last.
const SNOOPING: &str = "ip link set br0 type bridge mcast_snooping 1 mcast_query_interval 100 \
     mcast_query_response_interval 20 mcast_startup_query_interval 100 mcast_membership_interval 200
     ip link set br0 type bridge mcast_querier 1";
const REPORTS_HEARD_FOR: Duration = Duration::from_secs(5);

#[test]
fn a_vip_is_resolved_without_an_agent_behind_a_snooping_switch() -> Result<()> {
    let mut steered = start()?;
    for target in Steered::targets() {
        requests_are_answered(&steered, target, 20_000..20_100)?;
        datagrams_are_answered(&steered, target, 20_000..20_020)?;
    }
    is_at_node_1(&steered.lab)?;
    steered.agent(1).process().kill()?;
    node_1_goes_on_reporting(&steered.lab)?;
    forget_neighbours(&steered.lab)?;
    for target in Steered::targets() {
        requests_are_answered(&steered, target, 21_000..21_100)?;
    }
    is_at_node_1(&steered.lab)?;
    whose_is_no_longer_owned(&mut steered)
}

/// Three agents, of which node 1's owns the VIPs of `default/web`; to the router, these are on the LAN.
fn start() -> Result<Steered> {
    let lab = Lab::build(&Profile::default())?;
    sh(lab.switch_namespace(), SNOOPING)?;
    let link = router_link(0);
    lab.router_namespace().run(|| {
        let mut netlink = Netlink::open()?;
        for address in vip(1).both() {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            netlink.add_link_route((address, bits), &link)?;
        }
        Ok(())
    })?;
    let owned = vip(1);
    let start = |node| {
        let owns = match node {
            1 => format!("{}, \"{}\"", owned.v4, owned.v6),
            _ => String::new(),
        };
        lab.start_agent(
            node,
            &configuration(&lab, node, &owns),
            &AgentOptions::default(),
        )
    };
    let agents = (1..=3).map(start).collect::<Result<_>>()?;
    let mut steered = Steered { agents, lab };
    steered.wait_applied(4)?;
    steered.wait_resolved()?;
    steered
        .agent(1)
        .wait_for(SOON, "services", "the VIPs are answered for", |shown| {
            let rows = shown["rows"].as_array();
            rows.is_some_and(|rows| rows.iter().all(|row| row["announced_to"][0] == UPLINK))
        })?;
    wait_until(SOON, "the switch knows the group", || {
        Ok(group_is_known(&steered.lab)?.then_some(()))
    })?;
    Ok(steered)
}

fn configuration(lab: &Lab, node: u8, owns: &str) -> String {
    let services = lab.web_service("web", 1);
    let services = services.replace("    ports:\n", "    announce: layer2\n    ports:\n");
    let yaml = lab.agent_configuration(node, HOLD_TIME_S, &services);
    let section = format!("layer2: {{interfaces: [{UPLINK}], owns: [{owns}]}}\nservices:\n");
    yaml.replace("services:\n", &section)
}

/// What the router has found out by ARP and Neighbour Discovery.
fn is_at_node_1(lab: &Lab) -> Result<()> {
    let mac = node_mac(1).map(|byte| format!("{byte:02x}")).join(":");
    for address in vip(1).both() {
        let entry = neighbour(lab, address)?;
        ensure!(entry.contains(&mac), "{address}: {entry}");
    }
    Ok(())
}

/// Whoever is asked and does not answer is forgotten: node 1's kernel answers for it.
fn node_1_goes_on_reporting(lab: &Lab) -> Result<()> {
    let uplink = FrameSocket::open(lab.node(1).namespace(), UPLINK)?;
    for number in 1..=3 {
        let report = uplink.receive(REPORTS_HEARD_FOR, is_report_of_the_group)?;
        ensure!(
            report.is_some(),
            "no report number {number} after the agent's end"
        );
    }
    ensure!(group_is_known(lab)?, "the switch has forgotten the group");
    Ok(())
}

/// With the group left and forgotten, nobody gets the question, and nobody answers ARP either.
fn whose_is_no_longer_owned(steered: &mut Steered) -> Result<()> {
    let yaml = configuration(&steered.lab, 1, "");
    steered.agent(1).edit(&yaml)?;
    steered.agent(1).restart()?;
    wait_until(SOON, "the switch forgets the group", || {
        Ok((!group_is_known(&steered.lab)?).then_some(()))
    })?;
    forget_neighbours(&steered.lab)?;
    let uplink = FrameSocket::open(steered.lab.node(1).namespace(), UPLINK)?;
    for target in Steered::targets() {
        let answered = steered.lab.client().udp(target, 22_000, 10, SILENCE);
        ensure!(answered.is_err(), "{target} is still answered for");
    }
    let asked = uplink.receive(SILENCE, is_question_for_the_vip)?;
    ensure!(
        asked.is_none(),
        "the switch still sends what is for the group"
    );
    Ok(())
}

fn group_is_known(lab: &Lab) -> Result<bool> {
    let known = sh(lab.switch_namespace(), "bridge mdb show dev br0")?;
    Ok(known
        .lines()
        .any(|line| line.contains("port node1 ") && line.contains("grp ff02::1:ff00:1 ")))
}

fn neighbour(lab: &Lab, address: IpAddr) -> Result<String> {
    sh(
        lab.router_namespace(),
        &format!("ip neighbour show to {address}"),
    )
}

fn forget_neighbours(lab: &Lab) -> Result<()> {
    let link = router_link(0);
    sh(
        lab.router_namespace(),
        &format!("ip neighbour flush dev {link}"),
    )
    .map(drop)
}

/// A report by MLD (RFC 2710, RFC 3810) with the solicited-node group of the VIP, behind a hop-by-hop option.
fn is_report_of_the_group(frame: &[u8]) -> bool {
    const REPORTS: [u8; 2] = [131, 143];
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1];
    frame.get(12..14) == Some(&[0x86, 0xdd])
        && frame.get(62).is_some_and(|kind| REPORTS.contains(kind))
        && frame.windows(16).any(|window| window == group)
}

/// A Neighbour Solicitation for the VIP; the router's own address has the same group.
fn is_question_for_the_vip(frame: &[u8]) -> bool {
    const SOLICITATION: u8 = 135;
    frame.get(54) == Some(&SOLICITATION) && frame.get(62..78) == Some(&vip(1).v6.octets())
}

fn sh(namespace: &Namespace, script: &str) -> Result<String> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    output(namespace, command)
}
