//! A pinned array as another process sees it: for the bench that times how long a change takes to get there, and for labs
//! in which nothing may change.

use std::{
    ops::Range,
    os::fd::AsFd as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use lb_common::{abi::MapId, endpoint::Endpoint, limits::Capacity};

use crate::{Error, pins, sys};

/// A part of the pinned image.
pub struct MapReader {
    mapping: sys::Mapping,
    words: Range<usize>,
}

impl MapReader {
    /// Maps it into memory.
    ///
    /// # Errors
    /// Nothing is pinned there, or something else.
    pub fn open(pin_dir: &Path, part: MapId) -> Result<Self, Error> {
        let path = pins::map(&pins::versioned(pin_dir), part.holder().name());
        let kernel = |source| Error::kernel("map a pinned map into memory", source);
        let map = sys::open_pin(&path).map_err(kernel)?;
        let definition = sys::map_definition(map.as_fd()).map_err(kernel)?;
        let bytes = definition.value_bytes as usize;
        let mapping = sys::Mapping::new(map.as_fd(), definition.elements, bytes).map_err(kernel)?;
        let words = match part.holder() == part {
            true => 0..mapping.words().len(),
            false => {
                // Parts of another map have one size, whatever the capacity.
                let elements = Capacity::DEFAULT.elements(part) as usize;
                let first = part.offset_bytes() / 8;
                first..first + elements * part.element_bytes() / 8
            }
        };
        Ok(Self { mapping, words })
    }

    /// All of it as it is now, word by word.
    #[must_use]
    pub fn words(&self) -> Vec<u64> {
        let words = self.live().iter();
        words.map(|word| word.load(Ordering::Acquire)).collect()
    }

    fn live(&self) -> &[AtomicU64] {
        &self.mapping.words()[self.words.clone()]
    }
}

const WORDS: usize = size_of::<Endpoint>() / 8;

/// The pinned map of endpoints.
pub struct EndpointReader(MapReader);

impl EndpointReader {
    /// Maps it into memory.
    ///
    /// # Errors
    /// Nothing is pinned there, or something else.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        MapReader::open(pin_dir, MapId::Endpoints).map(Self)
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.0.live().len() / WORDS
    }

    /// The first of these slots whose endpoint is wanted.
    #[must_use]
    pub fn find(&self, slots: Range<usize>, wanted: impl Fn(&Endpoint) -> bool) -> Option<usize> {
        let end = slots.end.min(self.slots());
        (slots.start..end).find(|&slot| wanted(&self.read(slot)))
    }

    fn read(&self, slot: usize) -> Endpoint {
        let words = &self.0.live()[slot * WORDS..][..WORDS];
        let words: [u64; WORDS] = std::array::from_fn(|index| words[index].load(Ordering::Acquire));
        bytemuck::cast(words)
    }
}
