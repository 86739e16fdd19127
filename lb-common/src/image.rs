//! The bytes that the agent means the maps to hold, and the writes that bring the kernel there. An image is
//! what planning compares with; it is read back from the pinned maps at start. Only whole, aligned 64-bit
//! words are written, each by one release-ordered store, in the order given.

use alloc::{collections::BTreeSet, vec, vec::Vec};

use bytemuck::Pod;

use crate::{abi::MapId, limits::Capacity, source::TrieRange};

/// One step of a change. Order matters: what a later store names must be there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MapWrite {
    /// Stores words from `word` (counted in 8 bytes from the start of the map) on.
    Store {
        /// Which map.
        map: MapId,
        /// Index of the first word.
        word: usize,
        /// The new words.
        values: Vec<u64>,
    },
    /// Adds a range of clients to map `source_trie`.
    AddRange(TrieRange),
    /// Takes a range of clients away from map `source_trie`.
    RemoveRange(TrieRange),
    /// Waits until every packet that might still see the state before has left the programs (an RCU grace period).
    Grace,
}

/// The content of every map that the agent writes, as words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    capacity: Capacity,
    maps: [Vec<u64>; MapId::ALL.len()],
    ranges: BTreeSet<TrieRange>,
}

impl Image {
    /// All zero: a data path that answers for nothing.
    #[must_use]
    pub fn empty(capacity: Capacity) -> Self {
        let maps = MapId::ALL.map(|map| vec![0; words(&capacity, map)]);
        Self {
            capacity,
            maps,
            ranges: BTreeSet::new(),
        }
    }

    /// From the words of each map and the ranges of the trie as the kernel holds them; `None` if a length is not that of the capacity.
    #[must_use]
    pub fn recovered(
        capacity: Capacity,
        maps: [Vec<u64>; MapId::ALL.len()],
        ranges: BTreeSet<TrieRange>,
    ) -> Option<Self> {
        let fits = MapId::ALL
            .iter()
            .all(|&map| maps[map as usize].len() == words(&capacity, map));
        fits.then_some(Self {
            capacity,
            maps,
            ranges,
        })
    }

    /// Sizes of the maps.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        self.capacity
    }

    /// All words of a map.
    #[must_use]
    pub fn words(&self, map: MapId) -> &[u64] {
        &self.maps[map as usize]
    }

    /// What map `source_trie` holds.
    #[must_use]
    pub fn ranges(&self) -> &BTreeSet<TrieRange> {
        &self.ranges
    }

    /// Element `index` of a map. Panics if the map has no such element or `T` is not its size: a defect here.
    #[must_use]
    pub fn element<T: Pod>(&self, map: MapId, index: usize) -> T {
        let element_words = map.element_bytes() / 8;
        assert_eq!(
            size_of::<T>(),
            map.element_bytes(),
            "{} holds another type",
            map.name()
        );
        let at = index * element_words;
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(
            &self.words(map)[at..at + element_words],
        ))
    }

    /// Carries out writes on the image, as the data path does on the kernel.
    pub fn apply(&mut self, writes: &[MapWrite]) {
        for write in writes {
            match write {
                MapWrite::Store { map, word, values } => {
                    self.maps[*map as usize][*word..*word + values.len()].copy_from_slice(values);
                }
                MapWrite::AddRange(range) => _ = self.ranges.insert(*range),
                MapWrite::RemoveRange(range) => _ = self.ranges.remove(range),
                MapWrite::Grace => {}
            }
        }
    }
}

/// A store of one element; `T` must be the element's type.
#[must_use]
pub fn store_element<T: Pod>(map: MapId, index: usize, value: &T) -> MapWrite {
    let element_words = map.element_bytes() / 8;
    assert_eq!(
        size_of::<T>(),
        map.element_bytes(),
        "{} holds another type",
        map.name()
    );
    let mut values = vec![0u64; element_words];
    bytemuck::cast_slice_mut(&mut values).copy_from_slice(bytemuck::bytes_of(value));
    MapWrite::Store {
        map,
        word: index * element_words,
        values,
    }
}

fn words(capacity: &Capacity, map: MapId) -> usize {
    capacity.elements(map) as usize * map.element_bytes() / 8
}
