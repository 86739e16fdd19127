//! What one session has sent, and what it still has to send (Adj-RIB-Out, RFC 4271 section 1.1).
//!
//! The wanted set comes whole; the difference to what the peer has is what is pending. A change that comes
//! before the last one was written replaces it, so that a slow peer costs memory for the routes, not for
//! their history; a peer that has all that is wanted costs none, as it shares the set with the others. Messages are
//! built one at a time, when there is room to write them.

mod path_ids;
mod paths;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::attributes::RouteAttributes;
use crate::family::{Family, PerFamily};
use crate::route::RouteSet;
use crate::wire::update::{self, SessionAttributes};
use crate::wire::{self, NextHop, Path, Refresh};
use paths::{Expansion, Said};
use told::{Has, Told};

/// What both ends of a session agreed on about routes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Agreed {
    pub(crate) session: SessionAttributes,
    pub(crate) families: PerFamily<bool>,
    /// Families whose prefixes may have several paths.
    pub(crate) add_path: PerFamily<bool>,
    /// Whether routes that are sent again are marked (RFC 7313).
    pub(crate) enhanced_refresh: bool,
    /// Whether IPv4 prefixes may have IPv6 next hops.
    pub(crate) extended_next_hop: bool,
}

/// Routes of one Established session.
#[derive(Debug)]
pub(crate) struct RibOut {
    expansion: Expansion,
    /// This node, for each family that has a next hop.
    own: PerFamily<Option<NextHop>>,
    wanted: Arc<RouteSet>,
    /// What the peer had when the pending lists were made.
    told: Told,
    /// In order of prefix, and so of family.
    to_withdraw: Pending<Path>,
    /// In order of family, then of what is said: what may share a message is adjacent.
    to_announce: Pending<Announcement>,
    /// Paths that the peer has.
    sent_counts: PerFamily<usize>,
    /// Families whose End-of-RIB is still to come.
    end_of_rib: VecDeque<Family>,
    refresh: PerFamily<Option<Refreshing>>,
}

/// A list of things to send, and how many of them are sent.
#[derive(Debug)]
struct Pending<T> {
    all: Vec<T>,
    done: usize,
}

/// A path to announce.
#[derive(Debug, Clone)]
struct Announcement {
    path: Path,
    said: Said,
    /// Whether the peer has not got this path at all.
    is_new: bool,
}

/// How far a family is that the peer has asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refreshing {
    /// The beginning is to be marked, once its End-of-RIB is sent (RFC 7313 section 4).
    Asked,
    /// The end is to be marked.
    Begun,
}

impl RibOut {
    /// The state of a new session: everything is to be sent, then End-of-RIB for each negotiated family.
    pub(crate) fn new(
        agreed: Agreed,
        own: PerFamily<Option<NextHop>>,
        wanted: Arc<RouteSet>,
    ) -> Self {
        let mut rib = Self {
            expansion: Expansion::new(agreed),
            own,
            wanted: Arc::default(),
            told: Told::default(),
            to_withdraw: Pending::default(),
            to_announce: Pending::default(),
            sent_counts: PerFamily::default(),
            end_of_rib: agreed.families.enabled().collect(),
            refresh: PerFamily::default(),
        };
        rib.set_wanted(wanted);
        rib
    }

    pub(crate) fn set_wanted(&mut self, wanted: Arc<RouteSet>) {
        self.note_progress();
        self.wanted = wanted;
        self.find_pending();
    }

    /// Routes whose next hop is another one now are announced once more, or withdrawn.
    pub(crate) fn set_own_next_hops(&mut self, own: PerFamily<Option<NextHop>>) {
        if self.own != own {
            self.note_progress();
            self.own = own;
            self.find_pending();
        }
    }

    /// Announces all routes of a family once more (RFC 2918, RFC 7313).
    pub(crate) fn resend(&mut self, family: Family) {
        if !self.agreed().families[family] {
            return;
        }
        if self.agreed().enhanced_refresh {
            self.refresh[family] = Some(Refreshing::Asked);
        } else {
            self.outdate(family);
        }
    }

    /// The next UPDATE or mark to send; `None` when the peer has all that is wanted.
    pub(crate) fn next_message(&mut self) -> Option<Vec<u8>> {
        self.next_withdrawal()
            .or_else(|| self.next_begin())
            .or_else(|| self.next_announcement())
            .or_else(|| self.end_of_rib.pop_front().map(update::end_of_rib))
            .or_else(|| self.next_end())
    }

    pub(crate) fn is_complete(&self) -> bool {
        let is_refreshing = |family| self.refresh[family].is_some();
        self.to_withdraw.rest().is_empty()
            && self.to_announce.rest().is_empty()
            && self.end_of_rib.is_empty()
            && !Family::ALL.into_iter().any(is_refreshing)
    }

    /// Paths the peer has from us, by family.
    pub(crate) fn sent_counts(&self) -> PerFamily<usize> {
        self.sent_counts
    }

    /// What the peer has been told of each path, and by which next hop.
    pub(crate) fn told(&self) -> impl Iterator<Item = (Path, NextHop, Arc<RouteAttributes>)> {
        let prefixes: BTreeSet<_> = self.told.prefixes().collect();
        let told = prefixes.into_iter();
        let told = told.flat_map(|prefix| self.told.of(prefix, &self.expansion));
        let mut told: BTreeMap<Path, Option<Said>> = told.collect();
        for path in self.to_withdraw.done() {
            told.remove(path);
        }
        for Announcement { path, said, .. } in self.to_announce.done() {
            told.insert(*path, Some(said.clone()));
        }
        told.into_iter().filter_map(|(path, said)| {
            let said = said?;
            Some((path, said.next_hop, said.attributes))
        })
    }

