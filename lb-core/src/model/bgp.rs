//! The BGP speaker as it is configured: peers, how sessions with them are held, and what routes to them say. Which
//! peers a node has, its AS number and its router id may follow from its labels; planning finds that out. Values
//! here are checked: attributes fit a message, times fit their fields.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{Prefix, Statement};

/// Hold time that is proposed unless the configuration says otherwise.
pub const HOLD_TIME_DEFAULT: Duration = Duration::from_secs(9);
/// Longest time between attempts to dial (ConnectRetry of RFC 4271 section 10).
pub const CONNECT_RETRY_DEFAULT: Duration = Duration::from_secs(120);
/// How long peers keep the routes of an agent that is away: enough for a new image to be pulled.
pub const RESTART_TIME_DEFAULT: Duration = Duration::from_secs(120);
/// Paths to a prefix that a peer gets at most (OpenELB's default).
pub const SEND_MAX_DEFAULT: usize = 10;
/// How long routers have to prefer other routes before ours are withdrawn (RFC 8326).
pub const GRACEFUL_SHUTDOWN_DEFAULT: Duration = Duration::from_secs(1);

/// The BGP speaker of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bgp {
    /// Own autonomous system number.
    pub asn: u32,
    /// BGP identifier (RFC 6286). One that is another node's address is only that node's.
    pub router_id: Ipv4Addr,
    /// TCP port to listen on.
    pub listen_port: u16,
    /// What nodes of certain labels have instead; the first that matches counts.
    pub nodes: Vec<NodeBgp>,
    /// How long routes are marked as about to go before a leaving node withdraws them (RFC 8326).
    pub graceful_shutdown: Duration,
    /// Routers to have sessions with.
    pub peers: Vec<Arc<Peer>>,
}

/// What some nodes have instead of the cluster's AS number and router id: those of a rack, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeBgp {
    /// Which nodes.
    pub selector: Selector,
    /// Their AS number.
    pub asn: Option<u32>,
    /// Their router id.
    pub router_id: Option<Ipv4Addr>,
}

/// Labels that a node must have; none: every node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(pub BTreeMap<String, String>);

impl Selector {
    /// Whether a node with these labels is meant.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0
            .iter()
            .all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// Who a peer is: how it is found, and what it is called everywhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remote {
    /// A router at an address.
    Address(IpAddr),
    /// Whoever announces itself as a router on an interface (unnumbered).
    Interface(Arc<str>),
    /// Any router of a network that dials us (dynamic neighbours).
    Range(Prefix),
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Interface(name) => f.write_str(name),
            Self::Range(network) => network.fmt(f),
        }
    }
}

/// A BGP peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub remote: Remote,
    /// Its autonomous system number.
    pub asn: u32,
    /// Our AS number towards it; `None`: the speaker's.
    pub local_asn: Option<u32>,
    /// Nodes that have a session with it.
    pub node_selector: Selector,
    /// How connections are made.
    pub transport: Transport,
    /// Hold time to propose, in whole seconds (RFC 4271 section 4.2); zero: sessions never expire.
    pub hold_time: Duration,
    /// Longest time between attempts to dial.
    pub connect_retry: Duration,
    /// Families to offer.
    pub families: Families,
    /// Families without which there is no session.
    pub families_required: Families,
    /// `None`: the peer forgets our routes with the connection.
    pub graceful_restart: Option<GracefulRestart>,
    /// Routes that the peer may announce before the session ends; `None`: any number, all are dropped.
    pub received_routes_max: Option<u64>,
    /// Where routes point.
    pub next_hop: NextHopMode,
    /// Services whose VIPs it is told; `None`: all.
    pub services: Option<BTreeSet<Arc<str>>>,
    /// What routes to it say.
    pub routes: RouteSettings,
    /// What becomes of them last ([`super::policy::applied`]); nothing: they go out as they are.
    pub policy: Arc<[Statement]>,
}

/// How connections with a peer are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// TCP port to dial.
    pub port: u16,
    /// Never dial.
    pub passive: bool,
    /// Our address; `None`: as the kernel's routes say.
    pub source_address: Option<IpAddr>,
    /// The interface or VRF that connections are bound to.
    pub source_interface: Option<Arc<str>>,
    /// Most hops to the peer; `None`: it is on a shared link.
    pub multihop: Option<u8>,
    /// Drop what comes from farther away (RFC 5082).
    pub gtsm: bool,
    /// How segments are signed.
    pub authentication: Option<Authentication>,
}

impl Transport {
    /// How far away the peer may be.
    #[must_use]
    pub fn hops(&self) -> u8 {
        self.multihop.unwrap_or(1)
    }
}

