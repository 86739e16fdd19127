//! From what the engine knows and the data path counts to the rows that people and programs see. Every reason
//! is told in the words of the plan that decided it.

pub mod bgp;
pub mod drain;
pub mod explain;
pub mod live;
pub mod ready;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use lb_common::{Address, counter::ServiceCounters, verdict::Verdict};
use lb_core::{
    desired::{EndpointReason, PortPlan, ServicePlan, VipReason},
    model::{Announce, Node, ServicePort},
    probes::Probe,
    snapshot::{Link, PortFeedback},
};

use lb_datapath::{Attached, Samples};

use crate::{
    api::rows::{Answer, EndpointRow, Health, Mode, NodeRow, ServiceRow, UplinkRow, VerdictRow},
    engine::state::View,
};

/// What the data path has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Where the programs are.
    pub attached: Vec<Attached>,
    /// By service port.
    pub services: BTreeMap<ServicePort, ServiceCounters>,
    /// Flows alive, by service port; those without any left out.
    pub active_flows: BTreeMap<ServicePort, u32>,
    /// Packets that rows have led to endpoints and nodes, sampled.
    pub samples: Samples,
    /// Packets by verdict, those that never happened left out.
    pub verdicts: Vec<(Verdict, u64)>,
}

/// Service ports.
#[must_use]
pub fn services(view: &View, counters: &Counters) -> Answer<ServiceRow> {
    let plans = view.desired.services.values();
    let rows = plans.flat_map(|plan| {
        plan.ports
            .iter()
            .map(|port| service_row(view, counters, plan, port))
    });
    answer(view, rows.collect())
}

/// What became of packets.
#[must_use]
pub fn verdicts(view: &View, counters: &Counters) -> Answer<VerdictRow> {
    let row = |&(verdict, packets): &(Verdict, u64)| VerdictRow {
        verdict: verdict.label().to_owned(),
        packets,
    };
    answer(view, counters.verdicts.iter().map(row).collect())
}

/// Endpoints.
#[must_use]
pub fn endpoints(view: &View, counters: &Counters) -> Answer<EndpointRow> {
    let plans = view.desired.services.values();
    let rows = plans.flat_map(|plan| {
        plan.reasons
            .iter()
            .map(|reason| endpoint_row(view, counters, plan, reason))
    });
    answer(view, rows.collect())
}

/// Nodes.
#[must_use]
pub fn nodes(view: &View, counters: &Counters) -> Answer<NodeRow> {
    let nodes = view.snapshot.nodes.iter();
    let rows = nodes.map(|node| node_row(view, counters, node));
    answer(view, rows.collect())
}

/// Uplinks.
#[must_use]
pub fn uplinks(view: &View, counters: &Counters) -> Answer<UplinkRow> {
    let row = |link: &Link| {
        let attached = counters
            .attached
            .iter()
            .find(|attached| *attached.interface == *link.name);
        UplinkRow {
            interface: link.name.to_string(),
            xdp: attached.map(|attached| attached.ingress.to_string()),
            egress: attached.map(|attached| attached.egress.to_string()),
            mac: link.mac.to_string(),
            mtu_bytes: link.mtu_bytes,
            not_in_driver: attached.and_then(|attached| attached.refusal.clone()),
        }
    };
    answer(view, view.snapshot.links.iter().map(row).collect())
}

fn answer<Row>(view: &View, rows: Vec<Row>) -> Answer<Row> {
    Answer {
        node: view.snapshot.own_node.to_string(),
        generation: view.desired.generation,
        warnings: warnings(view),
        rows,
    }
}

fn warnings(view: &View) -> Vec<String> {
    let refused = view.told.config_refused.as_ref().map(|reason| {
        format!(
            "the configuration file was edited and is refused; what ran before goes on\n{reason}"
        )
    });
    let left_out = view
        .desired
        .cluster
        .iter()
        .flat_map(|cluster| &cluster.left_out);
    let left_out = left_out.map(|(node, reason)| format!("node {node} is left out: {reason}"));
    refused
        .into_iter()
        .chain(drain::warning(view))
        .chain(view.told.alarms.iter().cloned())
        .chain(view.told.listen_problem.clone())
        .chain(left_out)
        .collect()
}

fn service_row(
    view: &View,
    counters: &Counters,
    plan: &ServicePlan,
    port: &PortPlan,
) -> ServiceRow {
    let known = plan.reasons.iter().filter(|reason| {
        reason.port == (port.port.protocol, port.port.port)
            && reason.address.is_ipv4() == port.port.vip.is_ipv4()
    });
    let counted = counters
        .services
        .get(&port.port)
        .copied()
        .unwrap_or_default();
    ServiceRow {
        service: plan.service.name.to_string(),
        vip: port.port.vip,
        protocol: port.port.protocol.to_string(),
        port: port.port.port,
        endpoints_used: port.targets.len(),
        endpoints_known: known.count(),
        applied: is_applied(view, port),
        announced_to: announced_to(view, port.port.vip),
        packets: counted.packets,
        bytes: counted.bytes,
        forwarded: counted.forwarded(),
        dropped: counted.dropped,
        new_flows: counted.new_flows,
        active_flows: counters.active_flows.get(&port.port).copied().unwrap_or(0),
        reply_packets: counted.reply_packets,
        reply_bytes: counted.reply_bytes,
        reasons: reasons(view, port),
    }
}

