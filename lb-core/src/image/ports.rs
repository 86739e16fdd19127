//! Service ports, with all that belongs to them: views, source ranges, cold lines. Room for all of a service port is
//! found before anything of it is written; what does not fit is left out, or left as it was. What a cold line says
//! is read only under a flag of the value, so it is there before the value and goes after a grace.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use lb_common::{
    abi::MapId,
    row::Shape,
    service::{LocalView, ServiceCold, ServiceValue},
    source::{Ranges, TrieRange},
};

use super::{
    NoRoom, Unplaced,
    draft::Draft,
    encode,
    placement::{Arenas, Entry, Placement, Placements},
    sources,
    view::{self, Extents, Tables, View},
    wanted::Wanted,
};
use crate::{desired::PortPlan, snapshot::DatapathFacts};

/// What one pass does to the services, besides what it has already written.
#[derive(Default)]
pub(super) struct Change {
    /// Values to publish, service ports before VIPs.
    pub(super) values: Vec<(Entry, ServiceValue)>,
    /// Entries to take away.
    pub(super) removed: Vec<Entry>,
    /// Where the keys of these are, their values being zero.
    pub(super) keys: Vec<usize>,
    /// Extents that were moved out of.
    pub(super) left: Vec<Extents>,
    /// Lines of ranges that were moved out of, and whether of IPv6.
    pub(super) left_lines: Vec<(Ranges, bool)>,
    /// Ranges of the trie that count no more.
    pub(super) ranges: Vec<TrieRange>,
    /// Slots that no row names any more.
    pub(super) slots: Vec<u32>,
    /// Cold lines as they are once the old extents are given back.
    colds: Vec<(u16, ServiceCold)>,
}

impl Change {
    fn gives_back(&self) -> bool {
        !(self.removed.is_empty()
            && self.left.is_empty()
            && self.left_lines.is_empty()
            && self.ranges.is_empty()
            && self.slots.is_empty()
            && self.colds.is_empty())
    }
}

/// Writes endpoints, rows, ranges and cold lines of all that is new or changed.
pub(super) fn prepare(
    draft: &mut Draft<'_>,
    wanted: &Wanted<'_>,
    placements: &mut Placements,
    change: &mut Change,
    unplaced: &mut BTreeMap<Unplaced, NoRoom>,
) {
    let facts = &wanted.cluster.datapath;
    let mut tables = Tables::new(wanted.cluster.view.seed);
    for (&port, &plan) in &wanted.ports {
        let planned = placements.planned.get(&port);
        if planned.is_some_and(|planned| Arc::ptr_eq(planned, plan)) {
            continue;
        }
        match place(draft, placements, plan, facts, &mut tables, change) {
            Ok(()) => _ = placements.planned.insert(port, plan.clone()),
            Err(why) => _ = unplaced.insert(Unplaced::Port(port), why),
        }
    }
    let doubles = wanted.doubles.iter();
    unplaced.extend(doubles.map(|&port| (Unplaced::Port(port), NoRoom::SameKey)));
}

/// Gives each new VIP its entry. One with a port that found no room waits for the last pass: a packet must not
/// see its port come after it.
pub(super) fn mark_vips(
    draft: &mut Draft<'_>,
    wanted: &Wanted<'_>,
    placements: &mut Placements,
    change: &mut Change,
    unplaced: &mut BTreeMap<Unplaced, NoRoom>,
    is_last: bool,
) {
    let vip_of = |what: &Unplaced| match what {
        Unplaced::Port(port) if !is_last => Some(port.vip),
        _ => None,
    };
    let waiting: BTreeSet<_> = unplaced.keys().filter_map(vip_of).collect();
    for &vip in wanted.vips.difference(&waiting) {
        if let Err(why) = place_vip(draft, placements, Entry::Vip(vip), change) {
            unplaced.insert(Unplaced::Vip(vip), why);
        }
    }
}

/// After a grace: clears and gives back what nothing points to any more. No grace if there is nothing, unless the
/// caller needs one.
pub(super) fn give_back(
    draft: &mut Draft<'_>,
    placements: &mut Placements,
    change: Change,
    needs_grace: bool,
) {
    if !change.gives_back() && !needs_grace {
        return;
    }
    draft.grace();
    placements.resting.clear();
    for at in change.keys {
        draft.store(MapId::Services, at, &[0]);
        placements.resting.insert(at);
    }
    for entry in change.removed {
        take_away(draft, placements, entry);
    }
    for slot in change.slots {
        view::clear_slot(draft, slot);
    }
    for range in change.ranges {
        draft.remove_range(range);
    }
    for (id, cold) in change.colds {
        draft.store_element(MapId::ServiceCold, id.into(), &cold);
    }
    for extents in change.left {
        view::give_back(draft, arenas(placements), &extents);
    }
    for (ranges, is_v6) in change.left_lines {
        sources::give_back(arenas(placements), Some(ranges), is_v6);
    }
}

