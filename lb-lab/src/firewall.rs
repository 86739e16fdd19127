//! The firewall of an unfriendly host, loaded with `nft` into the namespace of the calling thread: what kube-proxy, a
//! masquerading CNI and Docker leave behind on a real node. kube-proxy drops packets that conntrack calls INVALID; the
//! CNI masquerades what leaves its pod network; Docker sets the FORWARD policy to DROP and accepts only its own.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Loads the unfriendly rules; pods are unreachable until [`accept_forwarding`].
pub(crate) fn make_hostile() -> Result<()> {
    nft(HOSTILE)
}

/// Adds the rules that an operator would: accept what is forwarded to and from the pod networks.
pub(crate) fn accept_forwarding() -> Result<()> {
    nft(ACCEPT)
}

fn nft(rules: &str) -> Result<()> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting nft (Debian package nftables)")?;
    child
        .stdin
        .take()
        .context("nft has no standard input")?
        .write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "nft refused the rules: {complaint}"
    );
    Ok(())
}

/// Written in the shape that iptables-nft gives them, in its tables, so that tools that look for the FORWARD policy
/// find it where Docker puts it. 172.17.0.0/16 is Docker's default bridge network.
const HOSTILE: &str = "
table ip filter {
    chain KUBE-FORWARD {
        ct state invalid drop
    }
    chain DOCKER-FORWARD {
        ip daddr 172.17.0.0/16 ct state established,related accept
        ip saddr 172.17.0.0/16 accept
    }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        jump KUBE-FORWARD
        jump DOCKER-FORWARD
    }
}
table ip nat {
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 10.1.0.0/16 ip daddr != 10.1.0.0/16 masquerade
    }
}
table ip6 filter {
    chain KUBE-FORWARD {
        ct state invalid drop
    }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        jump KUBE-FORWARD
    }
}
table ip6 nat {
    chain POSTROUTING {
        type nat hook postrouting priority srcnat; policy accept;
        ip6 saddr fd01::/16 ip6 daddr != fd01::/16 masquerade
    }
}
";

const ACCEPT: &str = "
add rule ip filter FORWARD ip daddr 10.1.0.0/16 accept
add rule ip filter FORWARD ip saddr 10.1.0.0/16 accept
add rule ip6 filter FORWARD ip6 daddr fd01::/16 accept
add rule ip6 filter FORWARD ip6 saddr fd01::/16 accept
";
