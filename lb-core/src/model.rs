//! What a cluster is, in our own words: nodes, Services, endpoints, BGP peers. Sources (a YAML file, the API
//! server) are converted into these types; nothing here knows where a value came from. Ports are numbers in
//! host byte order; only the image turns them around.

mod bgp;
mod community;
pub mod policy;
mod prefix;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

pub use bgp::{
    Authentication, Bgp, CONNECT_RETRY_DEFAULT, Families, GRACEFUL_SHUTDOWN_DEFAULT,
    GracefulRestart, HOLD_TIME_DEFAULT, NextHopMode, NodeBgp, Peer, RESTART_TIME_DEFAULT, Remote,
    RouteSettings, SEND_MAX_DEFAULT, Selector, ServiceBgp, Transport,
};
pub use community::Community;
pub use policy::{PrefixMatch, RouteChange, Statement};
pub use prefix::Prefix;

/// Transport protocol of a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// IP protocol number (IANA).
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => lb_common::TCP,
            Self::Udp => lb_common::UDP,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// What a client dials; the key of every look-up, so that Services may share a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePort {
    /// The virtual address.
    pub vip: IpAddr,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port number, host byte order.
    pub port: u16,
}

impl fmt::Display for ServicePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = std::net::SocketAddr::new(self.vip, self.port);
        write!(f, "{address}/{}", self.protocol)
    }
}

/// A node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique in the cluster.
    pub name: Arc<str>,
    /// Its own addresses, the preferred one of a family first.
    pub addresses: Vec<IpAddr>,
    /// Labels, for people and for selectors.
    pub labels: BTreeMap<String, String>,
    /// What keeps it from being a next hop, the gravest; `None`: nothing.
    pub unfit: Option<Unfit>,
}

/// What keeps a node from being a next hop, and, unless it is only about others' view of it, from announcing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is being removed from the cluster.
    Deleted,
    /// It is excluded from load balancing by its label.
    Excluded,
    /// Its network is reported as unavailable.
    NetworkUnavailable,
    /// It is being drained.
    Draining,
    /// It is not ready.
    NotReady,
    /// No agent on it says that it delivers.
    NotServing,
    /// It is not in the rack whose AS number this node has.
    OtherRack,
}

impl Unfit {
    /// Whether the node itself is to announce nothing. What it announces shows by itself that it is alive, and how a
    /// drain goes about it is planned apart.
    #[must_use]
    pub const fn forbids_announcing(self) -> bool {
        matches!(
            self,
            Self::Deleted | Self::Excluded | Self::NetworkUnavailable
        )
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deleted => "the Node is being deleted",
            Self::Excluded => {
                "its label node.kubernetes.io/exclude-from-external-load-balancers excludes it"
            }
            Self::NetworkUnavailable => "its condition NetworkUnavailable is True",
            Self::Draining => "it is being drained",
            Self::NotReady => "it is not ready",
            Self::NotServing => "no agent on it says that it delivers",
            Self::OtherRack => "it is in another rack",
        })
    }
}

impl Node {
    /// Its first IPv4 address.
    #[must_use]
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        })
    }

    /// Its first IPv6 address.
    #[must_use]
    pub fn ipv6(&self) -> Option<std::net::Ipv6Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(*address),
        })
    }
}

/// Who makes a Service's VIPs known to the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// Nobody: the data path answers, routes are somebody else's.
    Nobody,
    /// The BGP speaker.
    Bgp,
    /// The data path, to whoever asks by ARP or Neighbour Discovery.
    Layer2,
}

impl fmt::Display for Announce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "nobody",
            Self::Bgp => "BGP",
            Self::Layer2 => "layer 2",
        })
    }
}

/// Announcing on layer 2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer2 {
    /// Uplinks on which VIPs are answered for; empty: all of them.
    pub interfaces: Vec<Arc<str>>,
    /// VIPs that this node answers for.
    pub owns: BTreeSet<IpAddr>,
}

