//! Makes a data path as good as new without loading its programs again: tests share one, since loading takes seconds
//! where the kernel is emulated. Part of no agent's build.

use std::os::fd::AsFd as _;

use aya::maps::{Map, MapData};

use lb_common::abi;

use crate::{Error, load::Instance, sys};

/// Zeroes every array and empties every table; programs, and constants in the object's own sections, stay.
pub(crate) fn clear(instance: &Instance) -> Result<(), Error> {
    for (name, map) in instance.maps() {
        let result = match map {
            // A lock is nobody's to write, and is free between packets.
            _ if name.starts_with('.') || name == abi::SWAP_LOCK => Ok(()),
            Map::ProgramArray(_) | Map::ArrayOfMaps(_) => Ok(()),
            Map::Array(map) => zero(map),
            Map::HashMap(map) | Map::LruHashMap(map) | Map::LpmTrie(map) => {
                sys::delete_all_keys(map.fd().as_fd())
            }
            other => unreachable!("nobody says how to clear {name}: {other:?}"),
        };
        result.map_err(|source| Error::kernel("clear a map", source))?;
    }
    Ok(())
}

fn zero(map: &MapData) -> std::io::Result<()> {
    let definition = sys::map_definition(map.fd().as_fd())?;
    let bytes = definition.value_bytes as usize;
    let mapping = sys::Mapping::new(map.fd().as_fd(), definition.elements, bytes)?;
    let words = mapping.words().iter();
    words.for_each(|word| word.store(0, std::sync::atomic::Ordering::Relaxed));
    Ok(())
}
