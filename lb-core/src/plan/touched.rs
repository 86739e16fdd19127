//! The VIPs that a plan has to look at again: those of Services whose plans changed, those whose ports the data path
//! has reported otherwise, and all of them if something changed that counts for all. With the service ports that each
//! has now.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::services::Services;
use crate::{
    DesiredState, Snapshot,
    desired::{PortPlan, ServicePlan},
    snapshot::PortFeedback,
};

/// VIPs, with the service ports of each by the names of their Services; none: no Service has it any more.
pub(super) type Touched = BTreeMap<IpAddr, Vec<Arc<PortPlan>>>;

pub(super) fn touched(
    snapshot: &Snapshot,
    previous: &DesiredState,
    services: &Services,
    counts_for_all: bool,
) -> Touched {
    let vips = |plan: &ServicePlan| {
        plan.ports
            .iter()
            .map(|port| port.port.vip)
            .collect::<Vec<_>>()
    };
    let changed = services.changed.iter();
    let of_services = changed.flat_map(|changed| changed.old.iter().chain(&changed.new));
    let mut touched: BTreeSet<_> = of_services.flat_map(|plan| vips(plan)).collect();
    let memo = &previous.memo;
    let reported = memo.applied.diff(&snapshot.applied, PortFeedback::eq);
    let reported = reported.map(|difference| difference.key.vip);
    touched.extend(reported.filter(|vip| previous.vips.contains_key(vip)));
    touched.extend(&memo.unsettled);
    if counts_for_all {
        touched.extend(previous.vips.keys());
    }
    with_ports(touched, previous, services)
}

/// What each had before, less that of the Services that changed, and what these want now.
fn with_ports(vips: BTreeSet<IpAddr>, previous: &DesiredState, services: &Services) -> Touched {
    let changed: BTreeSet<_> = services
        .changed
        .iter()
        .map(|changed| &changed.name)
        .collect();
    let kept = |vip: &IpAddr| {
        let live = previous.by_vip.get(vip);
        // What leaves is no Service's.
        let live = live.filter(|_| previous.vips.contains_key(vip));
        let ports = live.into_iter().flat_map(|ports| ports.iter());
        let kept = ports.filter(|port| !changed.contains(&port.service));
        kept.cloned().collect::<Vec<_>>()
    };
    let mut touched: Touched = vips.into_iter().map(|vip| (vip, kept(&vip))).collect();
    let plans = services
        .changed
        .iter()
        .filter_map(|changed| changed.new.as_ref());
    for port in plans.flat_map(|plan| &plan.ports) {
        if let Some(ports) = touched.get_mut(&port.port.vip) {
            ports.push(Arc::clone(port));
        }
    }
    for ports in touched.values_mut() {
        ports.sort_by(|a, b| a.service.cmp(&b.service));
    }
    touched
}
