//! Which routes each peer is told, what they say, and by which next hops. Peers with the same policy share one set.
//! Nothing is done if nothing that counts has changed. Until nodes know of each other, a node counts as alive
//! unless every health check of the endpoints on it fails (`checks`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use lb_common::hash;

use crate::{
    Snapshot,
    desired::{BgpPlan, PeerRoutes, PlannedRoute, PlannedRoutes},
    model::{
        Endpoint, NextHopMode, Node, Peer, Prefix, Remote, RouteSettings, Service, TrafficPolicy,
        policy,
    },
    ord_map::OrdMap,
    probes::Probe,
};

/// The route is about to go (RFC 8326).
const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

/// All that routes follow from; the same again means the same routes.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    vips: Arc<BTreeSet<IpAddr>>,
    services: OrdMap<Arc<str>, Arc<Service>>,
    bgp: Option<Arc<BgpPlan>>,
    candidates: Vec<Candidate>,
    down: BTreeSet<Probe>,
    subnets: Vec<Prefix>,
    is_leaving: bool,
}

/// A node that can be a next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    node: Arc<Node>,
    is_own: bool,
}

/// Why a peer is not told of a VIP that is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTold {
    /// The peer lists Services, and this one is not among them.
    PeerLeavesOut,
    /// The Service lists peers, and this one is not among them.
    ServiceLeavesOut,
}

impl fmt::Display for NotTold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerLeavesOut => "the peer's `services` do not list it",
            Self::ServiceLeavesOut => "the Service's `bgp.peers` do not list this peer",
        })
    }
}

/// Whether a peer is told of a Service's VIPs.
#[must_use]
pub fn not_told(peer: &Peer, service: &Service) -> Option<NotTold> {
    let leaves_out = |names: &BTreeSet<Arc<str>>| !names.contains(&service.name);
    if peer.services.as_ref().is_some_and(leaves_out) {
        return Some(NotTold::PeerLeavesOut);
    }
    let leaves_out = |peers: &BTreeSet<Remote>| !peers.contains(&peer.remote);
    let peers = service.bgp.peers.as_ref();
    peers
        .is_some_and(leaves_out)
        .then_some(NotTold::ServiceLeavesOut)
}

pub(super) fn plan_routes(
    snapshot: &Snapshot,
    vips: &Arc<BTreeSet<IpAddr>>,
    dead: &BTreeSet<&str>,
    bgp: Option<&Arc<BgpPlan>>,
    is_leaving: bool,
    previous: &PlannedRoutes,
) -> PlannedRoutes {
    let inputs = Inputs {
        vips: Arc::clone(vips),
        services: snapshot.services.clone(),
        bgp: bgp.cloned(),
        candidates: candidates(snapshot, dead),
        down: snapshot.down.clone(),
        subnets: snapshot
            .links
            .iter()
            .flat_map(|link| link.subnets.clone())
            .collect(),
        is_leaving,
    };
    if inputs.are_those_of(&previous.inputs) {
        return PlannedRoutes {
            by_peer: previous.by_peer.clone(),
            inputs,
        };
    }
    let mut planned: Vec<(&Peer, Arc<PeerRoutes>)> = Vec::new();
    let announced = announced(&inputs);
    let is_restricted = inputs.services.values().any(|s| s.bgp.peers.is_some());
    for peer in inputs.bgp.iter().flat_map(|bgp| &bgp.peers) {
        let next_hops = NextHops::of(&inputs, peer);
        let same = planned.iter().find(|(other, _)| {
            !is_restricted
                && other.services == peer.services
                && other.routes == peer.routes
                && other.policy == peer.policy
                && NextHops::of(&inputs, other) == next_hops
        });
        let routes = match same {
            Some((_, routes)) => Arc::clone(routes),
            None => {
                let routes = peer_routes(&inputs, &announced, peer, &next_hops);
                match previous.by_peer.get(&peer.remote) {
                    Some(before) if **before == routes => Arc::clone(before),
                    _ => Arc::new(routes),
                }
            }
        };
        planned.push((peer, routes));
    }
    let by_peer = planned.into_iter();
    let by_peer = by_peer.map(|(peer, routes)| (peer.remote.clone(), routes));
    PlannedRoutes {
        by_peer: by_peer.collect(),
        inputs,
    }
}

impl Inputs {
    /// Whether it counts for a route, beyond the candidates, which health checks fail.
    fn asks_checks(&self) -> bool {
        let mut services = self.services.values();
        services.any(|service| {
            service.traffic_policy == TrafficPolicy::Local && service.health_check.is_some()
        })
    }

    fn are_those_of(&self, other: &Self) -> bool {
        let same_bgp = match (&self.bgp, &other.bgp) {
            (Some(bgp), Some(other)) => Arc::ptr_eq(bgp, other),
            (None, None) => true,
            _ => false,
        };
        same_bgp
            && Arc::ptr_eq(&self.vips, &other.vips)
            && self.is_leaving == other.is_leaving
            && self
                .services
                .diff(&other.services, are_routed_the_same)
                .next()
                .is_none()
            && self.candidates == other.candidates
            && (self.down == other.down || !self.asks_checks())
            && self.subnets == other.subnets
    }
}

