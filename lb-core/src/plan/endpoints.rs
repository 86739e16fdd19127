//! Which endpoints of a Service get new connections: the ready ones; only if there is none, those that
//! terminate but still serve (KEP-1669); never one that terminates and does not serve, never one whose health
//! check fails. Of these, the ones on nodes of the cluster; only if there is none, the others, by way of the
//! kernel. Existing flows are not asked: they live in the flow table by value.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use lb_common::limits::ENDPOINTS_PER_SERVICE_MAX;

use crate::{
    desired::{ClusterView, EndpointVerdict, Target},
    model::{Endpoint, Service, TrafficPolicy},
    probes::Probe,
};

/// What was decided of an endpoint.
pub(super) type Verdict = (IpAddr, EndpointVerdict);

/// A port of a Service for VIPs of one family.
pub(super) struct Asked<'a> {
    pub(super) service: &'a Service,
    /// Name of the port.
    pub(super) port: &'a Arc<str>,
    pub(super) ipv4: bool,
    pub(super) view: &'a ClusterView,
    /// Probes that are down.
    pub(super) down: &'a BTreeSet<Probe>,
}

/// What [`Asked::all`] comes to.
pub(super) struct Chosen {
    /// Who is steered to, sorted.
    pub(super) targets: Vec<Target>,
    /// Nobody is, but there are endpoints that the kernel may reach.
    pub(super) by_kernel: bool,
    /// What was decided of each.
    pub(super) verdicts: Vec<Verdict>,
}

impl Asked<'_> {
    /// The endpoints of the whole cluster.
    pub(super) fn all(&self) -> Chosen {
        self.choose(|_| true)
    }

    /// The endpoints of this node alone, by the same rules; `verdicts` learn which are used here only.
    pub(super) fn here(&self, verdicts: &mut [Verdict]) -> Vec<Target> {
        let is_here = |endpoint: &Endpoint| {
            let index = node_of(endpoint, self.view).ok();
            index.is_some() && index == self.view.own_index
        };
        let chosen = self.choose(is_here);
        for (address, verdict) in chosen.verdicts {
            let known = verdicts.iter_mut().find(|(known, verdict)| {
                *known == address && *verdict == EndpointVerdict::Terminating
            });
            if let (EndpointVerdict::UsedTerminating, Some((_, known))) = (verdict, known) {
                *known = EndpointVerdict::UsedHereTerminating;
            }
        }
        chosen.targets
    }

    fn choose(&self, counts: impl Fn(&Endpoint) -> bool) -> Chosen {
        let candidates = self.candidates(counts);
        let is_used = |wanted: EndpointVerdict| {
            let of = move |(endpoint, verdict): &&Candidate<'_>| {
                *verdict == wanted && endpoint.ports.contains_key(self.port)
            };
            candidates.iter().filter(of)
        };
        let any_ready = is_used(EndpointVerdict::Used).next().is_some();
        let wanted = match any_ready {
            true => EndpointVerdict::Used,
            false => EndpointVerdict::UsedTerminating,
        };
        let mut used = is_used(wanted);
        let any_steerable = used.any(|(endpoint, _)| node_of(endpoint, self.view).is_ok());
        let mut targets = BTreeMap::new();
        let mut by_kernel = false;
        let mut verdicts = Vec::with_capacity(candidates.len());
        for &(endpoint, verdict) in &candidates {
            let mut verdict = match (verdict, endpoint.ports.contains_key(self.port)) {
                (EndpointVerdict::UsedTerminating, true) if any_ready => {
                    EndpointVerdict::Terminating
                }
                (verdict, false) if verdict.is_used() => EndpointVerdict::NoSuchPort,
                (verdict, _) => verdict,
            };
            if verdict.is_used() {
                match self.target(endpoint) {
                    Ok(target) => match targets.entry((target.address, target.port)) {
                        Entry::Vacant(place) => _ = place.insert(target),
                        Entry::Occupied(_) => verdict = EndpointVerdict::Duplicate,
                    },
                    Err(why) if any_steerable => verdict = why,
                    Err(_) => {
                        by_kernel = true;
                        verdict = EndpointVerdict::UsedByKernel;
                    }
                }
            }
            verdicts.push((endpoint.address, verdict));
        }
        let targets = bound(targets.into_values().collect(), &mut verdicts);
        Chosen {
            targets,
            by_kernel,
            verdicts,
        }
    }

    /// Which of two with one address counts must not depend on the order in which a source lists them.
    fn candidates(&self, counts: impl Fn(&Endpoint) -> bool) -> Vec<Candidate<'_>> {
        let of_family = |endpoint: &&Endpoint| endpoint.address.is_ipv4() == self.ipv4;
        let mut candidates: Vec<_> = self
            .service
            .endpoints
            .iter()
            .filter(of_family)
            .filter(|endpoint| counts(endpoint))
            .map(|endpoint| (endpoint, condition(self.service, endpoint, self.down)))
            .collect();
        candidates.sort_by_key(|(endpoint, _)| (endpoint.address, &endpoint.node, endpoint.weight));
        candidates
    }

    fn target(&self, endpoint: &Endpoint) -> Result<Target, EndpointVerdict> {
        let number = endpoint.ports.get(self.port);
        Ok(Target {
            address: endpoint.address,
            port: *number.ok_or(EndpointVerdict::NoSuchPort)?,
            node: node_of(endpoint, self.view)?,
            weight: endpoint.weight,
        })
    }
}

/// An endpoint with what it is by itself.
type Candidate<'a> = (&'a Endpoint, EndpointVerdict);

/// Index of the node that an endpoint is on.
pub(super) fn node_of(endpoint: &Endpoint, view: &ClusterView) -> Result<u16, EndpointVerdict> {
    let name = endpoint.node.as_ref().ok_or(EndpointVerdict::NoNode)?;
    let index = view.indices.get(name);
    index.copied().ok_or(EndpointVerdict::UnknownNode)
}

/// What an endpoint is by itself, before others are looked at.
fn condition(service: &Service, endpoint: &Endpoint, down: &BTreeSet<Probe>) -> EndpointVerdict {
    let check = service.health_check.as_ref();
    if check.is_some_and(|check| down.contains(&Probe::of(check, endpoint))) {
        return EndpointVerdict::FailsHealthCheck;
    }
    let is_cluster = service.traffic_policy == TrafficPolicy::Cluster;
    if endpoint.ready && endpoint.elsewhere && is_cluster {
        return EndpointVerdict::Elsewhere;
    }
    match (endpoint.ready, endpoint.serving, endpoint.terminating) {
        (true, _, _) => EndpointVerdict::Used,
        (false, true, true) => EndpointVerdict::UsedTerminating,
        (false, false, true) => EndpointVerdict::Gone,
        (false, _, false) => EndpointVerdict::NotReady,
    }
}

/// Drops what is above the limit, by address, so that all nodes drop the same.
fn bound(mut targets: Vec<Target>, verdicts: &mut [Verdict]) -> Vec<Target> {
    if targets.len() <= ENDPOINTS_PER_SERVICE_MAX {
        return targets;
    }
    let dropped: BTreeSet<_> = targets
        .split_off(ENDPOINTS_PER_SERVICE_MAX)
        .into_iter()
        .map(|target| target.address)
        .collect();
    for (address, verdict) in verdicts {
        if verdict.is_used() && dropped.contains(address) {
            *verdict = EndpointVerdict::TooMany;
        }
    }
    targets
}
