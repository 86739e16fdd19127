//! A view of a service port: the rows and endpoints of one set of targets, the whole cluster's or this node's own.
//! A change that fits is made in place: new endpoints into free slots, then rows by single words, then the slots
//! that no row names any more, after a grace. What does not fit, and every view without rows, moves to fresh
//! extents, which one store of whoever names them switches to. Room is reserved first, so that what does not fit
//! leaves everything as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use lb_common::{
    Address,
    abi::MapId,
    endpoint::{ENDPOINTS_PER_LINE, Endpoint, EndpointNodes, NODES_PER_WORD},
    row::{LINES_PER_UNIT, Shape},
};

use super::{NoRoom, draft::Draft, encode, placement::Arenas, ports::Change};
use crate::{
    desired::Target,
    table::{self, Rows},
};

/// Slots that a row of one byte can name.
const NARROW_SLOTS: u32 = 256;
/// An extent this many times too large is given up for a smaller one.
const SLACK_MAX: u32 = 4;
/// Words of an endpoint, and the one with flags, port and node.
const ENDPOINT_WORDS: usize = 4;
const FLAGS_WORD: usize = 2;

/// Where a view is in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extents {
    /// Shape of the rows.
    pub shape: Shape,
    /// First unit of the rows; their number follows from the shape.
    pub row_unit: u16,
    /// First line of the endpoints.
    pub endpoint_line: u32,
    /// Lines of endpoints; 0 for a view that has none.
    pub endpoint_lines: u16,
}

impl Extents {
    /// Of no endpoints.
    pub(super) const NONE: Self = Self {
        shape: Shape::Single,
        row_unit: 0,
        endpoint_line: 0,
        endpoint_lines: 0,
    };

    fn first_slot(&self) -> u32 {
        self.endpoint_line * ENDPOINTS_PER_LINE
    }

    fn slots(&self) -> std::ops::Range<u32> {
        let first = self.first_slot();
        first..first + u32::from(self.endpoint_lines) * ENDPOINTS_PER_LINE
    }
}

/// A set of targets, and by it the rows that name places among them.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) targets: &'a Arc<[Target]>,
}

impl View<'_> {
    fn shape(&self) -> Shape {
        Shape::for_endpoints(self.targets.len())
    }
}

/// Makes the rows of views. The last are kept: the ports and VIPs of a Service often share their targets.
pub(super) struct Tables {
    seed: [u64; 2],
    last: Option<(Arc<[Target]>, Rows)>,
}

impl Tables {
    pub(super) fn new(seed: [u64; 2]) -> Self {
        Self { seed, last: None }
    }

    fn rows(&mut self, view: View<'_>) -> &Rows {
        let known = self.last.take();
        let known = known.filter(|(targets, _)| Arc::ptr_eq(targets, view.targets));
        let made = || {
            (
                Arc::clone(view.targets),
                table::rows(&self.seed, view.targets),
            )
        };
        let (_, rows) = self.last.insert(known.unwrap_or_else(made));
        rows
    }
}

/// Where a view will be.
pub(super) struct Room {
    pub(super) extents: Extents,
    /// Slot of each target, counted from the extent's first.
    slots: Vec<u32>,
    /// The extents that it moves out of.
    left: Option<Extents>,
    is_fresh: bool,
}

/// Finds room for a view, in place if it can be.
pub(super) fn reserve(
    draft: &Draft<'_>,
    arenas: &mut Arenas,
    old: Option<Extents>,
    view: View<'_>,
) -> Result<Room, NoRoom> {
    if let Some(old) = old
        && let Some(slots) = slots_in_place(draft, &old, view)
    {
        return Ok(Room {
            extents: old,
            slots,
            left: None,
            is_fresh: false,
        });
    }
    let shape = view.shape();
    let lines = lines_for(view.targets.len());
    let (row_unit, endpoint_line) = allocate(arenas, shape, lines)?;
    let extents = Extents {
        shape,
        row_unit,
        endpoint_line,
        endpoint_lines: lines as u16,
    };
    Ok(Room {
        extents,
        slots: slots_elsewhere(draft, old.as_ref(), &extents, view.targets),
        left: old,
        is_fresh: true,
    })
}

/// Gives back what was reserved and will not be used.
pub(super) fn cancel(arenas: &mut Arenas, room: &Room) {
    if room.is_fresh {
        arenas.give_back(&room.extents);
    }
}

/// Endpoints first, then the rows that name them; notes what is to be cleared after the grace.
pub(super) fn write(
    draft: &mut Draft<'_>,
    room: &Room,
    view: View<'_>,
    tables: &mut Tables,
    change: &mut Change,
) {
    let first = room.extents.first_slot();
    let used: BTreeSet<_> = room.slots.iter().map(|slot| first + slot).collect();
    let unused = room.extents.slots().filter(|slot| !used.contains(slot));
    if room.is_fresh {
        for slot in unused {
            clear_slot(draft, slot);
        }
    } else {
        let unused: Vec<_> = unused.filter(|&slot| is_in_use(draft, slot)).collect();
        change.slots.extend(unused);
    }
    for (target, slot) in view.targets.iter().zip(&room.slots) {
        let slot = first + slot;
        let endpoint = encode::endpoint(target);
        draft.store_element(MapId::Endpoints, slot as usize, &endpoint);
        store_node(draft, slot, Some(endpoint.node));
    }
    let words = row_words(tables.rows(view), &room.slots);
    let start = usize::from(room.extents.row_unit) * LINES_PER_UNIT as usize * 8;
    draft.store(MapId::Rows, start, &words);
    change.left.extend(room.left);
}

