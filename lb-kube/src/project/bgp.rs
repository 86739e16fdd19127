//! `BgpConf` and `BgpPeer`s as one node understands them: the speaker of `lb-core`'s model, and a finding for each field
//! that is ignored or wrong. Node selectors and racks are resolved here, so the speaker has only this node's peers and
//! number. What OpenELB passes to GoBGP means here what it means there, where announcing alone has a use for it.

mod announcement;
mod conf;
mod finding;
mod peer;

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf, sync::Arc};

use lb_core::model::{Bgp, Node, Peer, Remote};

use super::gobgp::{POLICY_FIELD, Policy};
use crate::crd::{BgpConfSpec, BgpPeerSpec, SecretKey};

pub use announcement::{announcement, announces};
pub use conf::{conf_findings, is_of_other_rack, policy_name, rack};
pub use finding::{Finding, FindingKind, Findings};
pub use peer::peer_findings;

/// Where a peer's password is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Password<'a> {
    /// In a Secret of the agents' Namespace.
    Secret(&'a SecretKey),
    /// In the object itself, as OpenELB has it.
    Text(&'a str),
}

/// Names the file in which the agent keeps a password. The file need not exist yet: a session whose password cannot be
/// had is never opened without one.
pub type PasswordFile<'a> = &'a dyn Fn(&str, Password<'_>) -> PathBuf;

/// The speaker of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speaker {
    /// `None`: there is no BgpConf, or it cannot be used.
    pub bgp: Option<Bgp>,
    /// By name of the BgpPeer: who it is, for pools that name peers.
    pub remotes: BTreeMap<String, Remote>,
    /// What is ignored or wrong in the BgpConf.
    pub of_conf: Findings,
    /// The same by name of the BgpPeer, for those that have any.
    pub of_peers: BTreeMap<String, Findings>,
}

/// The speaker of `node`, from the BgpConf that counts, the policy that it names, and every BgpPeer by its name. Without a
/// policy that is named there is no speaker: nobody is told what the policy would have kept back.
#[must_use]
pub fn speaker<'a>(
    conf: Option<&BgpConfSpec>,
    policy: Option<&Policy>,
    peers: impl IntoIterator<Item = (&'a str, &'a BgpPeerSpec)>,
    node: &Node,
    password_file: PasswordFile<'_>,
) -> Speaker {
    let mut speaker = Speaker::default();
    let Some(conf) = conf else {
        return speaker;
    };
    let named = conf::policy_name(conf);
    let (conf, findings) = conf::read(conf, node);
    speaker.of_conf = findings;
    if let Some(name) = named.filter(|_| policy.is_none()) {
        let message = conf::no_policy(name);
        speaker.of_conf.wrong(POLICY_FIELD, message);
        return speaker;
    }
    let Some(mut bgp) = conf.bgp else {
        return speaker;
    };
    let reader = peer::Reader {
        own_asn: bgp.asn,
        graceful_restart: conf.graceful_restart.as_ref(),
        password_file,
    };
    let mut taken: BTreeMap<Remote, &str> = BTreeMap::new();
    for (name, spec) in peers {
        let (read, mut findings) = reader.read(name, spec);
        let remote = read.as_ref().map(|peer| peer.remote.clone());
        if let Some(remote) = remote {
            speaker.remotes.insert(name.to_owned(), remote);
        }
        let is_here = spec
            .node_selector
            .as_ref()
            .is_none_or(|all| all.selects(&node.labels));
        let peer = read.filter(|_| is_here && !peer::is_down(spec));
        let peer = peer.map(|peer| Peer {
            policy: policy.map_or_else(Arc::default, |policy| policy.towards(&peer.remote)),
            ..peer
        });
        if let Some(peer) = peer
            && let Some(peer) = admit(peer, name, node, &mut taken, &mut findings)
        {
            bgp.peers.push(Arc::new(peer));
        }
        if !findings.is_empty() {
            speaker.of_peers.insert(name.to_owned(), findings);
        }
    }
    speaker.bgp = Some(bgp);
    speaker
}

/// A node has one session with a peer, and none with itself.
fn admit<'a>(
    peer: Peer,
    name: &'a str,
    node: &Node,
    taken: &mut BTreeMap<Remote, &'a str>,
    findings: &mut Findings,
) -> Option<Peer> {
    let is_own = |address: &IpAddr| node.addresses.contains(address);
    if matches!(&peer.remote, Remote::Address(address) if is_own(address)) {
        return None;
    }
    // The address is only that node's, so only that node has the session.
    if peer
        .transport
        .source_address
        .is_some_and(|source| !is_own(&source))
    {
        return None;
    }
    if let Some(first) = taken.get(&peer.remote) {
        let message = format!("BgpPeer {first} is the same peer on the same nodes, and counts");
        findings.wrong("conf.neighborAddress", message);
        return None;
    }
    taken.insert(peer.remote.clone(), name);
    Some(peer)
}

#[cfg(test)]
mod tests;
