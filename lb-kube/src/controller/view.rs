//! What this process knows of the cluster: what the watches say, and what the API server answered to writes, whichever is
//! newer. A kind that the API server does not serve counts as an empty list, but without Eips nothing is decided:
//! a definition that goes takes no address with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_core::allocate::{Announcer, Cluster, Labels, Pool, Refused, Service};

use super::{
    Office,
    eip::EipRecord,
    nodes::{self, NodeRecord},
    service::ServiceRecord,
    time,
};
use crate::{
    crd::{BgpConf, BgpPeer},
    project::claim::ClassRules,
    reflect::store::{Event, Known},
};

/// The objects of one kind.
pub(super) struct Kind<R> {
    known: BTreeMap<Arc<str>, Known<R>>,
    is_listed: bool,
    is_served: bool,
}

impl<R> Default for Kind<R> {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            is_listed: false,
            is_served: true,
        }
    }
}

impl<R> Kind<R> {
    pub(super) fn hear(&mut self, event: Event<R>) {
        match event {
            Event::Listed { version, items } => self.replace(version, items),
            Event::NotServed => {
                (self.is_listed, self.is_served) = (true, false);
                self.known.clear();
            }
            Event::Applied(known) => self.learn(known),
            Event::Deleted(key) => {
                self.known.remove(&key);
            }
            Event::Refused(key, why) => tracing::warn!("{key} cannot be read: {why}"),
            Event::Away(why) => tracing::warn!("the API server is away: {why}"),
            Event::Back => tracing::info!("the API server is back"),
        }
    }

    /// Takes a whole list; what is missing from it is gone, unless it was heard of since.
    pub(super) fn replace(&mut self, version: u64, items: Vec<Known<R>>) {
        (self.is_listed, self.is_served) = (true, true);
        let keys: BTreeSet<_> = items.iter().map(|known| Arc::clone(&known.key)).collect();
        self.known
            .retain(|key, known| keys.contains(key) || version < known.version);
        for known in items {
            self.learn(known);
        }
    }

    /// Takes an object, unless a newer one is known.
    pub(super) fn learn(&mut self, known: Known<R>) {
        let newest = self.known.get(&known.key).map(|known| known.version);
        if newest.is_none_or(|newest| newest <= known.version) {
            self.known.insert(Arc::clone(&known.key), known);
        }
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.known.remove(key);
    }

    pub(super) fn get(&self, key: &str) -> Option<&Known<R>> {
        self.known.get(key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &R> {
        self.known.values().map(|known| &known.record)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Known<R>> {
        self.known.values()
    }
}

pub(super) struct View {
    pub(super) class: ClassRules,
    pub(super) eips: Kind<EipRecord>,
    pub(super) services: Kind<ServiceRecord>,
    pub(super) namespaces: Kind<Labels>,
    pub(super) nodes: Kind<NodeRecord>,
    pub(super) peers: Kind<BgpPeer>,
    pub(super) confs: Kind<BgpConf>,
}

impl View {
    pub(super) fn new(class: ClassRules) -> Self {
        Self {
            class,
            eips: Kind::default(),
            services: Kind::default(),
            namespaces: Kind::default(),
            nodes: Kind::default(),
            peers: Kind::default(),
            confs: Kind::default(),
        }
    }

    /// Whether every first list has come, and Eips are served.
    pub(super) fn is_complete(&self) -> bool {
        self.eips.is_listed
            && self.eips.is_served
            && self.services.is_listed
            && self.namespaces.is_listed
            && self.nodes.is_listed
            && self.peers.is_listed
            && self.confs.is_listed
    }

    /// Eips that are there, by name and UID.
    pub(super) fn eips_seen(&self) -> BTreeSet<(Arc<str>, Arc<str>)> {
        let all = self.eips.all();
        all.map(|eip| (Arc::clone(&eip.key), Arc::clone(&eip.uid)))
            .collect()
    }

    /// The same in the words of `lb-core`.
    pub(super) fn cluster(&self, office: &Office, addresses_only: bool) -> Cluster {
        let pools: BTreeMap<_, _> = self
            .eips
            .all()
            .map(|eip| (Arc::clone(&eip.key), Arc::clone(&eip.record.pool)))
            .collect();
        let unstamped = self
            .eips
            .all()
            .filter(|eip| eip.record.pool.status.epoch != Some(office.epoch));
        let is_fresh = unstamped
            .map(|eip| (Arc::clone(&eip.key), Arc::clone(&eip.uid)))
            .all(|eip| office.seen.contains(&eip));
        let claims = pools.values().flat_map(|pool| &pool.status.claims);
        let claimed: BTreeSet<&str> = claims.map(|claim| &*claim.service).collect();
        let services = self.services.all().filter(|service| {
            let has_claim = claimed.contains(&*service.key);
            service.record.model.concerns_us(has_claim)
        });
        let services: BTreeMap<_, _> = services
            .map(|service| (Arc::clone(&service.key), Arc::clone(&service.record.model)))
            .collect();
        let namespaces = self.namespaces.all();
        Cluster {
            now: time::now(),
            epoch: office.epoch,
            is_fresh,
            refused: self.refused(&pools, &services),
            services,
            namespaces: namespaces
                .map(|namespace| (Arc::clone(&namespace.key), namespace.record.clone()))
                .collect(),
            announcer: self.announcer(addresses_only),
            pools,
        }
    }

    fn announcer(&self, addresses_only: bool) -> Announcer {
        if addresses_only {
            return Announcer::SomebodyElse;
        }
        Announcer::Agents {
            peers: self.peers.values().count(),
            established: self.peers.values().map(nodes::established).sum(),
        }
    }

    /// Addresses of nodes and pods, and what other Services have of our pools: ClusterIPs, addresses by other controllers.
    fn refused(
        &self,
        pools: &BTreeMap<Arc<str>, Arc<Pool>>,
        ours: &BTreeMap<Arc<str>, Arc<Service>>,
    ) -> Refused {
        let mut refused = Refused::default();
        for node in self.nodes.all() {
            for &address in &node.record.addresses {
                let words = format!("an address of node {}", node.key);
                refused.addresses.insert(address, words.into());
            }
            for &network in &node.record.pod_networks {
                let words = format!("of the pods of node {}", node.key);
                refused.prefixes.push((network, words.into()));
            }
        }
        for service in self.services.all() {
            let is_of_a_pool =
                |address: &IpAddr| pools.values().any(|pool| pool.contains(*address));
            let cluster_ips = service.record.cluster_ips.iter().copied();
            for address in cluster_ips.filter(is_of_a_pool) {
                let words = format!("the ClusterIP of {}", service.key);
                refused.addresses.insert(address, words.into());
            }
            if ours.contains_key(&service.key) {
                continue;
            }
            let shown = service
                .record
                .model
                .ingress
                .iter()
                .map(|entry| entry.address);
            for address in shown.filter(is_of_a_pool) {
                let words = format!(
                    "an address of {}, which is another controller's",
                    service.key
                );
                refused.addresses.insert(address, words.into());
            }
        }
        refused
    }
}
