//! A peer that announces far more than anybody asked for: the agent counts and drops it in constant memory, and no session
//! suffers.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{Agent, AgentOptions, Lab, NODE_BGP_PORT, Namespace, Profile, wait_until};

use crate::{
    cells::{SESSION_LIMIT, SOON},
    scripted::{Restart, Script, Session},
};

/// What an agent's resident memory may grow by.
const GROWTH_KIB_MAX: u64 = 16 * 1024;
/// The router's and its neighbour's AS numbers; both speak from the router's namespace.
const ASN: u16 = 65_001;

#[test]
fn routes_of_peers_cost_no_memory() -> Result<()> {
    flood(20_000)
}

#[test]
#[ignore = "soak: a full table"]
fn a_full_table_costs_no_memory() -> Result<()> {
    flood(1_000_000)
}

fn flood(routes: u32) -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let router = lab.node(1).router();
    let bgp = format!(
        "  asn: 65000
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{address: {}, asn: {ASN}, port: 1790, holdTime: 90s}}
    - {{address: \"{}\", asn: {ASN}, port: 1790, holdTime: 90s}}
",
        router.v4, router.v6
    );
    let services = lab.web_service("web", 1);
    let yaml = lab.agent_configuration_with(1, &bgp, &services);
    let mut agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;

    let script = Script {
        asn: ASN,
        address: router.v4,
        restart: None::<Restart>,
    };
    let node = lab.node(1).addresses();
    let dial = |address| -> Result<Session> {
        let to = SocketAddr::new(address, NODE_BGP_PORT);
        script.connect(lab.router_namespace(), to, SESSION_LIMIT)
    };
    let _bystander = dial(node.v6.into())?;
    let mut flooder = dial(node.v4.into())?;
    let before = both_established(&mut agent)?;
    let memory = resident_kib(&agent)?;

    let hosts: Vec<_> = (0..routes)
        .map(|number| Ipv4Addr::from_bits(u32::from_be_bytes([20, 0, 0, 0]) + number))
        .collect();
    script.announce(&mut flooder, &hosts)?;
    flooder.end_of_rib()?;
    wait_until(10 * SOON, "the agent has read everything", || {
        let (_, unread) = queued_octets(lab.node(1).namespace())?;
        let (unsent, _) = queued_octets(lab.router_namespace())?;
        ensure!(
            unread + unsent == 0,
            "{unread} octets unread, {unsent} unsent"
        );
        Ok(Some(()))
    })?;

    let grown = resident_kib(&agent)?.saturating_sub(memory);
    println!("{routes} routes: resident memory grew by {grown} KiB");
    ensure!(grown <= GROWTH_KIB_MAX, "grew by {grown} KiB");
    ensure!(
        both_established(&mut agent)? == before,
        "a session was begun anew"
    );
    Ok(())
}

/// Waits until both sessions are established and says since when.
pub(crate) fn both_established(agent: &mut Agent) -> Result<Vec<String>> {
    let shown = agent.wait_for(SESSION_LIMIT, "bgp", "both sessions are up", |shown| {
        let rows = shown["rows"].as_array();
        rows.is_some_and(|rows| {
            rows.len() == 2 && rows.iter().all(|row| row["state"] == "Established")
        })
    })?;
    let rows = shown["rows"].as_array().context("no rows")?;
    Ok(rows.iter().map(|row| row["since"].to_string()).collect())
}

/// `VmRSS` of proc(5).
fn resident_kib(agent: &Agent) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse()?)
}

/// What a namespace's IPv4 connections have still to send, and to read (`/proc/net/tcp`, fifth field).
fn queued_octets(namespace: &Namespace) -> Result<(u64, u64)> {
    let read = || Ok(fs::read_to_string("/proc/thread-self/net/tcp")?);
    let table = namespace.run(read)?;
    let queues = table.lines().skip(1).filter_map(|line| {
        let (to_send, to_read) = line.split_whitespace().nth(4)?.split_once(':')?;
        let octets = |hex| u64::from_str_radix(hex, 16).ok();
        Some((octets(to_send)?, octets(to_read)?))
    });
    Ok(queues.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)))
}
