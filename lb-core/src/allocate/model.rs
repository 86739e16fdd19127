//! What `allocate` is given: pools, Services, and whatever decides about addresses, in our own words. Everything that
//! is remembered lies in these objects (claims in pools, addresses and finalizers on Services), so that any process may
//! go on where another stopped. Times are wall-clock times, since objects outlast processes.

mod agents;
mod pool;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

pub use agents::{Agents, Announcer, AnnouncingNode, Endpoints};
pub use pool::{Audience, Claim, ClaimState, Pool, PoolProtocol, PoolStatus, Usage};

use crate::model::Prefix;

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// Wall-clock time, in whole seconds since 1970 (metav1.Time has no finer ones).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// So much later.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }
}

/// As RFC 3339 writes it.
impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        // Days since the first of March of the year 0, in eras of 400 years.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + u64::from(month <= 2);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let second = second % 60;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// All that the controller knows at one instant.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// The only clock.
    pub now: UnixTime,
    /// Number of this leader's term, greater than that of every leader before.
    pub epoch: u64,
    /// Pools and Services were read from the API server itself, not from a cache, since the newest pool without this
    /// term's number was seen.
    pub is_fresh: bool,
    /// Pools, by name.
    pub pools: BTreeMap<Arc<str>, Arc<Pool>>,
    /// Services that concern us ([`Service::concerns_us`]), by `namespace/name`.
    pub services: BTreeMap<Arc<str>, Arc<Service>>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<Arc<str>, Labels>,
    /// Addresses that no Service may get, whatever pool they are in.
    pub refused: Refused,
    /// Who makes addresses known to the network.
    pub announcer: Announcer,
    /// Addresses in no pool that an operator wants to be taken over with their Services.
    pub imports: BTreeMap<Arc<str>, Import>,
    /// Claims that the API server has forgotten, having gone back to an older state, by pool.
    pub remembered: Vec<(Arc<str>, Claim)>,
    /// What is missing may come back: nothing is freed because its Service cannot be seen.
    pub holds_orphans: bool,
}

/// What an operator wants to be taken over of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Import {
    /// Its addresses.
    pub addresses: BTreeSet<IpAddr>,
    /// How they are announced; the form is the agent's business.
    pub announcement: Arc<str>,
}

/// Addresses that belong to the cluster itself, as far as pools have them.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// Single ones, with words like "an address of node n1".
    pub addresses: BTreeMap<IpAddr, Arc<str>>,
    /// Whole networks: pods', ClusterIPs'.
    pub prefixes: Vec<(Prefix, Arc<str>)>,
}

impl Refused {
    /// Whose an address is.
    #[must_use]
    pub fn owner(&self, address: IpAddr) -> Option<&Arc<str>> {
        self.addresses
            .get(&address)
            .or_else(|| self.prefix(address).map(|(_, owner)| owner))
    }

    /// The network that refuses an address.
    pub(super) fn prefix(&self, address: IpAddr) -> Option<&(Prefix, Arc<str>)> {
        self.prefixes
            .iter()
            .find(|(prefix, _)| prefix.contains(address))
    }
}

/// Transport protocols that Services have ports of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP: managed, not served.
    Sctp,
}

impl PortProtocol {
    /// As Kubernetes writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// A port of a Service, written `TCP/80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    /// Transport protocol.
    pub protocol: PortProtocol,
    /// Number, host byte order.
    pub port: u16,
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.protocol.name(), self.port)
    }
}

/// A port is not written like `TCP/80`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a port like TCP/80")]
pub struct PortKeyError(String);

impl FromStr for PortKey {
    type Err = PortKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PortKeyError(text.to_owned());
        let (protocol, port) = text.split_once('/').ok_or_else(error)?;
        let protocols = [PortProtocol::Tcp, PortProtocol::Udp, PortProtocol::Sctp];
        let protocol = protocols.into_iter().find(|known| known.name() == protocol);
        Ok(Self {
            protocol: protocol.ok_or_else(error)?,
            port: port.parse().map_err(|_| error())?,
        })
    }
}

/// IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// That of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A Service, as far as addresses are concerned.
#[derive(Clone, Debug)]
pub struct Service {
    /// `namespace/name`.
    pub name: Arc<str>,
    /// When it was created: the older chooses first.
    pub created: UnixTime,
    /// Its labels.
    pub labels: Labels,
    /// It is of type LoadBalancer and of our class.
    pub is_wanted: bool,
    /// When it was deleted.
    pub deleted: Option<UnixTime>,
    /// What it asks for, or what is wrong with that, in words.
    pub request: Result<Request, String>,
    /// What of its request has no effect, in words.
    pub ignored: Vec<String>,
    /// Families it has, the first one first.
    pub families: Vec<Family>,
    /// All of its families or none (`RequireDualStack`).
    pub requires_all_families: bool,
    /// Its ports.
    pub ports: BTreeSet<PortKey>,
    /// Only nodes with endpoints of its own announce it (`externalTrafficPolicy: Local`).
    pub is_local: bool,
    /// With whom it shares addresses.
    pub sharing: Sharing,
    /// Addresses that a person wants it to leave.
    pub leave: BTreeSet<IpAddr>,
    /// What its status says that it has.
    pub ingress: Vec<Ingress>,
    /// Its status names hosts, which we never write.
    pub has_hostnames: bool,
    /// It bears our finalizer.
    pub has_finalizer: bool,
    /// It bears finalizers or the pool label of OpenELB.
    pub has_openelb_marks: bool,
    /// The announcement settings that are recorded on it.
    pub announcement: Option<Arc<str>>,
    /// Our conditions in its status.
    pub conditions: Vec<Condition>,
}

impl Service {
    /// The namespace it is in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.name
            .split_once('/')
            .map_or("", |(namespace, _)| namespace)
    }

    /// Whether its status has an address.
    #[must_use]
    pub fn shows(&self, address: IpAddr) -> bool {
        self.ingress.iter().any(|entry| entry.address == address)
    }

    /// Whether it bears a mark of who gave it its addresses: us, or OpenELB before us.
    #[must_use]
    pub fn has_marks(&self) -> bool {
        self.has_finalizer || self.has_openelb_marks || self.announcement.is_some()
    }

    /// Whether it is any of our business, given whether a pool has a claim of it.
    #[must_use]
    pub fn concerns_us(&self, has_claim: bool) -> bool {
        let is_marked =
            self.has_finalizer || self.announcement.is_some() || !self.conditions.is_empty();
        self.is_wanted || is_marked || has_claim
    }

    /// Whether it is to have addresses.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.is_wanted && self.deleted.is_none()
    }
}

/// What a Service asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// These addresses, at most one of a family.
    pub addresses: Vec<IpAddr>,
    /// Any address of this pool.
    pub pool: Option<Arc<str>>,
    /// A pool that is announced so, where neither address nor pool is asked for.
    pub protocol: Option<PoolProtocol>,
}

impl Request {
    /// The address that is asked for of a family.
    #[must_use]
    pub fn address(&self, family: Family) -> Option<IpAddr> {
        let mut addresses = self.addresses.iter().copied();
        addresses.find(|address| Family::of(*address) == family)
    }
}

/// With whom a Service shares an address; both sides must agree, and their ports must differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody.
    #[default]
    Exclusive,
    /// Services of its namespace that say the same.
    SameNamespace,
    /// Services that have the same key, and it prefers their address.
    Key(String),
    /// Whoever agrees: OpenELB's way.
    Always,
}

impl Sharing {
    /// Whether two Services may share an address.
    #[must_use]
    pub fn permits(a: &Service, b: &Service) -> bool {
        let is_same_namespace = a.namespace() == b.namespace();
        match (&a.sharing, &b.sharing) {
            (Self::Key(a), Self::Key(b)) => a == b,
            (Self::Always, Self::Always) => true,
            (Self::SameNamespace | Self::Always, Self::SameNamespace | Self::Always) => {
                is_same_namespace
            }
            _ => false,
        }
    }
}

/// An address in a Service's status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// The address.
    pub address: IpAddr,
    /// The Service's ports on it, but those of SCTP, which nobody serves.
    pub ports: BTreeMap<PortKey, PortState>,
}

/// Whether a Service has a port of its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortState {
    /// It has.
    Served,
    /// Another Service that shares the address has it.
    Conflict,
}

/// A condition of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Which, without its prefix.
    pub kind: &'static str,
    /// Whether it holds; `None`: that is not known here.
    pub status: Option<bool>,
    /// One word in CamelCase.
    pub reason: String,
    /// What it means and what to do.
    pub message: String,
}
