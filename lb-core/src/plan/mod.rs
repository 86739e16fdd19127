//! From what is known to what shall be: `plan_cluster`, then `plan_service` for each Service whose inputs
//! changed, then which VIPs may be announced. A Service whose inputs are the same keeps its plan, the very
//! `Arc`; so does a service port whose plan comes out the same. Pure: the previous state is all the memory.

pub mod announce;
mod bgp;
mod cluster;
mod endpoints;
mod homes;
mod layer2;
pub mod routes;
mod service;
mod unreachable;

use std::sync::Arc;

use crate::{DesiredState, Snapshot};

/// Decides everything, given what is known and what was decided before.
#[must_use]
pub fn plan(snapshot: &Snapshot, previous: &DesiredState) -> DesiredState {
    let generation = previous.generation + 1;
    let cluster = cluster::plan_cluster(snapshot, previous.cluster.as_ref());
    let services: std::collections::BTreeMap<_, _> = snapshot
        .services
        .values()
        .map(|item| {
            let before = previous.services.get(&item.name);
            let plan =
                service::plan_service(item, &cluster.view, &snapshot.down, before, generation);
            (Arc::clone(&item.name), plan)
        })
        .collect();
    let announcements = announce::announce(snapshot, previous, &services);
    let is_drained = announcements
        .drain
        .is_some_and(|drain| drain.is_over(snapshot.now));
    let bgp = bgp::plan_bgp(snapshot, &cluster, is_drained, previous.bgp.as_ref());
    let peer_routes = routes::plan_routes(
        snapshot,
        &announcements.routes,
        bgp.as_ref(),
        announcements.draining_since.is_some(),
        &previous.peer_routes,
    );
    let owned = layer2::owned(snapshot, &announcements.vips, &previous.owned);
    let unreachable = unreachable::plan_unreachable(snapshot, &announcements, previous);
    let mut next = DesiredState {
        generation,
        cluster: Some(cluster),
        services,
        vips: announcements.vips,
        leaving: announcements.leaving,
        bgp,
        routes: announcements.routes,
        owned,
        unreachable,
        peer_routes,
        draining_since: announcements.draining_since,
        drain: announcements.drain,
        replan_at: announcements.replan_at,
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
    same_cluster
        && next.owned == previous.owned
        && next.ports().count() == previous.ports().count()
        && next
            .ports()
            .zip(previous.ports())
            .all(|(a, b)| Arc::ptr_eq(a, b))
}

#[cfg(test)]
mod tests;
