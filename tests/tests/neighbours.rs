//! The ways between nodes as an agent keeps them: resolved without any traffic, by entries that the kernel manages and
//! that bear the agent's mark; a node that goes is told, and what is no longer wanted is taken away. Needs root.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use lb_lab::{Agent, AgentOptions, Lab, Profile, Segments, UPLINK, node_name, output};
use serde_json::Value;

/// What makes the kernel doubt and probe within a second or two; by default it takes the best part of a minute.
const IMPATIENT: [(&str, &str); 4] = [
    ("base_reachable_time_ms", "1000"),
    ("delay_first_probe_time", "1"),
    ("retrans_time_ms", "200"),
    ("interval_probe_time_ms", "500"),
];
const SOON: Duration = Duration::from_secs(30);
const HOLD_TIME_S: u16 = 9;

#[test]
fn ways_follow_nodes_links_and_the_file() -> Result<()> {
    let lab = Lab::build(&Profile {
        segments: Segments::Node3Routed,
        ..Profile::default()
    })?;
    lab.node(1).namespace().run(|| {
        for family in ["ipv4", "ipv6"] {
            for (setting, value) in IMPATIENT {
                let path = format!("/proc/sys/net/{family}/neigh/{UPLINK}/{setting}");
                fs::write(path, value)?;
            }
        }
        Ok(())
    })?;
    let yaml = lab.agent_configuration(1, HOLD_TIME_S, &lab.web_service("web", 1));
    let mut agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    agent.wait_for(SOON, "nodes", "both ways resolved", |shown| {
        way(shown, 2, "direct").is_some_and(is_resolved)
            && way(shown, 3, "gue").is_some_and(is_resolved)
    })?;
    entries_are_managed_and_marked(&lab)?;
    a_node_that_goes_is_told(&lab, &mut agent)?;
    what_is_not_wanted_is_taken_away(&lab, &mut agent, &yaml)
}

fn entries_are_managed_and_marked(lab: &Lab) -> Result<()> {
    let entries = entries(lab)?;
    for next_hop in [lab.node(2).addresses().v4, lab.node(1).router().v4] {
        let start = format!("{next_hop} ");
        let entry = entries.lines().find(|line| line.starts_with(&start));
        ensure!(
            entry.is_some_and(|entry| entry.contains("managed") && entry.contains("proto 108")),
            "{next_hop} in {entries}"
        );
    }
    Ok(())
}

fn a_node_that_goes_is_told(lab: &Lab, agent: &mut Agent) -> Result<()> {
    lab.node(2).set_plugged(false)?;
    agent.wait_for(SOON, "nodes", "no MAC of node 2", |shown| {
        way(shown, 2, "direct").is_some_and(|way| way["mac"].is_null())
    })?;
    lab.node(2).set_plugged(true)?;
    agent.wait_for(SOON, "nodes", "the MAC of node 2 again", |shown| {
        way(shown, 2, "direct").is_some_and(is_resolved)
    })?;
    Ok(())
}

fn what_is_not_wanted_is_taken_away(lab: &Lab, agent: &mut Agent, yaml: &str) -> Result<()> {
    let node = node_name(2);
    let without: String = yaml
        .lines()
        .filter(|line| !line.contains(&node))
        .map(|line| format!("{line}\n"))
        .collect();
    agent.edit(&without)?;
    agent.wait_for(SOON, "nodes", "no node 2", |shown| {
        shown["rows"].as_array().is_some_and(|rows| rows.len() == 2)
    })?;
    let address = format!("{} ", lab.node(2).addresses().v4);
    lb_lab::wait_until(SOON, "no entry of ours for node 2", || {
        let entries = entries(lab)?;
        let ours = entries
            .lines()
            .any(|line| line.starts_with(&address) && line.contains("managed"));
        ensure!(!ours, "{entries}");
        Ok(Some(()))
    })
}

fn entries(lab: &Lab) -> Result<String> {
    let mut command = Command::new("ip");
    command.args(["neighbour", "show"]);
    output(lab.node(1).namespace(), command)
}

/// The row of a node, if its mode is this.
fn way<'a>(shown: &'a Value, node: u8, mode: &str) -> Option<&'a Value> {
    let rows = shown["rows"].as_array()?;
    rows.iter()
        .find(|row| row["node"] == node_name(node).as_str() && row["mode"] == mode)
}

fn is_resolved(way: &Value) -> bool {
    way["mac"].is_string()
}
