//! The trie of source ranges, the one map of the image that the kernel does not map into memory: written by a system call
//! a key, read back once, and known from then on. Knows keys, not what they mean.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use lb_common::{
    abi::SOURCE_TRIE,
    source::{TrieKey, TrieRange},
};

use crate::{Error, load::Instance, sys};

/// What every key has; only its being there counts.
const PRESENT: u32 = 1;

/// The map `source_trie`.
pub(crate) struct SourceTrie {
    fd: OwnedFd,
    ranges: BTreeSet<TrieRange>,
}

impl SourceTrie {
    pub(crate) fn of(instance: &Instance) -> Result<Self, Error> {
        let fd = instance.map_fd(SOURCE_TRIE)?;
        // None that are not ours could be there.
        let keys = sys::keys::<TrieKey>(fd.as_fd());
        let ranges = keys.iter().filter_map(TrieRange::of).collect();
        Ok(Self { fd, ranges })
    }

    pub(crate) fn add(&mut self, range: &TrieRange) -> Result<(), Error> {
        sys::insert(self.fd.as_fd(), &range.key(), &PRESENT)
            .map_err(|source| Error::kernel("add a source range to its trie", source))?;
        self.ranges.insert(*range);
        Ok(())
    }

    /// One that is not there is none.
    pub(crate) fn remove(&mut self, range: &TrieRange) -> Result<(), Error> {
        match sys::remove(self.fd.as_fd(), &range.key()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result
                .map_err(|source| Error::kernel("take a source range out of its trie", source))?,
        }
        self.ranges.remove(range);
        Ok(())
    }

    /// All ranges.
    pub(crate) fn ranges(&self) -> &BTreeSet<TrieRange> {
        &self.ranges
    }
}
