//! The immutable result of planning: what this node shall do. Executors carry it out and decide nothing. What
//! planning must remember (who was announced, which withdraw is under way) is in here,
//! as the previous state of the next plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use crate::{
    keys::ClusterKeys,
    model::{
        Dataplane, Node, Peer, Prefix, Protocol, Remote, RouteSettings, Service, ServicePort,
        TrafficPolicy,
    },
    ord_map::OrdMap,
    probes::Probe,
    snapshot::{DatapathFacts, Link, Takeover},
};

pub use crate::plan::{
    Memo,
    announce::{VipPlan, VipReason},
    routes::{NotTold, not_told},
    withdraw::{DrainPlan, Leaving, Withdrawal},
};

/// Everything that this node shall do.
#[derive(Clone, Debug, Default)]
pub struct DesiredState {
    /// Grows whenever a plan for the data path changes; the data path reports it back.
    pub generation: u64,
    /// Nodes, links, keys; `None` only before the first plan.
    pub cluster: Option<Arc<ClusterPlan>>,
    /// Services by name; an unchanged one is the same `Arc` as in the state before.
    pub services: OrdMap<Arc<str>, Arc<ServicePlan>>,
    /// Every VIP of `services`: whether it is announced, and why.
    pub vips: OrdMap<IpAddr, Arc<VipPlan>>,
    /// What the data path shall hold of each VIP: its service ports by the names of their Services; of one that leaves, as
    /// they were last.
    pub by_vip: OrdMap<IpAddr, Arc<[Arc<PortPlan>]>>,
    /// VIPs that are no more, but whose data path entries stay until the routers have forgotten them.
    pub leaving: BTreeMap<IpAddr, Leaving>,
    /// The speaker, if there is to be one.
    pub bgp: Option<Arc<BgpPlan>>,
    /// VIPs that the speaker shall announce: those of `vips` that say so.
    pub routes: Arc<BTreeSet<IpAddr>>,
    /// VIPs that this node shall answer for by ARP and Neighbour Discovery, with the slots of the uplinks on which it
    /// does, a bit each. The image lets a VIP in once its service ports are there.
    pub owned: Arc<BTreeMap<IpAddr, u64>>,
    /// Where packets that are for no VIP of ours end.
    pub unreachable: Arc<UnreachablePlan>,
    /// The same for each peer, with what the routes say.
    pub peer_routes: PlannedRoutes,
    /// When this node was told to leave.
    pub draining_since: Option<Duration>,
    /// While this node leaves, once the routers had their time to prefer others.
    pub drain: Option<DrainPlan>,
    /// When to plan again even if nothing happens.
    pub replan_at: Option<Duration>,
    /// What this was planned from, so that the next plan skips what is the same.
    pub memo: Memo,
}

impl DesiredState {
    /// Every service port that the data path shall hold, by VIP.
    pub fn ports(&self) -> impl Iterator<Item = &Arc<PortPlan>> {
        self.by_vip.values().flat_map(|ports| ports.iter())
    }

    /// Whether the routers have forgotten this node, and its flows are over or were waited for long enough, after
    /// [`crate::Snapshot::drain`].
    #[must_use]
    pub fn is_drained(&self, now: Duration) -> bool {
        self.drain.is_some_and(|drain| drain.is_over(now))
    }
}

/// What all service plans share.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterPlan {
    /// What service plans depend on.
    pub view: Arc<ClusterView>,
    /// Keys of the cluster.
    pub keys: ClusterKeys,
    /// Nodes by index in map `nodes`.
    pub nodes: BTreeMap<u16, Arc<Node>>,
    /// Index of the node that is home to the fragments of a place ([`lb_common::fragment::home`]).
    pub homes: Arc<[u16]>,
    /// The uplinks.
    pub links: Vec<Link>,
    /// What the data path is.
    pub datapath: DatapathFacts,
    /// What it does besides forwarding.
    pub dataplane: Arc<Dataplane>,
    /// Why a node of the cluster is left out, by name.
    pub left_out: BTreeMap<Arc<str>, String>,
}

impl ClusterPlan {
    /// This node; `None` if the sources do not know it.
    #[must_use]
    pub fn own(&self) -> Option<&Arc<Node>> {
        self.nodes.get(&self.view.own_index?)
    }
}

