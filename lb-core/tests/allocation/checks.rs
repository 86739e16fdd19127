//! What must hold at every instant, whoever wrote what.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_core::allocate::{
    Family, PortState, REST, Request, Service, Sharing, StatusPlan, UnixTime, WITHDRAWAL,
};

use crate::store::Store;

/// Services that have left an address, as they were, and when.
type Leavers = BTreeMap<Arc<str>, (UnixTime, Arc<Service>)>;

/// When each address was last shown by each Service that shows it no more.
#[derive(Default)]
pub(crate) struct Past {
    left: BTreeMap<IpAddr, Leavers>,
    services: BTreeMap<Arc<str>, Arc<Service>>,
    shown: BTreeSet<(IpAddr, Arc<str>)>,
    /// Claims were destroyed by force: what rested is not known any more.
    pub(crate) memory_lost_at: UnixTime,
    /// Whose claims they were.
    pub(crate) lost_claims: BTreeSet<Arc<str>>,
}

impl Past {
    /// Takes note of who shows what.
    pub(crate) fn look(&mut self, store: &Store) {
        let mut shown = BTreeSet::new();
        for (name, service) in in_use(store) {
            for entry in &service.ingress {
                shown.insert((entry.address, Arc::clone(name)));
            }
        }
        for (address, name) in self.shown.difference(&shown) {
            let pools = store.pools.objects.values();
            let mut claims = pools.flat_map(|pool| &pool.value.status.claims);
            if !claims.any(|claim| claim.address == *address && claim.service == *name) {
                // It was in no pool, so that there was nowhere to remember it.
                continue;
            }
            let left = self.left.entry(*address).or_default();
            let service = Arc::clone(&self.services[name]);
            left.insert(Arc::clone(name), (store.now, service));
        }
        for (name, object) in &store.services.objects {
            let service = Arc::clone(&object.value);
            self.services.insert(Arc::clone(name), service);
        }
        self.shown = shown;
    }

    /// Whether a Service's claims were destroyed by force.
    fn has_lost_claims(&self, service: &str) -> bool {
        self.lost_claims.contains(service)
    }

    /// Whether an address has rested since others had it, but those with whom the Service may share it.
    fn has_rested(&self, address: IpAddr, service: &Service, now: UnixTime) -> bool {
        let left = self
            .left
            .get(&address)
            .into_iter()
            .flat_map(BTreeMap::values);
        let mut strangers = left
            .filter(|(_, other)| other.name != service.name && !Sharing::permits(other, service));
        strangers.all(|(time, _)| time.plus(REST) <= now || *time <= self.memory_lost_at)
    }
}

/// Services whose addresses agents may still announce.
fn in_use(store: &Store) -> impl Iterator<Item = (&Arc<str>, &Arc<Service>)> {
    let services = store.services.objects.iter();
    let services = services.map(|(name, object)| (name, &object.value));
    services.filter(|(_, service)| {
        let deleted = service.deleted;
        deleted.is_none_or(|deleted| store.now < deleted.plus(WITHDRAWAL))
    })
}

/// Judges a write to a Service's status before it is done.
pub(crate) fn judge(store: &Store, past: &Past, name: &Arc<str>, plan: &StatusPlan) {
    let service = store.services.get(name).unwrap();
    for entry in &plan.ingress {
        let address = entry.address;
        if service.shows(address) {
            continue;
        }
        assert!(service.is_served(), "{name} gets {address} and wants none");
        assert!(
            service.has_finalizer,
            "{name} gets {address} without a finalizer"
        );
        let is_known = has_claim(store, name, address) || past.has_lost_claims(name);
        assert!(is_known, "{name} gets {address} without a claim");
        assert!(
            past.has_rested(address, service, store.now),
            "{name} gets {address} too early"
        );
        for (other, holder) in in_use(store) {
            let shares = Sharing::permits(service, holder);
            let is_alone = other == name || !holder.shows(address) || shares;
            assert!(
                is_alone,
                "{name} gets {address} of {other}, who does not share"
            );
        }
    }
    for entry in &service.ingress {
        let stays = plan.ingress.iter().any(|new| new.address == entry.address);
        let may_go = !service.is_served() || turned_away(store, service, entry.address);
        assert!(
            stays || may_go,
            "{name} loses {} and did not ask for it",
            entry.address
        );
    }
}

fn has_claim(store: &Store, name: &Arc<str>, address: IpAddr) -> bool {
    store.pools.objects.values().any(|pool| {
        let mut claims = pool.value.status.claims.iter();
        claims.any(|claim| {
            claim.service == *name && claim.address == address && claim.state.is_live()
        })
    })
}

/// Whether a Service's own request speaks against an address; written a second time here.
fn turned_away(store: &Store, service: &Service, address: IpAddr) -> bool {
    let family = Family::of(address);
    let request = service
        .request
        .clone()
        .unwrap_or_else(|_| Request::default());
    if !service.families.contains(&family) {
        return true;
    }
    if let Some(asked) = request.address(family) {
        return asked != address;
    }
    let is_elsewhere = request.pool.is_some_and(|pool| {
        let pool = store.pools.get(&pool);
        !pool.is_some_and(|pool| pool.contains(address))
    });
    service.leave.contains(&address) || is_elsewhere
}

/// No port of an address is two Services'.
pub(crate) fn check_ports(store: &Store) {
    let mut holders = BTreeMap::new();
    for (name, service) in in_use(store) {
        for entry in &service.ingress {
            let served = entry
                .ports
                .iter()
                .filter(|(_, state)| **state == PortState::Served);
            for (port, _) in served {
                let other = holders.insert((entry.address, *port), name);
                assert_eq!(other, None, "{} {port} is also {name}'s", entry.address);
            }
        }
    }
}

/// When everything is quiet, nothing is left over.
pub(crate) fn check_quiet(store: &Store) {
    for (name, object) in &store.services.objects {
        let service = &object.value;
        assert_eq!(service.deleted, None, "{name} stays though it was deleted");
        assert!(
            service.is_wanted || !service.has_finalizer,
            "{name} keeps our finalizer"
        );
        // We say which ports; whoever was there before us did not.
        let was_never_ours = service.ingress.iter().all(|entry| entry.ports.is_empty());
        let has_none = service.ingress.is_empty() || was_never_ours;
        assert!(service.is_wanted || has_none, "{name} keeps its addresses");
    }
    for (name, object) in &store.pools.objects {
        let pool = &object.value;
        let claims = &pool.status.claims;
        assert!(
            !pool.is_deleting || !claims.is_empty(),
            "{name} stays for nobody"
        );
        for claim in claims {
            let service = store.services.get(&claim.service);
            let is_used = service.is_some_and(|service| service.shows(claim.address));
            assert!(is_used, "{name} keeps {claim:?} for nothing");
        }
    }
}
