//! The life of a claim: held, unused, resting, forgotten. A claim becomes unused when its Service has turned away from it
//! or cannot be seen, and is held again if the Service returns; only time that passes meanwhile frees the address.

use std::{collections::BTreeSet, time::Duration};

use super::{
    ClaimState, Cluster, ORPHAN, ORPHANS, UnixTime, WITHDRAWAL,
    ledger::{Entry, Ledger},
    settle::Decisions,
};

/// Brings every claim to where it is now.
pub(super) fn advance(cluster: &Cluster, ledger: &mut Ledger, decisions: &Decisions) {
    let targets: BTreeSet<usize> = decisions
        .services
        .values()
        .flat_map(|decision| decision.targets.iter().copied())
        .collect();
    for service in cluster.services.values() {
        let end = service.deleted.map(|deleted| deleted.plus(WITHDRAWAL));
        if let Some(end) = end.filter(|end| *end > cluster.now) {
            // Its finalizer goes then, claim or not.
            ledger.think_at(end);
        }
    }
    let orphan = orphan_wait(cluster, ledger);
    for index in 0..ledger.entries.len() {
        let entry = &ledger.entries[index];
        if !entry.is_live() {
            continue;
        }
        let (state, next) = if targets.contains(&index) {
            (ClaimState::Held, None)
        } else {
            next_state(cluster, entry, orphan)
        };
        let is_new = entry.observed.is_none() && entry.kept.is_none();
        if is_new && state != ClaimState::Held {
            // Made in this pass for a Service that takes another one: nobody has seen it.
            ledger.entries[index].planned = None;
            continue;
        }
        if let Some(time) = next {
            ledger.think_at(time);
        }
        if let Some(claim) = &mut ledger.entries[index].planned {
            claim.state = state;
        }
    }
}

/// How long a claim waits for a Service that is not to be seen; `None`: until more is known. If most are missing, the list
/// is in doubt, and agents go on serving what is missing from it.
fn orphan_wait(cluster: &Cluster, ledger: &Ledger) -> Option<Duration> {
    let live = ledger.entries.iter().filter(|entry| entry.is_live());
    let is_missing = |entry: &&Entry| !cluster.services.contains_key(&entry.service);
    let (missing, seen): (Vec<_>, Vec<_>) = live.partition(is_missing);
    match () {
        () if cluster.holds_orphans => None,
        () if missing.len() > seen.len() => Some(ORPHANS),
        () => Some(ORPHAN),
    }
}

/// State of a claim that its Service does not aim at, and when it ends.
fn next_state(
    cluster: &Cluster,
    entry: &Entry,
    orphan: Option<Duration>,
) -> (ClaimState, Option<UnixTime>) {
    let now = cluster.now;
    let since = match entry.planned.as_ref().map(|claim| claim.state) {
        Some(ClaimState::Unused { since }) => since.min(now),
        _ => now,
    };
    let Some(service) = cluster.services.get(&entry.service) else {
        return match orphan {
            Some(wait) => unused_until(since, since.plus(wait), now),
            None => (ClaimState::Unused { since }, None),
        };
    };
    if let Some(deleted) = service.deleted {
        let end = deleted.min(now).plus(WITHDRAWAL);
        let state = entry.planned.as_ref().map(|claim| claim.state);
        return if end <= now {
            (ClaimState::Resting { since: now }, None)
        } else {
            (state.unwrap_or(ClaimState::Held), Some(end))
        };
    }
    if service.shows(entry.address) {
        // It goes from the status first, and from then on agents withdraw it.
        return (ClaimState::Held, None);
    }
    unused_until(since, since.plus(WITHDRAWAL), now)
}

fn unused_until(since: UnixTime, end: UnixTime, now: UnixTime) -> (ClaimState, Option<UnixTime>) {
    if end <= now {
        (ClaimState::Resting { since: now }, None)
    } else {
        (ClaimState::Unused { since }, Some(end))
    }
}
