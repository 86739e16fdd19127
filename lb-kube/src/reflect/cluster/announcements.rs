//! How addresses are announced: by the pool that they are in, by the ranges that are allowed, or, for one that has left
//! its pool, as the controller recorded it. It depends on the peers and on this node as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_core::model::{Announce, Node, Prefix};

use super::Cluster;
use crate::{
    crd,
    project::{
        bgp,
        join::Announcement,
        pool::{self, Pool},
        service::{Balanced, ServiceRecord},
    },
};

impl Cluster {
    /// How pools are announced, which depends on the peers and on this node.
    pub(super) fn renew_announcements(&mut self) {
        let pools = self.stores.pools.iter().map(|(name, spec)| {
            let pool = Pool::of(spec);
            let announcement = self.announcement(pool.announce, pool.announcement.as_ref());
            (Arc::clone(name), (pool, announcement))
        });
        let pools: BTreeMap<_, _> = pools.collect();
        if pools != self.pools {
            self.pools = pools;
            self.dirty.pools = true;
            self.dirty.all_services = true;
        }
    }

    fn announcement(&self, by: Announce, given: Option<&crd::Announcement>) -> Announcement {
        let no_peers = BTreeMap::new();
        let remotes = self
            .speaker
            .as_ref()
            .map_or(&no_peers, |speaker| &speaker.remotes);
        let (mut settings, _) = bgp::announcement(given, remotes);
        let announces = |node: &Node| bgp::announces(given, node);
        if given.is_some_and(|given| !given.node_selectors.is_empty()) {
            let nodes = self.told_nodes.iter().filter(|node| announces(node));
            settings.next_hops = Some(nodes.map(|node| Arc::clone(&node.name)).collect());
        }
        let is_elsewhere = self.own_node().is_some_and(|own| !announces(own));
        Announcement {
            announce: match is_elsewhere {
                true => Announce::Nobody,
                false => by,
            },
            bgp: Arc::new(settings),
        }
    }

    /// How an address is announced, or why it is not. One that has left its pool goes on as the controller recorded.
    pub(super) fn announcement_of(
        &self,
        vip: IpAddr,
        record: &ServiceRecord,
        balanced: &Balanced,
    ) -> Result<Announcement, String> {
        if let Some(owner) = self.node_addresses.get(&vip) {
            return Err(format!(
                "{vip} is an address of the node {owner}: it is not served"
            ));
        }
        let allowed = &self.settings.allowed_ranges;
        if !allowed.is_empty() {
            let is_allowed = allowed.iter().any(|range| range.contains(vip));
            return match is_allowed {
                true => Ok(by_bgp()),
                false => Err(format!(
                    "{vip} is not within the ranges allowed: it is not served"
                )),
            };
        }
        let mut pools = self.pools.values();
        if let Some((_, announcement)) = pools.find(|(pool, _)| pool.contains(vip)) {
            return Ok(announcement.clone());
        }
        let recorded = balanced
            .recorded
            .as_ref()
            .filter(|_| record.claim.is_ours());
        let recorded = recorded.map(|recorded| {
            self.announcement(
                pool::announce(recorded.protocol),
                recorded.announcement.as_ref(),
            )
        });
        recorded.ok_or_else(|| format!("{vip} is in no Eip: it is not served"))
    }

    /// What VIPs are taken from, but for networks that a node is in: it must stay reachable.
    pub(super) fn networks(&self) -> BTreeSet<Prefix> {
        let pools = self.pools.values().flat_map(|(pool, _)| pool.prefixes());
        let networks = pools.chain(self.settings.allowed_ranges.iter().copied());
        let has_node = |network: &Prefix| self.node_addresses.keys().any(|a| network.contains(*a));
        networks.filter(|network| !has_node(network)).collect()
    }
}

fn by_bgp() -> Announcement {
    Announcement {
        announce: Announce::Bgp,
        bgp: Arc::default(),
    }
}
