//! Which flow the later fragments of a reply belong to: they carry no ports, so the first one leaves a note for the
//! time that a datagram's fragments take to leave one after the other. A note is one word, found by source,
//! destination, protocol and identification; the memory has a fixed size, and the newest note wins. What a note
//! says is believed only if the flow's record has the fragment's addresses.

use bytemuck::{Pod, Zeroable};

/// Lines of map `reply_fragments`, 64 KiB: 8,192 datagrams on their way out at once.
pub const LINES: u32 = 1024;
/// Notes in one line.
pub const NOTES_PER_LINE: u32 = 8;
/// Ticks that a note counts: between one and two. The fragments of a datagram leave in one go.
pub const LIFETIME_TICKS: u32 = 1;

/// The element of map `reply_fragments`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct FragmentLine {
    /// [`Note`]s; 0 is free.
    pub notes: [u64; NOTES_PER_LINE as usize],
}

/// Flow number plus one 32 bits, tick 12 bits, tag 20 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note(pub u64);

impl Note {
    const TICK_MASK: u32 = 0xfff;

    /// That the datagram with this hash belongs to a flow.
    #[inline(always)]
    #[must_use]
    pub const fn new(hash: u64, number: u32, tick: u32) -> Self {
        let tick = (tick & Self::TICK_MASK) as u64;
        Self((number as u64 + 1) | tick << 32 | (hash >> 44) << 44)
    }

    /// Whether it was left a moment ago.
    #[inline(always)]
    #[must_use]
    pub const fn is_young(self, now: u32) -> bool {
        let tick = (self.0 >> 32) as u32;
        self.0 != 0 && now.wrapping_sub(tick) & Self::TICK_MASK <= LIFETIME_TICKS
    }

    /// Whether it may be of the datagram with this hash.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, hash: u64) -> bool {
        self.0 >> 44 == hash >> 44
    }

    /// The flow's number.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> u32 {
        (self.0 as u32).wrapping_sub(1)
    }
}

/// The line of the datagram with this hash.
#[inline(always)]
#[must_use]
pub const fn line(hash: u64) -> u32 {
    hash as u32 & (LINES - 1)
}

const _: () = assert!(LINES.is_power_of_two() && size_of::<FragmentLine>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_counts_for_its_datagram_and_a_moment() {
        let hash = 0xabcd_e123_4567_89ab;
        for tick in [0, 7, 0xfff, 0x1000, u32::MAX] {
            let note = Note::new(hash, u32::MAX - 1, tick);
            assert_eq!(note.number(), u32::MAX - 1);
            assert!(note.is_of(hash) && !note.is_of(hash ^ 1 << 44));
            assert!(note.is_young(tick) && note.is_young(tick.wrapping_add(1)));
            assert!(!note.is_young(tick.wrapping_add(2)) && !note.is_young(tick.wrapping_sub(1)));
        }
        assert!(!Note::default().is_young(0), "a free place");
    }
}
