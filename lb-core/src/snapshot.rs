//! All that the sources know at one instant. The agent keeps one, lets each source replace its part, and
//! calls [`crate::plan()`]. Nothing here decides; nothing here is older than its source's last word.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use lb_common::{flow::STATES, limits::Capacity};

use crate::{
    config::Config,
    keys::ClusterKeys,
    model::{Bgp, Dataplane, Layer2, Mac, Node, Prefix, Remote, Service, ServicePort},
    ord_map::OrdMap,
    probes::Probe,
};

/// What is known now.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Monotonic time since an epoch of the agent's choice: the only clock.
    pub now: Duration,
    /// Name of the node that this agent runs on.
    pub own_node: Arc<str>,
    /// Keys of the cluster.
    pub keys: ClusterKeys,
    /// All nodes of the cluster, this one included.
    pub nodes: Vec<Arc<Node>>,
    /// All Services by name. A Service that did not change keeps its `Arc`, by which planning skips it.
    pub services: OrdMap<Arc<str>, Arc<Service>>,
    /// The BGP speaker, if there is to be one.
    pub bgp: Option<Arc<Bgp>>,
    /// Announcing on layer 2, if there is to be any.
    pub layer2: Option<Arc<Layer2>>,
    /// What the data path does besides forwarding.
    pub dataplane: Arc<Dataplane>,
    /// The uplinks.
    pub links: Vec<Link>,
    /// The ways to the other nodes. [`crate::plan()`] does not look at them: [`crate::image()`] joins them, so
    /// that a new MAC needs no new plan.
    pub neighbours: Neighbours,
    /// Probes that have failed often enough ([`crate::probes::Probes::down`]).
    pub down: BTreeSet<Probe>,
    /// What the data path is.
    pub datapath: DatapathFacts,
    /// What the data path said of each service port, last.
    pub applied: OrdMap<ServicePort, PortFeedback>,
    /// How the data path came to this agent; `None` until it was written once.
    pub takeover: Option<Takeover>,
    /// What the BGP speaker said, last.
    pub routes: RouteFacts,
    /// This node is being taken out of service: nothing is announced, the data path stays.
    pub drain: Option<Drain>,
    /// Flows alive whose pods are on this node, as counted last; `None`: not counted since this drain began.
    pub flows: Option<u64>,
}

impl Snapshot {
    /// Nothing but a configuration.
    #[must_use]
    pub fn new(config: &Config, keys: ClusterKeys, datapath: DatapathFacts) -> Self {
        Self {
            now: Duration::ZERO,
            own_node: config.node.clone(),
            keys,
            nodes: config.nodes.clone(),
            services: by_name(&config.services),
            bgp: config.bgp.clone(),
            layer2: config.layer2.clone(),
            dataplane: Arc::clone(&config.dataplane),
            links: Vec::new(),
            neighbours: Neighbours::default(),
            down: BTreeSet::new(),
            datapath,
            applied: OrdMap::default(),
            takeover: None,
            routes: RouteFacts::default(),
            drain: None,
            flows: None,
        }
    }

    /// Takes over a configuration that was read again. What did not change keeps its identity, so that
    /// planning skips it.
    pub fn set_config(&mut self, config: &Config) {
        self.own_node = config.node.clone();
        self.nodes = kept(&self.nodes, &config.nodes);
        self.set_services(&config.services);
        if self.bgp != config.bgp {
            self.bgp.clone_from(&config.bgp);
        }
        self.layer2.clone_from(&config.layer2);
        self.dataplane = Arc::clone(&config.dataplane);
    }

    /// Replaces all nodes; those that did not change keep their identity. Says whether that changes anything.
    pub fn set_nodes(&mut self, nodes: &[Arc<Node>]) -> bool {
        let nodes = kept(&self.nodes, nodes);
        let is_new = self.nodes != nodes;
        self.nodes = nodes;
        is_new
    }

    /// Adds a Service, or replaces the one of its name. Says whether that changes anything.
    pub fn set_service(&mut self, service: Arc<Service>) -> bool {
        let is_new = self.services.get(&service.name) != Some(&service);
        if is_new {
            self.services.insert(Arc::clone(&service.name), service);
        }
        is_new
    }

    /// Takes a Service away. Says whether it was there.
    pub fn remove_service(&mut self, name: &str) -> bool {
        self.services.remove(name).is_some()
    }

