//! What each pool's object must become: claims, the figures that OpenELB has, and conditions that say what is unusual.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::{
    AddressRange, Cluster, Condition, Pool, PoolPlan, PoolStatus, PortKey, Usage,
    ledger::{Entry, Ledger},
    words::{NAMED_MAX, condition},
};

/// Pools that are not as they should be.
pub(super) fn plan(cluster: &Cluster, ledger: &Ledger) -> BTreeMap<Arc<str>, PoolPlan> {
    let mut entries: BTreeMap<&Arc<str>, Vec<&Entry>> = BTreeMap::new();
    for entry in &ledger.entries {
        entries.entry(&entry.pool).or_default().push(entry);
    }
    let pools = cluster.pools.values();
    pools
        .filter_map(|pool| {
            let entries = entries.remove(&pool.name).unwrap_or_default();
            let plan = plan_pool(cluster, pool, &entries)?;
            Some((Arc::clone(&pool.name), plan))
        })
        .collect()
}

fn plan_pool(cluster: &Cluster, pool: &Pool, entries: &[&Entry]) -> Option<PoolPlan> {
    let planned = entries.iter().filter_map(|entry| entry.planned.clone());
    let claims: Vec<_> = planned.collect();
    let usage = usage(pool, entries);
    let conditions = conditions(cluster, pool, usage.is_occupied);
    let status = PoolStatus {
        claims,
        epoch: Some(cluster.epoch),
        usage,
        conditions,
    };
    let is_over = status.claims.is_empty() && pool.status.claims.is_empty();
    let finalizer = !(pool.is_deleting && is_over);
    let losers = entries.iter().filter(|entry| loses(entry));
    let losers: BTreeSet<_> = losers.map(|entry| Arc::clone(&entry.service)).collect();
    let plan = PoolPlan {
        finalizer,
        status: (status != pool.status && finalizer).then_some(status),
        confirm: losers.into_iter().collect(),
    };
    let is_as_it_should_be = plan.status.is_none() && finalizer == pool.has_finalizer;
    (!is_as_it_should_be).then_some(plan)
}

/// Whether this takes an address or a port from a Service.
fn loses(entry: &Entry) -> bool {
    let none = BTreeSet::<PortKey>::new();
    let ports = |claim: &Option<super::Claim>| match claim {
        Some(claim) if claim.state.is_live() => claim.ports.clone(),
        _ => none.clone(),
    };
    entry.was_live()
        && (!entry.is_live() || !ports(&entry.observed).is_subset(&ports(&entry.planned)))
}

fn usage(pool: &Pool, entries: &[&Entry]) -> Usage {
    let mut used: BTreeMap<IpAddr, Vec<Arc<str>>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_live()) {
        let holders = used.entry(entry.address).or_default();
        holders.push(Arc::clone(&entry.service));
    }
    let inside = used
        .keys()
        .filter(|address| pool.contains(**address))
        .count();
    let pool_size = size(&pool.ranges);
    let ends = pool.ranges.iter().map(|range| range.first()).min();
    let ends = ends.zip(pool.ranges.iter().map(|range| range.last()).max());
    Usage {
        usage: u64::try_from(used.len()).unwrap_or(u64::MAX),
        pool_size,
        is_occupied: u64::try_from(inside).unwrap_or(u64::MAX) >= pool_size,
        ends,
        is_ready: pool.is_open(),
        used,
    }
}

/// How many addresses a pool has, as far as the field holds.
fn size(ranges: &[AddressRange]) -> u64 {
    let size = count(ranges);
    u64::try_from(size).map_or(i64::MAX.unsigned_abs(), |size| {
        size.min(i64::MAX.unsigned_abs())
    })
}

/// How many addresses ranges have together, each counted once.
#[must_use]
pub fn count(ranges: &[AddressRange]) -> u128 {
    let mut ranges = ranges.to_vec();
    ranges.sort_unstable();
    let mut merged: Vec<AddressRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.overlaps(range) => {
                let end = last.last().max(range.last());
                *last = AddressRange::new(last.first(), end).unwrap_or(*last);
            }
            _ => merged.push(range),
        }
    }
    let sizes = merged.iter().map(|range| range.size());
    sizes.fold(0, u128::saturating_add)
}

