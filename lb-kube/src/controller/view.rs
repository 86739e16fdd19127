//! What this process knows of the cluster: what the watches say, and what the API server answered to writes. A kind that the
//! API server does not serve counts as an empty list, but without Eips nothing is decided: a definition that goes takes no
//! address with it. If the API server goes back to an older state, the claims that it has forgotten are remembered here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use lb_core::{
    allocate::{
        AddressRange, Agents, Announcer, Claim, Cluster, Endpoints, Import, Labels, Pool, Refused,
        Service,
    },
    model::Prefix,
};
use tokio::time::Instant;

use super::{
    Office,
    eip::EipRecord,
    endpoints::SliceRecord,
    feeds::Heard,
    imports::OurMap,
    kind::{Kind, State},
    nodes::{self, NodeRecord},
    service::ServiceRecord,
    time,
};
use crate::{
    crd::{BGP_CONF_NAME, BgpConf, BgpPeer},
    project::claim::ClassRules,
    reflect::store::{Event, HOLD, Known},
};

/// What is heard of endpoints is looked at together for so long: pods come and go by the thousand, and only a Service's
/// first and last matter here.
const ENDPOINTS_WINDOW: Duration = Duration::from_secs(1);

pub(super) struct View {
    pub(super) class: ClassRules,
    pub(super) eips: Kind<EipRecord>,
    pub(super) services: Kind<ServiceRecord>,
    pub(super) namespaces: Kind<Labels>,
    pub(super) nodes: Kind<NodeRecord>,
    pub(super) peers: Kind<Arc<BgpPeer>>,
    pub(super) confs: Kind<Arc<BgpConf>>,
    pub(super) slices: Kind<SliceRecord>,
    pub(super) service_cidrs: Kind<Vec<Prefix>>,
    pub(super) maps: Kind<OurMap>,
    /// Addresses are announced by somebody else: endpoints are not watched.
    addresses_only: bool,
    /// Claims that the API server has forgotten, by Eip, until they are in it again.
    remembered: Vec<(Arc<str>, Claim)>,
    /// When the API server was seen to have gone back.
    went_back_at: Option<Instant>,
}

impl View {
    pub(super) fn new(class: ClassRules, addresses_only: bool) -> Self {
        Self {
            class,
            eips: Kind::new("Eips"),
            services: Kind::new("Services"),
            namespaces: Kind::new("Namespaces"),
            nodes: Kind::new("Nodes"),
            peers: Kind::new("BgpPeers"),
            confs: Kind::new("BgpConfs"),
            slices: Kind::new("EndpointSlices"),
            service_cidrs: Kind::new("ServiceCIDRs"),
            maps: Kind::new("ConfigMaps of our namespace"),
            addresses_only,
            remembered: Vec::new(),
            went_back_at: None,
        }
    }

    /// Takes what a watch tells. When to act on it: at once, later, or not at all.
    pub(super) fn hear(&mut self, heard: Heard) -> Option<Duration> {
        match heard {
            Heard::Eip(event) => {
                if self.eips.goes_back(&event) {
                    self.goes_back();
                }
                let says = is_news(&event);
                self.eips.hear(event);
                says.then_some(Duration::ZERO)
            }
            Heard::Service(event) => {
                if self.services.goes_back(&event) {
                    self.goes_back();
                }
                let says = is_news(&event);
                self.services.hear(event);
                says.then_some(Duration::ZERO)
            }
            Heard::Namespace(event) => hear(&mut self.namespaces, event).then_some(Duration::ZERO),
            Heard::Node(event) => hear(&mut self.nodes, event).then_some(Duration::ZERO),
            Heard::Peer(event) => hear(&mut self.peers, event).then_some(Duration::ZERO),
            Heard::Conf(event) => hear(&mut self.confs, event).then_some(Duration::ZERO),
            Heard::ServiceCidr(event) => {
                hear(&mut self.service_cidrs, event).then_some(Duration::ZERO)
            }
            Heard::Map(event) => hear(&mut self.maps, event).then_some(Duration::ZERO),
            Heard::Slice(event) => hear(&mut self.slices, event).then_some(ENDPOINTS_WINDOW),
        }
    }

    /// Whether every first list has come, and Eips are served.
    pub(super) fn is_complete(&self) -> bool {
        self.waits_for().is_empty()
    }

