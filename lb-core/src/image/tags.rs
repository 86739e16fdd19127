//! The tables by which the data path recognises nodes: tag to node index, two lines a tag. An entry is one
//! word, so it comes, changes and goes at once.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{abi::MapId, limits::NODE_LINES, node};

use super::draft::Draft;

/// Entries of a line.
const ENTRIES: usize = 8;

pub(super) struct Tags {
    map: MapId,
    wanted: BTreeMap<u64, u16>,
}

impl Tags {
    /// Of two nodes with the same tag the lower index counts.
    pub(super) fn new(map: MapId, members: impl Iterator<Item = (u64, u16)>) -> Self {
        let mut wanted = BTreeMap::new();
        for (tag, index) in members {
            wanted.entry(tag).or_insert(index);
        }
        Self { map, wanted }
    }

    /// Adds what is missing; returns the nodes for which there was no room.
    pub(super) fn raise(&self, draft: &mut Draft<'_>) -> BTreeSet<u16> {
        let mut homeless = BTreeSet::new();
        for (&tag, &index) in &self.wanted {
            match self.place(draft, tag) {
                Some(at) => draft.store(self.map, at, &[tag << 16 | u64::from(index)]),
                None => _ = homeless.insert(index),
            }
        }
        homeless
    }

    /// Takes away what is too much.
    pub(super) fn lower(&self, draft: &mut Draft<'_>) {
        for at in 0..NODE_LINES as usize * ENTRIES {
            let entry = draft.word(self.map, at);
            if entry != 0 && !self.wanted.contains_key(&(entry >> 16)) {
                draft.store(self.map, at, &[0]);
            }
        }
    }

    /// Where the tag is, or else a free place in the emptier of its lines.
    fn place(&self, draft: &Draft<'_>, tag: u64) -> Option<usize> {
        let (first, second) = node::tag_lines(tag);
        let line = |line: u32| {
            let start = line as usize * ENTRIES;
            start..start + ENTRIES
        };
        let mut both = line(first).chain(line(second));
        if let Some(at) = both.find(|&at| draft.word(self.map, at) >> 16 == tag) {
            return Some(at);
        }
        let free = |places: std::ops::Range<usize>| {
            let free = places.filter(|&at| draft.word(self.map, at) == 0);
            free.collect::<Vec<_>>()
        };
        let (first, second) = (free(line(first)), free(line(second)));
        let emptier = if second.len() > first.len() {
            second
        } else {
            first
        };
        emptier.first().copied()
    }
}
