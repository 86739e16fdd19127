//! What the API server tells, put into the snapshot. Only what is new calls for a plan.

use std::{sync::Arc, time::Duration};

use lb_core::{
    model::{Dataplane, Service},
    snapshot::Drain,
};
use lb_kube::reflect::source::Update;

use super::{Effect, State};

/// How long the flows of a node that Kubernetes drains are waited for, as `lb-agent drain` does.
const FLOWS_WAIT: Duration = Duration::from_secs(60);

impl State {
    pub(super) fn kubernetes(&mut self, update: Update) -> Effect {
        if let Some(heard_at) = update.heard_at {
            self.latency.heard(heard_at);
        }
        let is_first = !std::mem::replace(&mut self.heard_cluster, true);
        let mut plan = is_first | self.services(update.services);
        if let Some(nodes) = update.nodes {
            plan |= self.snapshot.set_nodes(&nodes);
        }
        if let Some(bgp) = update.bgp {
            plan |= self.snapshot.bgp != bgp;
            self.snapshot.bgp = bgp;
        }
        if let Some(pools) = update.pools {
            plan = true;
            let dataplane = Dataplane {
                pools: &pools | &self.own_pools,
                ..(*self.snapshot.dataplane).clone()
            };
            self.snapshot.dataplane = Arc::new(dataplane);
        }
        if let Some(keys) = update.keys {
            plan |= self.snapshot.keys != keys;
            self.snapshot.keys = keys;
        }
        // Who leaves does not come back.
        if let Some(drains) = update.drains.filter(|_| !self.leaves) {
            let drain = drains.then_some(Drain {
                flows_wait: FLOWS_WAIT,
            });
            plan |= self.drain(drain).plan;
        }
        for (name, notes) in update.notes {
            match notes.is_empty() {
                true => _ = self.told.notes.remove(&name),
                false => _ = self.told.notes.insert(name, notes),
            }
        }
        if let Some(alarms) = update.alarms {
            for new in alarms.iter().filter(|new| !self.told.alarms.contains(new)) {
                tracing::warn!("{new}");
            }
            self.told.alarms = alarms;
        }
        if update.speaker.is_some() {
            self.told.speaker = update.speaker;
        }
        self.told.is_listed = update.is_listed;
        self.told.is_stale = update.is_stale;
        self.told.updates += 1;
        Effect {
            plan,
            ..Effect::default()
        }
    }

    /// Whether anything changes.
    fn services(&mut self, services: Vec<(Arc<str>, Option<Arc<Service>>)>) -> bool {
        let mut changes = false;
        for (name, service) in services {
            changes |= match service {
                Some(service) => self.snapshot.set_service(service),
                None => self.snapshot.remove_service(&name),
            };
        }
        changes
    }
}

#[cfg(test)]
mod tests;