    /// What is still missing before anything is decided, a sentence each.
    pub(super) fn waits_for(&self) -> Vec<String> {
        let missing = self.states().into_iter().filter(|state| !state.is_listed);
        let missing = missing.filter(|state| {
            let is_needless = self.addresses_only && state.name == self.slices.name;
            !is_needless
        });
        let mut waits: Vec<String> = missing
            .map(|state| {
                let name = state.name;
                format!(
                    "{name}: not listed yet; is the API server reachable, and may we list this?"
                )
            })
            .collect();
        if self.eips.is_listed && !self.eips.is_served {
            let text =
                "the API server serves no Eips: apply the definitions in deploy/chart/files/crds";
            waits.push(text.to_owned());
        }
        waits
    }

    /// Whether the API server leaves any watch without an answer.
    pub(super) fn is_away(&self) -> bool {
        self.states().iter().any(|state| state.is_away)
    }

    fn states(&self) -> [State; 9] {
        [
            self.eips.state(),
            self.services.state(),
            self.namespaces.state(),
            self.nodes.state(),
            self.peers.state(),
            self.confs.state(),
            self.slices.state(),
            self.service_cidrs.state(),
            self.maps.state(),
        ]
    }

    /// Takes whole lists that were asked for after everything that is known.
    pub(super) fn look(
        &mut self,
        eips: (u64, Vec<Known<EipRecord>>),
        services: (u64, Vec<Known<ServiceRecord>>),
    ) {
        let is_older = self.eips.is_newer_than(eips.0, &eips.1)
            || self.services.is_newer_than(services.0, &services.1);
        if is_older {
            self.goes_back();
        }
        self.eips.replace_all(eips.1);
        self.services.replace_all(services.1);
    }

    /// Takes an Eip that was asked for after everything that is known; `None`: there is none.
    pub(super) fn put_eip(&mut self, name: &str, eip: Option<Known<EipRecord>>) {
        if eip.as_ref().is_some_and(|eip| self.eips.has_newer(eip)) {
            self.goes_back();
        }
        match eip {
            Some(eip) => self.eips.put(eip),
            None => self.eips.forget(name),
        }
    }

    /// Takes a Service that was asked for after everything that is known; `None`: there is none.
    pub(super) fn put_service(&mut self, name: &str, service: Option<Known<ServiceRecord>>) {
        if service
            .as_ref()
            .is_some_and(|service| self.services.has_newer(service))
        {
            self.goes_back();
        }
        match service {
            Some(service) => self.services.put(service),
            None => self.services.forget(name),
        }
    }

    /// The API server is at an older state than it was: what it does not know any more is kept in mind.
    fn goes_back(&mut self) {
        let pools = self.eips.all();
        let claims = pools.flat_map(|eip| {
            let claims = eip.record.pool.status.claims.iter();
            let live = claims.filter(|claim| claim.state.is_live());
            live.map(|claim| (Arc::clone(&eip.key), claim.clone()))
        });
        let claims: Vec<_> = claims
            .filter(|claim| !self.remembered.contains(claim))
            .collect();
        tracing::warn!(
            claims = claims.len(),
            "the API server went back to an older state: nothing is freed for {} s, and addresses that it has forgotten \
             are given again to the Services that had them",
            HOLD.as_secs()
        );
        self.remembered.extend(claims);
        self.went_back_at = Some(Instant::now());
    }

    /// Everything that was remembered is in the API server again, or somebody else's.
    pub(super) fn forget_what_was(&mut self) {
        self.remembered.clear();
    }

    /// Until when nothing is freed because it cannot be seen.
    pub(super) fn holds_until(&self) -> Option<Instant> {
        let until = self.went_back_at? + HOLD;
        (Instant::now() < until).then_some(until)
    }

    /// Eips that are there, by name and UID.
    pub(super) fn eips_seen(&self) -> BTreeSet<(Arc<str>, Arc<str>)> {
        let all = self.eips.all();
        all.map(|eip| (Arc::clone(&eip.key), Arc::clone(&eip.uid)))
            .collect()
    }

    /// The same in the words of `lb-core`.
    pub(super) fn cluster(&self, office: &Office) -> Cluster {
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
        let holds = self.holds_until().is_some();
        Cluster {
            now: time::now(),
            epoch: office.epoch,
            is_fresh,
            refused: self.refused(&pools, &services),
            announcer: self.announcer(&services),
            services,
            namespaces: namespaces
                .map(|namespace| (Arc::clone(&namespace.key), namespace.record.clone()))
                .collect(),
            pools,
            imports: self.imports(),
            // Another process, which led meanwhile, has seen to what is older.
            remembered: self.remembered.iter().filter(|_| holds).cloned().collect(),
            holds_orphans: holds,
        }
    }

