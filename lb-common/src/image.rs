//! The words that the maps hold, and the writes that change them. What planning compares with is read where it is: the
//! kernel's own memory ([`Memory`]), or an [`Image`] of it. Only whole, aligned 64-bit words are written, each by one
//! release-ordered store, in the order given.

use alloc::{collections::BTreeSet, vec, vec::Vec};
use core::ops::RangeInclusive;

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

/// The maps that the agent writes, as words: the kernel's, or an [`Image`].
pub trait Memory {
    /// Sizes of the maps.
    fn capacity(&self) -> Capacity;
    /// A word of a map. Panics if the map has no such word: a defect here.
    fn word(&self, map: MapId, at: usize) -> u64;
    /// What map `source_trie` holds of these service ids, in order.
    fn ranges_of(&self, services: RangeInclusive<u16>) -> Vec<TrieRange>;
    /// How many ranges map `source_trie` holds.
    fn range_count(&self) -> usize;
}

/// Element `index` of a map. Panics if the map has no such element or `T` is not its size: a defect here.
#[must_use]
pub fn element<T: Pod>(memory: &(impl Memory + ?Sized), map: MapId, index: usize) -> T {
    let mut value = T::zeroed();
    let words = map.element_bytes() / 8;
    let bytes = bytemuck::bytes_of_mut(&mut value);
    assert_eq!(bytes.len(), words * 8, "{} holds another type", map.name());
    for (at, bytes) in bytes.chunks_exact_mut(8).enumerate() {
        bytes.copy_from_slice(&memory.word(map, index * words + at).to_ne_bytes());
    }
    value
}

/// Words of a map.
#[must_use]
pub fn words(capacity: &Capacity, map: MapId) -> usize {
    capacity.elements(map) as usize * map.element_bytes() / 8
}

/// The ranges of these service ids, out of all of them.
#[must_use]
pub fn ranges_of(all: &BTreeSet<TrieRange>, services: RangeInclusive<u16>) -> Vec<TrieRange> {
    let first = TrieRange {
        service: *services.start(),
        prefix_bits: 0,
        address: [0; 4],
    };
    let from_first = all.range(first..).copied();
    from_first
        .take_while(|range| range.service <= *services.end())
        .collect()
}

/// The content of every map that the agent writes, apart from the kernel.
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

    /// As [`element`].
    #[must_use]
    pub fn element<T: Pod>(&self, map: MapId, index: usize) -> T {
        element(self, map, index)
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

impl Memory for Image {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn word(&self, map: MapId, at: usize) -> u64 {
        self.words(map)[at]
    }

    fn ranges_of(&self, services: RangeInclusive<u16>) -> Vec<TrieRange> {
        ranges_of(&self.ranges, services)
    }

    fn range_count(&self) -> usize {
        self.ranges.len()
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