/// What a service plan needs to know of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Index of this node; `None` if the sources do not know it.
    pub own_index: Option<u16>,
    /// Key of the tables.
    pub seed: [u64; 2],
    /// Indices of the nodes, the same on every node of the cluster.
    pub indices: BTreeMap<Arc<str>, u16>,
}

/// What a Service comes to.
#[derive(Clone, Debug)]
pub struct ServicePlan {
    /// The Service that was planned.
    pub service: Arc<Service>,
    /// The view that it was planned with.
    pub view: Arc<ClusterView>,
    /// Probes of its endpoints that were down.
    pub down: BTreeSet<Probe>,
    /// Its service ports.
    pub ports: Vec<Arc<PortPlan>>,
    /// All its endpoints on this node, used or not: existing flows live as long as these.
    pub local: BTreeSet<LocalEndpoint>,
    /// What was decided of each endpoint and port, and why.
    pub reasons: Vec<EndpointReason>,
}

/// An endpoint on this node, as the source of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalEndpoint {
    /// The pod's address.
    pub address: IpAddr,
    /// The pod's port, host byte order.
    pub port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// A service port as the data path shall hold it.
#[derive(Clone, Debug)]
pub struct PortPlan {
    /// What clients dial.
    pub port: ServicePort,
    /// Name of the Service.
    pub service: Arc<str>,
    /// Generation of the state that this plan first was part of.
    pub generation: u64,
    /// Who serves it, sorted by address and port; empty: nobody. The rows that name them follow from these and the
    /// cluster's seed ([`crate::table::rows`]): the data path has them, and they are made when it gets them.
    pub targets: Arc<[Target]>,
    /// Which endpoints new flows use.
    pub traffic_policy: TrafficPolicy,
    /// The endpoints of this node alone, which new flows use that it gets from outside: with
    /// [`TrafficPolicy::Local`], and only if there are any.
    pub local: Option<Arc<[Target]>>,
    /// Nobody can be steered to, but the kernel's own load balancing knows endpoints.
    pub by_kernel: bool,
    /// How long a client keeps its endpoint after its last packet; `None`: not at all.
    pub affinity: Option<Duration>,
    /// Flows that may begin on this node in a second; `None`: any number.
    pub new_flows_per_second: Option<u32>,
    /// Replies go back by way of the node that the flow came in by.
    pub returns_by_ingress: bool,
    /// Who may connect, of the VIP's family, sorted; `None`: everybody, empty: nobody.
    pub source_ranges: Option<Arc<[Prefix]>>,
}

impl PortPlan {
    /// Whether both mean the same for the data path, whenever they were planned.
    #[must_use]
    pub fn means_the_same(&self, other: &Self) -> bool {
        self.port == other.port
            && self.service == other.service
            && (Arc::ptr_eq(&self.targets, &other.targets) || self.targets == other.targets)
            && self.traffic_policy == other.traffic_policy
            && self.local == other.local
            && self.by_kernel == other.by_kernel
            && self.affinity == other.affinity
            && self.new_flows_per_second == other.new_flows_per_second
            && self.returns_by_ingress == other.returns_by_ingress
            && self.source_ranges == other.source_ranges
    }

    /// Whether a packet that comes to this node from outside is served: what may attract packets to it.
    #[must_use]
    pub fn serves_here(&self) -> bool {
        match self.traffic_policy {
            TrafficPolicy::Cluster => !self.targets.is_empty() || self.by_kernel,
            TrafficPolicy::Local => self.local.is_some(),
        }
    }
}

/// An endpoint as a row names it. Sorted by address and port, which are unique in a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The pod's address.
    pub address: IpAddr,
    /// The pod's port, host byte order.
    pub port: u16,
    /// Index of its node.
    pub node: u16,
    /// Its share.
    pub weight: u16,
}

/// What was decided of one endpoint for one port of its Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointReason {
    /// The pod's address.
    pub address: IpAddr,
    /// Protocol and number of the Service's port.
    pub port: (Protocol, u16),
    /// The decision.
    pub verdict: EndpointVerdict,
}

