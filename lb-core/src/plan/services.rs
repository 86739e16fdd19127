//! The plans of all Services, of which only those are made anew whose inputs changed. What of the others counts is
//! which plans came and went: everything that follows is planned from these.

use std::sync::Arc;

use super::service::plan_service;
use crate::{
    DesiredState, Snapshot,
    desired::{ClusterView, ServicePlan},
    model::Service,
    ord_map::OrdMap,
};

/// All plans.
pub(super) struct Services {
    pub(super) plans: OrdMap<Arc<str>, Arc<ServicePlan>>,
    /// Those that the previous state does not have.
    pub(super) changed: Vec<Changed>,
}

/// A Service whose plan is another one than before.
pub(super) struct Changed {
    pub(super) name: Arc<str>,
    pub(super) old: Option<Arc<ServicePlan>>,
    pub(super) new: Option<Arc<ServicePlan>>,
}

pub(super) fn plan_services(
    snapshot: &Snapshot,
    view: &Arc<ClusterView>,
    previous: &DesiredState,
    generation: u64,
) -> Services {
    let known = &previous.memo.services;
    let mut services = Services {
        plans: previous.services.clone(),
        changed: Vec::new(),
    };
    for difference in known.diff(&snapshot.services, Arc::ptr_eq) {
        if difference.new.is_none() {
            services.forget(difference.key);
        }
    }
    for service in concerned(snapshot, view, previous) {
        let before = services.plans.get(&service.name);
        let plan = plan_service(service, view, &snapshot.down, before, generation);
        services.set(&service.name, plan);
    }
    services
}

/// Services whose plan may come out another one.
fn concerned<'a>(
    snapshot: &'a Snapshot,
    view: &Arc<ClusterView>,
    previous: &'a DesiredState,
) -> Box<dyn Iterator<Item = &'a Arc<Service>> + 'a> {
    let all = snapshot.services.values();
    let cluster = previous.cluster.as_ref();
    if cluster.is_none_or(|cluster| !Arc::ptr_eq(&cluster.view, view)) {
        return Box::new(all);
    }
    let known = &previous.memo.services;
    let differences = known.diff(&snapshot.services, Arc::ptr_eq);
    let differing = differences.filter_map(|difference| difference.new);
    if snapshot.down == previous.memo.down {
        return Box::new(differing);
    }
    Box::new(differing.chain(all.filter(|service| service.health_check.is_some())))
}

impl Services {
    fn forget(&mut self, name: &Arc<str>) {
        let old = self.plans.remove(name);
        self.changed.push(Changed {
            name: Arc::clone(name),
            old,
            new: None,
        });
    }

    fn set(&mut self, name: &Arc<str>, plan: Arc<ServicePlan>) {
        let old = self.plans.get(name);
        if old.is_some_and(|old| Arc::ptr_eq(old, &plan)) {
            return;
        }
        let old = self.plans.insert(Arc::clone(name), Arc::clone(&plan));
        self.changed.push(Changed {
            name: Arc::clone(name),
            old,
            new: Some(plan),
        });
    }
}
