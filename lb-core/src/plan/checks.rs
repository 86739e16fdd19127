//! Which nodes count as dead until nodes know of each other: those with endpoints that are checked, none of which
//! answers. Counted node by node, so that a plan corrects the counts of the Services that changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::services::Changed;
use crate::{desired::ServicePlan, probes::Probe};

/// Endpoints of one node that are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    all: usize,
    down: usize,
}

type Tallies = BTreeMap<Arc<str>, Tally>;

/// The counts after a change.
pub(super) fn tally(before: &Arc<Tallies>, changed: &[Changed]) -> Arc<Tallies> {
    let mut tallies = Arc::clone(before);
    for Changed { old, new, .. } in changed {
        for (node, is_down) in old.iter().flat_map(|plan| checked(plan)) {
            let tallies = Arc::make_mut(&mut tallies);
            if let Some(tally) = tallies.get_mut(node) {
                tally.all -= 1;
                tally.down -= usize::from(is_down);
                if tally.all == 0 {
                    tallies.remove(node);
                }
            }
        }
        for (node, is_down) in new.iter().flat_map(|plan| checked(plan)) {
            let tally = Arc::make_mut(&mut tallies).entry(Arc::clone(node));
            let tally = tally.or_default();
            tally.all += 1;
            tally.down += usize::from(is_down);
        }
    }
    tallies
}

/// Names of the nodes that are dead.
pub(super) fn dead(tallies: &Tallies) -> BTreeSet<&str> {
    let dead = tallies.iter().filter(|(_, tally)| tally.down == tally.all);
    dead.map(|(node, _)| &**node).collect()
}

/// The node of each endpoint that is checked, and whether its check fails.
fn checked(plan: &ServicePlan) -> impl Iterator<Item = (&Arc<str>, bool)> {
    let checks = plan.service.health_check.iter();
    checks.flat_map(move |check| {
        let endpoints = plan.service.endpoints.iter();
        endpoints.filter_map(move |endpoint| {
            let is_down = plan.down.contains(&Probe::of(check, endpoint));
            Some((endpoint.node.as_ref()?, is_down))
        })
    })
}