/// Whether routes follow from both in the same way. Endpoints count only where packets stay on the node that they reach.
fn are_routed_the_same(a: &Arc<Service>, b: &Arc<Service>) -> bool {
    let is_cluster = a.traffic_policy == TrafficPolicy::Cluster;
    Arc::ptr_eq(a, b)
        || a.vips == b.vips
            && a.bgp == b.bgp
            && a.traffic_policy == b.traffic_policy
            && (is_cluster || a.endpoints == b.endpoints && a.health_check == b.health_check)
}

/// Nodes that are not known to be dead, this one first, then by name.
fn candidates(snapshot: &Snapshot, dead: &BTreeSet<&str>) -> Vec<Candidate> {
    let mut candidates: Vec<_> = snapshot
        .nodes
        .iter()
        .map(|node| Candidate {
            is_own: node.name == snapshot.own_node,
            node: Arc::clone(node),
        })
        .filter(|candidate| {
            let node = &candidate.node;
            candidate.is_own || node.unfit.is_none() && !dead.contains(&*node.name)
        })
        .collect();
    candidates.sort_by(|a, b| {
        let key = |c: &Candidate| (!c.is_own, Arc::clone(&c.node.name));
        key(a).cmp(&key(b))
    });
    candidates
}

/// The Services of each VIP that is announced.
fn announced(inputs: &Inputs) -> BTreeMap<IpAddr, Vec<&Service>> {
    let mut announced: BTreeMap<IpAddr, Vec<&Service>> = BTreeMap::new();
    for service in inputs.services.values() {
        for vip in service.vips.iter().filter(|vip| inputs.vips.contains(vip)) {
            announced.entry(*vip).or_default().push(service);
        }
    }
    announced
}

/// The routes of one peer. VIPs of one prefix that say different things: the settings of the lowest win.
fn peer_routes(
    inputs: &Inputs,
    announced: &BTreeMap<IpAddr, Vec<&Service>>,
    peer: &Peer,
    next_hops: &NextHops,
) -> PeerRoutes {
    let mut says: BTreeMap<RouteSettings, Arc<RouteSettings>> = BTreeMap::new();
    let mut routes = PeerRoutes::new();
    for (&vip, services) in announced {
        let told: Vec<_> = services
            .iter()
            .filter(|service| not_told(peer, service).is_none())
            .collect();
        let is_local = |service: &&&&Service| service.traffic_policy == TrafficPolicy::Local;
        let here = told
            .iter()
            .find(is_local)
            .map(|service| serving(inputs, service));
        let only = told
            .iter()
            .find_map(|service| service.bgp.next_hops.as_ref());
        let only = only.map(|nodes| nodes.iter().map(|node| &**node).collect());
        let nodes = match (here, only) {
            (Some(here), Some(only)) => Some(&here & &only),
            (here, only) => here.or(only),
        };
        let told = told.into_iter();
        let settings = told.map(|service| service.bgp.routes.clone());
        let Some(own) = settings.reduce(|all, one| all.over(&one)) else {
            continue;
        };
        let mut settings = own.over(&peer.routes);
        let prefix = settings.prefix_of(vip);
        if inputs.is_leaving {
            settings.communities.insert(GRACEFUL_SHUTDOWN);
            settings.local_pref = Some(0);
        }
        let route = match routes.remove(&prefix) {
            None => PlannedRoute {
                says: Arc::clone(
                    says.entry(settings)
                        .or_insert_with_key(|new| Arc::new(new.clone())),
                ),
                next_hops: match nodes {
                    Some(nodes) => NextHops::among(inputs, peer, Some(&nodes)).to(prefix),
                    None => next_hops.to(prefix),
                },
            },
            Some(PlannedRoute {
                says: before,
                next_hops,
            }) => {
                let settings = before.over(&settings);
                let says = says
                    .entry(settings)
                    .or_insert_with_key(|new| Arc::new(new.clone()));
                PlannedRoute {
                    says: Arc::clone(says),
                    next_hops,
                }
            }
        };
        routes.insert(prefix, route);
    }
    if !peer.policy.is_empty() {
        routes.retain(|prefix, route| goes_out(peer, *prefix, route, inputs.is_leaving));
    }
    routes
}

/// Applies the peer's policy. That a route is about to go is said whatever the policy says.
fn goes_out(peer: &Peer, prefix: Prefix, route: &mut PlannedRoute, is_leaving: bool) -> bool {
    let Some(mut says) = policy::applied(&peer.policy, prefix, &route.says) else {
        return false;
    };
    if is_leaving {
        says.communities.insert(GRACEFUL_SHUTDOWN);
        says.local_pref = Some(0);
    }
    if says != *route.says {
        route.says = Arc::new(says);
    }
    true
}

