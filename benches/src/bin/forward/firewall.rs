//! Loads a node's rules into its namespace, by the tools that kube-proxy uses; and what an agent adds to its routing.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use lb_lab::{Namespace, output};

use crate::{rules, scene::Way, services::Service};

/// Loads what a node has with this way of forwarding; nothing for plain forwarding.
pub(crate) fn load(node: &Namespace, way: Way, services: &[Service]) -> Result<()> {
    let (program, option, text) = match way {
        Way::Relay | Way::Plain => return Ok(()),
        Way::Iptables => ("iptables-nft-restore", None, rules::iptables(services)),
        _ => ("nft", Some("-f"), rules::nftables(services)),
    };
    let file = std::env::temp_dir().join(format!("fairlead-bench-{}.rules", std::process::id()));
    fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.args(option).arg(&file);
    let loaded = output(node, command).with_context(|| format!("{program} refused the rules"));
    fs::remove_file(&file)?;
    loaded.map(|_| ())
}

/// The rule and the route that keep what is for no VIP from going round between router and node, as an agent makes them.
pub(crate) fn add_rule(node: &Namespace, uplink: &str) -> Result<()> {
    let route = format!("route add unreachable 10.98.0.0/16 table {TABLE}");
    let rule = format!("rule add iif {uplink} lookup {TABLE}");
    for words in [route, rule] {
        let mut command = Command::new("ip");
        command.args(words.split(' '));
        output(node, command).context("keeping packets from going round")?;
    }
    Ok(())
}

/// Any table but the kernel's own.
const TABLE: u32 = 1000;
