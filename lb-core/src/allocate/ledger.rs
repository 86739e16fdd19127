//! All claims of all pools in one place, those that the API server has and those of this pass, to be asked by address and by
//! Service. A claim that is dropped keeps its entry, so that indices stay; what the API server has is kept beside what
//! shall be.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Claim, ClaimState, Cluster, Family, Pool, PortKey, PortState, REST, Service, Sharing, UnixTime,
    WITHDRAWAL,
};

/// A claim, before and after this pass.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) pool: Arc<str>,
    /// As the API server has it; `None`: made in this pass.
    pub(super) observed: Option<Claim>,
    /// As time alone makes it; `None`: forgotten, or made in this pass.
    pub(super) kept: Option<Claim>,
    /// As it shall be; `None`: forgotten.
    pub(super) planned: Option<Claim>,
    pub(super) address: IpAddr,
    pub(super) service: Arc<str>,
}

impl Entry {
    /// Whether it keeps its address for its Service.
    pub(super) fn is_live(&self) -> bool {
        is_live(self.planned.as_ref())
    }

    /// Whether the API server has it so.
    pub(super) fn was_live(&self) -> bool {
        is_live(self.observed.as_ref())
    }
}

fn is_live(claim: Option<&Claim>) -> bool {
    claim.is_some_and(|claim| claim.state.is_live())
}

pub(super) struct Ledger {
    pub(super) entries: Vec<Entry>,
    /// The earliest time at which time alone changes something.
    pub(super) replan_at: Option<UnixTime>,
    by_address: BTreeMap<IpAddr, Vec<usize>>,
    by_service: BTreeMap<Arc<str>, Vec<usize>>,
    /// Addresses of Services that share by a key.
    by_key: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Services whose status shows an address, claimed or not.
    shown_by: BTreeMap<IpAddr, Vec<Arc<str>>>,
    /// Services whose status says that they have a port.
    shown: BTreeMap<(IpAddr, PortKey), Vec<Arc<str>>>,
    /// Below these, a pool has no free address of a family left; `None`: it has none at all.
    cursors: BTreeMap<(Arc<str>, Family), Option<IpAddr>>,
}

impl Ledger {
    /// Takes over what the pools say. A pool that was never written by us is taken at OpenELB's word.
    pub(super) fn open(cluster: &Cluster) -> Self {
        let mut ledger = Self {
            entries: Vec::new(),
            replan_at: None,
            by_address: BTreeMap::new(),
            by_service: BTreeMap::new(),
            by_key: BTreeMap::new(),
            shown_by: shown_addresses(cluster),
            shown: shown_ports(cluster),
            cursors: BTreeMap::new(),
        };
        for pool in cluster.pools.values() {
            for claim in &pool.status.claims {
                ledger.observe(cluster, pool, claim);
            }
        }
        for (pool, claim) in &cluster.remembered {
            ledger.remember(cluster, pool, claim);
        }
        for pool in cluster.pools.values() {
            if pool.status.epoch.is_none() && pool.status.claims.is_empty() {
                ledger.take_over(cluster, pool);
            }
        }
        ledger
    }

    fn observe(&mut self, cluster: &Cluster, pool: &Pool, claim: &Claim) {
        let mut planned = Some(claim.clone());
        if let ClaimState::Resting { since } = claim.state {
            // A clock that went back must not make it rest for ever.
            let end = since.min(cluster.now).plus(REST);
            if end <= cluster.now {
                planned = None;
            } else {
                self.think_at(end);
            }
        }
        self.insert(
            cluster,
            Entry {
                pool: Arc::clone(&pool.name),
                observed: Some(claim.clone()),
                kept: planned.clone(),
                planned,
                address: claim.address,
                service: Arc::clone(&claim.service),
            },
        );
    }

    /// A claim that the API server has forgotten, unless the address has gone to somebody else since.
    fn remember(&mut self, cluster: &Cluster, pool: &Arc<str>, claim: &Claim) {
        if !cluster.pools.contains_key(pool) || self.is_gone(cluster, pool, claim) {
            return;
        }
        let planned = Some(Claim {
            ports: BTreeSet::new(),
            ..claim.clone()
        });
        let entry = Entry {
            pool: Arc::clone(pool),
            observed: None,
            kept: planned.clone(),
            planned,
            address: claim.address,
            service: Arc::clone(&claim.service),
        };
        self.insert(cluster, entry);
    }

    /// Whether the API server knows a claim, or has the address with somebody who does not share it.
    fn is_gone(&self, cluster: &Cluster, pool: &Arc<str>, claim: &Claim) -> bool {
        let service = cluster.services.get(&claim.service);
        let keeps_out = |other: &Arc<str>| {
            let both = service.zip(cluster.services.get(other));
            !both.is_some_and(|(a, b)| a.name == b.name || Sharing::permits(a, b))
        };
        let claims = || {
            self.of_address(claim.address)
                .map(|index| &self.entries[index])
        };
        let is_known = claims().any(|entry| entry.service == claim.service && entry.pool == *pool);
        let mut observed = claims().filter(|entry| entry.observed.is_some());
        is_known
            || observed.any(|entry| keeps_out(&entry.service))
            || self.shown_by(claim.address).iter().any(keeps_out)
    }

    /// Claims for Services that OpenELB says have an address, and that do not show another one.
    fn take_over(&mut self, cluster: &Cluster, pool: &Pool) {
        for (&address, names) in &pool.status.usage.used {
            for name in names {
                let Some(service) = cluster.services.get(name) else {
                    continue;
                };
                let family = Family::of(address);
                let shows_another = service
                    .ingress
                    .iter()
                    .any(|entry| Family::of(entry.address) == family && entry.address != address);
                let has_claim = self.live_claim(name, address).is_some();
                if service.is_served() && !shows_another && !has_claim {
                    self.claim(cluster, pool, service, address);
                }
            }
        }
    }