/// Nodes with an endpoint that serves, for a Service whose packets stay where they arrive.
fn serving<'a>(inputs: &Inputs, service: &'a Service) -> BTreeSet<&'a str> {
    let is_down = |endpoint: &Endpoint| {
        let check = service.health_check.as_ref();
        check.is_some_and(|check| inputs.down.contains(&Probe::of(check, endpoint)))
    };
    let endpoints = service.endpoints.iter();
    let serving = endpoints.filter(|endpoint| endpoint.ready && !is_down(endpoint));
    serving
        .filter_map(|endpoint| endpoint.node.as_deref())
        .collect()
}

/// The next hops that a peer can have.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NextHops {
    Own,
    /// As many as may be sent: the same for every prefix of a family.
    All {
        v4: Arc<[IpAddr]>,
        v6: Arc<[IpAddr]>,
    },
    /// More than may be sent: each prefix has its own, so that nodes share the load.
    Choice {
        v4: Vec<IpAddr>,
        v6: Vec<IpAddr>,
        send_max: usize,
    },
}

impl NextHops {
    fn of(inputs: &Inputs, peer: &Peer) -> Self {
        Self::among(inputs, peer, None)
    }

    /// Only nodes of these names, and this one; `None`: all.
    fn among(inputs: &Inputs, peer: &Peer, nodes: Option<&BTreeSet<&str>>) -> Self {
        let NextHopMode::Nodes { send_max } = peer.next_hop else {
            return Self::Own;
        };
        let addresses = |is_wanted: fn(&IpAddr) -> bool| -> Vec<IpAddr> {
            let candidates = inputs.candidates.iter();
            candidates
                .filter(|candidate| {
                    candidate.is_own
                        || nodes.is_none_or(|nodes| nodes.contains(&*candidate.node.name))
                })
                .filter_map(|candidate| address(inputs, peer, candidate, is_wanted))
                .collect()
        };
        let (v4, v6) = (addresses(IpAddr::is_ipv4), addresses(IpAddr::is_ipv6));
        match v4.len().max(v6.len()) <= send_max {
            true => Self::All {
                v4: v4.into(),
                v6: v6.into(),
            },
            false => Self::Choice { v4, v6, send_max },
        }
    }

    /// `None`: this node alone.
    fn to(&self, prefix: Prefix) -> Option<Arc<[IpAddr]>> {
        let is_v4 = prefix.address().is_ipv4();
        match self {
            Self::Own => None,
            Self::All { v4, v6 } => Some(Arc::clone(if is_v4 { v4 } else { v6 })),
            Self::Choice { v4, v6, send_max } => {
                let all = if is_v4 { v4 } else { v6 };
                Some(chosen(prefix.address(), all, *send_max).into())
            }
        }
    }
}

/// The address by which a node is a next hop to a peer. One that is not behind other routers must be on a subnet that
/// is shared with the peer: a router does not resolve another one over a route.
fn address(
    inputs: &Inputs,
    peer: &Peer,
    candidate: &Candidate,
    is_wanted: fn(&IpAddr) -> bool,
) -> Option<IpAddr> {
    let addresses = candidate.node.addresses.iter().copied();
    let mut addresses = addresses.filter(is_wanted);
    if candidate.is_own || peer.transport.multihop.is_some() {
        return addresses.next();
    }
    let at_peer = match &peer.remote {
        Remote::Address(address) => *address,
        Remote::Range(network) => network.address(),
        Remote::Interface(_) => return None,
    };
    // Over a session of one family, next hops of the other are on the same link if the subnets are this node's.
    let shares = |address: &IpAddr| {
        let mut subnets = inputs
            .subnets
            .iter()
            .filter(|subnet| subnet.contains(*address));
        match at_peer.is_ipv4() == address.is_ipv4() {
            true => subnets.any(|subnet| subnet.contains(at_peer)),
            false => subnets.next().is_some(),
        }
    };
    addresses.find(shares)
}

/// This node, which is first, and those with the highest weight for the VIP (rendezvous hashing): the same on every
/// node, and spread over the nodes.
fn chosen(vip: IpAddr, all: &[IpAddr], send_max: usize) -> Vec<IpAddr> {
    let Some((own, others)) = all.split_first() else {
        return Vec::new();
    };
    let mut ranked: Vec<_> = others
        .iter()
        .map(|node| (std::cmp::Reverse(weight(vip, *node)), *node))
        .collect();
    ranked.sort_unstable();
    let others = ranked.into_iter().map(|(_, node)| node);
    let chosen = [*own].into_iter().chain(others);
    chosen.take(send_max).collect()
}

fn weight(vip: IpAddr, node: IpAddr) -> u64 {
    let add = |seed, address: IpAddr| match address {
        IpAddr::V4(v4) => hash::word(seed, u32::from(v4).into()),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6);
            hash::word(hash::word(seed, (bits >> 64) as u64), bits as u64)
        }
    };
    add(add(0, vip), node)
}

#[cfg(test)]
mod tests;
