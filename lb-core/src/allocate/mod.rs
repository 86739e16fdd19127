//! Which Service has which address. [`allocate()`] is pure: the objects that the controller reads are all its memory,
//! [`Cluster::now`] is its only clock, and the same objects give the same result in whatever order they came.
//!
//! An address goes to a Service in steps, each seen in the API server before the next is taken: a claim in the pool's
//! status, the finalizer on the Service, the address in its status. So a write that fails, a process that dies or a
//! second leader cost a step, and never give an address twice. An address comes back in steps as well: unused, resting,
//! forgotten. What a Service has, it keeps, until its own request changes.

mod choose;
mod claims;
mod ledger;
mod model;
mod pools;
mod ports;
mod range;
mod selector;
mod services;
mod serving;
mod settle;
mod verdict;
mod words;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use model::{
    Agents, Announcer, AnnouncingNode, Audience, Claim, ClaimState, Cluster, Condition, Endpoints,
    Family, Import, Ingress, Labels, Pool, PoolProtocol, PoolStatus, PortKey, PortKeyError,
    PortProtocol, PortState, Refused, Request, Service, Sharing, UnixTime, Usage,
};
pub use pools::count as count_addresses;
pub use range::{AddressRange, RangeError};
pub use selector::{LabelExpression, LabelOperator, LabelSelector};
pub use words::{DEGRADED, IMPORT_PLAN, OUTSIDE_POOL, PROVISIONING, SERVING};

use ledger::Ledger;

/// How long agents have to withdraw an address that its Service has left or is deleted with.
pub const WITHDRAWAL: Duration = Duration::from_secs(10);
/// How long a claim waits for a Service that is not to be seen.
pub const ORPHAN: Duration = Duration::from_secs(60);
/// The same if most Services that have claims are not to be seen: as long as agents go on serving them.
pub const ORPHANS: Duration = Duration::from_secs(300);
/// How long nobody else gets an address that was freed: its last packets and routes are other Services' then.
pub const REST: Duration = Duration::from_secs(60);

/// What shall be written, and when to think again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocations {
    /// A later leader has written: write nothing, and lead no more.
    pub is_deposed: bool,
    /// Some pool is not of this term: read pools and Services from the API server itself, and ask again.
    pub needs_fresh_look: bool,
    /// Pools to write; those that are as they should be are not here.
    pub pools: BTreeMap<Arc<str>, PoolPlan>,
    /// Services to write; those that are as they should be, or none of our business, are not here.
    pub services: BTreeMap<Arc<str>, ServicePlan>,
    /// Services that would be ours, but whose addresses somebody else gave, with words for the log.
    pub untouched: BTreeMap<Arc<str>, String>,
    /// When time alone changes something.
    pub replan_at: Option<UnixTime>,
}

/// What a pool must become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPlan {
    /// Whether it bears our finalizer; one that is to be added goes before the status, one that is to be removed after.
    pub finalizer: bool,
    /// Its status; `None`: as it is.
    pub status: Option<PoolStatus>,
    /// Services that lose something by this. The API server itself must say of each that it is still as it was seen, or
    /// still missing, before the status is written.
    pub confirm: Vec<Arc<str>>,
}

/// What a Service must become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// Its metadata, to be written first; `None`: as it is.
    pub metadata: Option<MetadataPlan>,
    /// Its status; `None`: as it is, or not yet time.
    pub status: Option<StatusPlan>,
}

/// What a Service's metadata must become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataPlan {
    /// Whether it bears our finalizer. OpenELB's go in either case.
    pub finalizer: bool,
    /// The announcement settings that are recorded on it.
    pub announcement: Option<Arc<str>>,
    /// Whether the wish to leave addresses stays.
    pub keeps_leave: bool,
    /// Whether OpenELB's label stays.
    pub keeps_openelb_label: bool,
}

/// What a Service's status must become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusPlan {
    /// Its addresses.
    pub ingress: Vec<Ingress>,
    /// Our conditions; there are no others of ours.
    pub conditions: Vec<Condition>,
    /// What to tell when it is written.
    pub events: Vec<Event>,
}

/// Something to tell the people who look at a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether something is wrong.
    pub is_warning: bool,
    /// One word in CamelCase.
    pub reason: String,
    /// What happened and what to do.
    pub message: String,
}

/// Decides which Service has which address, given all that is known.
#[must_use]
pub fn allocate(cluster: &Cluster) -> Allocations {
    let epochs = || cluster.pools.values().map(|pool| pool.status.epoch);
    if epochs().any(|epoch| epoch > Some(cluster.epoch)) {
        return Allocations {
            is_deposed: true,
            ..Allocations::default()
        };
    }
    let is_settled = epochs().all(|epoch| epoch == Some(cluster.epoch));
    if !is_settled && !cluster.is_fresh {
        return Allocations {
            needs_fresh_look: true,
            ..Allocations::default()
        };
    }
    let mut ledger = Ledger::open(cluster);
    let decisions = settle::settle(cluster, &mut ledger, is_settled);
    claims::advance(cluster, &mut ledger, &decisions);
    ports::grant(cluster, &mut ledger);
    Allocations {
        is_deposed: false,
        needs_fresh_look: false,
        pools: pools::plan(cluster, &ledger),
        services: services::plan(cluster, &ledger, &decisions),
        untouched: decisions.untouched,
        replan_at: ledger.replan_at,
    }
}

#[cfg(test)]
mod tests;
