//! One Service: its service ports, each with its endpoints. Nothing is done if the inputs are those of the previous plan;
//! a set that one of that plan's ports had stays the same `Arc`.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::endpoints::{self, Asked};
use crate::{
    desired::{ClusterView, EndpointReason, LocalEndpoint, PortPlan, ServicePlan, Target},
    model::{Endpoint, Port, Prefix, Service, ServicePort, TrafficPolicy},
    probes::Probe,
};

pub(super) fn plan_service(
    service: &Arc<Service>,
    view: &Arc<ClusterView>,
    down: &BTreeSet<Probe>,
    previous: Option<&Arc<ServicePlan>>,
    generation: u64,
) -> Arc<ServicePlan> {
    let down = down_of(service, down);
    if let Some(previous) = previous
        && Arc::ptr_eq(&previous.service, service)
        && Arc::ptr_eq(&previous.view, view)
        && previous.down == down
    {
        return Arc::clone(previous);
    }
    let mut made = Made {
        previous: previous
            .filter(|previous| previous.view.seed == view.seed)
            .map_or(&[], |previous| &previous.ports),
        ports: Vec::new(),
        generation,
    };
    let reasons = plan_ports(service, view, &down, &mut made);
    Arc::new(ServicePlan {
        service: Arc::clone(service),
        view: Arc::clone(view),
        down,
        ports: made.ports,
        local: local(service, view),
        reasons,
    })
}

/// Every port on every VIP; VIPs of one family share a port's endpoints.
fn plan_ports(
    service: &Service,
    view: &ClusterView,
    down: &BTreeSet<Probe>,
    made: &mut Made<'_>,
) -> Vec<EndpointReason> {
    let mut reasons = Vec::new();
    let (v4, v6): (Vec<_>, Vec<_>) = service.vips.iter().partition(|vip| vip.is_ipv4());
    for port in &service.ports {
        for vips in [&v4, &v6] {
            let Some(&&first) = vips.first() else {
                continue;
            };
            let service_port = |vip| ServicePort {
                vip,
                protocol: port.protocol,
                port: port.port,
            };
            let asked = Asked {
                service,
                port: &port.name,
                ipv4: first.is_ipv4(),
                view,
                down,
            };
            let (plan, verdicts) = made.plan(&asked, service_port(first));
            reasons.extend(
                verdicts
                    .into_iter()
                    .map(|(address, verdict)| EndpointReason {
                        address,
                        port: (port.protocol, port.port),
                        verdict,
                    }),
            );
            let free = |vip: &&&IpAddr| !service.taken.contains(&service_port(***vip));
            for &&vip in vips.iter().filter(free) {
                made.add(PortPlan {
                    port: service_port(vip),
                    ..plan.clone()
                });
            }
        }
    }
    reasons
}

/// The Service's endpoints on this node. None is left out for what it is not: a flow to an endpoint that
/// terminates or fails its health check goes on, and so must the replies.
fn local(service: &Service, view: &ClusterView) -> BTreeSet<LocalEndpoint> {
    let own = |endpoint: &&Endpoint| {
        let index = endpoints::node_of(endpoint, view).ok();
        index.is_some() && index == view.own_index
    };
    let of_endpoint = |endpoint| {
        service.ports.iter().filter_map(move |port: &Port| {
            let endpoint: &Endpoint = endpoint;
            Some(LocalEndpoint {
                address: endpoint.address,
                port: *endpoint.ports.get(&port.name)?,
                protocol: port.protocol,
            })
        })
    };
    service
        .endpoints
        .iter()
        .filter(own)
        .flat_map(of_endpoint)
        .collect()
}

/// The failed probes of this Service's endpoints.
fn down_of(service: &Service, down: &BTreeSet<Probe>) -> BTreeSet<Probe> {
    let Some(check) = service.health_check.as_ref().filter(|_| !down.is_empty()) else {
        return BTreeSet::new();
    };
    let probes = service
        .endpoints
        .iter()
        .map(|endpoint| Probe::of(check, endpoint));
    probes.filter(|probe| down.contains(probe)).collect()
}

/// The ports planned so far, and those planned before: where sets are taken from.
struct Made<'a> {
    previous: &'a [Arc<PortPlan>],
    ports: Vec<Arc<PortPlan>>,
    generation: u64,
}

impl Made<'_> {
    /// The plan of a port, but for its VIP that of all VIPs of its family, and what was decided of each endpoint.
    fn plan(&self, asked: &Asked<'_>, port: ServicePort) -> (PortPlan, Vec<endpoints::Verdict>) {
        let service = asked.service;
        let mut chosen = asked.all();
        let here = match service.traffic_policy {
            TrafficPolicy::Cluster => Vec::new(),
            TrafficPolicy::Local if service.affinity.is_some() => {
                asked.here(&mut chosen.verdicts.clone())
            }
            TrafficPolicy::Local => asked.here(&mut chosen.verdicts),
        };
        let targets = self.set(chosen.targets);
        // With affinity a client gets the same endpoint by whichever of these nodes its router sends it.
        let local = (!here.is_empty()).then(|| match service.affinity {
            Some(_) if !targets.is_empty() => Arc::clone(&targets),
            // Nobody can be steered to but this node's own that terminate: the ready ones are outside of the cluster.
            _ => self.set(here),
        });
        let plan = PortPlan {
            port,
            service: Arc::clone(&service.name),
            generation: self.generation,
            targets,
            traffic_policy: service.traffic_policy,
            local,
            by_kernel: chosen.by_kernel,
            affinity: service.affinity,
            new_flows_per_second: service.new_flows_per_second,
            returns_by_ingress: service.returns_by_ingress,
            source_ranges: source_ranges(service, asked.ipv4),
        };
        (plan, chosen.verdicts)
    }

    /// A set, as the `Arc` of a port that has the same.
    fn set(&self, targets: Vec<Target>) -> Arc<[Target]> {
        let ports = self.previous.iter().chain(&self.ports);
        let mut known = ports.flat_map(|port| std::iter::once(&port.targets).chain(&port.local));
        let same = known.find(|known| ***known == *targets);
        same.map_or_else(|| targets.into(), Arc::clone)
    }

    fn add(&mut self, plan: PortPlan) {
        let before = self.previous.iter().find(|before| before.port == plan.port);
        self.ports.push(match before {
            Some(before) if before.means_the_same(&plan) => Arc::clone(before),
            _ => Arc::new(plan),
        });
    }
}

/// The ranges of one family. A Service that names none of a family, but some, takes nobody of that family.
fn source_ranges(service: &Service, ipv4: bool) -> Option<Arc<[Prefix]>> {
    let of_family = |prefix: &&Prefix| prefix.address().is_ipv4() == ipv4;
    let ranges = service.source_ranges.iter().filter(of_family).copied();
    (!service.source_ranges.is_empty()).then(|| ranges.collect())
}
