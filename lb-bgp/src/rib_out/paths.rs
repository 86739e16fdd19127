//! The paths that a route comes to for one peer: one for each next hop that the peer can have, with an identifier
//! where a prefix may have several (RFC 7911).

use std::net::IpAddr;
use std::sync::Arc;

use super::Agreed;
use super::path_ids::PathIds;
use crate::attributes::RouteAttributes;
use crate::family::{Family, PerFamily};
use crate::route::{NextHops, Prefix, Route, RouteSet};
use crate::wire::{NextHop, Path};

/// What is said of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Said {
    pub(super) attributes: Arc<RouteAttributes>,
    pub(super) next_hop: NextHop,
}

/// How routes become paths in one session.
#[derive(Debug)]
pub(super) struct Expansion {
    pub(super) agreed: Agreed,
    path_ids: PathIds,
}

impl Expansion {
    pub(super) fn new(agreed: Agreed) -> Self {
        Self {
            agreed,
            path_ids: PathIds::default(),
        }
    }

    /// Gives each next hop of these routes its identifier, for as long as the session lasts.
    pub(super) fn identify(&mut self, routes: &RouteSet, own: &PerFamily<Option<NextHop>>) {
        if !Family::ALL
            .iter()
            .any(|family| self.agreed.add_path[*family])
        {
            return;
        }
        for next_hop in Family::ALL.into_iter().filter_map(|family| own[family]) {
            self.path_ids.of(next_hop.address());
        }
        let mut last: Option<&Arc<[IpAddr]>> = None;
        for route in routes.values() {
            let NextHops::Listed(list) = &route.next_hops else {
                continue;
            };
            // Most routes share one list.
            if !last.is_some_and(|last| Arc::ptr_eq(last, list)) {
                list.iter().for_each(|address| {
                    self.path_ids.of(*address);
                });
            }
            last = Some(list);
        }
    }

    /// The paths of a route, with `own` as this node's next hops. [`Expansion::identify`] knows all of them.
    pub(super) fn paths(
        &self,
        prefix: Prefix,
        route: &Route,
        own: &PerFamily<Option<NextHop>>,
    ) -> Vec<(Path, Said)> {
        let family = prefix.family();
        if !self.agreed.families[family] {
            return Vec::new();
        }
        let said = |next_hop: NextHop| Said {
            attributes: Arc::clone(&route.attributes),
            next_hop,
        };
        let next_hops = self.next_hops(family, route, own);
        if !self.agreed.add_path[family] {
            let path = Path::from(prefix);
            let first = next_hops.into_iter().next();
            return first
                .map(|next_hop| (path, said(next_hop)))
                .into_iter()
                .collect();
        }
        let path = |next_hop: NextHop| {
            let id = Some(self.path_ids.known(next_hop.address())?);
            Some((Path { prefix, id }, said(next_hop)))
        };
        next_hops.into_iter().filter_map(path).collect()
    }

    /// Next hops of a route that this peer can have, in order of preference.
    fn next_hops(
        &self,
        family: Family,
        route: &Route,
        own: &PerFamily<Option<NextHop>>,
    ) -> Vec<NextHop> {
        match &route.next_hops {
            NextHops::Own => own[family].into_iter().collect(),
            NextHops::Listed(list) => {
                let list = list.iter().copied();
                list.filter(|address| self.takes(family, *address))
                    .map(NextHop::from)
                    .collect()
            }
        }
    }

    fn takes(&self, family: Family, next_hop: IpAddr) -> bool {
        let is_extended = family == Family::Ipv4Unicast && next_hop.is_ipv6();
        Family::of(next_hop) == family || is_extended && self.agreed.extended_next_hop
    }
}
