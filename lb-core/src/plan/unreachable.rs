//! Where packets end that are for an address of ours without a VIP: in routes of type `unreachable`. Pools count as a
//! whole; a VIP outside of them alone. Announced or not makes no difference: routers may be told by others.

use std::{net::IpAddr, sync::Arc};

use super::announce::Announcements;
use crate::{
    DesiredState, Snapshot,
    desired::UnreachablePlan,
    model::{Dataplane, Prefix},
};

pub(super) fn plan_unreachable(
    snapshot: &Snapshot,
    announcements: &Announcements,
    previous: &DesiredState,
) -> Arc<UnreachablePlan> {
    let dataplane = &snapshot.dataplane;
    let known = previous.cluster.as_ref().map(|cluster| &cluster.dataplane);
    if known.is_none_or(|known| known != dataplane) {
        return from_scratch(dataplane, announcements.by_vip.keys(), previous);
    }
    let mut plan = Arc::clone(&previous.unreachable);
    for vip in announcements
        .touched
        .iter()
        .filter(|vip| is_alone(dataplane, vip))
    {
        let host = Prefix::host(*vip);
        let shall = announcements.by_vip.contains_key(vip);
        if shall == plan.prefixes.contains(&host) {
            continue;
        }
        let prefixes = &mut Arc::make_mut(&mut plan).prefixes;
        match shall {
            true => _ = prefixes.insert(host),
            false => _ = prefixes.remove(&host),
        }
    }
    plan
}

fn from_scratch<'a>(
    dataplane: &Dataplane,
    vips: impl Iterator<Item = &'a IpAddr>,
    previous: &DesiredState,
) -> Arc<UnreachablePlan> {
    let alone = vips.filter(|vip| is_alone(dataplane, vip));
    let alone = alone.copied().map(Prefix::host);
    let plan = UnreachablePlan {
        table: dataplane.routing_table,
        prefixes: alone.chain(dataplane.pools.iter().copied()).collect(),
    };
    if plan == *previous.unreachable {
        Arc::clone(&previous.unreachable)
    } else {
        Arc::new(plan)
    }
}

fn is_alone(dataplane: &Dataplane, vip: &IpAddr) -> bool {
    !dataplane.pools.iter().any(|pool| pool.contains(*vip))
}