fn is_applied(view: &View, port: &PortPlan) -> bool {
    matches!(
        view.snapshot.applied.get(&port.port),
        Some(PortFeedback::Applied { generation }) if *generation >= port.generation
    )
}

/// BGP peers that are told of a VIP, or the uplinks on which it is answered for.
fn announced_to(view: &View, vip: IpAddr) -> Vec<String> {
    if view.desired.routes.contains(&vip) {
        return bgp::announced_to(view, vip);
    }
    let plan = view.desired.vips.get(&vip);
    let slots = view.desired.owned.get(&vip);
    let slots = slots.filter(|_| plan.is_some_and(|plan| plan.is_announced()));
    let is_answered_on = |link: &&Link| slots.is_some_and(|slots| slots >> link.slot & 1 != 0);
    let links = view.snapshot.links.iter().filter(is_answered_on);
    links.map(|link| link.name.to_string()).collect()
}

fn reasons(view: &View, port: &PortPlan) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(vip) = view.desired.vips.get(&port.port.vip) {
        if !vip.is_announced() {
            reasons.push(vip.reason.to_string());
        } else if vip.announcer == Announce::Bgp
            && bgp::announced_to(view, port.port.vip).is_empty()
        {
            reasons.extend(bgp::unheard(view, port.port.vip));
        }
        reasons.extend(vip.failed.get(&port.port).cloned());
    }
    let said_already = view.desired.vips.get(&port.port.vip).is_some_and(|vip| {
        matches!(
            vip.reason,
            VipReason::NoEndpoint | VipReason::NoEndpointHere
        )
    });
    if port.by_kernel {
        let why = "no endpoint is on a node of the cluster: left to the kernel (kube-proxy) of the node that gets a \
                   packet; pods do not see the client's address";
        reasons.push(why.to_owned());
    } else if port.targets.is_empty() && !said_already {
        reasons.push("no endpoint is used: see `show endpoints`".to_owned());
    } else if !port.serves_here() && !said_already {
        let why = "externalTrafficPolicy is Local, and this node has no endpoint: what comes here goes to other nodes";
        reasons.push(why.to_owned());
    }
    reasons
}

fn endpoint_row(
    view: &View,
    counters: &Counters,
    plan: &ServicePlan,
    reason: &EndpointReason,
) -> EndpointRow {
    let service = &plan.service;
    let endpoint = service
        .endpoints
        .iter()
        .find(|endpoint| endpoint.address == reason.address);
    let port = service
        .ports
        .iter()
        .find(|port| (port.protocol, port.port) == reason.port);
    let probe = service
        .health_check
        .as_ref()
        .zip(endpoint)
        .map(|(check, endpoint)| Probe::of(check, endpoint));
    let since = probe.and_then(|probe| view.told.probes_since.get(&probe));
    let target_port = endpoint
        .zip(port)
        .and_then(|(endpoint, port)| endpoint.ports.get(&port.name).copied());
    let sampled = target_port.and_then(|port| {
        let key = (words(reason.address), port.to_be());
        counters.samples.endpoints.get(&key)
    });
    EndpointRow {
        service: service.name.to_string(),
        port: port.map(|port| port.name.to_string()).unwrap_or_default(),
        address: reason.address,
        target_port,
        packets_sampled: sampled.copied().unwrap_or(0),
        node: endpoint
            .and_then(|endpoint| Some(endpoint.node.as_ref()?.to_string()))
            .unwrap_or_default(),
        ready: endpoint.is_some_and(|endpoint| endpoint.ready),
        health: match probe {
            None => Health::Unchecked,
            Some(probe) if view.snapshot.down.contains(&probe) => Health::Down,
            Some(_) => Health::Up,
        },
        health_since: since.copied().map(unix_seconds),
        used: reason.verdict.is_used(),
        reason: reason.verdict.to_string(),
    }
}

fn node_row(view: &View, counters: &Counters, node: &Node) -> NodeRow {
    let sampled = node
        .addresses
        .iter()
        .filter_map(|&address| counters.samples.nodes.get(&words(address)));
    let way = view.snapshot.neighbours.get(&node.name);
    let uplink = way.and_then(|way| {
        view.snapshot
            .links
            .iter()
            .find(|link| link.slot == way.uplink)
    });
    NodeRow {
        node: node.name.to_string(),
        addresses: node.addresses.clone(),
        mode: match way {
            _ if node.name == view.snapshot.own_node => Mode::Own,
            None => Mode::Unreachable,
            Some(way) if way.on_link => Mode::Direct,
            Some(_) => Mode::Gue,
        },
        interface: uplink.map(|link| link.name.to_string()),
        mac: way.and_then(|way| Some(way.mac?.to_string())),
        mtu_bytes: way.map(|way| way.mtu_bytes),
        packets_sampled: sampled.sum(),
    }
}

/// An address as the maps have it: its bytes in words.
fn words(address: IpAddr) -> Address {
    let mut words = [0; 4];
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    for (word, bytes) in words.iter_mut().zip(octets.as_chunks().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
pub(crate) mod tests;
