//! Which VIPs the data path answers for by ARP and Neighbour Discovery: one word in the cold line of each VIP's entry.
//! It is written after the service ports. A VIP is let in when all of its ports are there, and stays while one of
//! those with endpoints is; what it was before is read from the image, so that it outlives the agent.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use lb_common::{abi::MapId, service::ServiceCold};

use super::{
    NoRoom, Unplaced,
    draft::Draft,
    placement::{Entry, Placements},
    wanted::Wanted,
};

const COLD_WORDS: usize = size_of::<ServiceCold>() / 8;

/// Brings the word of every VIP to what it shall be.
pub(super) fn write(
    draft: &mut Draft<'_>,
    wanted: &Wanted<'_>,
    placements: &Placements,
    unplaced: &BTreeMap<Unplaced, NoRoom>,
) {
    let mut incomplete = BTreeSet::new();
    for what in unplaced.keys() {
        match what {
            Unplaced::Port(port) => _ = incomplete.insert(port.vip),
            Unplaced::Vip(vip) => _ = incomplete.insert(*vip),
            Unplaced::Node(_) => {}
        }
    }
    for &vip in &wanted.vips {
        let Some(placement) = placements.by_entry.get(&Entry::Vip(vip)) else {
            continue;
        };
        let at = usize::from(placement.id) * COLD_WORDS + ServiceCold::OWNED_ON_WORD;
        let now = draft.word(MapId::ServiceCold, at);
        let shall = match wanted.owned.get(&vip) {
            Some(_) if now == 0 && incomplete.contains(&vip) => 0,
            Some(&slots) if now == 0 || serves(wanted, placements, vip) => slots,
            _ => 0,
        };
        draft.store(MapId::ServiceCold, at, &[shall]);
    }
}

/// Whether some port of the VIP is there and has endpoints for what comes to this node.
fn serves(wanted: &Wanted<'_>, placements: &Placements, vip: IpAddr) -> bool {
    placements.of_vip(vip).any(|entry| match entry {
        Entry::Vip(_) => false,
        Entry::Port(port) => {
            let plan = wanted.ports.get(&port);
            plan.is_some_and(|plan| plan.serves_here())
        }
    })
}

#[cfg(test)]
mod tests;