    fn imports(&self) -> BTreeMap<Arc<str>, Import> {
        self.import_plan()
            .map(|(service, import)| (Arc::clone(service), import.clone()))
            .collect()
    }

    fn import_plan(&self) -> impl Iterator<Item = (&Arc<str>, &Import)> {
        let plans = self.maps.values().filter_map(|map| match map {
            OurMap::Imports(imports) => Some(imports),
            OurMap::Policy(_) => None,
        });
        plans.flatten()
    }

    /// The text of a policy, by the name of its ConfigMap.
    pub(super) fn policy(&self, name: &str) -> Option<&str> {
        let of_name = |known: &&Known<OurMap>| known.key.rsplit('/').next() == Some(name);
        match &self.maps.all().find(of_name)?.record {
            OurMap::Policy(text) => Some(text),
            OurMap::Imports(_) => None,
        }
    }

    fn announcer(&self, ours: &BTreeMap<Arc<str>, Arc<Service>>) -> Announcer {
        if self.addresses_only {
            return Announcer::SomebodyElse;
        }
        let conf = self.confs.get(BGP_CONF_NAME).map(|conf| &*conf.record);
        let nodes = self.nodes.all();
        let peers = self.peers.all();
        Announcer::Agents(Agents {
            has_speaker: conf.is_some(),
            peers: peers
                .map(|peer| (Arc::clone(&peer.key), nodes::established(&peer.record)))
                .collect(),
            nodes: nodes
                .map(|node| {
                    let announcing = nodes::announcing(&node.key, &node.record, conf);
                    (Arc::clone(&node.key), announcing)
                })
                .collect(),
            endpoints: self.endpoints(ours),
        })
    }

    /// Endpoints that get connections, of Services of ours that have any.
    fn endpoints(&self, ours: &BTreeMap<Arc<str>, Arc<Service>>) -> BTreeMap<Arc<str>, Endpoints> {
        let mut endpoints: BTreeMap<Arc<str>, Endpoints> = BTreeMap::new();
        for slice in self.slices.values().filter(|slice| slice.count > 0) {
            let Some(service) = ours
                .contains_key(&slice.service)
                .then(|| self.services.get(&slice.service))
                .flatten()
            else {
                continue;
            };
            let owner = slice.owner_uid.as_ref();
            if owner.is_some_and(|owner| *owner != service.uid) {
                continue;
            }
            let known = endpoints.entry(Arc::clone(&service.key)).or_default();
            known.count += slice.count;
            known.nodes.extend(slice.nodes.iter().cloned());
        }
        endpoints
    }

    /// What is the cluster's, as far as anybody could want it: addresses of nodes, pods and ClusterIPs, and what other
    /// controllers gave.
    fn refused(
        &self,
        pools: &BTreeMap<Arc<str>, Arc<Pool>>,
        ours: &BTreeMap<Arc<str>, Arc<Service>>,
    ) -> Refused {
        let mut refused = Refused::default();
        let is_of_a_pool = |address: &IpAddr| pools.values().any(|pool| pool.contains(*address));
        let imported: BTreeSet<IpAddr> = self
            .import_plan()
            .flat_map(|(_, import)| import.addresses.iter().copied())
            .collect();
        let matters = |network: &Prefix| {
            let range = AddressRange::of(*network);
            let mut ranges = pools.values().flat_map(|pool| &pool.ranges);
            ranges.any(|pool| pool.overlaps(range))
                || imported.iter().any(|address| network.contains(*address))
        };
        for node in self.nodes.all() {
            for &address in &node.record.addresses {
                let words = format!("an address of node {}", node.key);
                refused.addresses.insert(address, words.into());
            }
            let networks = node.record.pod_networks.iter().copied();
            for network in networks.filter(matters) {
                let words = format!("of the pods of node {}", node.key);
                refused.prefixes.push((network, words.into()));
            }
        }
        for cidr in self.service_cidrs.all() {
            for network in cidr.record.iter().copied().filter(matters) {
                let words = format!("of the ClusterIPs (ServiceCIDR {})", cidr.key);
                refused.prefixes.push((network, words.into()));
            }
        }
        for service in self.services.all() {
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

/// Whether an event is about objects, not about the API server's silence.
fn is_news<R>(event: &Event<R>) -> bool {
    !matches!(event, Event::Away(_) | Event::Refused(..))
}

/// Takes an event; whether anything that counts is different now.
fn hear<R: PartialEq>(kind: &mut Kind<R>, event: Event<R>) -> bool {
    let is_changed = kind.is_changed_by(&event) || kind.goes_back(&event);
    kind.hear(event);
    is_changed
}

#[cfg(test)]
mod tests;
