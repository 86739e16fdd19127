//! A controller process: caches that lag behind the API server, a term of office, and writes that are under way one at
//! a time, so that anything may happen between two of them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use lb_core::allocate::{
    Agents, Allocations, Announcer, Cluster, Labels, MetadataPlan, Pool, PoolStatus, Refused,
    Service, StatusPlan, allocate,
};

use crate::store::{Kind, Object, Store};

/// What a process believes of a kind.
pub(crate) struct Cache<T> {
    position: usize,
    /// The newest word on each object; `None`: it is gone.
    objects: BTreeMap<Arc<str>, (u64, Option<Object<T>>)>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self {
            position: 0,
            objects: BTreeMap::new(),
        }
    }
}

impl<T: Clone> Cache<T> {
    /// Takes some more of what the watch has to tell.
    pub(crate) fn advance(&mut self, kind: &Kind<T>, changes: usize) {
        let end = kind
            .history
            .len()
            .min(self.position.saturating_add(changes));
        for (version, name, object) in &kind.history[self.position..end] {
            self.learn(*version, name, object.clone());
        }
        self.position = end;
    }

    fn learn(&mut self, version: u64, name: &Arc<str>, object: Option<Object<T>>) {
        let known = self.objects.get(name).map_or(0, |(version, _)| *version);
        if known < version {
            self.objects.insert(Arc::clone(name), (version, object));
        }
    }

    pub(crate) fn version(&self, name: &str) -> Option<u64> {
        let (_, object) = self.objects.get(name)?;
        object.as_ref().map(|object| object.version)
    }

    fn values(&self) -> BTreeMap<Arc<str>, Arc<T>> {
        let present = self.objects.iter().filter_map(|(name, (_, object))| {
            let object = object.as_ref()?;
            Some((Arc::clone(name), Arc::clone(&object.value)))
        });
        present.collect()
    }

    fn uids(&self) -> BTreeSet<(Arc<str>, u64)> {
        let present = self
            .objects
            .iter()
            .filter_map(|(name, (_, object))| Some((Arc::clone(name), object.as_ref()?.uid)));
        present.collect()
    }
}

/// A request on its way to the API server, with the version that it is based on.
#[derive(Debug)]
pub(crate) enum Write {
    /// Asks the API server itself whether Services are as they were seen.
    Confirm(Vec<(Arc<str>, Option<u64>)>),
    PoolFinalizer(Arc<str>, u64, bool),
    PoolStatus(Arc<str>, u64, Box<PoolStatus>),
    Metadata(Arc<str>, u64, MetadataPlan),
    ServiceStatus(Arc<str>, u64, StatusPlan),
}

#[derive(Default)]
pub(crate) struct Leader {
    /// Number of its term; `None`: it does not lead.
    pub(crate) epoch: Option<u64>,
    pub(crate) pools: Cache<Pool>,
    pub(crate) services: Cache<Service>,
    /// Pools that were there when it read everything from the API server itself.
    seen: BTreeSet<(Arc<str>, u64)>,
    pub(crate) writes: VecDeque<Write>,
}

impl Leader {
    pub(crate) fn elected(epoch: u64) -> Self {
        Self {
            epoch: Some(epoch),
            ..Self::default()
        }
    }

    /// Reads pools and Services from the API server itself.
    pub(crate) fn look(&mut self, store: &Store) {
        self.pools.advance(&store.pools, usize::MAX);
        self.services.advance(&store.services, usize::MAX);
        self.seen = self.pools.uids();
    }

    pub(crate) fn cluster(&self, store: &Store, refused: &Refused) -> Cluster {
        let epoch = self.epoch.unwrap_or_default();
        let pools = self.pools.values();
        let unstamped = |(name, _): &&(Arc<str>, u64)| {
            let pool = pools.get(name);
            pool.is_some_and(|pool| pool.status.epoch != Some(epoch))
        };
        let uids = self.pools.uids();
        let is_fresh = uids
            .iter()
            .filter(unstamped)
            .all(|pool| self.seen.contains(pool));
        let team = |team: &str| Labels::from([("team".to_owned(), team.to_owned())]);
        let services = self.services_of_ours(&pools);
        let mut refused = refused.clone();
        for (name, service) in self.services.values() {
            let shown = service.ingress.iter().map(|entry| entry.address);
            if !services.contains_key(&name) {
                let owner = "an address of another controller's Service";
                refused
                    .addresses
                    .extend(shown.map(|address| (address, owner.into())));
            }
        }
        Cluster {
            now: store.now,
            epoch,
            is_fresh,
            services,
            namespaces: [("a".into(), team("x")), ("b".into(), team("y"))].into(),
            refused,
            announcer: Announcer::Agents(Agents::default()),
            pools,
            ..Cluster::default()
        }
    }

    fn services_of_ours(
        &self,
        pools: &BTreeMap<Arc<str>, Arc<Pool>>,
    ) -> BTreeMap<Arc<str>, Arc<Service>> {
        let claims = pools.values().flat_map(|pool| &pool.status.claims);
        let claimed: BTreeSet<_> = claims.map(|claim| Arc::clone(&claim.service)).collect();
        let mut services = self.services.values();
        services.retain(|name, service| service.concerns_us(claimed.contains(name)));
        services
    }

    /// Decides, and lines up what is to be written.
    pub(crate) fn decide(&mut self, store: &Store, refused: &Refused) -> Allocations {
        let allocations = allocate(&self.cluster(store, refused));
        for (name, plan) in &allocations.pools {
            let version = self.pools.version(name).unwrap();
            let has_finalizer = self.pools.values()[name].has_finalizer;
            if plan.finalizer != has_finalizer {
                let write = Write::PoolFinalizer(Arc::clone(name), version, plan.finalizer);
                self.writes.push_back(write);
                // The rest is based on what this makes of the pool.
                continue;
            }
            let Some(status) = &plan.status else { continue };
            if !plan.confirm.is_empty() {
                let version = |service| self.services.version(service);
                let services = plan.confirm.iter();
                let services = services.map(|service| (Arc::clone(service), version(service)));
                self.writes.push_back(Write::Confirm(services.collect()));
            }
            let status = Box::new(status.clone());
            let write = Write::PoolStatus(Arc::clone(name), version, status);
            self.writes.push_back(write);
        }
        for (name, plan) in &allocations.services {
            let version = self.services.version(name).unwrap();
            let name = Arc::clone(name);
            match (&plan.metadata, &plan.status) {
                (Some(metadata), _) => {
                    let write = Write::Metadata(name, version, metadata.clone());
                    self.writes.push_back(write);
                }
                (None, Some(status)) => {
                    let write = Write::ServiceStatus(name, version, status.clone());
                    self.writes.push_back(write);
                }
                (None, None) => {}
            }
        }
        allocations
    }

    pub(crate) fn learn_pool(
        &mut self,
        name: &Arc<str>,
        store: &Store,
        object: Option<Object<Pool>>,
    ) {
        let version = object
            .as_ref()
            .map_or(store.last_version(), |object| object.version);
        self.pools.learn(version, name, object);
    }

    pub(crate) fn learn_service(
        &mut self,
        name: &Arc<str>,
        store: &Store,
        object: Option<Object<Service>>,
    ) {
        let version = object
            .as_ref()
            .map_or(store.last_version(), |object| object.version);
        self.services.learn(version, name, object);
    }
}
