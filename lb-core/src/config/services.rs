//! Services of the file: their names, VIPs, ports, health checks and endpoints, and what must hold between
//! them and with the nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use serde_saphyr::Spanned;

use super::{affinity, bgp, duration, error::Problem, names, prefix, schema};
use crate::model::{
    Announce, Endpoint, HealthCheck, Node, Port, Prefix, Protocol, Service, ServicePort,
    TrafficPolicy, WEIGHT_MAX,
};

const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
const FAILURES_DEFAULT: u32 = 3;

pub(super) fn services(
    file: &schema::File,
    nodes: &[Arc<Node>],
    problems: &mut Vec<Problem>,
) -> Vec<Arc<Service>> {
    let mut made = Vec::with_capacity(file.services.len());
    let mut claims = Claims::new(file, nodes);
    for (index, service) in file.services.iter().enumerate() {
        let mut maker = Maker {
            path: format!("services[{index}]"),
            has_bgp: file.bgp.is_some(),
            has_layer2: file.layer2.is_some(),
            nodes,
            problems,
        };
        let item = maker.service(service);
        claims.check(service, &item, &maker.path, maker.problems);
        made.push(Arc::new(item));
    }
    made
}

/// What is taken: names, (VIP, protocol, port), and addresses that no VIP may be.
struct Claims<'a> {
    names: BTreeSet<&'a str>,
    ports: BTreeMap<ServicePort, &'a str>,
    addresses: BTreeMap<IpAddr, String>,
    announcers: BTreeMap<IpAddr, (Announce, &'a str)>,
}

impl<'a> Claims<'a> {
    fn new(file: &schema::File, nodes: &[Arc<Node>]) -> Self {
        let endpoints = file.services.iter().flat_map(|service| {
            let whose = format!("an endpoint of {}", service.name.value);
            service
                .endpoints
                .iter()
                .filter_map(move |e| Some((e.address.value.parse().ok()?, whose.clone())))
        });
        let nodes = nodes.iter().flat_map(|node| {
            let whose = format!("node {}", node.name);
            node.addresses
                .iter()
                .map(move |&address| (address, whose.clone()))
        });
        Self {
            names: BTreeSet::new(),
            ports: BTreeMap::new(),
            addresses: endpoints.chain(nodes).collect(),
            announcers: BTreeMap::new(),
        }
    }

    fn check(
        &mut self,
        service: &'a schema::Service,
        made: &Service,
        path: &str,
        problems: &mut Vec<Problem>,
    ) {
        if !self.names.insert(&service.name.value) {
            let message = format!("there are two Services named {}", service.name.value);
            let field = format!("{path}.name");
            problems.push(Problem::at(&service.name, field, &message));
        }
        self.check_vips(&service.addresses.value, path, problems);
        self.check_announcer(service, made, path, problems);
        self.check_ports(service, made, path, problems);
    }

    fn check_vips(&self, addresses: &[schema::Text], path: &str, problems: &mut Vec<Problem>) {
        for (index, text) in addresses.iter().enumerate() {
            let vip = text.value.parse::<IpAddr>().ok();
            if let Some(owner) = vip.and_then(|vip| self.addresses.get(&vip)) {
                let vip = &text.value;
                let message =
                    format!("{vip} is the address of {owner}; a VIP must be nobody's own");
                let field = format!("{path}.addresses[{index}]");
                problems.push(Problem::at(text, field, &message));
            }
        }
    }

    /// Routers and the LAN would disagree about where a VIP is that both are told of.
    fn check_announcer(
        &mut self,
        service: &'a schema::Service,
        made: &Service,
        path: &str,
        problems: &mut Vec<Problem>,
    ) {
        for (index, text) in service.addresses.value.iter().enumerate() {
            let Ok(vip) = text.value.parse::<IpAddr>() else {
                continue;
            };
            let by = (made.announce, service.name.value.as_str());
            let (announcer, owner) = *self.announcers.entry(vip).or_insert(by);
            let pair = (announcer, made.announce);
            if let (Announce::Bgp, Announce::Layer2) | (Announce::Layer2, Announce::Bgp) = pair {
                let message = format!("{owner} announces {vip} by {announcer}; a VIP has one way");
                let field = format!("{path}.addresses[{index}]");
                problems.push(Problem::at(text, field, &message));
            }
        }
    }

