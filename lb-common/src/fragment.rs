//! Fragments: only the first part of a datagram says which ports it is for. All parts go to one node of the cluster, the
//! *home* of (source, destination, protocol), which remembers what the first part said; so does every node that the first
//! part passes after it. The memory is two words a datagram in lines of four, found by a keyed tag; an entry that is
//! written by two CPUs at once is seen as none.

use bytemuck::{Pod, Zeroable};

use crate::hash;

/// Datagrams whose parts one node tells apart.
pub const DATAGRAMS_MAX: u32 = 8192;
/// Datagrams in one line.
pub const DATAGRAMS_PER_LINE: u32 = 4;
/// Lines of the map `fragments`.
pub const FRAGMENT_LINES: u32 = DATAGRAMS_MAX / DATAGRAMS_PER_LINE;
/// Ticks (about a second) that a datagram is remembered: net.ipv4.ipfrag_time is 30 s.
pub const TIMEOUT_TICKS: u32 = 30;
/// Places in the map `homes`.
pub const HOMES: u32 = 1024;
/// Node indices in one word of the map `homes`.
pub const HOMES_PER_WORD: u32 = 4;

/// The element of map `fragments`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct FragmentLine {
    /// A [`tag`] and its [`Datagram`], four times; a tag of 0 is free.
    pub words: [u64; 8],
}

/// What the first part of a datagram said: ports 32 bits, end of what has come without a gap 16 bits, tick 8 bits, and 8
/// bits of the tag, by which a reader knows that both words are of one entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Datagram(pub u64);

impl Datagram {
    /// `end` in units of eight bytes.
    #[inline(always)]
    #[must_use]
    pub const fn new(tag: u64, ports: u32, end: u16, tick: u32) -> Self {
        Self(ports as u64 | (end as u64) << 32 | (tick as u64 & 0xff) << 48 | (tag >> 56) << 56)
    }

    /// Both ports, as they lie in the transport header.
    #[inline(always)]
    #[must_use]
    pub const fn ports(self) -> u32 {
        self.0 as u32
    }

    /// Where the next part begins if none is missing, in units of eight bytes.
    #[inline(always)]
    #[must_use]
    pub const fn end(self) -> u16 {
        (self.0 >> 32) as u16
    }

    /// The same, further on.
    #[inline(always)]
    #[must_use]
    pub const fn up_to(self, end: u16) -> Self {
        Self(self.0 & !(0xffff << 32) | (end as u64) << 32)
    }

    /// Whether it is of this tag and not too old.
    #[inline(always)]
    #[must_use]
    pub const fn counts(self, tag: u64, now: u32) -> bool {
        self.0 >> 56 == tag >> 56 && self.age(now) <= TIMEOUT_TICKS
    }

    /// Ticks since it was made; wraps after four minutes.
    #[inline(always)]
    #[must_use]
    pub const fn age(self, now: u32) -> u32 {
        now.wrapping_sub((self.0 >> 48) as u32 & 0xff) & 0xff
    }
}

/// The tag of a datagram, never 0: `pair` is the flow hash of its addresses and protocol with ports of 0, which is also
/// what the GUE header of any of its parts is tagged for.
#[inline(always)]
#[must_use]
pub const fn tag(pair: u64, id: u32) -> u64 {
    hash::word(pair, id as u64) | 1
}

/// The line of a datagram.
#[inline(always)]
#[must_use]
pub const fn line(tag: u64) -> u32 {
    (tag >> 8) as u32 & (FRAGMENT_LINES - 1)
}

/// Word of the map `homes` and the bits to shift it by, for a `pair` as in [`tag`].
#[inline(always)]
#[must_use]
pub const fn home(pair: u64) -> (u32, u32) {
    let place = (pair >> 32) as u32 & (HOMES - 1);
    (place / HOMES_PER_WORD, place % HOMES_PER_WORD * 16)
}

/// How a node ranks for a place of the map `homes`: the highest takes it. `id` is [`crate::node::node_id`].
#[must_use]
pub const fn home_score(seed: u64, place: u32, id: u32) -> u64 {
    hash::word(seed, (place as u64) << 32 | id as u64)
}

const _: () = assert!(size_of::<FragmentLine>() == 64 && FRAGMENT_LINES.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_keeps_its_fields_apart() {
        let tag = tag(7, 9);
        let datagram = Datagram::new(tag, 0xffff_ffff, 0, 0);
        assert_eq!((datagram.ports(), datagram.end()), (0xffff_ffff, 0));
        let datagram = Datagram::new(tag, 0, 0xffff, 0x1ff);
        assert_eq!(
            (datagram.ports(), datagram.end(), datagram.age(0x203)),
            (0, 0xffff, 4)
        );
        assert_eq!(datagram.up_to(3), Datagram::new(tag, 0, 3, 0xff));
    }

    #[test]
    fn it_counts_for_its_own_tag_and_its_time() {
        let tag = tag(7, 9);
        let datagram = Datagram::new(tag, 1, 2, 250);
        assert!(datagram.counts(tag, 250) && datagram.counts(tag, 250 + TIMEOUT_TICKS));
        assert!(!datagram.counts(tag, 251 + TIMEOUT_TICKS));
        assert!(!datagram.counts(tag ^ 1 << 60, 250));
    }
}
