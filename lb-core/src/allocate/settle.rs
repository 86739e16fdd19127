//! Which address each Service shall have. First everything that Services already show is taken over, then each Service
//! keeps what it has unless its own request says otherwise, and only then are new addresses given: those that were asked
//! for by address first, then by pool, and the older Service before the younger.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    Cluster, Family, Request, Service, Sharing,
    choose::{choose, pool_of},
    ledger::Ledger,
    words::{IMPORT_PLAN, Obstacle},
};

/// What each Service shall have.
#[derive(Default)]
pub(super) struct Decisions {
    pub(super) services: BTreeMap<Arc<str>, Decision>,
    /// Services whose addresses somebody else gave.
    pub(super) untouched: BTreeMap<Arc<str>, String>,
}

/// What a Service shall have.
#[derive(Default)]
pub(super) struct Decision {
    /// Its claims, in the order of its families.
    pub(super) targets: Vec<usize>,
    /// Families that it has no address of, and why.
    pub(super) missing: Vec<Obstacle>,
    /// Nothing new can be given yet.
    pub(super) waits: bool,
    /// What else of its request is not done, and why.
    pub(super) obstacles: Vec<Obstacle>,
}

pub(super) fn settle(cluster: &Cluster, ledger: &mut Ledger, is_settled: bool) -> Decisions {
    let mut served: Vec<&Arc<Service>> = cluster
        .services
        .values()
        .filter(|service| service.is_served())
        .collect();
    served.sort_by_key(|service| (service.created, Arc::clone(&service.name)));
    let mut decisions = Decisions::default();
    for service in &served {
        if let Err(words) = adopt(cluster, ledger, service) {
            decisions.untouched.insert(Arc::clone(&service.name), words);
        }
    }
    served.retain(|service| !decisions.untouched.contains_key(&service.name));
    served.sort_by_key(|service| precedence(service));
    for service in served {
        let decision = decide(cluster, ledger, service, is_settled);
        let name = Arc::clone(&service.name);
        decisions.services.insert(name, decision);
    }
    decisions
}

fn precedence(service: &Service) -> u8 {
    match &service.request {
        Ok(request) if !request.addresses.is_empty() => 0,
        Ok(request) if request.pool.is_some() => 1,
        _ => 2,
    }
}

/// Claims what a Service shows, as far as it lies in a pool. Says why, if the Service is none of our business.
fn adopt(cluster: &Cluster, ledger: &mut Ledger, service: &Service) -> Result<(), String> {
    let is_ours = service.has_marks() || ledger.of_service(&service.name).next().is_some();
    if service.has_hostnames {
        return Err("its status names a host, which somebody else wrote".to_owned());
    }
    let request = service.request.clone().unwrap_or_default();
    let unclaimed = service.ingress.iter().map(|entry| entry.address);
    let unclaimed: BTreeSet<IpAddr> = unclaimed
        .filter(|&address| ledger.live_claim(&service.name, address).is_none())
        .collect();
    if !is_ours {
        for &address in &unclaimed {
            check_stranger(cluster, ledger, service, &request, address)?;
        }
    }
    for address in unclaimed {
        if let Some(pool) = pool_of(cluster, &request, address) {
            ledger.claim(cluster, pool, service, address);
        }
    }
    Ok(())
}

/// Whether an address that a Service shows without any mark of ours may be taken over (CVE-2020-8554: not just any).
fn check_stranger(
    cluster: &Cluster,
    ledger: &Ledger,
    service: &Service,
    request: &Request,
    address: IpAddr,
) -> Result<(), String> {
    if let Some(owner) = cluster.refused.owner(address) {
        return Err(format!("somebody else gave it {address}, which is {owner}"));
    }
    let Some(pool) = pool_of(cluster, request, address) else {
        return check_import(cluster, ledger, service, address);
    };
    if pool.is_fenced && !pool.audience.includes(service, &cluster.namespaces) {
        let name = &pool.name;
        return Err(format!(
            "somebody else gave it {address}, which Eip {name} refuses it"
        ));
    }
    let others = ledger
        .of_address(address)
        .map(|index| &ledger.entries[index]);
    let mut others =
        others.filter(|entry| entry.planned.is_some() && entry.service != service.name);
    let intruded = others.find(|entry| {
        let holder = cluster.services.get(&entry.service);
        !holder.is_some_and(|holder| holder.shows(address) && Sharing::permits(service, holder))
    });
    match intruded {
        Some(entry) => Err(format!(
            "somebody else gave it {address}, which belongs to {}",
            entry.service
        )),
        None => Ok(()),
    }
}