/// What the data path does besides forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataplane {
    /// Whether VIPs answer echo requests.
    pub answers_echo: bool,
    /// Whether a VIP refuses a port that it does not have (reset, port unreachable), or keeps silent.
    pub refuses_closed_ports: bool,
    /// Echo replies, refusals and ICMP errors that one CPU sends in a second, and at once.
    pub answers_per_second: u32,
    /// Flows that may begin on a node in a second from one IPv4 /24 or IPv6 /64; `None`: any number.
    pub new_flows_per_source_prefix_per_second: Option<u32>,
    /// Prefixes that VIPs are taken from: what comes in for an address of these that is no VIP ends here.
    pub pools: BTreeSet<Prefix>,
    /// Routing table of the routes that end it.
    pub routing_table: u32,
}

impl Default for Dataplane {
    fn default() -> Self {
        Self {
            answers_echo: true,
            refuses_closed_ports: true,
            answers_per_second: lb_common::limits::ANSWERS_PER_SECOND,
            new_flows_per_source_prefix_per_second: None,
            pools: BTreeSet::new(),
            routing_table: ROUTING_TABLE_DEFAULT,
        }
    }
}

/// The number of GUE's port, which nobody else gives to a routing table.
const ROUTING_TABLE_DEFAULT: u32 = 6080;

/// Which endpoints a packet may go to (`externalTrafficPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// All of the cluster, from any node.
    #[default]
    Cluster,
    /// Those of the node that the network delivers to; a node without one is not announced.
    Local,
}

/// A Service of type `LoadBalancer`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// Its VIPs, of either family.
    pub vips: Vec<IpAddr>,
    /// Who announces them.
    pub announce: Announce,
    /// Which endpoints new flows use.
    pub traffic_policy: TrafficPolicy,
    /// How long a client keeps its endpoint after its last packet (`sessionAffinity: ClientIP`); `None`: flows of one
    /// client are spread.
    pub affinity: Option<Duration>,
    /// Flows that may begin on one node in a second, for each VIP and port; `None`: any number.
    pub new_flows_per_second: Option<u32>,
    /// Replies go back by way of the node that the flow came in by (`return: ingress`), not straight to the client.
    pub returns_by_ingress: bool,
    /// Who may connect, of both families (`loadBalancerSourceRanges`); empty: everybody.
    pub source_ranges: BTreeSet<Prefix>,
    /// How, if it is BGP.
    pub bgp: Arc<ServiceBgp>,
    /// What clients may dial on each VIP.
    pub ports: Vec<Port>,
    /// Of these, what another Service has on a VIP that they share.
    pub taken: BTreeSet<ServicePort>,
    /// How every agent probes each endpoint; `None`: not at all.
    pub health_check: Option<HealthCheck>,
    /// Pods that may serve it, of either family.
    pub endpoints: Vec<Endpoint>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// By which endpoints name it.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Number that clients dial.
    pub port: u16,
}

/// A TCP health check: an endpoint is up if a connection to it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HealthCheck {
    /// Port of the pod that is dialled.
    pub tcp_port: u16,
    /// Time from one probe to the next, and the most that one may take.
    pub interval: Duration,
    /// Failures in a row that take an endpoint out.
    pub failures: u32,
}

/// A pod address with what is known of it (Kubernetes' EndpointSlice conditions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod's address.
    pub address: IpAddr,
    /// Name of the node it is on; `None`: it is outside the cluster.
    pub node: Option<Arc<str>>,
    /// The pod's port, by the name of the Service's port; a port that is not here is not served by this pod.
    pub ports: Arc<BTreeMap<Arc<str>, u16>>,
    /// Gets new connections.
    pub ready: bool,
    /// Answers, ready or not.
    pub serving: bool,
    /// Is being deleted.
    pub terminating: bool,
    /// Is meant for clients that reach the cluster elsewhere (topology hints).
    pub elsewhere: bool,
    /// Share relative to the Service's other endpoints, from 1 to [`WEIGHT_MAX`].
    pub weight: u16,
}

/// Largest weight of an endpoint (as in Gateway API implementations built on Maglev tables: above it, rows run out).
pub const WEIGHT_MAX: u16 = 256;

/// A MAC address, as on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The six bytes in the low end of a word, as the data path loads them from a frame.
    #[must_use]
    pub const fn word(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Where on an uplink packets are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UplinkMode {
    /// In the driver if it takes the program, else in the network stack; at tc's ingress where another tool's program has
    /// the XDP hook.
    #[default]
    Auto,
    /// In the driver.
    Native,
    /// In the network stack.
    Generic,
    /// At tc's ingress, and XDP is left alone.
    Tc,
}
