//! What the controller tells of itself, for probes and metrics: whether it leads, what it waits for, how full Eips are, and
//! what it has written. Plain figures; how they are told is the caller's business.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lb_core::allocate::{
    AddressRange, Allocations, Family, Pool, SERVING, Service, count_addresses,
};

use super::{Controller, pass::Written};

/// The controller at one instant.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// When its loop last came round; `None`: it has not begun.
    pub beat: Option<Instant>,
    /// What is missing before anything is decided, a sentence each.
    pub waits_for: Vec<String>,
    /// Whether the API server leaves any watch without an answer.
    pub is_away: bool,
    /// Whether this process gives addresses.
    pub leads: bool,
    /// Eips, by name.
    pub pools: BTreeMap<String, PoolFigures>,
    /// Services of ours.
    pub services: ServiceFigures,
    /// What was done since the start.
    pub counts: Counts,
}

/// An Eip.
#[derive(Clone, Debug, Default)]
pub struct PoolFigures {
    /// Whether it gives addresses.
    pub is_open: bool,
    /// Addresses in all, and in use, of each family that it has.
    pub families: BTreeMap<&'static str, (u128, usize)>,
    /// Services that have an address of it.
    pub services: usize,
}

/// Services of ours, by how they are.
#[derive(Clone, Debug, Default)]
pub struct ServiceFigures {
    /// That have an address.
    pub addressed: usize,
    /// That wait for their first.
    pub waiting: usize,
    /// That are left alone, because somebody else gave them addresses.
    pub untouched: usize,
    /// That have an address and are not served, by reason.
    pub not_serving: BTreeMap<String, usize>,
}

/// What was done since the start.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Times that this process began to lead.
    pub terms: u64,
    /// Decisions, and how long they took together.
    pub decisions: u64,
    /// How long they took together.
    pub deciding: Duration,
    /// Addresses that were given to Services.
    pub assigned: u64,
    /// Addresses that Services have left.
    pub released: u64,
    /// Writes of Eips.
    pub eips: Writes,
    /// Writes of Services.
    pub services: Writes,
    /// Failed writes of BgpConf and BgpPeers.
    pub speaker_failures: u64,
}

/// Writes of a kind, by how they ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writes {
    /// Done.
    pub done: u64,
    /// The object was not as it had been seen: looked at again.
    pub stale: u64,
    /// Refused, or not known how they ended: tried again.
    pub failed: u64,
}

impl Writes {
    pub(super) fn count(&mut self, written: &Written) {
        *match written {
            Written::Done => &mut self.done,
            Written::Stale => &mut self.stale,
            Written::Failed => &mut self.failed,
        } += 1;
    }
}

impl Controller {
    /// Tells how things are now.
    pub(super) fn tell(&self) {
        let pools = self.view.eips.values().map(|eip| {
            let pool = &eip.pool;
            (pool.name.to_string(), of_pool(pool))
        });
        let figures = Figures {
            beat: Some(Instant::now()),
            waits_for: self.view.waits_for(),
            is_away: self.view.is_away(),
            leads: self.leads() && self.office.is_some(),
            pools: pools.collect(),
            services: ServiceFigures {
                untouched: self.untouched.len(),
                ..of_services(self.view.services.values().map(|service| &*service.model))
            },
            counts: self.counts.clone(),
        };
        self.figures.send_replace(figures);
    }

    /// Tells that it still moves.
    pub(super) fn beat(&self) {
        let now = Instant::now();
        self.figures.send_modify(|figures| figures.beat = Some(now));
    }

    /// Says in the log which Services are left alone, once each.
    pub(super) fn note_untouched(&mut self, allocations: &Allocations) {
        for (service, why) in &allocations.untouched {
            if self.untouched.get(service) != Some(why) {
                tracing::info!(%service, "not touched: {why}");
            }
        }
        self.untouched.clone_from(&allocations.untouched);
    }
}

fn of_pool(pool: &Pool) -> PoolFigures {
    let of_family = |(family, name)| {
        let ranges = pool.ranges.iter().copied();
        let ranges: Vec<AddressRange> = ranges.filter(|range| range.family() == family).collect();
        let used = pool.status.usage.used.keys();
        let used = used
            .filter(|address| Family::of(**address) == family)
            .count();
        (!ranges.is_empty() || used > 0).then(|| (name, (count_addresses(&ranges), used)))
    };
    let families = [(Family::Ipv4, "IPv4"), (Family::Ipv6, "IPv6")];
    let live = pool
        .status
        .claims
        .iter()
        .filter(|claim| claim.state.is_live());
    let services: std::collections::BTreeSet<_> = live.map(|claim| &claim.service).collect();
    PoolFigures {
        is_open: pool.is_open(),
        families: families.into_iter().filter_map(of_family).collect(),
        services: services.len(),
    }
}

fn of_services<'a>(services: impl Iterator<Item = &'a Service>) -> ServiceFigures {
    let mut figures = ServiceFigures::default();
    for service in services.filter(|service| service.is_served()) {
        if service.ingress.is_empty() {
            figures.waiting += 1;
            continue;
        }
        figures.addressed += 1;
        let mut conditions = service.conditions.iter();
        let serving = conditions.find(|condition| condition.kind == SERVING);
        if let Some(not) = serving.filter(|condition| condition.status == Some(false)) {
            *figures.not_serving.entry(not.reason.clone()).or_default() += 1;
        }
    }
    figures
}