/// Whether an endpoint gets new connections, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndpointVerdict {
    /// It is ready.
    Used,
    /// None is ready; this one is terminating and still serves (KEP-1669).
    UsedTerminating,
    /// It terminates and still serves, and this node has none that is ready (`externalTrafficPolicy: Local`).
    UsedHereTerminating,
    /// No endpoint that is ready is on a node of the cluster: the kernel's own load balancing is left to reach it.
    UsedByKernel,
    /// It is on no node of the cluster, while others are.
    NoNode,
    /// Neither ready nor terminating.
    NotReady,
    /// It is ready, and meant for clients that reach the cluster elsewhere.
    Elsewhere,
    /// Terminating, while others are ready.
    Terminating,
    /// Terminating and no longer serving.
    Gone,
    /// Its health check fails.
    FailsHealthCheck,
    /// It does not serve this port of the Service.
    NoSuchPort,
    /// Its node is not known, or could not be given an index.
    UnknownNode,
    /// An endpoint with the same address and port is used already.
    Duplicate,
    /// The service port has as many endpoints as it can.
    TooMany,
}

impl EndpointVerdict {
    /// Whether rows may name it.
    #[must_use]
    pub const fn is_used(self) -> bool {
        matches!(
            self,
            Self::Used | Self::UsedTerminating | Self::UsedHereTerminating
        )
    }
}

impl std::fmt::Display for EndpointVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Used => "used: it is ready",
            Self::UsedTerminating => {
                "used: no endpoint is ready, this one terminates but still serves"
            }
            Self::UsedHereTerminating => {
                "used by packets that come to this node: no endpoint here is ready, this one terminates but still serves"
            }
            Self::UsedByKernel => {
                "left to the kernel (kube-proxy) of the node that gets a packet: no agent delivers to it, and it does not \
                 see the client's address"
            }
            Self::NoNode => "not used: it is on no node of the cluster, and others are",
            Self::NotReady => "not used: it is not ready",
            Self::Elsewhere => {
                "not used for what comes to this node: its topology hints are for other zones or nodes"
            }
            Self::Terminating => "not used: it terminates, and others are ready",
            Self::Gone => "not used: it terminates and no longer serves",
            Self::FailsHealthCheck => "not used: its health check fails",
            Self::NoSuchPort => "not used: it does not serve this port",
            Self::UnknownNode => "not used: its node is not among the nodes of the cluster",
            Self::Duplicate => "not used: another endpoint has the same address and port",
            Self::TooMany => "not used: the service port has 4096 endpoints already",
        })
    }
}

/// Routes that keep what is for no VIP of ours, and comes in on an uplink, from going back to the router that sent it: it
/// reaches the stack only if no program is attached, or if the data path does not know the address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreachablePlan {
    /// The routing table; 0 before the first plan.
    pub table: u32,
    /// Pools, and VIPs outside of them.
    pub prefixes: BTreeSet<Prefix>,
}

/// The BGP speaker of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BgpPlan {
    /// Own autonomous system number.
    pub asn: u32,
    /// BGP identifier.
    pub router_id: Ipv4Addr,
    /// TCP port to listen on.
    pub listen_port: u16,
    /// Sessions to hold.
    pub peers: Vec<Arc<Peer>>,
    /// Next hop of IPv4 VIPs: this node; `None`: they cannot be announced.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Next hop of IPv6 VIPs: this node; `None`: they cannot be announced.
    pub next_hop_v6: Option<Ipv6Addr>,
    /// How the data path came to this agent; `None`: sessions must wait, for that is not known yet or there is more to
    /// announce in a moment.
    pub takeover: Option<Takeover>,
    /// This node has left: there are to be no sessions.
    pub is_drained: bool,
}

/// What each peer is told.
#[derive(Clone, Debug, Default)]
pub struct PlannedRoutes {
    /// By peer; peers with the same policy share a set.
    pub by_peer: BTreeMap<Remote, Arc<PeerRoutes>>,
    /// What this was planned from.
    pub inputs: crate::plan::routes::Inputs,
}

/// Every route that a peer is told.
pub type PeerRoutes = BTreeMap<Prefix, PlannedRoute>;

/// A route as a peer is told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedRoute {
    /// What it says; shared by the routes that say the same. The lengths of aggregation no longer count.
    pub says: Arc<RouteSettings>,
    /// Its next hops, the preferred one first; `None`: this node.
    pub next_hops: Option<Arc<[IpAddr]>>,
}