    /// Makes a claim, and says where it is. One of the same Service for the same address in the pool is revived.
    pub(super) fn claim(
        &mut self,
        cluster: &Cluster,
        pool: &Pool,
        service: &Service,
        address: IpAddr,
    ) -> usize {
        let claim = Claim {
            address,
            service: Arc::clone(&service.name),
            ports: BTreeSet::new(),
            state: ClaimState::Held,
        };
        let same = self.of_service(&service.name).find(|&index| {
            let entry = &self.entries[index];
            entry.address == address && entry.pool == pool.name
        });
        if let Some(index) = same {
            let entry = &mut self.entries[index];
            let old = entry.observed.as_ref();
            let ports = old.map(|old| old.ports.clone()).unwrap_or_default();
            entry.planned = Some(Claim { ports, ..claim });
            return index;
        }
        self.insert(
            cluster,
            Entry {
                pool: Arc::clone(&pool.name),
                observed: None,
                kept: None,
                planned: Some(claim),
                address,
                service: Arc::clone(&service.name),
            },
        )
    }

    fn insert(&mut self, cluster: &Cluster, entry: Entry) -> usize {
        let index = self.entries.len();
        self.by_address
            .entry(entry.address)
            .or_default()
            .push(index);
        let service = Arc::clone(&entry.service);
        if let Some(Sharing::Key(key)) = cluster.services.get(&service).map(|item| &item.sharing) {
            let addresses = self.by_key.entry(key.clone()).or_default();
            addresses.insert(entry.address);
        }
        self.by_service.entry(service).or_default().push(index);
        self.entries.push(entry);
        index
    }

    /// Takes back a claim of this pass; one that the API server has becomes what time makes of it.
    pub(super) fn unclaim(&mut self, index: usize) {
        let entry = &mut self.entries[index];
        entry.planned.clone_from(&entry.kept);
    }

    /// Asks to be asked again at a time.
    pub(super) fn think_at(&mut self, time: UnixTime) {
        self.replan_at = Some(self.replan_at.map_or(time, |earlier| earlier.min(time)));
    }

    /// Claims for an address, whatever their state.
    pub(super) fn of_address(&self, address: IpAddr) -> impl Iterator<Item = usize> + '_ {
        self.by_address.get(&address).into_iter().flatten().copied()
    }

    /// Claims of a Service, whatever their state.
    pub(super) fn of_service(&self, service: &str) -> impl Iterator<Item = usize> + '_ {
        self.by_service.get(service).into_iter().flatten().copied()
    }

    /// The live claim of a Service for an address.
    pub(super) fn live_claim(&self, service: &str, address: IpAddr) -> Option<usize> {
        self.of_service(service).find(|&index| {
            let entry = &self.entries[index];
            entry.address == address && entry.is_live()
        })
    }

    /// Services whose status shows an address, but those that were deleted long enough ago.
    pub(super) fn shown_by(&self, address: IpAddr) -> &[Arc<str>] {
        self.shown_by.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Whether a Service's status says that it has a port of an address.
    pub(super) fn shows_port(&self, address: IpAddr, port: PortKey, service: &Arc<str>) -> bool {
        let shown = self.shown.get(&(address, port));
        shown.is_some_and(|services| services.contains(service))
    }

    /// Another Service whose status says that it has a port of an address.
    pub(super) fn shown_by_another(
        &self,
        address: IpAddr,
        port: PortKey,
        service: &Arc<str>,
    ) -> Option<&Arc<str>> {
        let shown = self.shown.get(&(address, port))?;
        shown.iter().find(|other| *other != service)
    }

    /// Addresses of Services that share by this key.
    pub(super) fn of_key(&self, key: &str) -> impl Iterator<Item = IpAddr> + '_ {
        self.by_key.get(key).into_iter().flatten().copied()
    }

    /// Where to look for a pool's next free address of a family; `None`: at its beginning.
    pub(super) fn cursor(&self, pool: &Pool, family: Family) -> Option<Option<IpAddr>> {
        self.cursors.get(&(Arc::clone(&pool.name), family)).copied()
    }

    pub(super) fn set_cursor(&mut self, pool: &Pool, family: Family, cursor: Option<IpAddr>) {
        self.cursors
            .insert((Arc::clone(&pool.name), family), cursor);
    }
}

/// Services whose addresses agents may still announce. One that was deleted may stay for ever, by somebody's finalizer.
fn in_use(cluster: &Cluster) -> impl Iterator<Item = &Arc<Service>> {
    cluster.services.values().filter(|service| {
        let deleted = service.deleted;
        deleted.is_none_or(|deleted| cluster.now < deleted.plus(WITHDRAWAL))
    })
}

fn shown_addresses(cluster: &Cluster) -> BTreeMap<IpAddr, Vec<Arc<str>>> {
    let mut shown: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for service in in_use(cluster) {
        for entry in &service.ingress {
            let services = shown.entry(entry.address).or_default();
            services.push(Arc::clone(&service.name));
        }
    }
    shown
}

fn shown_ports(cluster: &Cluster) -> BTreeMap<(IpAddr, PortKey), Vec<Arc<str>>> {
    let mut shown: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for service in in_use(cluster) {
        for entry in &service.ingress {
            let served = entry
                .ports
                .iter()
                .filter(|(_, state)| **state == PortState::Served);
            for (&port, _) in served {
                let services = shown.entry((entry.address, port)).or_default();
                services.push(Arc::clone(&service.name));
            }
        }
    }
    shown
}
