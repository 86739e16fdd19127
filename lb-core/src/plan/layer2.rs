//! Which VIPs this node answers for by ARP and Neighbour Discovery, and on which uplinks. Ownership is the
//! configuration's. Whether the data path has taken a VIP's service ports is not asked here: the image lets a VIP in
//! after them, in one list of writes, so that an agent that starts anew interrupts nothing.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::announce::{Announcements, VipPlan, VipReason};
use crate::{
    Snapshot,
    model::{Announce, Layer2},
};

/// VIPs to answer for, with their uplinks' slots, a bit each.
pub(super) fn owned(
    snapshot: &Snapshot,
    announcements: &Announcements,
    previous: &Arc<BTreeMap<IpAddr, u64>>,
) -> Arc<BTreeMap<IpAddr, u64>> {
    let uplinks = uplinks(snapshot);
    let may_answer = |plan: &&Arc<VipPlan>| {
        let is_ready = matches!(
            plan.reason,
            VipReason::Announced | VipReason::WaitsForDatapath(_)
        );
        plan.announcer == Announce::Layer2 && is_ready
    };
    let mut owned = Arc::clone(previous);
    for vip in &announcements.touched {
        let plan = announcements.vips.get(vip);
        let slots = plan.filter(may_answer).map(|_| uplinks);
        if slots == owned.get(vip).copied() {
            continue;
        }
        let owned = Arc::make_mut(&mut owned);
        match slots {
            Some(slots) => _ = owned.insert(*vip, slots),
            None => _ = owned.remove(vip),
        }
    }
    owned
}

/// Why this node does not answer for a VIP of layer 2, whatever becomes of its ports.
pub(super) fn obstacle(snapshot: &Snapshot, vip: IpAddr) -> Option<VipReason> {
    match &snapshot.layer2 {
        None => Some(VipReason::NoLayer2),
        Some(layer2) if !layer2.owns.contains(&vip) => Some(VipReason::NotOwned),
        Some(_) if uplinks(snapshot) == 0 => Some(VipReason::NoInterface),
        Some(_) => None,
    }
}

/// Slots of the uplinks to answer on, a bit each.
pub(super) fn uplinks(snapshot: &Snapshot) -> u64 {
    let Some(layer2) = &snapshot.layer2 else {
        return 0;
    };
    let is_meant =
        |layer2: &Layer2, name| layer2.interfaces.is_empty() || layer2.interfaces.contains(name);
    let links = snapshot.links.iter();
    links
        .filter(|link| is_meant(layer2, &link.name))
        .fold(0, |slots, link| slots | 1_u64 << link.slot)
}

#[cfg(test)]
mod tests;
