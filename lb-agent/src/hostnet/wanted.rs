//! What there shall be, from the desired state and the interfaces of this host. Pure. A port of a bridge or a bond
//! hands its packets in by its master, so rules and groups are the master's.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use lb_core::{DesiredState, desired::UnreachablePlan};

use super::Entry;
use crate::links::interface::Interface;

/// What of a desired state matters here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wish {
    unreachable: Arc<UnreachablePlan>,
    owned: Arc<BTreeMap<IpAddr, u64>>,
    /// Names of the uplinks by slot.
    uplinks: BTreeMap<u8, Arc<str>>,
}

impl Wish {
    pub(super) fn of(desired: &DesiredState) -> Self {
        let cluster = desired.cluster.iter();
        let links = cluster.flat_map(|cluster| &cluster.links);
        Self {
            unreachable: Arc::clone(&desired.unreachable),
            owned: Arc::clone(&desired.owned),
            uplinks: links
                .map(|link| (link.slot, Arc::clone(&link.name)))
                .collect(),
        }
    }

    /// Whether a plan has said anything yet: until then, what an earlier agent left stays.
    pub(super) fn is_known(&self) -> bool {
        self.unreachable.table != 0
    }

    pub(super) fn entries(&self, interfaces: &[Interface]) -> BTreeSet<Entry> {
        let table = self.unreachable.table;
        let prefixes = self.unreachable.prefixes.iter();
        let routes = prefixes.map(|&prefix| Entry::Route { table, prefix });
        let uplinks = self.uplinks.values();
        let rules = uplinks
            .filter_map(|name| master(name, interfaces))
            .flat_map(|master| [true, false].map(|is_v4| rule(master, is_v4, table)))
            .filter(|rule| self.has_routes_for(rule));
        let groups = self.owned.iter().flat_map(|(vip, &slots)| {
            let slots = self
                .uplinks
                .iter()
                .filter(move |(slot, _)| slots >> **slot & 1 != 0);
            slots.filter_map(|(_, name)| group(*vip, master(name, interfaces)?))
        });
        routes.chain(rules).chain(groups).collect()
    }

    fn has_routes_for(&self, rule: &Entry) -> bool {
        let mut prefixes = self.unreachable.prefixes.iter();
        prefixes.any(|prefix| {
            matches!(rule, Entry::Rule { is_v4, .. } if *is_v4 == prefix.address().is_ipv4())
        })
    }
}

/// The interface that packets of an uplink come in by, as the stack sees it.
fn master<'a>(name: &str, interfaces: &'a [Interface]) -> Option<&'a Interface> {
    let uplink = interfaces
        .iter()
        .find(|interface| *interface.name == *name)?;
    let mut masters = interfaces.iter();
    masters.find(|interface| interface.ifindex == uplink.routed_ifindex())
}

fn rule(master: &Interface, is_v4: bool, table: u32) -> Entry {
    Entry::Rule {
        is_v4,
        interface: Arc::clone(&master.name),
        table,
    }
}

/// The group in which the VIP is asked for (RFC 4291 section 2.7.1); IPv4 is asked for by broadcast.
fn group(vip: IpAddr, master: &Interface) -> Option<Entry> {
    let IpAddr::V6(vip) = vip else { return None };
    let [.., a, b, c] = vip.octets();
    let last = u16::from_be_bytes([b, c]);
    Some(Entry::Group {
        ifindex: master.ifindex,
        group: Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), last),
    })
}

#[cfg(test)]
mod tests;
