//! Pools of addresses and what their status remembers: who has which address, and how far the life of that has come.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use super::{Condition, Family, Labels, PortKey, Service, UnixTime};
use crate::allocate::{AddressRange, LabelSelector};

/// An address pool: an Eip.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its name.
    pub name: Arc<str>,
    /// When it was created: of pools that overlap, the oldest gives an address.
    pub created: UnixTime,
    /// Its addresses, of either family.
    pub ranges: Vec<AddressRange>,
    /// What is wrong with its specification; it then gives nothing, and its Services keep what they have.
    pub invalid: Option<String>,
    /// How its addresses are announced.
    pub protocol: PoolProtocol,
    /// Fields of it that have no effect, with what to do instead.
    pub ignored: Vec<String>,
    /// It gives no more addresses.
    pub is_disabled: bool,
    /// It was deleted: it gives no more, and goes with its last Service.
    pub is_deleting: bool,
    /// It serves those that no other pool is made for.
    pub is_default: bool,
    /// Whether Services that name neither pool nor address may get one; `None`: as the other pools leave it.
    pub auto_assign: Option<bool>,
    /// It does not give IPv4 addresses that end in .0 or .255, unless asked for one.
    pub avoids_buggy: bool,
    /// Lower ones first.
    pub priority: i64,
    /// Whom it is made for.
    pub audience: Audience,
    /// Others than its audience are refused even if they ask for it.
    pub is_fenced: bool,
    /// BGP peers that are told of it, by name. Empty: all.
    pub announcing_peers: BTreeSet<Arc<str>>,
    /// Nodes that announce it; one must select. Empty: all.
    pub announcing_nodes: Vec<LabelSelector>,
    /// How it is announced, to be recorded on a Service whose address has left it; its form is the agent's business.
    pub announcement: Arc<str>,
    /// It bears our finalizer.
    pub has_finalizer: bool,
    /// Its status as the API server has it.
    pub status: PoolStatus,
}

impl Pool {
    /// Whether an address is in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Whether it has addresses of a family.
    #[must_use]
    pub fn has_family(&self, family: Family) -> bool {
        self.ranges.iter().any(|range| range.family() == family)
    }

    /// Whether it may give addresses at all.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.invalid.is_none() && !self.is_disabled && !self.is_deleting
    }
}

/// What a pool's status says: the memory of allocation, and figures for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Who has what, in the order in which it was given.
    pub claims: Vec<Claim>,
    /// Term of the leader that wrote last.
    pub epoch: Option<u64>,
    /// The figures that OpenELB has.
    pub usage: Usage,
    /// Our conditions.
    pub conditions: Vec<Condition>,
}

/// OpenELB's fields of an Eip's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Who has which address; all the memory there is, until a pool is written for the first time.
    pub used: BTreeMap<IpAddr, Vec<Arc<str>>>,
    /// Addresses in use.
    pub usage: u64,
    /// Addresses in all, at most `i64::MAX`, which is what the field holds.
    pub pool_size: u64,
    /// Whether all are in use.
    pub is_occupied: bool,
    /// The lowest and the highest address.
    pub ends: Option<(IpAddr, IpAddr)>,
    /// Whether it gives addresses.
    pub is_ready: bool,
}

/// How addresses of a pool are announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolProtocol {
    /// By BGP.
    #[default]
    Bgp,
    /// By ARP and Neighbour Discovery.
    Layer2,
    /// OpenELB's keepalived; the same as layer 2.
    Vip,
}

impl fmt::Display for PoolProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bgp => "bgp",
            Self::Layer2 => "layer2",
            Self::Vip => "vip",
        })
    }
}

/// Services that a pool is made for; empty: not for any in particular.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Namespaces by name.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by labels; one that matches is enough, beside the names.
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by labels; one that matches is enough.
    pub service_selectors: Vec<LabelSelector>,
}

impl Audience {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.limits_namespaces() && self.service_selectors.is_empty()
    }

    /// Whether a Service is of it; of an empty one everybody is.
    #[must_use]
    pub fn includes(&self, service: &Service, namespaces: &BTreeMap<Arc<str>, Labels>) -> bool {
        let namespace = service.namespace();
        let none = Labels::new();
        let labels = namespaces.get(namespace).unwrap_or(&none);
        let matches = |selectors: &[LabelSelector], labels: &Labels| {
            selectors.iter().any(|selector| selector.selects(labels))
        };
        let namespace_fits = !self.limits_namespaces()
            || self.namespaces.contains(namespace)
            || matches(&self.namespace_selectors, labels);
        let service_fits =
            self.service_selectors.is_empty() || matches(&self.service_selectors, &service.labels);
        namespace_fits && service_fits
    }

    fn limits_namespaces(&self) -> bool {
        !self.namespaces.is_empty() || !self.namespace_selectors.is_empty()
    }
}

/// That a Service has an address. It is written into the pool before the Service is told, and outlives the Service until
/// the address has rested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// Whose it is, `namespace/name`.
    pub service: Arc<str>,
    /// Its ports on that address, which nobody who shares the address may have.
    pub ports: BTreeSet<PortKey>,
    /// How far its life has come.
    pub state: ClaimState,
}

/// Life of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// The Service has the address or is about to.
    Held,
    /// The Service is gone or has left the address.
    Unused {
        /// When that was seen first.
        since: UnixTime,
    },
    /// Nobody has the address, and only a Service of the same name may have it already.
    Resting {
        /// When it was freed.
        since: UnixTime,
    },
}

impl ClaimState {
    /// Whether the claim still keeps the address for its Service.
    #[must_use]
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Resting { .. })
    }
}