fn take_away(draft: &mut Draft<'_>, placements: &mut Placements, entry: Entry) {
    let Some(placement) = placements.by_entry.remove(&entry) else {
        return;
    };
    if let Entry::Port(port) = entry {
        placements.planned.remove(&port);
    }
    let id = placement.id;
    draft.store_element(MapId::ServiceCold, id.into(), &ServiceCold::default());
    for range in draft.ranges_of(id) {
        draft.remove_range(range);
    }
    let arenas = arenas(placements);
    for extents in placement.views() {
        view::give_back(draft, arenas, extents);
    }
    sources::give_back(arenas, placement.ranges, entry.vip().is_ipv6());
    arenas.ids.give_back(id.into(), 1);
}

fn arenas(placements: &mut Placements) -> &mut Arenas {
    placements
        .arenas
        .as_mut()
        .expect("placements are known by now")
}

fn place(
    draft: &mut Draft<'_>,
    placements: &mut Placements,
    plan: &PortPlan,
    facts: &DatapathFacts,
    tables: &mut Tables,
    change: &mut Change,
) -> Result<(), NoRoom> {
    let entry = Entry::Port(plan.port);
    let old = placements.by_entry.get(&entry).copied();
    let id = match old {
        Some(old) => old.id,
        None => new_id(draft, placements)?,
    };
    let room = reserve(draft, arenas(placements), id, old.as_ref(), plan).inspect_err(|_| {
        if old.is_none() {
            arenas(placements).ids.give_back(id.into(), 1);
        }
    })?;
    let placement = write(draft, id, room, plan, tables, change);
    if let Some(left) = old
        .and_then(|old| old.local)
        .filter(|_| plan.local.is_none())
    {
        change.left.push(left);
    }
    write_cold(draft, &placement, old.as_ref(), plan, facts, change);
    placements.by_entry.insert(entry, placement);
    change.values.push((entry, value(&placement, plan)));
    Ok(())
}

/// Room for all parts of a service port.
struct Room {
    cluster: view::Room,
    local: Option<view::Room>,
    ranges: sources::Room,
}

fn cluster_view(plan: &PortPlan) -> View<'_> {
    View {
        targets: &plan.targets,
    }
}

fn local_view(plan: &PortPlan) -> Option<View<'_>> {
    plan.local.as_ref().map(|targets| View { targets })
}

fn reserve(
    draft: &Draft<'_>,
    arenas: &mut Arenas,
    id: u16,
    old: Option<&Placement>,
    plan: &PortPlan,
) -> Result<Room, NoRoom> {
    let is_v6 = plan.port.vip.is_ipv6();
    let ranges = sources::reserve(
        draft,
        arenas,
        id,
        old.and_then(|old| old.ranges),
        plan.source_ranges.as_deref(),
        is_v6,
    )?;
    let cluster = view::reserve(
        draft,
        arenas,
        old.map(|old| old.cluster),
        cluster_view(plan),
    )
    .inspect_err(|_| sources::cancel(arenas, &ranges, is_v6))?;
    let local = local_view(plan)
        .map(|view| view::reserve(draft, arenas, old.and_then(|old| old.local), view))
        .transpose()
        .inspect_err(|_| {
            sources::cancel(arenas, &ranges, is_v6);
            view::cancel(arenas, &cluster);
        })?;
    Ok(Room {
        cluster,
        local,
        ranges,
    })
}

fn write(
    draft: &mut Draft<'_>,
    id: u16,
    room: Room,
    plan: &PortPlan,
    tables: &mut Tables,
    change: &mut Change,
) -> Placement {
    let placement = Placement {
        id,
        cluster: room.cluster.extents,
        local: room.local.as_ref().map(|room| room.extents),
        ranges: room.ranges.ranges,
    };
    view::write(draft, &room.cluster, cluster_view(plan), tables, change);
    if let Some((room, view)) = room.local.zip(local_view(plan)) {
        view::write(draft, &room, view, tables, change);
    }
    sources::write(draft, room.ranges, plan.port.vip.is_ipv6(), change);
    placement
}

