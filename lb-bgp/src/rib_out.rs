//! What one session has sent, and what it still has to send (Adj-RIB-Out, RFC 4271 section 1.1).
//!
//! The wanted set comes whole; the difference to what the peer has is what is pending. A change that comes
//! before the last one was written replaces it, so that a slow peer costs memory for the routes, not for
//! their history. Messages are built one at a time, when there is room to write them.

mod path_ids;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::attributes::RouteAttributes;
use crate::family::{Family, PerFamily};
use crate::route::{NextHops, Prefix, Route, RouteSet};
use crate::wire::update::{self, SessionAttributes};
use crate::wire::{self, NextHop, Path, Refresh};
use path_ids::PathIds;

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
    agreed: Agreed,
    /// This node, for each family that has a next hop.
    own: PerFamily<Option<NextHop>>,
    wanted: Arc<RouteSet>,
    path_ids: PathIds,
    /// What the peer has from us. `None` if in a form that is out of date: it has asked for it again.
    sent: BTreeMap<Path, Option<Said>>,
    /// In order of prefix, and so of family.
    to_withdraw: VecDeque<Path>,
    /// In order of family, then of what is said: what may share a message is adjacent.
    to_announce: VecDeque<(Path, Said)>,
    /// Families whose End-of-RIB is still to come.
    end_of_rib: VecDeque<Family>,
    refresh: PerFamily<Option<Refreshing>>,
}

/// What is said of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    attributes: Arc<RouteAttributes>,
    next_hop: NextHop,
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
            agreed,
            own,
            wanted: Arc::default(),
            path_ids: PathIds::default(),
            sent: BTreeMap::new(),
            to_withdraw: VecDeque::new(),
            to_announce: VecDeque::new(),
            end_of_rib: agreed.families.enabled().collect(),
            refresh: PerFamily::default(),
        };
        rib.set_wanted(wanted);
        rib
    }

    pub(crate) fn set_wanted(&mut self, wanted: Arc<RouteSet>) {
        self.wanted = wanted;
        self.find_pending();
    }

    /// Routes whose next hop is another one now are announced once more, or withdrawn.
    pub(crate) fn set_own_next_hops(&mut self, own: PerFamily<Option<NextHop>>) {
        if self.own != own {
            self.own = own;
            self.find_pending();
        }
    }

    /// Announces all routes of a family once more (RFC 2918, RFC 7313).
    pub(crate) fn resend(&mut self, family: Family) {
        if !self.agreed.families[family] {
            return;
        }
        if self.agreed.enhanced_refresh {
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
        self.to_withdraw.is_empty()
            && self.to_announce.is_empty()
            && self.end_of_rib.is_empty()
            && !Family::ALL.into_iter().any(is_refreshing)
    }

    /// Paths the peer has from us, by family.
    pub(crate) fn sent_counts(&self) -> PerFamily<usize> {
        let of = |path: &Path| path.prefix.family();
        PerFamily::from_fn(|family| self.sent.keys().filter(|p| of(p) == family).count())
    }

    /// What the peer has been told of each path, and by which next hop.
    pub(crate) fn told(&self) -> impl Iterator<Item = (Path, NextHop, &RouteAttributes)> {
        self.sent.iter().filter_map(|(path, said)| {
            let said = said.as_ref()?;
            Some((*path, said.next_hop, &*said.attributes))
        })
    }

    /// Whether a family's routes to this node have a next hop.
    pub(crate) fn has_own_next_hop(&self, family: Family) -> bool {
        self.own[family].is_some()
    }

    fn next_withdrawal(&mut self) -> Option<Vec<u8>> {
        let family = self.to_withdraw.front()?.prefix.family();
        let paths = self.to_withdraw.iter().copied();
        let same_family = paths.take_while(|path| path.prefix.family() == family);
        let packed = update::withdraw(family, self.agreed.session.message_len_max, same_family);
        for path in self.to_withdraw.drain(..packed.paths) {
            self.sent.remove(&path);
        }
        Some(packed.message)
    }

    fn next_announcement(&mut self) -> Option<Vec<u8>> {
        let (first, said) = self.to_announce.front()?.clone();
        let family = first.prefix.family();
        let alike =
            |(path, other): &&(Path, Said)| path.prefix.family() == family && *other == said;
        let paths = self.to_announce.iter().take_while(alike);
        let paths = paths.map(|(path, _)| *path);
        let next_hop = (family, said.next_hop);
        let packed = update::announce(self.agreed.session, &said.attributes, next_hop, paths);
        for (path, said) in self.to_announce.drain(..packed.paths) {
            self.sent.insert(path, Some(said));
        }
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
        let of_family = |path: &Path| path.prefix.family() == family;
        for (_, said) in self.sent.iter_mut().filter(|(path, _)| of_family(path)) {
            *said = None;
        }
        self.find_pending();
    }

    fn find_pending(&mut self) {
        let wanted = Arc::clone(&self.wanted);
        let mut missing = Vec::new();
        let mut kept = 0;
        for (&prefix, route) in wanted.iter() {
            for (path, said) in self.paths(prefix, route) {
                match self.sent.get(&path) {
                    Some(sent) if sent.as_ref() == Some(&said) => kept += 1,
                    Some(_) => {
                        kept += 1;
                        missing.push((path, said));
                    }
                    None => missing.push((path, said)),
                }
            }
        }
        self.to_withdraw = match kept == self.sent.len() {
            true => VecDeque::new(),
            false => self.unwanted(),
        };
        missing.sort_unstable_by(|(path, said), (other, than)| {
            let family = |path: &Path| path.prefix.family();
            (family(path), said, path).cmp(&(family(other), than, other))
        });
        self.to_announce = missing.into();
    }

    fn unwanted(&mut self) -> VecDeque<Path> {
        let sent: Vec<_> = self.sent.keys().copied().collect();
        let wanted = Arc::clone(&self.wanted);
        let is_wanted = |rib: &mut Self, path: &Path| {
            let route = wanted.get(&path.prefix);
            route.is_some_and(|route| rib.paths(path.prefix, route).iter().any(|p| p.0 == *path))
        };
        sent.into_iter()
            .filter(|path| !is_wanted(self, path))
            .collect()
    }

    /// The paths of a route that this peer can have.
    fn paths(&mut self, prefix: Prefix, route: &Route) -> Vec<(Path, Said)> {
        let family = prefix.family();
        if !self.agreed.families[family] {
            return Vec::new();
        }
        let mut next_hops: Vec<NextHop> = match &route.next_hops {
            NextHops::Own => self.own[family].into_iter().collect(),
            NextHops::Listed(list) => {
                let fits = |address: &IpAddr| self.takes(family, *address);
                list.iter()
                    .copied()
                    .filter(fits)
                    .map(NextHop::from)
                    .collect()
            }
        };
        let several = self.agreed.add_path[family];
        if !several {
            next_hops.truncate(1);
        }
        let path = |next_hop: NextHop| {
            let id = several.then(|| self.path_ids.of(next_hop.address()));
            let attributes = Arc::clone(&route.attributes);
            let said = Said {
                attributes,
                next_hop,
            };
            (Path { prefix, id }, said)
        };
        next_hops.into_iter().map(path).collect()
    }

    fn takes(&self, family: Family, next_hop: IpAddr) -> bool {
        let is_extended = family == Family::Ipv4Unicast && next_hop.is_ipv6();
        Family::of(next_hop) == family || is_extended && self.agreed.extended_next_hop
    }
}
