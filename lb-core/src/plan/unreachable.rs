//! Where packets end that are for an address of ours without a VIP: in routes of type `unreachable`. Pools count as a
//! whole; a VIP outside of them alone. Announced or not makes no difference: routers may be told by others.

use std::{collections::BTreeSet, sync::Arc};

use super::announce::Announcements;
use crate::{DesiredState, Snapshot, desired::UnreachablePlan, model::Prefix};

pub(super) fn plan_unreachable(
    snapshot: &Snapshot,
    announcements: &Announcements,
    previous: &DesiredState,
) -> Arc<UnreachablePlan> {
    let pools = &snapshot.dataplane.pools;
    let vips = announcements
        .vips
        .keys()
        .chain(announcements.leaving.keys());
    let alone = vips
        .copied()
        .filter(|vip| !pools.iter().any(|pool| pool.contains(*vip)));
    let prefixes: BTreeSet<_> = alone
        .map(Prefix::host)
        .chain(pools.iter().copied())
        .collect();
    let plan = UnreachablePlan {
        table: snapshot.dataplane.routing_table,
        prefixes,
    };
    if plan == *previous.unreachable {
        Arc::clone(&previous.unreachable)
    } else {
        Arc::new(plan)
    }
}