fn place_vip(
    draft: &mut Draft<'_>,
    placements: &mut Placements,
    entry: Entry,
    change: &mut Change,
) -> Result<(), NoRoom> {
    if placements.by_entry.contains_key(&entry) {
        return Ok(());
    }
    let id = new_id(draft, placements)?;
    draft.store_element(MapId::ServiceCold, id.into(), &encode::cold(&entry));
    placements.by_entry.insert(entry, Placement::bare(id));
    let flags = ServiceValue::PRESENT | ServiceValue::VIP;
    change
        .values
        .push((entry, ServiceValue::new(id, 0, 0, Shape::Single, flags)));
    Ok(())
}

fn new_id(draft: &Draft<'_>, placements: &mut Placements) -> Result<u16, NoRoom> {
    let id = arenas(placements).ids.allocate(1);
    let id = id.ok_or(NoRoom::Ids(draft.capacity().services))?;
    Ok(id as u16)
}

fn value(placement: &Placement, plan: &PortPlan) -> ServiceValue {
    let flags = [
        (plan.targets.is_empty(), ServiceValue::EMPTY),
        (plan.by_kernel, ServiceValue::KERNEL),
        (plan.affinity.is_some(), ServiceValue::AFFINITY),
        (plan.source_ranges.is_some(), ServiceValue::RANGES),
        (plan.local.is_some(), ServiceValue::LOCAL_VIEW),
        (plan.new_flows_per_second.is_some(), ServiceValue::LIMITED),
    ];
    let set = flags.iter().filter(|(is_set, _)| *is_set);
    ServiceValue::new(
        placement.id,
        placement.cluster.row_unit,
        placement.cluster.endpoint_line,
        placement.cluster.shape,
        set.fold(ServiceValue::PRESENT, |flags, (_, flag)| flags | flag),
    )
}

/// What the cold line says in the end; until then also what is true under the old value. Whoever reads the maps
/// back in between must not take lines of the old or the new extent for free ones: the greater number stands there.
fn write_cold(
    draft: &mut Draft<'_>,
    placement: &Placement,
    old: Option<&Placement>,
    plan: &PortPlan,
    facts: &DatapathFacts,
    change: &mut Change,
) {
    let local = placement.local.map_or(LocalView::default(), |local| {
        LocalView::new(
            local.row_unit,
            local.endpoint_line,
            local.endpoint_lines,
            local.shape,
        )
    });
    let exact = ServiceCold {
        row_units: placement.cluster.shape.units() as u16,
        endpoint_lines: placement.cluster.endpoint_lines,
        affinity_ticks: plan.affinity.map_or(0, |timeout| ticks(timeout, facts)),
        new_flows_per_tick: plan
            .new_flows_per_second
            .map_or(0, |limit| facts.per_tick(limit)),
        flags: if plan.returns_by_ingress {
            ServiceCold::RETURN_BY_INGRESS
        } else {
            0
        },
        local_view: local.0,
        ranges: placement.ranges.unwrap_or_default().0,
        ..encode::cold(&Entry::Port(plan.port))
    };
    let id = placement.id;
    let now: ServiceCold = draft.element(MapId::ServiceCold, id.into());
    let old_lines = old.map_or(0, |old| old.cluster.endpoint_lines);
    let is_kept = |is_wanted: bool| old.is_some() && !is_wanted;
    let cautious = ServiceCold {
        endpoint_lines: exact.endpoint_lines.max(old_lines),
        affinity_ticks: if is_kept(plan.affinity.is_some()) {
            now
        } else {
            exact
        }
        .affinity_ticks,
        local_view: if is_kept(plan.local.is_some()) {
            now
        } else {
            exact
        }
        .local_view,
        ranges: if is_kept(placement.ranges.is_some()) {
            now
        } else {
            exact
        }
        .ranges,
        ..exact
    };
    draft.store_element(MapId::ServiceCold, id.into(), &cautious);
    if cautious != exact {
        change.colds.push((id, exact));
    }
}

/// Ticks of flow ages, at least one.
fn ticks(timeout: Duration, facts: &DatapathFacts) -> u32 {
    let jiffies = timeout.as_secs() * facts.jiffies_per_second;
    u32::try_from(jiffies >> facts.tick_shift)
        .unwrap_or(u32::MAX)
        .max(1)
}
