//! The random numbers behind jitter: seeded by the caller, so that a run can be repeated.
//!
//! Not for anything that must not be guessed.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 75 to 100 % of a duration (RFC 4271 section 10).
    pub(crate) fn jitter(&mut self, duration: Duration) -> Duration {
        let parts_of_1024 = 768 + (self.next_u64() % 257) as u32;
        duration * parts_of_1024 / 1024
    }

    fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
