//! Lengths of timers, and the back-off between attempts to dial (RFC 4271 sections 8 and 10).

use std::time::Duration;

use crate::random::Random;

/// Hold timer before the peer's OPEN: "a large value", 4 minutes suggested (RFC 4271 section 8.2.2).
pub(crate) const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);

/// First and shortest time between attempts to dial: above a router's own time to settle, so as not to flap.
pub(crate) const CONNECT_RETRY_MIN: Duration = Duration::from_secs(5);

/// Time between attempts towards a peer that knows us not: only its operator can change that.
pub(crate) const REFUSED_RETRY: Duration = Duration::from_secs(120);

/// Shortest send hold time that RFC 9687 section 3.1 suggests.
pub(crate) const SEND_HOLD_TIME_MIN: Duration = Duration::from_secs(480);

/// A session that was up for this long ends the back-off; a shorter one may be part of a loop.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(30);

/// Keepalives are sent at a third of the hold time (RFC 4271 section 10).
pub(crate) const KEEPALIVES_PER_HOLD_TIME: u32 = 3;

/// Doubling time between attempts to dial.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self {
            next: CONNECT_RETRY_MIN,
        }
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new();
    }

    /// How long to wait this time, with jitter, `at_most` in any case; twice that the next time.
    pub(crate) fn next_delay(&mut self, at_most: Duration, random: &mut Random) -> Duration {
        let delay = self.next.min(at_most);
        self.next = (delay * 2).min(at_most.max(CONNECT_RETRY_MIN));
        random.jitter(delay)
    }
}