    /// Whether a family's routes to this node have a next hop.
    pub(crate) fn has_own_next_hop(&self, family: Family) -> bool {
        self.own[family].is_some()
    }

    fn agreed(&self) -> &Agreed {
        &self.expansion.agreed
    }

    fn next_withdrawal(&mut self) -> Option<Vec<u8>> {
        let paths = self.to_withdraw.rest();
        let family = paths.first()?.prefix.family();
        let same_family = paths.iter().copied();
        let same_family = same_family.take_while(|path| path.prefix.family() == family);
        let packed = update::withdraw(family, self.agreed().session.message_len_max, same_family);
        self.to_withdraw.done += packed.paths;
        self.sent_counts[family] -= packed.paths;
        self.settle_if_done();
        Some(packed.message)
    }

    fn next_announcement(&mut self) -> Option<Vec<u8>> {
        let pending = self.to_announce.rest();
        let Announcement { path, said, .. } = pending.first()?;
        let family = path.prefix.family();
        let alike =
            |other: &&Announcement| other.path.prefix.family() == family && other.said == *said;
        let paths = pending.iter().take_while(alike).map(|other| other.path);
        let next_hop = (family, said.next_hop);
        let packed = update::announce(self.agreed().session, &said.attributes, next_hop, paths);
        let new = pending[..packed.paths].iter().filter(|path| path.is_new);
        let new = new.count();
        self.sent_counts[family] += new;
        self.to_announce.done += packed.paths;
        self.settle_if_done();
        Some(packed.message)
    }

    fn next_begin(&mut self) -> Option<Vec<u8>> {
        let is_due = |family: &Family| {
            self.refresh[*family] == Some(Refreshing::Asked) && !self.end_of_rib.contains(family)
        };
        let family = Family::ALL.into_iter().find(is_due)?;
        self.refresh[family] = Some(Refreshing::Begun);
        self.outdate(family);
        Some(wire::refresh(family, Refresh::Begin))
    }

    /// Only reached when nothing is left to announce.
    fn next_end(&mut self) -> Option<Vec<u8>> {
        let is_due = |family: &Family| self.refresh[*family] == Some(Refreshing::Begun);
        let family = Family::ALL.into_iter().find(is_due)?;
        self.refresh[family] = None;
        Some(wire::refresh(family, Refresh::End))
    }

    fn outdate(&mut self, family: Family) {
        self.note_progress();
        self.told.outdate(family);
        self.find_pending();
    }

    /// Keeps what was sent of lists that are about to be made anew.
    fn note_progress(&mut self) {
        for path in std::mem::take(&mut self.to_withdraw).into_done() {
            self.told.withdrawn(path);
        }
        for Announcement { path, said, .. } in std::mem::take(&mut self.to_announce).into_done() {
            self.told.announced(path, said);
        }
    }

    fn find_pending(&mut self) {
        let wanted = Arc::clone(&self.wanted);
        if self.told.is(&wanted, &self.own) {
            return;
        }
        self.expansion.identify(&wanted, &self.own);
        let gone = self.told.prefixes();
        let gone: BTreeSet<_> = gone.filter(|prefix| !wanted.contains_key(prefix)).collect();
        for prefix in gone {
            let has = self.told.of(prefix, &self.expansion);
            self.to_withdraw
                .all
                .extend(has.into_iter().map(|(path, _)| path));
        }
        for (&prefix, route) in wanted.iter() {
            if !self.told.is_route(prefix, route, &self.own) {
                let paths = self.expansion.paths(prefix, route, &self.own);
                let has = self.told.of(prefix, &self.expansion);
                self.compare(has, paths);
            }
        }
        self.to_withdraw.all.sort_unstable();
        self.to_announce.all.sort_unstable_by(|a, b| {
            let family = |of: &Announcement| of.path.prefix.family();
            (family(a), &a.said, a.path).cmp(&(family(b), &b.said, b.path))
        });
        self.settle_if_done();
    }

    /// What is pending for one prefix.
    fn compare(&mut self, has: Vec<Has>, wanted: Vec<(Path, Said)>) {
        let is_wanted = |path: &Path| wanted.iter().any(|(wanted, _)| wanted == path);
        let unwanted = has.iter().map(|(path, _)| *path);
        let unwanted = unwanted.filter(|path| !is_wanted(path));
        self.to_withdraw.all.extend(unwanted);
        for (path, said) in wanted {
            let had = has.iter().find(|(had, _)| *had == path);
            if had.is_some_and(|(_, had)| had.as_ref() == Some(&said)) {
                continue;
            }
            let is_new = had.is_none();
            self.to_announce
                .all
                .push(Announcement { path, said, is_new });
        }
    }

    /// A peer that has all that is wanted needs no list of it.
    fn settle_if_done(&mut self) {
        if self.to_withdraw.rest().is_empty() && self.to_announce.rest().is_empty() {
            self.told.settle(Arc::clone(&self.wanted), self.own);
            self.to_withdraw = Pending::default();
            self.to_announce = Pending::default();
        }
    }
}

impl<T> Pending<T> {
    fn rest(&self) -> &[T] {
        &self.all[self.done..]
    }

    fn done(&self) -> &[T] {
        &self.all[..self.done]
    }

    fn into_done(mut self) -> Vec<T> {
        self.all.truncate(self.done);
        self.all
    }
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            done: 0,
        }
    }
}