/// Whether an operator wants an address that is in no pool to be taken over with its Service.
fn check_import(
    cluster: &Cluster,
    ledger: &Ledger,
    service: &Service,
    address: IpAddr,
) -> Result<(), String> {
    let import = cluster.imports.get(&service.name);
    if !import.is_some_and(|import| import.addresses.contains(&address)) {
        return Err(format!(
            "somebody else gave it {address}, which is in no Eip, and the ConfigMap {IMPORT_PLAN} does not list it"
        ));
    }
    let others = ledger.shown_by(address).iter();
    let mut others = others.filter(|other| **other != service.name);
    let shares_port = |other: &&Arc<str>| {
        let other = cluster.services.get(*other);
        other.is_none_or(|other| !other.ports.is_disjoint(&service.ports))
    };
    match others.find(shares_port) {
        Some(other) => Err(format!(
            "somebody else gave it {address}, of which {other} has the same port"
        )),
        None => Ok(()),
    }
}

fn decide(cluster: &Cluster, ledger: &mut Ledger, service: &Service, is_settled: bool) -> Decision {
    let mut decision = Decision::default();
    let request = match &service.request {
        Ok(request) => request,
        Err(error) => {
            decision.obstacles.push(Obstacle::invalid_request(error));
            &Request::default()
        }
    };
    for &address in &request.addresses {
        if !service.families.contains(&Family::of(address)) {
            decision.obstacles.push(Obstacle::request_family(address));
        }
    }
    let may_choose = decision.obstacles.is_empty();
    let ignored = service.ignored.iter().map(|words| Obstacle::ignored(words));
    decision.obstacles.extend(ignored);
    for &family in &service.families {
        let own = keep(cluster, ledger, service, request, family);
        let new = match own {
            Own::Fits(index) => Ok(index),
            Own::FitsOutside => continue,
            _ if !may_choose => Err(None),
            _ if !is_settled => {
                decision.waits = true;
                Err(None)
            }
            _ => choose(cluster, ledger, service, request, family).map_err(Some),
        };
        match (new, own) {
            (Ok(index), _) => decision.targets.push(index),
            (Err(obstacle), Own::Contradicts(address)) => {
                let index = ledger.live_claim(&service.name, address);
                decision.targets.extend(index);
                let kept = obstacle.map(|obstacle| obstacle.keeping(address));
                decision.obstacles.extend(kept);
            }
            (Err(obstacle), _) => {
                let words = obstacle.unwrap_or_else(Obstacle::see_request);
                decision.missing.push(words);
            }
        }
    }
    if service.requires_all_families && !decision.missing.is_empty() && service.ingress.is_empty() {
        for index in decision.targets.drain(..) {
            ledger.unclaim(index);
        }
    }
    decision
}

/// What a Service has of a family.
#[derive(Clone, Copy)]
enum Own {
    /// A claim that it may keep.
    Fits(usize),
    /// An address in its status that it may keep, though no pool has it.
    FitsOutside,
    /// An address in its status that its request has turned away from.
    Contradicts(IpAddr),
    Nothing,
}

fn keep(
    cluster: &Cluster,
    ledger: &Ledger,
    service: &Service,
    request: &Request,
    family: Family,
) -> Own {
    let shown = service.ingress.iter().map(|entry| entry.address);
    let shown = shown.filter(|address| Family::of(*address) == family);
    let shown: Vec<IpAddr> = shown.collect();
    let claim_of = |address: IpAddr| ledger.live_claim(&service.name, address);
    let contradicts_claim = |index: usize| {
        let entry = &ledger.entries[index];
        contradicts(cluster, service, request, entry.address, Some(&entry.pool))
    };
    // What it shows counts before what else it has a claim of.
    for &address in &shown {
        match claim_of(address) {
            Some(index) if !contradicts_claim(index) => return Own::Fits(index),
            None if !contradicts(cluster, service, request, address, None) => {
                return Own::FitsOutside;
            }
            _ => {}
        }
    }
    let mut claims = ledger.of_service(&service.name).filter(|&index| {
        let entry = &ledger.entries[index];
        entry.is_live() && Family::of(entry.address) == family
    });
    match (
        claims.find(|&index| !contradicts_claim(index)),
        shown.first(),
    ) {
        (Some(index), _) => Own::Fits(index),
        (None, Some(&address)) => Own::Contradicts(address),
        (None, None) => Own::Nothing,
    }
}

/// Whether a Service's own request speaks against an address that it has.
fn contradicts(
    cluster: &Cluster,
    service: &Service,
    request: &Request,
    address: IpAddr,
    pool: Option<&Arc<str>>,
) -> bool {
    if let Some(asked) = request.address(Family::of(address)) {
        return asked != address;
    }
    let is_left = service.leave.contains(&address);
    let is_of_another = request.pool.as_ref().is_some_and(|asked| {
        let contains = |pool: &Arc<super::Pool>| pool.contains(address);
        Some(asked) != pool && !cluster.pools.get(asked).is_some_and(contains)
    });
    is_left || is_of_another
}
