//! What shall be in the maps, as far as it may differ from what is there: the VIPs that the previous call did not see as
//! they are now, or for which it found no room. The first call sees all of them.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    net::IpAddr,
    sync::Arc,
};

use super::{NoRoom, Unplaced, placement::Placements};
use crate::{
    DesiredState,
    desired::{ClusterPlan, LocalEndpoint, PortPlan, ServicePlan},
    model::ServicePort,
    ord_map::OrdMap,
    snapshot::Neighbours,
};

/// What a call was given, and what it had no room for.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) by_vip: OrdMap<IpAddr, Arc<[Arc<PortPlan>]>>,
    pub(super) services: OrdMap<Arc<str>, Arc<ServicePlan>>,
    /// Endpoints on this node of VIPs that leave.
    pub(super) leaving: Vec<LocalEndpoint>,
    pub(super) owned: Arc<BTreeMap<IpAddr, u64>>,
    pub(super) cluster: Option<Arc<ClusterPlan>>,
    pub(super) neighbours: Neighbours,
    pub(super) unplaced: BTreeMap<Unplaced, NoRoom>,
}

impl Seen {
    pub(super) fn of(
        desired: &DesiredState,
        neighbours: &Neighbours,
        unplaced: BTreeMap<Unplaced, NoRoom>,
    ) -> Self {
        Self {
            by_vip: desired.by_vip.clone(),
            services: desired.services.clone(),
            leaving: leaving(desired),
            owned: Arc::clone(&desired.owned),
            cluster: desired.cluster.clone(),
            neighbours: neighbours.clone(),
            unplaced,
        }
    }

    /// Whether nodes, links and the ways to nodes are those.
    pub(super) fn has_machine(&self, cluster: &Arc<ClusterPlan>, neighbours: &Neighbours) -> bool {
        let same = self
            .cluster
            .as_ref()
            .is_some_and(|seen| Arc::ptr_eq(seen, cluster));
        same && self.neighbours == *neighbours
    }

    /// Nodes that were not recognised.
    pub(super) fn homeless(&self) -> BTreeMap<Unplaced, NoRoom> {
        let unplaced = self.unplaced.iter();
        let nodes = unplaced.filter(|(what, _)| matches!(what, Unplaced::Node(_)));
        nodes.map(|(what, why)| (*what, *why)).collect()
    }

    /// Index of this node; `None` if there was no call.
    pub(super) fn own_index(&self) -> Option<Option<u16>> {
        let cluster = self.cluster.as_ref()?;
        Some(cluster.view.own_index)
    }
}

/// Endpoints on this node of VIPs that leave; one that two VIPs share comes twice.
pub(super) fn leaving(desired: &DesiredState) -> Vec<LocalEndpoint> {
    let cluster = desired.cluster.iter();
    let of = |cluster: &'_ Arc<ClusterPlan>| {
        let leaving = desired.leaving.values();
        leaving
            .flat_map(|leaving| leaving.local(cluster))
            .collect::<Vec<_>>()
    };
    cluster.flat_map(of).collect()
}

/// What shall be at the VIPs to look at.
pub(super) struct Wanted<'a> {
    pub(super) cluster: &'a ClusterPlan,
    /// The VIPs, those included that are no more.
    pub(super) touched: BTreeSet<IpAddr>,
    pub(super) ports: BTreeMap<ServicePort, &'a Arc<PortPlan>>,
    pub(super) vips: BTreeSet<IpAddr>,
    /// VIPs to answer for, with their uplinks' slots, a bit each.
    pub(super) owned: &'a BTreeMap<IpAddr, u64>,
    /// Service ports that a second Service wants as well.
    pub(super) doubles: BTreeSet<ServicePort>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(
        desired: &'a DesiredState,
        cluster: &'a ClusterPlan,
        seen: &Seen,
        placements: &Placements,
    ) -> Self {
        let mut wanted = Self {
            cluster,
            touched: touched(desired, seen, placements),
            ports: BTreeMap::new(),
            vips: BTreeSet::new(),
            owned: &desired.owned,
            doubles: BTreeSet::new(),
        };
        for vip in &wanted.touched {
            for plan in desired
                .by_vip
                .get(vip)
                .into_iter()
                .flat_map(|ports| ports.iter())
            {
                wanted.vips.insert(*vip);
                match wanted.ports.entry(plan.port) {
                    btree_map::Entry::Vacant(place) => _ = place.insert(plan),
                    btree_map::Entry::Occupied(_) => _ = wanted.doubles.insert(plan.port),
                }
            }
        }
        wanted
    }
}

fn touched(desired: &DesiredState, seen: &Seen, placements: &Placements) -> BTreeSet<IpAddr> {
    let differs = seen.by_vip.diff(&desired.by_vip, Arc::ptr_eq);
    let mut touched: BTreeSet<_> = differs.map(|difference| *difference.key).collect();
    if seen.cluster.is_none() {
        touched.extend(placements.by_entry.keys().map(|entry| entry.vip()));
    }
    if !Arc::ptr_eq(&seen.owned, &desired.owned) {
        let is_same =
            |a: &BTreeMap<_, _>, (vip, slots): &(&IpAddr, &u64)| a.get(*vip) == Some(*slots);
        let before = seen
            .owned
            .iter()
            .filter(|owned| !is_same(&desired.owned, owned));
        let now = desired
            .owned
            .iter()
            .filter(|owned| !is_same(&seen.owned, owned));
        touched.extend(before.chain(now).map(|(vip, _)| *vip));
    }
    touched.extend(seen.unplaced.keys().filter_map(|what| match what {
        Unplaced::Port(port) => Some(port.vip),
        Unplaced::Vip(vip) => Some(*vip),
        Unplaced::Node(_) => None,
    }));
    touched
}
