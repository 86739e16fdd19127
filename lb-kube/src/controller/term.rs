//! A term of leadership, as the process that leads knows it: it ends by itself unless it is renewed, before anybody else
//! can begin one.

use tokio::time::Instant;

/// Leadership until a certain time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// How often the lease has changed hands.
    pub(super) transitions: u64,
    /// When it was acquired, to tell it from another one of the same number.
    pub(super) began: Instant,
    /// Until when it is known to last.
    pub(super) until: Instant,
}

impl Term {
    pub(super) fn is_valid(&self) -> bool {
        Instant::now() < self.until
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.transitions == other.transitions && self.began == other.began
    }
}