fn conditions(cluster: &Cluster, pool: &Pool, is_occupied: bool) -> Vec<Condition> {
    let mut conditions = vec![ready(pool)];
    if !pool.ignored.is_empty() {
        let text = pool.ignored.join("; ");
        conditions.push(condition("FieldIgnored", true, "NoEffect", text));
    }
    if is_occupied && pool.invalid.is_none() {
        let text = "every address is in use: add a range, or delete Services";
        conditions.push(condition("Exhausted", true, "AllInUse", text.to_owned()));
    }
    let others = cluster.pools.values().filter(|other| {
        let overlaps = |range: &AddressRange| {
            let theirs = &mut other.ranges.iter();
            theirs.any(|other| range.overlaps(*other))
        };
        other.name != pool.name && pool.ranges.iter().any(overlaps)
    });
    let others: Vec<&str> = others.map(|other| &*other.name).collect();
    conditions.extend(overlapping(cluster, pool, &others));
    conditions.extend(several_defaults(cluster, pool));
    conditions
}

/// That addresses are the cluster's own, or another pool's too.
fn overlapping(cluster: &Cluster, pool: &Pool, others: &[&str]) -> Option<Condition> {
    let mut texts = Vec::new();
    let own = own_addresses(cluster, pool);
    let reason = if own.is_empty() {
        "SharedRange"
    } else {
        texts.push(format!(
            "{}: these are given to nobody, take them out of the Eip",
            own.join(", ")
        ));
        "ClusterRange"
    };
    if !others.is_empty() {
        texts.push(format!(
            "addresses are also in {}: each is still given once, but which Eip's settings it gets depends on who gives it",
            others.join(", ")
        ));
    }
    (!texts.is_empty()).then(|| condition("Overlapping", true, reason, texts.join("; ")))
}

/// What of a pool is the cluster's own, each with whose it is; not more than a person reads.
fn own_addresses(cluster: &Cluster, pool: &Pool) -> Vec<String> {
    let refused = &cluster.refused;
    let prefixes = refused.prefixes.iter().filter(|(prefix, _)| {
        let network = AddressRange::of(*prefix);
        pool.ranges.iter().any(|range| range.overlaps(network))
    });
    let prefixes = prefixes
        .map(|(prefix, owner)| format!("{}/{} is {owner}", prefix.address(), prefix.bits()));
    let is_in_prefix = |address| refused.prefix(address).is_some();
    let addresses = refused.addresses.iter();
    let addresses =
        addresses.filter(|(address, _)| pool.contains(**address) && !is_in_prefix(**address));
    let addresses = addresses.map(|(address, owner)| format!("{address} is {owner}"));
    let mut all: Vec<String> = prefixes.chain(addresses).take(NAMED_MAX + 1).collect();
    if all.len() > NAMED_MAX {
        all[NAMED_MAX] = "and more".to_owned();
    }
    all
}

fn several_defaults(cluster: &Cluster, pool: &Pool) -> Option<Condition> {
    let pools = cluster.pools.values();
    let others = pools.filter(|other| other.is_default && other.name != pool.name);
    let names: Vec<&str> = others.map(|other| &*other.name).collect();
    (pool.is_default && !names.is_empty()).then(|| {
        let text = format!(
            "{} is marked as the default too: the lower priority gives first, then the first by name; leave the mark \
             on one of them",
            names.join(", ")
        );
        condition("SeveralDefaults", true, "AlsoDefault", text)
    })
}

fn ready(pool: &Pool) -> Condition {
    let not = |reason, text: String| condition("Ready", false, reason, text);
    if let Some(error) = &pool.invalid {
        return not("Invalid", error.clone());
    }
    if pool.is_deleting {
        let text = "gives no more addresses, and goes when its last Service has left";
        return not("Terminating", text.to_owned());
    }
    if pool.is_disabled {
        let text = "gives no more addresses; Services keep theirs";
        return not("Disabled", text.to_owned());
    }
    condition("Ready", true, "Available", String::new())
}
