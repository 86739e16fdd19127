//! Identifiers of paths (RFC 7911 section 3): which path to a prefix is meant. A path is told by its next hop, so
//! each next hop of a session has one identifier for all prefixes. It follows from the address, and so is mostly
//! the same after a restart; where two addresses would have the same one, the later takes the next that is free.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The identifiers that one session has given out.
#[derive(Debug, Default)]
pub(super) struct PathIds {
    of: BTreeMap<IpAddr, u32>,
    taken: BTreeSet<u32>,
}

impl PathIds {
    /// The identifier of a next hop; never zero.
    pub(super) fn of(&mut self, next_hop: IpAddr) -> u32 {
        if let Some(id) = self.of.get(&next_hop) {
            return *id;
        }
        let mut id = preferred(next_hop).max(1);
        while !self.taken.insert(id) {
            id = id.wrapping_add(1).max(1);
        }
        self.of.insert(next_hop, id);
        id
    }

    /// The identifier that a next hop has been given.
    pub(super) fn known(&self, next_hop: IpAddr) -> Option<u32> {
        self.of.get(&next_hop).copied()
    }
}

fn preferred(next_hop: IpAddr) -> u32 {
    match next_hop {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => {
            let words = v6.octets();
            let words = words.as_chunks::<4>().0.iter();
            words.fold(0, |id, word| id.rotate_left(7) ^ u32::from_be_bytes(*word))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_keep_their_identifiers_and_never_share_one() {
        let mut ids = PathIds::default();
        let v4: IpAddr = "10.0.0.1".parse().unwrap();
        // As IPv6 with the same last word, which hashes to the same.
        let v6: IpAddr = "::10.0.0.1".parse().unwrap();
        let (first, second) = (ids.of(v4), ids.of(v6));
        assert_eq!((first, second), (0x0a00_0001, 0x0a00_0002));
        assert_eq!((ids.of(v6), ids.of(v4)), (second, first));
        assert_eq!(
            (ids.known(v6), ids.known("::1".parse().unwrap())),
            (Some(second), None)
        );
        assert_ne!(ids.of("::".parse().unwrap()), 0);
    }
}