/// Clears the slots of extents that nobody names any more, and gives all of them back.
pub(super) fn give_back(draft: &mut Draft<'_>, arenas: &mut Arenas, extents: &Extents) {
    for slot in extents.slots() {
        clear_slot(draft, slot);
    }
    arenas.give_back(extents);
}

/// Says of a slot which node its endpoint is on.
fn store_node(draft: &mut Draft<'_>, slot: u32, node: Option<u16>) {
    let index = (slot / NODES_PER_WORD) as usize;
    let nodes: EndpointNodes = draft.element(MapId::EndpointNodes, index);
    draft.store_element(MapId::EndpointNodes, index, &nodes.with(slot, node));
}

/// The node first, then flags: a slot that is in use has all its words.
pub(super) fn clear_slot(draft: &mut Draft<'_>, slot: u32) {
    store_node(draft, slot, None);
    let at = slot as usize * ENDPOINT_WORDS;
    draft.store(MapId::Endpoints, at + FLAGS_WORD, &[0]);
    draft.store_element(MapId::Endpoints, slot as usize, &Endpoint::default());
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

/// The slot of each target, if it can be had where the view is: what stays keeps its slot, what is new gets a
/// free one.
fn slots_in_place(draft: &Draft<'_>, old: &Extents, view: View<'_>) -> Option<Vec<u32>> {
    let lines = lines_for(view.targets.len());
    let is_too_large = u32::from(old.endpoint_lines) > lines * SLACK_MAX;
    if old.shape != view.shape() || is_too_large || u32::from(old.endpoint_lines) < lines.min(1) {
        return None;
    }
    let known = known(draft, old);
    let taken: BTreeSet<_> = known.values().copied().collect();
    let all = 0..u32::from(old.endpoint_lines) * ENDPOINTS_PER_LINE;
    let free = all.filter(|slot| !taken.contains(slot));
    let limit = match old.shape {
        // Without rows, slot 0 it is: another endpoint needs another line.
        Shape::Single => 0,
        Shape::Narrow => NARROW_SLOTS,
        Shape::Wide | Shape::Large => u32::MAX,
    };
    let mut free = free.filter(|&slot| slot < limit);
    let targets = view.targets.iter().map(encode::endpoint);
    targets
        .map(|endpoint| {
            let slot = known.get(&(endpoint.address, endpoint.port));
            slot.copied().or_else(|| free.next())
        })
        .collect()
}

/// The slot of each target in fresh extents. What stays keeps its number if it can, since clients are bound by it
/// ([`lb_common::affinity`]).
fn slots_elsewhere(
    draft: &Draft<'_>,
    old: Option<&Extents>,
    new: &Extents,
    targets: &[Target],
) -> Vec<u32> {
    let places = u32::from(new.endpoint_lines) * ENDPOINTS_PER_LINE;
    let limit = match new.shape {
        Shape::Single => 1,
        Shape::Narrow => places.min(NARROW_SLOTS),
        Shape::Wide | Shape::Large => places,
    };
    let known = old.map_or_else(BTreeMap::new, |old| known(draft, old));
    let kept = |target: &Target| {
        let endpoint = encode::endpoint(target);
        let slot = known.get(&(endpoint.address, endpoint.port)).copied();
        slot.filter(|&slot| slot < limit)
    };
    let taken: BTreeSet<_> = targets.iter().filter_map(kept).collect();
    let mut free = (0..limit).filter(|slot| !taken.contains(slot));
    let slots = targets
        .iter()
        .map(|target| kept(target).or_else(|| free.next()));
    slots
        .map(|slot| slot.expect("there are more slots than targets"))
        .collect()
}

/// Slots of the endpoints that extents hold, counted from their first.
fn known(draft: &Draft<'_>, extents: &Extents) -> BTreeMap<(Address, u16), u32> {
    let first = extents.first_slot();
    let slots = extents.slots().filter_map(|slot| {
        let endpoint: Endpoint = draft.element(MapId::Endpoints, slot as usize);
        let is_in_use = endpoint.flags & Endpoint::IN_USE != 0;
        is_in_use.then_some(((endpoint.address, endpoint.port), slot - first))
    });
    slots.collect()
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

/// The rows of a table, in the slots' numbers.
fn row_words(rows: &Rows, slots: &[u32]) -> Vec<u64> {
    let named = rows.places().map(|place| slots[place]);
    let bytes: Vec<u8> = match rows.shape() {
        Shape::Single | Shape::Narrow => named.map(|slot| slot as u8).collect(),
        Shape::Wide | Shape::Large => named.flat_map(|slot| (slot as u16).to_le_bytes()).collect(),
    };
    let words = bytes.chunks_exact(8);
    words.map(bytemuck::pod_read_unaligned).collect()
}
