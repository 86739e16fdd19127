//! What each Service's object must become. A Service is told of an address only when the claim for it and our finalizer
//! are in the API server; until then its status stays as it is. What it has stays in its status while the request for
//! another address waits.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{
    Claim, Cluster, Family, Ingress, MetadataPlan, PortKey, PortProtocol, PortState, Service,
    ServicePlan, StatusPlan, WITHDRAWAL,
    ledger::Ledger,
    ports::holder_of,
    settle::{Decision, Decisions},
    verdict,
    words::Obstacle,
};

/// Services that are not as they should be.
pub(super) fn plan(
    cluster: &Cluster,
    ledger: &Ledger,
    decisions: &Decisions,
) -> BTreeMap<Arc<str>, ServicePlan> {
    let services = cluster.services.values();
    services
        .filter_map(|service| {
            let plan = match decisions.services.get(&service.name) {
                Some(decision) => serve(cluster, ledger, service, decision),
                None if service.is_served() => return None,
                None => release(cluster, ledger, service),
            };
            let has_work = plan.metadata.is_some() || plan.status.is_some();
            has_work.then(|| (Arc::clone(&service.name), plan))
        })
        .collect()
}

/// What a served Service shows, and what is to be said of it.
pub(super) struct View {
    pub(super) ingress: Vec<Ingress>,
    /// Addresses that are in no pool any more.
    pub(super) outside: Vec<IpAddr>,
    /// Claims of the addresses, where there are any.
    pub(super) claims: Vec<usize>,
    pub(super) obstacles: Vec<Obstacle>,
    /// Something is not in the API server yet.
    waits: bool,
}

fn serve(
    cluster: &Cluster,
    ledger: &Ledger,
    service: &Service,
    decision: &Decision,
) -> ServicePlan {
    let view = view(cluster, ledger, service, decision);
    let is_announced_as_recorded = |&index: &usize| {
        let pool = cluster.pools.get(&ledger.entries[index].pool);
        pool.is_some_and(|pool| pool.is_deleting)
    };
    let is_recorded = !view.outside.is_empty() || view.claims.iter().any(is_announced_as_recorded);
    let settings = || {
        let mut pools = view.claims.iter().map(|&index| &ledger.entries[index].pool);
        let pool = pools.find_map(|pool| cluster.pools.get(pool));
        pool.map(|pool| Arc::clone(&pool.announcement))
    };
    let imported = || {
        let import = cluster.imports.get(&service.name)?;
        Some(Arc::clone(&import.announcement))
    };
    let recorded = || service.announcement.clone();
    let announcement = is_recorded.then(|| recorded().or_else(settings).or_else(imported));
    let has_left = |address: &IpAddr| !service.shows(*address);
    let is_done = view
        .ingress
        .iter()
        .all(|entry| !service.leave.contains(&entry.address))
        && service.leave.iter().all(has_left);
    let has_claims = !decision.targets.is_empty();
    let metadata = MetadataPlan {
        finalizer: has_claims || !view.ingress.is_empty(),
        announcement: announcement.flatten(),
        keeps_leave: !service.leave.is_empty() && !is_done,
        keeps_openelb_label: true,
    };
    let waits = view.waits || (!view.ingress.is_empty() && !service.has_finalizer);
    let status = verdict::of_served(cluster, ledger, service, decision, view);
    ServicePlan {
        metadata: changed(service, metadata),
        status: (!waits)
            .then_some(status)
            .filter(|status| differs(service, status)),
    }
}

fn view(cluster: &Cluster, ledger: &Ledger, service: &Service, decision: &Decision) -> View {
    let mut view = View {
        ingress: Vec::new(),
        outside: Vec::new(),
        claims: Vec::new(),
        obstacles: decision.obstacles.clone(),
        waits: decision.waits,
    };
    for &family in &service.families {
        let mut targets = decision.targets.iter().map(|&index| &ledger.entries[index]);
        let target = targets.find(|entry| Family::of(entry.address) == family);
        let mut shown = service.ingress.iter().map(|entry| entry.address);
        let shown = shown.find(|address| Family::of(*address) == family);
        let address = match target {
            Some(entry) if entry.was_live() => Some(entry.address),
            Some(_) => {
                view.waits = true;
                shown
            }
            None => shown,
        };
        if let Some(address) = address {
            show(cluster, ledger, service, address, &mut view);
        }
    }
    view
}

