//! Rows and endpoints of service ports. A change that fits is made in place: new endpoints into free slots,
//! then rows by single words, then the slots that no row names any more, after a grace. What does not fit, and
//! every service without rows, moves to fresh extents, which one store of the value switches to.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{
    abi::MapId,
    endpoint::{ENDPOINTS_PER_LINE, Endpoint},
    row::{LINES_PER_UNIT, Shape},
    service::{ServiceCold, ServiceValue},
};

use super::{
    NoRoom, Unplaced,
    draft::Draft,
    encode,
    placement::{Arenas, Entry, Placement, Placements, Wanted},
};
use crate::desired::PortPlan;

/// Slots that a row of one byte can name.
const NARROW_SLOTS: u32 = 256;
/// An extent this many times too large is given up for a smaller one.
const SLACK_MAX: u32 = 4;
/// Words of an endpoint, and the one with flags, port and node.
const ENDPOINT_WORDS: usize = 4;
const FLAGS_WORD: usize = 2;

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
    left: Vec<Placement>,
    /// Slots that no row names any more.
    slots: Vec<u32>,
    /// Cold lines as they are once the old extents are given back.
    colds: Vec<(u16, ServiceCold)>,
}

/// Writes endpoints, rows and cold lines of all that is new or changed.
pub(super) fn prepare(
    draft: &mut Draft<'_>,
    wanted: &Wanted<'_>,
    placements: &mut Placements,
    change: &mut Change,
    unplaced: &mut BTreeMap<Unplaced, NoRoom>,
) {
    for (&port, &plan) in &wanted.ports {
        let planned = placements.planned.get(&port);
        if planned.is_some_and(|planned| std::sync::Arc::ptr_eq(planned, plan)) {
            continue;
        }
        match place(draft, placements, plan, change) {
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
    let gives_back = !(change.removed.is_empty()
        && change.left.is_empty()
        && change.slots.is_empty()
        && change.colds.is_empty());
    if !gives_back && !needs_grace {
        return;
    }
    draft.grace();
    placements.resting.clear();
    for at in change.keys {
        draft.store(MapId::Services, at, &[0]);
        placements.resting.insert(at);
    }
    for entry in change.removed {
        let Some(placement) = placements.by_entry.remove(&entry) else {
            continue;
        };
        if let Entry::Port(port) = entry {
            placements.planned.remove(&port);
        }
        draft.store_element(
            MapId::ServiceCold,
            placement.id.into(),
            &ServiceCold::default(),
        );
        give_back_extents(draft, placements, &placement);
        arenas(placements).ids.give_back(placement.id.into(), 1);
    }
    for slot in change.slots {
        clear_slot(draft, slot);
    }
    for (id, cold) in change.colds {
        draft.store_element(MapId::ServiceCold, id.into(), &cold);
    }
    for placement in change.left {
        give_back_extents(draft, placements, &placement);
    }
}

fn arenas(placements: &mut Placements) -> &mut Arenas {
    placements
        .arenas
        .as_mut()
        .expect("placements are known by now")
}

fn give_back_extents(draft: &mut Draft<'_>, placements: &mut Placements, placement: &Placement) {
    for slot in slots_of(placement) {
        clear_slot(draft, slot);
    }
    arenas(placements).give_back_extents(placement);
}

fn place(
    draft: &mut Draft<'_>,
    placements: &mut Placements,
    plan: &PortPlan,
    change: &mut Change,
) -> Result<(), NoRoom> {
    let entry = Entry::Port(plan.port);
    let old = placements.by_entry.get(&entry).copied();
    let in_place = old.and_then(|old| Some((old, slots_in_place(draft, &old, plan)?)));
    let placement = if let Some((old, slots)) = in_place {
        write(draft, &old, plan, &slots);
        let kept: BTreeSet<_> = slots.into_iter().collect();
        let first = first_slot(&old);
        change.slots.extend(
            slots_of(&old)
                .filter(|&slot| is_in_use(draft, slot) && !kept.contains(&(slot - first))),
        );
        old
    } else {
        move_out(draft, placements, old, plan, change)?
    };
    placements.by_entry.insert(entry, placement);
    change.values.push((entry, value(&placement, plan)));
    Ok(())
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
    let empty = if plan.targets.is_empty() {
        ServiceValue::EMPTY
    } else {
        0
    };
    ServiceValue::new(
        placement.id,
        placement.row_unit,
        placement.endpoint_line,
        placement.shape,
        ServiceValue::PRESENT | empty,
    )
}

fn first_slot(placement: &Placement) -> u32 {
    placement.endpoint_line * ENDPOINTS_PER_LINE
}

fn slots_of(placement: &Placement) -> std::ops::Range<u32> {
    let first = first_slot(placement);
    first..first + u32::from(placement.endpoint_lines) * ENDPOINTS_PER_LINE
}

fn is_in_use(draft: &Draft<'_>, slot: u32) -> bool {
    let endpoint: Endpoint = draft.element(MapId::Endpoints, slot as usize);
    endpoint.flags & Endpoint::IN_USE != 0
}

/// Lines for this many endpoints, with a slot to spare for a change in place.
fn lines_for(endpoints: usize) -> u32 {
    match endpoints as u32 {
        0 => 0,
        1 => 1,
        several => (several + 1).next_power_of_two() / ENDPOINTS_PER_LINE,
    }
}

/// The slot of each place of the plan, if it can be had where the service is: what stays keeps its slot, what is
/// new gets a free one.
fn slots_in_place(draft: &Draft<'_>, old: &Placement, plan: &PortPlan) -> Option<Vec<u32>> {
    let lines = lines_for(plan.targets.len());
    let is_too_large = u32::from(old.endpoint_lines) > lines * SLACK_MAX;
    if old.shape != plan.rows.shape()
        || is_too_large
        || u32::from(old.endpoint_lines) < lines.min(1)
    {
        return None;
    }
    let first = first_slot(old);
    let (mut known, mut free) = (BTreeMap::new(), Vec::new());
    for slot in slots_of(old) {
        let endpoint: Endpoint = draft.element(MapId::Endpoints, slot as usize);
        if endpoint.flags & Endpoint::IN_USE == 0 {
            free.push(slot - first);
        } else {
            known.insert((endpoint.address, endpoint.port), slot - first);
        }
    }
    let limit = match old.shape {
        // Without rows, slot 0 it is: another endpoint needs another line.
        Shape::Single => 0,
        Shape::Narrow => NARROW_SLOTS,
        Shape::Wide | Shape::Large => u32::MAX,
    };
    let mut free = free.into_iter().filter(|&slot| slot < limit);
    let targets = plan.targets.iter().map(encode::endpoint);
    targets
        .map(|endpoint| {
            known
                .get(&(endpoint.address, endpoint.port))
                .copied()
                .or_else(|| free.next())
        })
        .collect()
}

fn move_out(
    draft: &mut Draft<'_>,
    placements: &mut Placements,
    old: Option<Placement>,
    plan: &PortPlan,
    change: &mut Change,
) -> Result<Placement, NoRoom> {
    let shape = plan.rows.shape();
    let lines = lines_for(plan.targets.len());
    let id = match old {
        Some(old) => old.id,
        None => new_id(draft, placements)?,
    };
    let extents = allocate(arenas(placements), shape, lines);
    let (row_unit, endpoint_line) = extents.inspect_err(|_| {
        if old.is_none() {
            arenas(placements).ids.give_back(id.into(), 1);
        }
    })?;
    let placement = Placement {
        id,
        shape,
        row_unit,
        endpoint_line,
        endpoint_lines: lines as u16,
    };
    let used = plan.targets.len() as u32;
    for slot in slots_of(&placement).skip(plan.targets.len()) {
        clear_slot(draft, slot);
    }
    write(draft, &placement, plan, &(0..used).collect::<Vec<_>>());
    write_cold(
        draft,
        &Entry::Port(plan.port),
        &placement,
        old.as_ref(),
        change,
    );
    change.left.extend(old.filter(|old| old.endpoint_lines > 0));
    Ok(placement)
}

fn allocate(arenas: &mut Arenas, shape: Shape, lines: u32) -> Result<(u16, u32), NoRoom> {
    let line = match lines {
        0 => 0,
        lines => arenas
            .lines
            .allocate(lines)
            .ok_or(NoRoom::Endpoints(lines))?,
    };
    match shape.units() {
        0 => Ok((0, line)),
        units => match arenas.units.allocate(units) {
            Some(unit) => Ok((unit as u16, line)),
            None => {
                arenas.lines.give_back(line, lines);
                Err(NoRoom::Rows(units))
            }
        },
    }
}

/// Whoever reads the maps back between now and the switch of the value must not take lines of the old or the
/// new extent for free ones: until the old one is given back, the cold line says the greater number.
fn write_cold(
    draft: &mut Draft<'_>,
    entry: &Entry,
    placement: &Placement,
    old: Option<&Placement>,
    change: &mut Change,
) {
    let exact = ServiceCold {
        row_units: placement.shape.units() as u16,
        endpoint_lines: placement.endpoint_lines,
        ..encode::cold(entry)
    };
    let old_lines = old.map_or(0, |old| old.endpoint_lines);
    let cautious = ServiceCold {
        endpoint_lines: exact.endpoint_lines.max(old_lines),
        ..exact
    };
    draft.store_element(MapId::ServiceCold, placement.id.into(), &cautious);
    if cautious != exact {
        change.colds.push((placement.id, exact));
    }
}

/// Endpoints first, then the rows that name them.
fn write(draft: &mut Draft<'_>, placement: &Placement, plan: &PortPlan, slots: &[u32]) {
    let first = first_slot(placement);
    for (target, slot) in plan.targets.iter().zip(slots) {
        let index = (first + slot) as usize;
        draft.store_element(MapId::Endpoints, index, &encode::endpoint(target));
    }
    let words = row_words(plan, slots);
    let start = usize::from(placement.row_unit) * LINES_PER_UNIT as usize * 8;
    draft.store(MapId::Rows, start, &words);
}

/// The rows of a table, in the slots' numbers.
fn row_words(plan: &PortPlan, slots: &[u32]) -> Vec<u64> {
    let slots = plan.rows.places().map(|place| slots[place]);
    let bytes: Vec<u8> = match plan.rows.shape() {
        Shape::Single | Shape::Narrow => slots.map(|slot| slot as u8).collect(),
        Shape::Wide | Shape::Large => slots.flat_map(|slot| (slot as u16).to_le_bytes()).collect(),
    };
    let words = bytes.chunks_exact(8);
    words.map(bytemuck::pod_read_unaligned).collect()
}

/// Flags first: a slot that is in use has all its words.
fn clear_slot(draft: &mut Draft<'_>, slot: u32) {
    let at = slot as usize * ENDPOINT_WORDS;
    draft.store(MapId::Endpoints, at + FLAGS_WORD, &[0]);
    draft.store_element(MapId::Endpoints, slot as usize, &Endpoint::default());
}
