//! The maps in the agent's memory: every one is an array that can be mapped, so reading and writing are loads
//! and stores, no system calls.

use std::ops::RangeInclusive;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::AnyBitPattern;
use lb_common::{
    abi::{MapId, data},
    image::{self, Memory},
    limits::Capacity,
    source::TrieRange,
};

use crate::{
    Datapath, Error, data_maps,
    load::{self, Instance},
    sys::Mapping,
};

impl Memory for Datapath {
    fn capacity(&self) -> Capacity {
        self.options.capacity
    }

    fn word(&self, map: MapId, at: usize) -> u64 {
        self.arenas.image[map as usize].word(at)
    }

    fn ranges_of(&self, services: RangeInclusive<u16>) -> Vec<TrieRange> {
        image::ranges_of(self.trie.ranges(), services)
    }

    fn range_count(&self) -> usize {
        self.trie.ranges().len()
    }
}

/// One mapped array, or a part of its one value.
pub(crate) struct Arena {
    mapping: Mapping,
    first_word: usize,
    words: usize,
}

impl Arena {
    /// An array of an instance.
    pub(crate) fn map(
        instance: &Instance,
        name: &str,
        elements: u32,
        element_bytes: usize,
    ) -> Result<Self, Error> {
        Self::of(instance.map_fd(name)?.as_fd(), elements, element_bytes)
    }

    /// An array whose definition is known to be this.
    pub(crate) fn of(
        fd: BorrowedFd<'_>,
        elements: u32,
        element_bytes: usize,
    ) -> Result<Self, Error> {
        let mapping = Mapping::new(fd, elements, element_bytes)
            .map_err(|source| Error::kernel("map a BPF array into memory", source))?;
        let words = mapping.words().len();
        Ok(Self {
            mapping,
            first_word: 0,
            words,
        })
    }

    /// A part of the image.
    pub(crate) fn of_image(
        fd: BorrowedFd<'_>,
        part: MapId,
        capacity: &Capacity,
    ) -> Result<Self, Error> {
        let holder = part.holder();
        let whole = Self::of(fd, capacity.elements(holder), holder.value_bytes())?;
        Ok(Self {
            first_word: part.offset_bytes() / 8,
            words: capacity.elements(part) as usize * part.element_bytes() / 8,
            ..whole
        })
    }

    /// All words as they are now. Where the map is empty the copy takes no memory: the kernel gives a zeroed page at the
    /// first store, so that none is made of what is zero already.
    pub(crate) fn words(&self) -> Vec<u64> {
        let mut copy = vec![0; self.words];
        for (copy, word) in copy.iter_mut().zip(self.own_words()) {
            let word = word.load(Ordering::Acquire);
            if word != 0 {
                *copy = word;
            }
        }
        copy
    }

    /// One word as it is now. Panics beyond the end.
    pub(crate) fn word(&self, at: usize) -> u64 {
        assert!(
            at < self.words,
            "an array of {} words has no word {at}",
            self.words
        );
        self.mapping.words()[self.first_word + at].load(Ordering::Acquire)
    }

    /// Stores words in order.
    pub(crate) fn store(&self, word: usize, values: &[u64]) {
        self.mapping.store(self.first_word + word, values);
    }

    /// Element `index`, word by word: a value that is being written may be torn between words.
    pub(crate) fn element<T: AnyBitPattern + bytemuck::NoUninit>(&self, index: usize) -> T {
        let words = size_of::<T>() / 8;
        let mut value = T::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value);
        for (chunk, word) in bytes
            .chunks_exact_mut(8)
            .zip(&self.own_words()[index * words..])
        {
            chunk.copy_from_slice(&word.load(Ordering::Acquire).to_ne_bytes());
        }
        value
    }

    /// How many elements of this size there are.
    pub(crate) fn elements<T>(&self) -> usize {
        self.words * 8 / size_of::<T>()
    }

    fn own_words(&self) -> &[AtomicU64] {
        &self.mapping.words()[self.first_word..self.first_word + self.words]
    }
}

/// All maps of a data path.
pub(crate) struct Arenas {
    /// By [`MapId`].
    pub(crate) image: Vec<Arena>,
    pub(crate) flow_index: Arena,
    pub(crate) flows: Arena,
    pub(crate) counters: Arena,
    pub(crate) verdicts: Arena,
    pub(crate) beat: Arena,
    pub(crate) endpoint_packets: Arena,
    pub(crate) node_packets: Arena,
}

impl Arenas {
    pub(crate) fn map(instance: &Instance, capacity: &Capacity) -> Result<Self, Error> {
        let image = MapId::ALL
            .iter()
            .map(|part| {
                let fd = instance.map_fd(part.holder().name())?;
                Arena::of_image(fd.as_fd(), *part, capacity)
            })
            .collect::<Result<_, _>>()?;
        let sizes = data_maps(capacity, load::cpus()?);
        let arena = |wanted: &str| {
            let (name, elements, bytes) = sizes
                .iter()
                .find(|(name, ..)| *name == wanted)
                .unwrap_or_else(|| unreachable!("every data map has a size"));
            Arena::map(instance, name, *elements, *bytes)
        };
        Ok(Self {
            image,
            flow_index: arena(data::FLOW_INDEX)?,
            flows: arena(data::FLOWS)?,
            counters: arena(data::COUNTERS)?,
            verdicts: arena(data::VERDICTS)?,
            beat: arena(data::BEAT)?,
            endpoint_packets: arena(data::ENDPOINT_PACKETS)?,
            node_packets: arena(data::NODE_PACKETS)?,
        })
    }
}
