//! Reads placements back from the maps: a cold line says whose an id is, the entry under that key says where
//! rows and endpoints are. What does not agree (an agent was killed between two stores) is nobody's, and is
//! cleared before anything is changed in place.

use std::collections::BTreeSet;

use lb_common::{
    abi::MapId,
    config::Config,
    image::Memory,
    service::{LocalView, ServiceCold, ServiceValue},
    source::Ranges,
};

use super::{
    draft::Draft,
    encode, entries,
    placement::{Entry, Placement, Placements},
    view::Extents,
};

/// The placements that the maps hold.
#[must_use]
pub fn recover(memory: &dyn Memory) -> Placements {
    scan(&Draft::new(memory))
}

/// As [`recover`], and clears what is nobody's.
pub(super) fn adopt(draft: &mut Draft<'_>) -> Placements {
    let placements = scan(draft);
    let seed = seed(draft);
    let owned: BTreeSet<_> = placements
        .by_entry
        .keys()
        .map(|entry| encode::key(seed, entry).0)
        .collect();
    let strays: Vec<_> = entries::all(draft)
        .filter(|&at| {
            let key = draft.word(MapId::Services, at);
            key != 0 && !owned.contains(&key)
        })
        .collect();
    for at in &strays {
        draft.store(MapId::Services, at + 1, &[0]);
    }
    draft.grace();
    for at in &strays {
        draft.store(MapId::Services, *at, &[0]);
    }
    let ids: BTreeSet<_> = placements
        .by_entry
        .values()
        .map(|placement| placement.id)
        .collect();
    drop_stray_ranges(draft, &placements);
    for id in 0..draft.capacity().services {
        if !ids.contains(&(id as u16)) {
            draft.store_element(MapId::ServiceCold, id as usize, &ServiceCold::default());
        }
    }
    draft.grace();
    placements
}

/// Ranges in the trie of a service that does not look there.
fn drop_stray_ranges(draft: &mut Draft<'_>, placements: &Placements) {
    let in_trie: BTreeSet<_> = placements
        .by_entry
        .values()
        .filter(|placement| placement.ranges.is_some_and(Ranges::in_trie))
        .map(|placement| placement.id)
        .collect();
    for range in draft.ranges_before() {
        if !in_trie.contains(&range.service) {
            draft.remove_range(range);
        }
    }
}

/// Takes everything away: values first, all the rest after a grace.
pub(super) fn erase(draft: &mut Draft<'_>) {
    for at in (1..draft.words(MapId::Services)).step_by(2) {
        draft.store(MapId::Services, at, &[0]);
    }
    draft.grace();
    for range in draft.ranges_before() {
        draft.remove_range(range);
    }
    for map in MapId::ALL {
        draft.clear(map);
    }
}

fn seed(draft: &Draft<'_>) -> u64 {
    draft.element::<Config>(MapId::Config, 0).seed[0]
}

fn scan(draft: &Draft<'_>) -> Placements {
    let mut placements = Placements::known(draft.capacity());
    let ids = 0..draft.capacity().services.min(1 << 16);
    let mut found: Vec<_> = ids.filter_map(|id| of_id(draft, id as u16)).collect();
    bound_by_the_next(draft, &mut found);
    for (entry, placement) in found {
        let arenas = placements.arenas.as_mut().expect("made above");
        let is_new = !placements.by_entry.contains_key(&entry);
        if is_new && arenas.take(&entry, &placement) {
            placements.by_entry.insert(entry, placement);
        }
    }
    placements
}

/// The entry of an id, if cold line and value agree.
fn of_id(draft: &Draft<'_>, id: u16) -> Option<(Entry, Placement)> {
    let cold: ServiceCold = draft.element(MapId::ServiceCold, id.into());
    let entry = encode::entry(&cold)?;
    let key = encode::key(seed(draft), &entry);
    let at = entries::find(draft, entries::head(draft), key)?;
    let value = ServiceValue(draft.word(MapId::Services, at + 1));
    if value.id() != id || !value.has(ServiceValue::PRESENT) {
        return None;
    }
    let is_bare = value.has(ServiceValue::VIP) || value.has(ServiceValue::EMPTY);
    let local = LocalView(cold.local_view);
    let placement = Placement {
        id,
        cluster: Extents {
            shape: value.shape(),
            row_unit: value.row_unit() as u16,
            endpoint_line: value.endpoint_line(),
            endpoint_lines: if is_bare { 0 } else { cold.endpoint_lines },
        },
        local: value.has(ServiceValue::LOCAL_VIEW).then(|| Extents {
            shape: local.shape(),
            row_unit: local.row_unit() as u16,
            endpoint_line: local.endpoint_line(),
            endpoint_lines: local.endpoint_lines() as u16,
        }),
        ranges: value
            .has(ServiceValue::RANGES)
            .then_some(Ranges(cold.ranges)),
    };
    Some((entry, placement))
}

/// A cold line may say more lines than there are (a move was interrupted), never fewer: they end where the next
/// extent starts.
fn bound_by_the_next(draft: &Draft<'_>, found: &mut [(Entry, Placement)]) {
    let views = found.iter().flat_map(|(_, placement)| placement.views());
    let starts: BTreeSet<_> = views
        .filter(|extents| extents.endpoint_lines > 0)
        .map(|extents| extents.endpoint_line)
        .collect();
    let end = draft.capacity().endpoints / lb_common::endpoint::ENDPOINTS_PER_LINE;
    for (_, Placement { cluster, .. }) in found {
        let next = starts.range(cluster.endpoint_line + 1..).next();
        let room = next
            .copied()
            .unwrap_or(end)
            .saturating_sub(cluster.endpoint_line);
        cluster.endpoint_lines = cluster.endpoint_lines.min(room.min(u16::MAX.into()) as u16);
    }
}
