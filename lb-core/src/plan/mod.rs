//! From what is known to what shall be: `plan_cluster`, then `plan_service` for each Service whose inputs
//! changed, then which of their VIPs may be announced. What did not change keeps its plan, the very `Arc`, and is not
//! looked at: a change costs what it touches, not what there is. Pure: the previous state is all the memory.

pub mod announce;
mod beginning;
mod bgp;
mod checks;
mod cluster;
mod endpoints;
mod homes;
mod layer2;
pub mod routes;
mod service;
mod services;
mod touched;
mod unreachable;
pub mod withdraw;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use self::beginning::Beginning;
use crate::{
    DesiredState, Snapshot,
    model::{Service, ServicePort},
    ord_map::OrdMap,
    probes::Probe,
    snapshot::PortFeedback,
};

/// What a state was planned from, as far as the next plan compares with it.
#[derive(Clone, Debug, Default)]
pub struct Memo {
    services: OrdMap<Arc<str>, Arc<Service>>,
    down: BTreeSet<Probe>,
    applied: OrdMap<ServicePort, PortFeedback>,
    /// What counts for every VIP; `None`: nothing was planned yet.
    own: Option<announce::Own>,
    /// VIPs for which more follows from the last plan: they came to be announced, or ceased to be.
    unsettled: BTreeSet<IpAddr>,
    checks: Arc<BTreeMap<Arc<str>, checks::Tally>>,
    beginning: Beginning,
}

/// Decides everything, given what is known and what was decided before.
#[must_use]
pub fn plan(snapshot: &Snapshot, previous: &DesiredState) -> DesiredState {
    let generation = previous.generation + 1;
    let cluster = cluster::plan_cluster(snapshot, previous.cluster.as_ref());
    let services = services::plan_services(snapshot, &cluster.view, previous, generation);
    let checks = checks::tally(&previous.memo.checks, &services.changed);
    let announcements = announce::announce(snapshot, previous, &services);
    let is_drained = announcements
        .drain
        .is_some_and(|drain| drain.is_over(snapshot.now));
    let beginning = previous.memo.beginning.next(snapshot, &announcements.vips);
    let takeover = snapshot.takeover.filter(|_| beginning == Beginning::Begun);
    let bgp = bgp::plan_bgp(
        snapshot,
        &cluster,
        takeover,
        is_drained,
        previous.bgp.as_ref(),
    );
    let peer_routes = routes::plan_routes(
        snapshot,
        &announcements.routes,
        &checks::dead(&checks),
        bgp.as_ref(),
        announcements.draining_since.is_some(),
        &previous.peer_routes,
    );
    let owned = layer2::owned(snapshot, &announcements, &previous.owned);
    let unreachable = unreachable::plan_unreachable(snapshot, &announcements, previous);
    let mut next = DesiredState {
        generation,
        cluster: Some(cluster),
        services: services.plans,
        vips: announcements.vips,
        by_vip: announcements.by_vip,
        leaving: announcements.leaving,
        bgp,
        routes: announcements.routes,
        owned,
        unreachable,
        peer_routes,
        draining_since: announcements.draining_since,
        drain: announcements.drain,
        replan_at: [announcements.replan_at, beginning.ends_at()]
            .into_iter()
            .flatten()
            .min(),
        memo: Memo {
            services: snapshot.services.clone(),
            down: snapshot.down.clone(),
            applied: snapshot.applied.clone(),
            own: Some(announcements.own),
            unsettled: announcements.unsettled,
            checks,
            beginning,
        },
    };
    if is_same_for_the_datapath(&next, previous) {
        next.generation = previous.generation;
    }
    next
}

fn is_same_for_the_datapath(next: &DesiredState, previous: &DesiredState) -> bool {
    let same_cluster = match (&next.cluster, &previous.cluster) {
        (Some(next), Some(previous)) => Arc::ptr_eq(next, previous),
        _ => false,
    };
    same_cluster && next.owned == previous.owned && next.by_vip.is_copy_of(&previous.by_vip)
}

#[cfg(test)]
mod tests;
