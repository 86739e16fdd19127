//! A pinned array as another process sees it, for the bench that times how long a change takes to get there.

use std::{os::fd::AsFd as _, path::Path, sync::atomic::Ordering};

use lb_common::{abi::MapId, endpoint::Endpoint};

use crate::{Error, pins, sys};

/// The pinned map of endpoints.
pub struct EndpointReader {
    mapping: sys::Mapping,
}

impl EndpointReader {
    /// Maps it into memory.
    ///
    /// # Errors
    /// Nothing is pinned there, or something else.
    pub fn open(pin_dir: &Path) -> Result<Self, Error> {
        let path = pins::map(&pins::versioned(pin_dir), MapId::Endpoints.name());
        let kernel = |source| Error::kernel("map the pinned endpoints into memory", source);
        let map = sys::open_pin(&path).map_err(kernel)?;
        let definition = sys::map_definition(map.as_fd()).map_err(kernel)?;
        let bytes = definition.value_bytes as usize;
        let mapping = sys::Mapping::new(map.as_fd(), definition.elements, bytes).map_err(kernel)?;
        Ok(Self { mapping })
    }

    /// The slots that hold an endpoint's address.
    #[must_use]
    pub fn slots_of(&self, endpoint: &Endpoint) -> usize {
        let wanted: [u64; size_of::<Endpoint>() / 8] = bytemuck::cast(*endpoint);
        let slots = self.mapping.words().chunks_exact(wanted.len());
        let has = |slot: &&[std::sync::atomic::AtomicU64]| {
            slot[0].load(Ordering::Acquire) == wanted[0]
                && slot[1].load(Ordering::Acquire) == wanted[1]
        };
        slots.filter(has).count()
    }
}
