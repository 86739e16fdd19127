//! Which endpoints of a Service get new connections: the ready ones; only if there is none, those that
//! terminate but still serve (KEP-1669); never one that terminates and does not serve, never one whose health
//! check fails. Existing flows are not asked: they live in the flow table by value.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use lb_common::limits::ENDPOINTS_PER_SERVICE_MAX;

use crate::{
    desired::{ClusterView, EndpointVerdict, Target},
    model::{Endpoint, Service},
    probes::Probe,
};

/// What was decided of an endpoint.
type Verdict = (IpAddr, EndpointVerdict);

/// The endpoints of one port (by name) for VIPs of one family, sorted, and what was decided of each.
pub(super) fn choose(
    service: &Service,
    port: &Arc<str>,
    ipv4: bool,
    view: &ClusterView,
    down: &BTreeSet<Probe>,
) -> (Vec<Target>, Vec<Verdict>) {
    let mut candidates: Vec<_> = service
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.address.is_ipv4() == ipv4)
        .map(|endpoint| (endpoint, condition(service, endpoint, down)))
        .collect();
    // Which of two with one address counts must not depend on the order in which a source lists them.
    candidates.sort_by_key(|(endpoint, _)| (endpoint.address, &endpoint.node, endpoint.weight));
    let serves = |endpoint: &Endpoint| target(endpoint, port, view).is_ok();
    let any_ready = candidates
        .iter()
        .any(|(endpoint, verdict)| *verdict == EndpointVerdict::Used && serves(endpoint));
    let mut targets = BTreeMap::new();
    let mut reasons = Vec::with_capacity(candidates.len());
    for (endpoint, verdict) in candidates {
        let target = target(endpoint, port, view);
        let mut verdict = match (verdict, &target) {
            (EndpointVerdict::UsedTerminating, Ok(_)) if any_ready => EndpointVerdict::Terminating,
            (verdict, Err(missing)) if verdict.is_used() => *missing,
            (verdict, _) => verdict,
        };
        if let (true, Ok(target)) = (verdict.is_used(), target) {
            match targets.entry((target.address, target.port)) {
                Entry::Vacant(place) => _ = place.insert(target),
                Entry::Occupied(_) => verdict = EndpointVerdict::Duplicate,
            }
        }
        reasons.push((endpoint.address, verdict));
    }
    let targets = bound(targets.into_values().collect(), &mut reasons);
    (targets, reasons)
}

/// What an endpoint is by itself, before others are looked at.
fn condition(service: &Service, endpoint: &Endpoint, down: &BTreeSet<Probe>) -> EndpointVerdict {
    let check = service.health_check.as_ref();
    if check.is_some_and(|check| down.contains(&Probe::of(check, endpoint))) {
        return EndpointVerdict::FailsHealthCheck;
    }
    match (endpoint.ready, endpoint.serving, endpoint.terminating) {
        (true, _, _) => EndpointVerdict::Used,
        (false, true, true) => EndpointVerdict::UsedTerminating,
        (false, false, true) => EndpointVerdict::Gone,
        (false, _, false) => EndpointVerdict::NotReady,
    }
}

fn target(
    endpoint: &Endpoint,
    port: &Arc<str>,
    view: &ClusterView,
) -> Result<Target, EndpointVerdict> {
    let number = endpoint.ports.get(port);
    let node = view.indices.get(&endpoint.node);
    Ok(Target {
        address: endpoint.address,
        port: *number.ok_or(EndpointVerdict::NoSuchPort)?,
        node: *node.ok_or(EndpointVerdict::UnknownNode)?,
        weight: endpoint.weight,
    })
}

/// Drops what is above the limit, by address, so that all nodes drop the same.
fn bound(mut targets: Vec<Target>, reasons: &mut [Verdict]) -> Vec<Target> {
    if targets.len() <= ENDPOINTS_PER_SERVICE_MAX {
        return targets;
    }
    let dropped: BTreeSet<_> = targets
        .split_off(ENDPOINTS_PER_SERVICE_MAX)
        .into_iter()
        .map(|target| target.address)
        .collect();
    for (address, verdict) in reasons {
        if verdict.is_used() && dropped.contains(address) {
            *verdict = EndpointVerdict::TooMany;
        }
    }
    targets
}
