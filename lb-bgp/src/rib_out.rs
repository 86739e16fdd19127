//! What one session has sent, and what it still has to send (Adj-RIB-Out, RFC 4271 section 1.1).
//!
//! The wanted set comes whole; the difference to what the peer has is what is pending. A change that comes
//! before the last one was written replaces it, so that a slow peer costs memory for the routes, not for
//! their history. Messages are built one at a time, when there is room to write them.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::family::{Family, PerFamily};
use crate::route::{Prefix, RouteAttributes, RouteSet};
use crate::wire::update::{self, SessionAttributes};

/// Routes of one Established session.
#[derive(Debug)]
pub(crate) struct RibOut {
    session: SessionAttributes,
    /// Next hop of each family that is negotiated and has one.
    next_hops: PerFamily<Option<IpAddr>>,
    wanted: Arc<RouteSet>,
    /// What the peer has from us. `None` if in a form that is out of date: it has asked for it again.
    sent: BTreeMap<Prefix, Option<RouteAttributes>>,
    /// In order of prefix, and so of family.
    to_withdraw: VecDeque<Prefix>,
    /// In order of family, then attributes: what may share a message is adjacent.
    to_announce: VecDeque<Prefix>,
    /// Families whose End-of-RIB is still to come.
    end_of_rib: VecDeque<Family>,
}

impl RibOut {
    /// The state of a new session: everything is to be sent, then End-of-RIB for each negotiated family.
    pub(crate) fn new(
        session: SessionAttributes,
        negotiated: PerFamily<bool>,
        next_hops: PerFamily<Option<IpAddr>>,
        wanted: Arc<RouteSet>,
    ) -> Self {
        let mut rib = Self {
            session,
            next_hops: PerFamily::from_fn(|f| next_hops[f].filter(|_| negotiated[f])),
            wanted,
            sent: BTreeMap::new(),
            to_withdraw: VecDeque::new(),
            to_announce: VecDeque::new(),
            end_of_rib: negotiated.enabled().collect(),
        };
        rib.find_pending();
        rib
    }

    pub(crate) fn set_wanted(&mut self, wanted: Arc<RouteSet>) {
        self.wanted = wanted;
        self.find_pending();
    }

    /// Routes of a family whose next hop is another one now are announced once more, or withdrawn.
    pub(crate) fn set_next_hops(
        &mut self,
        negotiated: PerFamily<bool>,
        next_hops: PerFamily<Option<IpAddr>>,
    ) {
        for family in negotiated.enabled() {
            let changed = self.next_hops[family] != next_hops[family];
            self.next_hops[family] = next_hops[family];
            if changed {
                self.resend(family);
            }
        }
    }

    /// Announces all routes of a family once more (RFC 2918).
    pub(crate) fn resend(&mut self, family: Family) {
        for (_, attributes) in self.sent.iter_mut().filter(|(p, _)| p.family() == family) {
            *attributes = None;
        }
        self.find_pending();
    }

    /// The next UPDATE to send; `None` when the peer has all that is wanted.
    pub(crate) fn next_message(&mut self) -> Option<Vec<u8>> {
        self.next_withdrawal()
            .or_else(|| self.next_announcement())
            .or_else(|| self.end_of_rib.pop_front().map(update::end_of_rib))
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.to_withdraw.is_empty() && self.to_announce.is_empty() && self.end_of_rib.is_empty()
    }

    /// Routes the peer has from us, by family.
    pub(crate) fn sent_counts(&self) -> PerFamily<usize> {
        PerFamily::from_fn(|family| self.sent.keys().filter(|p| p.family() == family).count())
    }

    fn next_withdrawal(&mut self) -> Option<Vec<u8>> {
        let family = self.to_withdraw.front()?.family();
        let same_family = self
            .to_withdraw
            .iter()
            .copied()
            .take_while(|p| p.family() == family);
        let packed = update::withdraw(family, same_family);
        for prefix in self.to_withdraw.drain(..packed.prefixes) {
            self.sent.remove(&prefix);
        }
        Some(packed.message)
    }

    fn next_announcement(&mut self) -> Option<Vec<u8>> {
        let first = *self.to_announce.front()?;
        let attributes = self.wanted.get(&first)?;
        let next_hop = self.next_hops[first.family()]?;
        let alike =
            |p: &Prefix| p.family() == first.family() && self.wanted.get(p) == Some(attributes);
        let prefixes = self.to_announce.iter().copied().take_while(alike);
        let packed = update::announce(self.session, attributes, next_hop, prefixes);
        for prefix in self.to_announce.drain(..packed.prefixes) {
            self.sent.insert(prefix, Some(attributes.clone()));
        }
        Some(packed.message)
    }

    fn find_pending(&mut self) {
        let sendable = |prefix: &Prefix| self.next_hops[prefix.family()].is_some();
        let is_wanted = |prefix: &Prefix| sendable(prefix) && self.wanted.contains_key(prefix);
        self.to_withdraw = self
            .sent
            .keys()
            .copied()
            .filter(|p| !is_wanted(p))
            .collect();
        let is_sent = |prefix: &Prefix, attributes: &RouteAttributes| {
            self.sent
                .get(prefix)
                .is_some_and(|sent| sent.as_ref() == Some(attributes))
        };
        let mut missing: Vec<(&Prefix, &RouteAttributes)> = self
            .wanted
            .iter()
            .filter(|(p, a)| sendable(p) && !is_sent(p, a))
            .collect();
        missing.sort_by_key(|(prefix, attributes)| (prefix.family(), *attributes, *prefix));
        self.to_announce = missing.into_iter().map(|(prefix, _)| *prefix).collect();
    }
}