/// How TCP segments are signed. One that cannot be had never falls back to none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// TCP MD5 (RFC 2385) with the password in a file.
    Md5(PathBuf),
    /// TCP-AO (RFC 5925).
    Ao {
        /// File with the key.
        key_file: PathBuf,
        /// KeyID of what we send.
        send_id: u8,
        /// KeyID of what the peer sends.
        receive_id: u8,
        /// As the kernel's crypto API calls it, like `hmac(sha1)`.
        algorithm: &'static str,
    },
}

impl Authentication {
    /// The file with the secret.
    #[must_use]
    pub fn file(&self) -> &PathBuf {
        match self {
            Self::Md5(file) => file,
            Self::Ao { key_file, .. } => key_file,
        }
    }
}

/// A set of address families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// IPv4 unicast.
    pub ipv4: bool,
    /// IPv6 unicast.
    pub ipv6: bool,
}

/// How our restarts are made invisible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// How long the peer keeps our routes (RFC 4724).
    pub restart_time: Duration,
    /// How much longer it keeps them as a last resort (RFC 9494); zero: not at all.
    pub stale_time: Duration,
}

impl Default for GracefulRestart {
    fn default() -> Self {
        Self {
            restart_time: RESTART_TIME_DEFAULT,
            stale_time: Duration::ZERO,
        }
    }
}

/// Where routes point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHopMode {
    /// To this node.
    Own,
    /// To every node that can serve the VIP, as far as the peer takes several paths (RFC 7911).
    Nodes {
        /// At most so many.
        send_max: usize,
    },
}

/// What routes say. A peer has these, a Service may, and what the Service says wins; communities add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteSettings {
    /// Standard communities (RFC 1997).
    pub communities: BTreeSet<u32>,
    /// Large communities (RFC 8092).
    pub large_communities: BTreeSet<[u32; 3]>,
    /// Extended communities (RFC 4360), as their octets.
    pub extended_communities: BTreeSet<[u8; 8]>,
    /// Link bandwidth in Mbit/s, as an extended community.
    pub link_bandwidth_mbps: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// LOCAL_PREF, for peers of our own AS.
    pub local_pref: Option<u32>,
    /// How many times more our AS number is in AS_PATH.
    pub prepend: Option<u8>,
    /// Length of the IPv4 prefix that is announced in place of the VIP.
    pub aggregation_length: Option<u8>,
    /// The same for IPv6.
    pub aggregation_length_v6: Option<u8>,
}

impl RouteSettings {
    /// These, and where they are silent the others; communities of both.
    #[must_use]
    pub fn over(&self, others: &Self) -> Self {
        let union = |a: &BTreeSet<u32>, b: &BTreeSet<u32>| a | b;
        Self {
            communities: union(&self.communities, &others.communities),
            large_communities: &self.large_communities | &others.large_communities,
            extended_communities: &self.extended_communities | &others.extended_communities,
            link_bandwidth_mbps: self.link_bandwidth_mbps.or(others.link_bandwidth_mbps),
            med: self.med.or(others.med),
            local_pref: self.local_pref.or(others.local_pref),
            prepend: self.prepend.or(others.prepend),
            aggregation_length: self.aggregation_length.or(others.aggregation_length),
            aggregation_length_v6: self.aggregation_length_v6.or(others.aggregation_length_v6),
        }
    }

    /// The prefix that is announced for a VIP.
    #[must_use]
    pub fn prefix_of(&self, vip: IpAddr) -> Prefix {
        let bits = match vip {
            IpAddr::V4(_) => self.aggregation_length,
            IpAddr::V6(_) => self.aggregation_length_v6,
        };
        bits.map_or(Prefix::host(vip), |bits| Prefix::containing(vip, bits))
    }
}

/// How a Service is announced by BGP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceBgp {
    /// Peers that are told; `None`: all.
    pub peers: Option<BTreeSet<Remote>>,
    /// Names of the nodes that can be next hops; `None`: all.
    pub next_hops: Option<BTreeSet<Arc<str>>>,
    /// What its routes say.
    pub routes: RouteSettings,
}

impl Peer {
    /// A peer with nothing but defaults.
    #[must_use]
    pub fn new(remote: Remote, asn: u32) -> Self {
        Self {
            remote,
            asn,
            local_asn: None,
            node_selector: Selector::default(),
            transport: Transport {
                port: 179,
                passive: false,
                source_address: None,
                source_interface: None,
                multihop: None,
                gtsm: false,
                authentication: None,
            },
            hold_time: HOLD_TIME_DEFAULT,
            connect_retry: CONNECT_RETRY_DEFAULT,
            families: Families {
                ipv4: true,
                ipv6: true,
            },
            families_required: Families::default(),
            graceful_restart: Some(GracefulRestart::default()),
            received_routes_max: None,
            next_hop: NextHopMode::Own,
            services: None,
            routes: RouteSettings::default(),
            policy: Arc::default(),
        }
    }
}
