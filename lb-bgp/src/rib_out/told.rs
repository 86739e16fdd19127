//! What a peer has from us, without a copy of it: the set of routes that it had in whole when it was last up to
//! date, which peers of one policy share, and by path what has been said since.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::paths::{Expansion, Said};
use crate::family::PerFamily;
use crate::route::{Prefix, Route, RouteSet};
use crate::wire::{NextHop, Path};

/// What the peer has.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The routes, and this node's next hops, when the peer was up to date.
    whole: Arc<RouteSet>,
    own: PerFamily<Option<NextHop>>,
    /// Families that the peer has asked for again since.
    is_outdated: PerFamily<bool>,
    /// Where it has another thing by now.
    since: BTreeMap<Path, Since>,
}

/// What became of a path since the peer was up to date.
#[derive(Debug)]
enum Since {
    Said(Said),
    /// It was said, and then asked for again.
    Outdated,
    Withdrawn,
}

/// A path that the peer has, and as what; `None` if in a form that is out of date.
pub(super) type Has = (Path, Option<Said>);

impl Told {
    /// The peer has all of this, and nothing else.
    pub(super) fn settle(&mut self, whole: Arc<RouteSet>, own: PerFamily<Option<NextHop>>) {
        *self = Self {
            whole,
            own,
            ..Self::default()
        };
    }

    pub(super) fn announced(&mut self, path: Path, said: Said) {
        self.since.insert(path, Since::Said(said));
    }

    pub(super) fn withdrawn(&mut self, path: Path) {
        self.since.insert(path, Since::Withdrawn);
    }

    /// Every path of a family has to be said again.
    pub(super) fn outdate(&mut self, family: crate::Family) {
        self.is_outdated[family] = true;
        let of_family = self.since.iter_mut();
        for (_, since) in of_family.filter(|(path, _)| path.prefix.family() == family) {
            if let Since::Said(_) = since {
                *since = Since::Outdated;
            }
        }
    }

    /// Whether the peer has just these routes by these next hops: found without a look at a single one.
    pub(super) fn is(&self, wanted: &Arc<RouteSet>, own: &PerFamily<Option<NextHop>>) -> bool {
        Arc::ptr_eq(&self.whole, wanted) && self.own == *own && self.is_plain()
    }

    /// Whether the peer has just this of a prefix; if not, [`Told::of`] says what it has.
    pub(super) fn is_route(
        &self,
        prefix: Prefix,
        wanted: &Route,
        own: &PerFamily<Option<NextHop>>,
    ) -> bool {
        self.is_plain() && self.own == *own && self.whole.get(&prefix) == Some(wanted)
    }

    /// Prefixes of which the peer may have something; some of them twice.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = Prefix> {
        let since = self.since.keys().map(|path| path.prefix);
        self.whole.keys().copied().chain(since)
    }

    /// What the peer has of a prefix.
    pub(super) fn of(&self, prefix: Prefix, expansion: &Expansion) -> Vec<Has> {
        let route = self.whole.get(&prefix);
        let whole = route.map(|route| expansion.paths(prefix, route, &self.own));
        let is_outdated = self.is_outdated[prefix.family()];
        let untouched = whole
            .into_iter()
            .flatten()
            .filter(|(path, _)| !self.since.contains_key(path));
        let untouched = untouched.map(|(path, said)| (path, (!is_outdated).then_some(said)));
        let (first, last) = (None, Some(u32::MAX));
        let of_prefix = Path { prefix, id: first }..=Path { prefix, id: last };
        let since = self.since.range(of_prefix);
        let since = since.filter_map(|(path, since)| match since {
            Since::Said(said) => Some((*path, Some(said.clone()))),
            Since::Outdated => Some((*path, None)),
            Since::Withdrawn => None,
        });
        untouched.chain(since).collect()
    }

    fn is_plain(&self) -> bool {
        self.since.is_empty() && self.is_outdated == PerFamily::default()
    }
}