    /// Replaces all Services.
    fn set_services(&mut self, services: &[Arc<Service>]) {
        let wanted: BTreeSet<_> = services.iter().map(|service| &service.name).collect();
        let gone = |name: &&Arc<str>| !wanted.contains(name);
        let gone: Vec<_> = self.services.keys().filter(gone).cloned().collect();
        for name in gone {
            self.remove_service(&name);
        }
        for service in services {
            self.set_service(Arc::clone(service));
        }
    }
}

fn by_name(services: &[Arc<Service>]) -> OrdMap<Arc<str>, Arc<Service>> {
    let named = |service: &Arc<Service>| (Arc::clone(&service.name), Arc::clone(service));
    services.iter().map(named).collect()
}

/// The new list, with the old `Arc` wherever the value is the same.
fn kept(old: &[Arc<Node>], new: &[Arc<Node>]) -> Vec<Arc<Node>> {
    let known: BTreeMap<_, _> = old.iter().map(|node| (&node.name, node)).collect();
    new.iter()
        .map(|node| match known.get(&node.name) {
            Some(old) if *old == node => Arc::clone(old),
            _ => Arc::clone(node),
        })
        .collect()
}

/// How a node is taken out of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// How long after its begin sessions stay up, without routes, for the flows of this node's pods to end.
    pub flows_wait: Duration,
}

/// An uplink of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Index in map `interfaces`; a constant of the program that is attached to it.
    pub slot: u8,
    /// The interface's name.
    pub name: Arc<str>,
    /// The kernel's index.
    pub ifindex: u32,
    /// Its MAC (its bridge's, its bond's).
    pub mac: Mac,
    /// Largest IP packet, in bytes.
    pub mtu_bytes: u16,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The networks on the link, by its addresses.
    pub subnets: Vec<Prefix>,
}

/// The ways to the other nodes, by node name.
pub type Neighbours = BTreeMap<Arc<str>, Neighbour>;

/// The way to another node, as the kernel's routes and neighbour table have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// MAC of the node, or of the gateway if it is not on-link; `None` while it is not resolved.
    pub mac: Option<Mac>,
    /// Slot of the uplink that leads there.
    pub uplink: u8,
    /// Whether the node itself is on that link.
    pub on_link: bool,
    /// This node's address as the node sees it: the outer source of GUE.
    pub outer_source: IpAddr,
    /// That node's address: the outer destination, of the same family.
    pub outer_destination: IpAddr,
    /// Largest IP packet on the way, in bytes.
    pub mtu_bytes: u16,
}

/// What the loaded data path is, and what the kernel under it measures time by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatapathFacts {
    /// Sizes of the maps.
    pub capacity: Capacity,
    /// HZ of the kernel.
    pub jiffies_per_second: u64,
    /// A tick of flow ages is `1 << tick_shift` jiffies.
    pub tick_shift: u32,
    /// Ticks that a flow outlives its last packet, by [`lb_common::flow::State`]; HZ and conntrack are folded in.
    pub timeout_ticks: [u16; STATES],
}

impl DatapathFacts {
    /// What a rate comes to in one tick of flow ages, at least one.
    #[must_use]
    pub fn per_tick(&self, per_second: u32) -> u32 {
        let jiffies_seconds = u64::from(per_second) << self.tick_shift;
        let in_a_tick = jiffies_seconds / self.jiffies_per_second.max(1);
        u32::try_from(in_a_tick).unwrap_or(u32::MAX).max(1)
    }
}

/// How the data path came to an agent: what a restart did to forwarding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// It was made by this agent.
    New,
    /// Its maps were there, but an uplink had lost its program: packets may have gone by.
    Interrupted,
    /// It was there and forwarded all the while. What became different meanwhile was changed in place.
    Preserved,
}

/// What became of a service port in the data path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortFeedback {
    /// It is there as planned.
    Applied {
        /// [`crate::desired::PortPlan::generation`] of the plan that was applied, or a later one.
        generation: u64,
    },
    /// It is not there.
    Failed {
        /// Why, in words.
        reason: String,
    },
}

/// What the BGP speaker knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteFacts {
    /// Sessions by peer; true if established.
    pub sessions: BTreeMap<Remote, bool>,
    /// VIPs that some peer may still have a route to: announced, or withdrawn but not acknowledged by TCP.
    pub held: BTreeSet<IpAddr>,
}
