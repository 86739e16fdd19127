//! One Service: its service ports, each with its endpoints and table. Nothing is done if the inputs are those of
//! the previous plan; a table is made only for a set that none of the previous plan's ports had.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::endpoints;
use crate::{
    desired::{ClusterView, EndpointReason, LocalEndpoint, PortPlan, ServicePlan, Target},
    model::{Endpoint, Port, Service, ServicePort},
    probes::Probe,
    table,
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
    for Port {
        name,
        protocol,
        port,
    } in &service.ports
    {
        for vips in [&v4, &v6] {
            let Some(ipv4) = vips.first().map(|vip: &IpAddr| vip.is_ipv4()) else {
                continue;
            };
            let (targets, why) = endpoints::choose(service, name, ipv4, view, down);
            reasons.extend(why.into_iter().map(|(address, verdict)| EndpointReason {
                address,
                port: (*protocol, *port),
                verdict,
            }));
            let targets = made.shared(targets);
            for &vip in vips {
                let (protocol, port) = (*protocol, *port);
                let port = ServicePort {
                    vip,
                    protocol,
                    port,
                };
                made.add(port, service, view, &targets);
            }
        }
    }
    reasons
}

/// The Service's endpoints on this node. None is left out for what it is not: a flow to an endpoint that
/// terminates or fails its health check goes on, and so must the replies.
fn local(service: &Service, view: &ClusterView) -> BTreeSet<LocalEndpoint> {
    let own = |endpoint: &&Endpoint| {
        let index = view.indices.get(&endpoint.node);
        index.is_some() && index.copied() == view.own_index
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

/// The ports planned so far, and those planned before: where sets and tables are taken from.
struct Made<'a> {
    previous: &'a [Arc<PortPlan>],
    ports: Vec<Arc<PortPlan>>,
    generation: u64,
}

impl Made<'_> {
    fn known(&self) -> impl Iterator<Item = &Arc<PortPlan>> {
        self.previous.iter().chain(&self.ports)
    }

    /// The set, as the `Arc` of a port that has the same.
    fn shared(&self, targets: Vec<Target>) -> Arc<[Target]> {
        let same = self.known().find(|port| *port.targets == *targets);
        same.map_or_else(|| targets.into(), |port| Arc::clone(&port.targets))
    }

    fn add(
        &mut self,
        port: ServicePort,
        service: &Service,
        view: &ClusterView,
        targets: &Arc<[Target]>,
    ) {
        let plan = PortPlan {
            port,
            service: Arc::clone(&service.name),
            generation: self.generation,
            targets: Arc::clone(targets),
            rows: self.rows(view, targets),
        };
        let before = self.previous.iter().find(|before| before.port == port);
        self.ports.push(match before {
            Some(before) if before.means_the_same(&plan) => Arc::clone(before),
            _ => Arc::new(plan),
        });
    }

    /// Tables depend on address, port and weight, not on the node.
    fn rows(&self, view: &ClusterView, targets: &Arc<[Target]>) -> Arc<table::Rows> {
        let same = self
            .known()
            .find(|port| is_same_set(&port.targets, targets));
        same.map_or_else(
            || Arc::new(table::rows(&view.seed, targets)),
            |port| Arc::clone(&port.rows),
        )
    }
}

fn is_same_set(a: &Arc<[Target]>, b: &Arc<[Target]>) -> bool {
    let scored = |target: &Target| (target.address, target.port, target.weight);
    Arc::ptr_eq(a, b) || a.len() == b.len() && a.iter().map(scored).eq(b.iter().map(scored))
}
