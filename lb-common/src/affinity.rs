//! Session affinity (`sessionAffinity: ClientIP`): at the flow owner, which endpoint a client of a service has, for
//! as long as the service says. Entries are two words in lines of four, found by a keyed tag; only established
//! flows write them, so that no flood of SYNs drives anybody's out. An entry names a slot of the service, whose number
//! stays the same wherever the service's endpoints move, and counts only while the endpoint that it had is there.

use bytemuck::{Pod, Zeroable};

use crate::{Address, hash};

/// Entries in one line.
pub const ENTRIES_PER_LINE: u32 = 4;
/// Longest time-out, in seconds (Kubernetes' limit).
pub const TIMEOUT_SECONDS_MAX: u32 = 86_400;
/// Bits of a slot in a [`Kept`], the one included that tells the node-local view's from the cluster's.
const SLOT_BITS: u32 = 24;
/// The slot is one of the node-local view.
const OF_LOCAL_VIEW: u32 = 1 << 23;
/// Bits of the tick; far more than [`TIMEOUT_SECONDS_MAX`].
const TICK_MASK: u32 = (1 << 24) - 1;

/// One entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct AffinityEntry {
    /// [`tag`] of client and service; 0 is free.
    pub tag: u64,
    /// [`Kept`].
    pub kept: u64,
}

/// The element of map `affinity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct AffinityLine {
    /// In no order.
    pub entries: [AffinityEntry; ENTRIES_PER_LINE as usize],
}

/// What an entry keeps. Bits from the low end: slot 23, whether it is one of the node-local view 1, [`check`] of the
/// endpoint 16, tick of the last use 24.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Kept(pub u64);

impl Kept {
    /// Puts the fields together.
    #[inline(always)]
    #[must_use]
    pub const fn new(slot: u32, of_local_view: bool, check: u16, tick: u32) -> Self {
        let view = if of_local_view { OF_LOCAL_VIEW } else { 0 };
        Self(
            (slot & (OF_LOCAL_VIEW - 1) | view) as u64
                | (check as u64) << SLOT_BITS
                | (tick as u64) << 40,
        )
    }

    /// The same, used just now.
    #[inline(always)]
    #[must_use]
    pub const fn used_at(self, tick: u32) -> Self {
        Self(self.0 & ((1 << 40) - 1) | (tick as u64) << 40)
    }

    /// Index into `endpoints`, given the first places of both views.
    #[inline(always)]
    #[must_use]
    pub const fn endpoint(self, cluster: u32, local: u32) -> u32 {
        let slot = self.0 as u32 & (OF_LOCAL_VIEW - 1);
        slot + if self.0 as u32 & OF_LOCAL_VIEW != 0 {
            local
        } else {
            cluster
        }
    }

    /// [`check`] of the endpoint that was meant.
    #[inline(always)]
    #[must_use]
    pub const fn check(self) -> u16 {
        (self.0 >> SLOT_BITS) as u16
    }

    /// Ticks since the last use.
    #[inline(always)]
    #[must_use]
    pub const fn age(self, now: u32) -> u32 {
        let age = now.wrapping_sub((self.0 >> 40) as u32) & TICK_MASK;
        // Another CPU may be a tick ahead: what would be the oldest is the youngest.
        if age > TICK_MASK / 2 { 0 } else { age }
    }
}

/// Tag of a client at a service, never 0; its upper half chooses the line.
#[inline(always)]
#[must_use]
pub const fn tag(client_hash: u64, service: u16) -> u64 {
    hash::word(client_hash, service as u64 + 1) | 1
}

/// The line of a tag. Where five clients meet, the one that was silent longest is forgotten: that shows only if its
/// row changes.
#[inline(always)]
#[must_use]
pub const fn line(tag: u64, mask: u32) -> u32 {
    (tag >> 32) as u32 & mask
}

/// Tells one endpoint from another that may come to its place.
#[inline(always)]
#[must_use]
pub const fn check(address: &Address, port: u16) -> u16 {
    let words = (address[0] ^ address[1].rotate_left(8)) as u64
        | ((address[2].rotate_left(16) ^ address[3]) as u64) << 32;
    (hash::word(port as u64, words) >> 48) as u16
}

const _: () = assert!(size_of::<AffinityLine>() == 64 && TICK_MASK / 2 > 2 * TIMEOUT_SECONDS_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_its_fields_apart() {
        let kept = Kept::new(0x7f_ffff, false, 0, 0);
        assert_eq!(
            (kept.endpoint(1, 2), kept.check(), kept.age(0)),
            (0x80_0000, 0, 0)
        );
        let kept = Kept::new(3, true, 0xffff, 4).used_at(5);
        assert_eq!(
            (kept.endpoint(100, 200), kept.check(), kept.age(5)),
            (203, 0xffff, 0)
        );
    }

    #[test]
    fn age_survives_the_wrap_and_a_cpu_that_is_ahead() {
        let kept = Kept::new(1, false, 2, 0xffff_fffe);
        assert_eq!(kept.age(3), 5);
        assert_eq!(kept.age(0xffff_fffd), 0);
    }

    #[test]
    fn services_of_one_client_have_tags_of_their_own() {
        assert_ne!(tag(7, 0), tag(7, 1));
        assert_ne!(tag(7, 0), 0);
    }
}
