//! The life of a claim: held, unused, resting, forgotten. A claim becomes unused when its Service has turned away from it
//! or cannot be seen, and is held again if the Service returns; only time that passes meanwhile frees the address.

use std::collections::BTreeSet;

use super::{
    ClaimState, Cluster, ORPHAN, UnixTime, WITHDRAWAL,
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
    for index in 0..ledger.entries.len() {
        let entry = &ledger.entries[index];
        if !entry.is_live() {
            continue;
        }
        let (state, next) = if targets.contains(&index) {
            (ClaimState::Held, None)
        } else {
            next_state(cluster, entry)
        };
        if entry.observed.is_none() && state != ClaimState::Held {
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

/// State of a claim that its Service does not aim at, and when it ends.
fn next_state(cluster: &Cluster, entry: &Entry) -> (ClaimState, Option<UnixTime>) {
    let now = cluster.now;
    let since = match entry.planned.as_ref().map(|claim| claim.state) {
        Some(ClaimState::Unused { since }) => since.min(now),
        _ => now,
    };
    let Some(service) = cluster.services.get(&entry.service) else {
        return unused_until(since, since.plus(ORPHAN), now);
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
