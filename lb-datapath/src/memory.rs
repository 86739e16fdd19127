//! The maps in the agent's memory: every one is an array that can be mapped, so reading and writing are loads
//! and stores, no system calls.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::atomic::Ordering;

use bytemuck::AnyBitPattern;
use lb_common::{
    abi::{MapId, data},
    limits::Capacity,
};

use crate::{
    Error, data_maps,
    load::{self, Instance},
    sys::Mapping,
};

/// One mapped array.
pub(crate) struct Arena {
    mapping: Mapping,
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
        Ok(Self { mapping })
    }

    /// All words as they are now.
    pub(crate) fn words(&self) -> Vec<u64> {
        self.mapping
            .words()
            .iter()
            .map(|word| word.load(Ordering::Acquire))
            .collect()
    }

    /// Stores words in order.
    pub(crate) fn store(&self, word: usize, values: &[u64]) {
        self.mapping.store(word, values);
    }

    /// Element `index`, word by word: a value that is being written may be torn between words.
    pub(crate) fn element<T: AnyBitPattern + bytemuck::NoUninit>(&self, index: usize) -> T {
        let words = size_of::<T>() / 8;
        let mut value = T::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value);
        for (chunk, word) in bytes
            .chunks_exact_mut(8)
            .zip(&self.mapping.words()[index * words..])
        {
            chunk.copy_from_slice(&word.load(Ordering::Acquire).to_ne_bytes());
        }
        value
    }

    /// How many elements of this size there are.
    pub(crate) fn elements<T>(&self) -> usize {
        self.mapping.words().len() * 8 / size_of::<T>()
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
}

impl Arenas {
    pub(crate) fn map(instance: &Instance, capacity: &Capacity) -> Result<Self, Error> {
        let image = MapId::ALL
            .iter()
            .map(|map| {
                Arena::map(
                    instance,
                    map.name(),
                    capacity.elements(*map),
                    map.element_bytes(),
                )
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
        })
    }
}