    fn check_ports(
        &mut self,
        service: &'a schema::Service,
        made: &Service,
        path: &str,
        problems: &mut Vec<Problem>,
    ) {
        for (index, Port { protocol, port, .. }) in made.ports.iter().enumerate() {
            for &vip in &made.vips {
                let (protocol, port) = (*protocol, *port);
                let key = ServicePort {
                    vip,
                    protocol,
                    port,
                };
                if let Some(owner) = self.ports.insert(key, &service.name.value) {
                    let message = format!("{key} is served by {owner} already");
                    let place = &service.ports.value[index].port;
                    let field = format!("{path}.ports[{index}].port");
                    problems.push(Problem::at(place, field, &message));
                }
            }
        }
    }
}

struct Maker<'a> {
    path: String,
    has_bgp: bool,
    has_layer2: bool,
    nodes: &'a [Arc<Node>],
    problems: &'a mut Vec<Problem>,
}

impl Maker<'_> {
    fn field(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    fn problem<T>(&mut self, place: &Spanned<T>, name: &str, message: &str) {
        let field = self.field(name);
        self.problems.push(Problem::at(place, field, message));
    }

    fn new_flows_per_second(&mut self, limit: Option<&Spanned<u32>>) -> Option<u32> {
        let limit = limit?;
        if limit.value == 0 {
            let message = "0 would let nobody in; leave it out to let everybody in";
            self.problem(limit, "newFlowsPerSecond", message);
        }
        Some(limit.value)
    }

    fn service(&mut self, service: &schema::Service) -> Service {
        names::service_name(&service.name, self.field("name"), self.problems);
        let vips = self.vips(&service.addresses);
        let ports = self.ports(&service.ports);
        Service {
            name: service.name.value.as_str().into(),
            announce: self.announce(service.announce.as_ref()),
            traffic_policy: match &service.external_traffic_policy {
                Some(word) if word.value == "Local" => TrafficPolicy::Local,
                _ => TrafficPolicy::Cluster,
            },
            affinity: affinity::affinity(service, &self.path, self.problems),
            new_flows_per_second: self.new_flows_per_second(service.new_flows_per_second.as_ref()),
            returns_by_ingress: service
                .return_by
                .as_ref()
                .is_some_and(|word| word.value == "ingress"),
            source_ranges: service
                .load_balancer_source_ranges
                .as_ref()
                .map_or_else(BTreeSet::new, |ranges| self.source_ranges(&ranges.value)),
            bgp: Arc::new(bgp::service(
                service.bgp.as_ref(),
                &self.path,
                self.problems,
            )),
            health_check: service
                .health_check
                .as_ref()
                .and_then(|check| self.health_check(check)),
            endpoints: service
                .endpoints
                .iter()
                .enumerate()
                .filter_map(|(index, endpoint)| self.endpoint(index, endpoint, &vips, &ports))
                .collect(),
            vips,
            ports,
            taken: BTreeSet::new(),
        }
    }

    fn announce(&mut self, announce: Option<&schema::Text>) -> Announce {
        let by_section = match (self.has_bgp, self.has_layer2) {
            (true, _) => Announce::Bgp,
            (false, true) => Announce::Layer2,
            (false, false) => Announce::Nobody,
        };
        let Some(word) = announce else {
            return by_section;
        };
        let (announcer, has_section) = match word.value.as_str() {
            "layer2" => (Announce::Layer2, self.has_layer2),
            _ => (Announce::Bgp, self.has_bgp),
        };
        if !has_section {
            let section = &word.value;
            let message = format!("there is no `{section}` section to announce it with");
            self.problem(word, "announce", &message);
        }
        announcer
    }

    fn vips(&mut self, addresses: &Spanned<Vec<schema::Text>>) -> Vec<IpAddr> {
        if addresses.value.is_empty() {
            self.problem(addresses, "addresses", "a Service needs at least one VIP");
        }
        let mut vips = Vec::new();
        for (index, text) in addresses.value.iter().enumerate() {
            let name = format!("addresses[{index}]");
            let Some(vip) = names::address(text, self.field(&name), self.problems) else {
                continue;
            };
            if vips.contains(&vip) {
                self.problem(text, &name, &format!("{vip} is listed twice"));
            } else {
                vips.push(vip);
            }
        }
        vips
    }

    fn source_ranges(&mut self, ranges: &[schema::Text]) -> BTreeSet<Prefix> {
        let mut made = BTreeSet::new();
        for (index, text) in ranges.iter().enumerate() {
            let name = format!("loadBalancerSourceRanges[{index}]");
            match prefix::parse(&text.value) {
                Ok(prefix) if made.insert(prefix) => {}
                Ok(prefix) => self.problem(text, &name, &format!("{prefix} is listed twice")),
                Err(why) => self.problem(text, &name, &why),
            }
        }
        made
    }

    fn ports(&mut self, ports: &Spanned<Vec<schema::Port>>) -> Vec<Port> {
        if ports.value.is_empty() {
            self.problem(ports, "ports", "a Service needs at least one port");
        }
        let mut seen = BTreeSet::new();
        let mut made = Vec::new();
        for (index, port) in ports.value.iter().enumerate() {
            let name = format!("ports[{index}].name");
            names::port_name(&port.name, self.field(&name), self.problems);
            if !seen.insert(&port.name.value) {
                self.problem(
                    &port.name,
                    &name,
                    &format!("there are two ports named {}", port.name.value),
                );
            }
            let number = self.field(&format!("ports[{index}].port"));
            made.push(Port {
                name: port.name.value.as_str().into(),
                protocol: match port.protocol.as_ref().map(|text| text.value.as_str()) {
                    Some("UDP") => Protocol::Udp,
                    _ => Protocol::Tcp,
                },
                port: names::port(&port.port, number, self.problems),
            });
        }
        made
    }

    fn health_check(&mut self, check: &Spanned<schema::HealthCheck>) -> Option<HealthCheck> {
        let Some(tcp) = &check.value.tcp else {
            self.problem(
                check,
                "healthCheck",
                "it says nothing to check; write `tcp: {port: 8080}`",
            );
            return None;
        };
        let interval = check.value.interval.as_ref().and_then(|text| {
            let interval =
                duration::parse(&text.value).and_then(|interval| match interval.is_zero() {
                    true => Err("probes need some time between them, like 1s".to_owned()),
                    false => Ok(interval),
                });
            interval
                .map_err(|why| self.problem(text, "healthCheck.interval", &why))
                .ok()
        });
        let failures = check.value.failures.as_ref();
        if let Some(zero) = failures.filter(|failures| failures.value == 0) {
            self.problem(
                zero,
                "healthCheck.failures",
                "at least one failure must be needed",
            );
        }
        let port = self.field("healthCheck.tcp.port");
        Some(HealthCheck {
            tcp_port: names::port(&tcp.port, port, self.problems),
            interval: interval.unwrap_or(INTERVAL_DEFAULT),
            failures: failures.map_or(FAILURES_DEFAULT, |failures| failures.value),
        })
    }

    fn endpoint(
        &mut self,
        index: usize,
        endpoint: &schema::Endpoint,
        vips: &[IpAddr],
        ports: &[Port],
    ) -> Option<Endpoint> {
        let path = format!("endpoints[{index}]");
        if let Some(name) = &endpoint.node {
            let mut nodes = self.nodes.iter();
            if !nodes.any(|node| *node.name == *name.value) {
                let message = format!("{} is not among the nodes", name.value);
                self.problem(name, &format!("{path}.node"), &message);
            }
        }
        let weight = endpoint.weight.as_ref();
        if let Some(weight) = weight.filter(|weight| !(1..=WEIGHT_MAX).contains(&weight.value)) {
            let message = format!("a weight is a number from 1 to {WEIGHT_MAX}");
            self.problem(weight, &format!("{path}.weight"), &message);
        }
        let field = self.field(&format!("{path}.address"));
        let address = names::address(&endpoint.address, field, self.problems)?;
        if !vips.is_empty() && !vips.iter().any(|vip| vip.is_ipv4() == address.is_ipv4()) {
            let message = format!(
                "no VIP of the Service has the family of {address}: nothing would reach it"
            );
            self.problem(&endpoint.address, &format!("{path}.address"), &message);
        }
        let ready = endpoint.ready.unwrap_or(true);
        Some(Endpoint {
            address,
            node: endpoint
                .node
                .as_ref()
                .map(|name| name.value.as_str().into()),
            ports: Arc::new(self.endpoint_ports(&path, endpoint, ports)),
            ready,
            serving: endpoint.serving.unwrap_or(ready),
            terminating: endpoint.terminating,
            elsewhere: false,
            weight: weight.map_or(1, |weight| weight.value),
        })
    }

    fn endpoint_ports(
        &mut self,
        path: &str,
        endpoint: &schema::Endpoint,
        ports: &[Port],
    ) -> BTreeMap<Arc<str>, u16> {
        let mut made = BTreeMap::new();
        for (name, number) in &endpoint.ports {
            let field = format!("{path}.ports.{name}");
            let Some(port) = ports.iter().find(|port| *port.name == **name) else {
                self.problem(number, &field, "the Service has no port of this name");
                continue;
            };
            let field = self.field(&field);
            made.insert(
                Arc::clone(&port.name),
                names::port(number, field, self.problems),
            );
        }
        made
    }
}