/// Adds an address, its ports, and what is to be said of it.
fn show(cluster: &Cluster, ledger: &Ledger, service: &Service, address: IpAddr, view: &mut View) {
    let index = ledger.live_claim(&service.name, address);
    let mut pools = cluster.pools.values();
    if !pools.any(|pool| pool.contains(address)) {
        view.outside.push(address);
    }
    if let Some(owner) = cluster.refused.owner(address) {
        view.obstacles.push(Obstacle::refused_later(address, owner));
    }
    let ports = match index {
        Some(index) => claimed_ports(ledger, service, index, view),
        None => shown_ports(service, address),
    };
    view.claims.extend(index);
    view.ingress.push(Ingress { address, ports });
}

fn claimed_ports(
    ledger: &Ledger,
    service: &Service,
    index: usize,
    view: &mut View,
) -> BTreeMap<PortKey, PortState> {
    let entry = &ledger.entries[index];
    let mut ports = BTreeMap::new();
    for &port in &service.ports {
        let has = |claim: &Option<Claim>| {
            let claim = claim.as_ref();
            claim.is_some_and(|claim| claim.ports.contains(&port))
        };
        let (before, after) = (has(&entry.observed), has(&entry.planned));
        view.waits |= before != after;
        let holder = holder_of(ledger, index, port).filter(|_| !after);
        if let Some(holder) = holder {
            let words = Obstacle::port_conflict(entry.address, port, holder);
            view.obstacles.push(words);
        }
        let state = if after {
            PortState::Served
        } else {
            PortState::Conflict
        };
        if port.protocol != PortProtocol::Sctp {
            ports.insert(port, state);
        }
    }
    ports
}

/// Without a claim nothing new can be said: nobody else could see it.
fn shown_ports(service: &Service, address: IpAddr) -> BTreeMap<PortKey, PortState> {
    let mut shown = service.ingress.iter();
    let shown = shown.find(|entry| entry.address == address);
    let ports = shown.into_iter().flat_map(|entry| &entry.ports);
    let ports = ports.filter(|(port, _)| service.ports.contains(port));
    ports.map(|(port, state)| (*port, *state)).collect()
}

/// A Service that was deleted, or is ours no more.
fn release(cluster: &Cluster, ledger: &Ledger, service: &Service) -> ServicePlan {
    let claims = || ledger.of_service(&service.name);
    let has_claims =
        claims().any(|index| ledger.entries[index].was_live() || ledger.entries[index].is_live());
    let is_ours =
        claims().next().is_some() || service.has_marks() || !service.conditions.is_empty();
    let is_withdrawn = service.ingress.is_empty()
        || service
            .deleted
            .is_some_and(|deleted| deleted.plus(WITHDRAWAL) <= cluster.now);
    let is_over = !has_claims && is_withdrawn;
    let metadata = MetadataPlan {
        finalizer: service.has_finalizer && !is_over,
        announcement: service.announcement.clone().filter(|_| !is_over),
        keeps_leave: !service.leave.is_empty() && !is_over,
        keeps_openelb_label: !is_over,
    };
    // What somebody else gave it meanwhile stays.
    let has_gift = !has_claims && !service.has_marks();
    let ingress = if has_gift {
        service.ingress.clone()
    } else {
        Vec::new()
    };
    let status = StatusPlan {
        events: verdict::release_events(service, &ingress),
        ingress,
        conditions: Vec::new(),
    };
    let may_clear = is_ours && service.deleted.is_none() && !service.has_hostnames;
    ServicePlan {
        metadata: changed(service, metadata).filter(|_| is_ours),
        status: may_clear
            .then_some(status)
            .filter(|status| differs(service, status)),
    }
}

/// Metadata that has to be written.
fn changed(service: &Service, plan: MetadataPlan) -> Option<MetadataPlan> {
    let is_same = plan.finalizer == service.has_finalizer
        && plan.announcement == service.announcement
        && plan.keeps_leave != service.leave.is_empty();
    let cleans = service.has_openelb_marks && (service.has_finalizer != plan.finalizer);
    (!is_same || cleans).then_some(plan)
}

fn differs(service: &Service, status: &StatusPlan) -> bool {
    status.ingress != service.ingress || status.conditions != service.conditions
}
