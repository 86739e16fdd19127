//! Whether this agent is ready, in kubelet's sense: it holds the data path, and knows the cluster. Sessions with routers
//! do not count: a router that is away is no reason to replace an agent.

use crate::{api::metrics::ClusterFigures, engine::state::View};

/// Why it is not; nothing: it is.
#[must_use]
pub fn unready(view: &View) -> Vec<String> {
    let mut reasons = Vec::new();
    if view.snapshot.takeover.is_none() {
        reasons.push("the data path is not written yet".to_owned());
    }
    if !view.told.is_listed {
        reasons.push("the API server has not listed everything yet".to_owned());
    }
    reasons
}

/// What is counted of the cluster.
#[must_use]
pub fn cluster(view: &View) -> ClusterFigures {
    ClusterFigures {
        is_listed: view.told.is_listed,
        alarms: view.told.alarms.len(),
        is_stale: view.told.is_stale,
        updates: view.told.updates,
        services: view.desired.services.len(),
        announced_vips: view
            .desired
            .vips
            .values()
            .filter(|vip| vip.is_announced())
            .count(),
        latency: view.told.latency,
    }
}

#[cfg(test)]
mod tests;
