//! Loads a node's rules into its namespace, by the tools that kube-proxy uses.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use lb_lab::{Namespace, output};

use crate::{rules, scene::Way, services::Service};

/// Loads what a node has with this way of forwarding; nothing for plain forwarding.
pub(crate) fn load(node: &Namespace, way: Way, services: &[Service]) -> Result<()> {
    let (program, option, text) = match way {
        Way::Plain => return Ok(()),
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
