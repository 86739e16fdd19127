//! Which VIPs a peer may still have a route to. Pure. A VIP is held from the moment it is to be announced in a
//! session, until the peer's TCP has acknowledged its withdraw or the session's end makes the peer forget: at
//! once if the peer ended it, else when its hold timer must have expired (RFC 4271 section 6.5). A peer that keeps
//! routes over a restart (RFC 4724) forgets when the restart time is over, or what a new session left out.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

/// A set of VIPs that is shared by whoever remembers it: the same pointer is the same set.
pub(super) type Vips = Arc<BTreeSet<IpAddr>>;

/// What one peer holds.
#[derive(Debug, Default)]
pub(super) struct Held {
    wanted: Vips,
    may_have: Vips,
    is_up: bool,
    awaits_acknowledgement: bool,
    lapses_at: Option<Instant>,
    is_retained: bool,
}

impl Held {
    /// VIPs that the peer may still have a route to.
    pub(super) fn vips(&self) -> &Vips {
        &self.may_have
    }

    /// All that shall be announced in this session changed.
    pub(super) fn want(&mut self, vips: Vips) {
        self.awaits_acknowledgement = false;
        self.wanted = vips;
        if self.is_up {
            self.may_have_wanted();
        }
    }

    /// A session came up; what the peer had from an earlier one is gone, unless it retains it until it has heard
    /// all of this one.
    pub(super) fn session_up(&mut self) {
        self.is_up = true;
        self.lapses_at = None;
        if !std::mem::take(&mut self.is_retained) {
            self.may_have = Vips::default();
        }
        self.may_have_wanted();
    }

    /// Every message that the wanted set needs is written.
    pub(super) fn written(&mut self) {
        self.awaits_acknowledgement = self.is_up && self.may_have != self.wanted;
    }

    /// Whether to ask the kernel what the peer has acknowledged.
    pub(super) fn awaits_acknowledgement(&self) -> bool {
        self.awaits_acknowledgement
    }

    /// The peer has acknowledged all that was written.
    pub(super) fn acknowledged(&mut self) {
        if self.awaits_acknowledgement {
            self.awaits_acknowledgement = false;
            self.may_have = Arc::clone(&self.wanted);
        }
    }

    /// The session is over, and the peer knows.
    pub(super) fn session_ended_by_peer(&mut self) {
        self.session_over();
        self.may_have = Vips::default();
    }

    /// The session is over, and the peer may find out only by its hold timer; zero: it never does.
    pub(super) fn session_lost(&mut self, now: Instant, hold_time: Duration) {
        self.session_over();
        self.lapses_at = (!hold_time.is_zero()).then(|| now + hold_time);
    }

    /// The session is over, and the peer keeps its routes for that long, counted from when it finds out.
    pub(super) fn session_retained(&mut self, now: Instant, at_most: Duration) {
        self.session_lost(now, at_most);
        self.is_retained = true;
    }

    /// When [`Held::expire`] changes something.
    pub(super) fn lapses_at(&self) -> Option<Instant> {
        self.lapses_at
    }

    /// Forgets what the peer must have forgotten.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.lapses_at.is_some_and(|at| at <= now) {
            self.lapses_at = None;
            self.may_have = Vips::default();
        }
    }

    /// Adds what is wanted, and keeps the set where that is nothing new.
    fn may_have_wanted(&mut self) {
        if self.wanted.is_subset(&self.may_have) {
            return;
        }
        if self.may_have.is_subset(&self.wanted) {
            self.may_have = Arc::clone(&self.wanted);
        } else {
            Arc::make_mut(&mut self.may_have).extend(self.wanted.iter());
        }
    }

    fn session_over(&mut self) {
        self.is_up = false;
        self.awaits_acknowledgement = false;
    }
}

#[cfg(test)]
mod tests;
