//! How a pool's addresses are announced, as the model has it at a Service.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::model::{Community, Node, Remote, RouteSettings, ServiceBgp};

use super::Findings;
use crate::crd::Announcement;

/// Whether a node announces the addresses of a pool.
#[must_use]
pub fn announces(announcement: Option<&Announcement>, node: &Node) -> bool {
    let selectors = announcement.map_or(&[][..], |given| &given.node_selectors);
    selectors.is_empty()
        || selectors
            .iter()
            .any(|selector| selector.selects(&node.labels))
}

/// The settings of a pool; `remotes` are the BgpPeers by name.
#[must_use]
pub fn announcement(
    given: Option<&Announcement>,
    remotes: &BTreeMap<String, Remote>,
) -> (ServiceBgp, Findings) {
    let mut findings = Findings::default();
    let Some(given) = given else {
        return (ServiceBgp::default(), findings);
    };
    let peers = (!given.peers.is_empty()).then(|| peers(given, remotes, &mut findings));
    let mut routes = RouteSettings {
        med: number(given.med),
        local_pref: number(given.local_pref),
        prepend: number(given.prepend),
        aggregation_length: number(given.aggregation_length),
        aggregation_length_v6: number(given.aggregation_length_v6),
        ..RouteSettings::default()
    };
    for text in &given.communities {
        match Community::parse(text) {
            Some(Community::Standard(value)) => drop(routes.communities.insert(value)),
            Some(Community::Large(value)) => drop(routes.large_communities.insert(value)),
            Some(Community::Extended(value)) => drop(routes.extended_communities.insert(value)),
            None => findings.wrong(
                "announcement.communities",
                format!(
                    "\"{text}\" is not a community like 65000:100, 65000:1:2 or no-export; not sent"
                ),
            ),
        }
    }
    let bgp = ServiceBgp {
        peers,
        next_hops: None,
        routes,
    };
    (bgp, findings)
}

/// A name without a BgpPeer selects nobody: it may come later, and nobody else may be told.
fn peers(
    given: &Announcement,
    remotes: &BTreeMap<String, Remote>,
    findings: &mut Findings,
) -> BTreeSet<Remote> {
    let mut peers = BTreeSet::new();
    for name in &given.peers {
        match remotes.get(name) {
            Some(remote) => drop(peers.insert(remote.clone())),
            None => findings.wrong(
                "announcement.peers",
                format!("there is no usable BgpPeer {name}"),
            ),
        }
    }
    peers
}

/// The schema holds the limits.
fn number<T: TryFrom<i64>>(value: Option<i64>) -> Option<T> {
    value.and_then(|value| T::try_from(value).ok())
}
