//! Where each entry lives: its id, the extent of its rows, the extent of its endpoints. And what shall live
//! there, as one map by entry.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    net::IpAddr,
    sync::Arc,
};

use lb_common::{limits::Capacity, row::Shape};

use super::extents::Arena;
use crate::{
    DesiredState,
    desired::{ClusterPlan, LocalEndpoint, PortPlan},
    model::ServicePort,
};

/// What an entry of the services stands for. Ordered by VIP, the VIP's own entry first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// The mark that an address is a VIP.
    Vip(IpAddr),
    /// A service port.
    Port(ServicePort),
}

impl Entry {
    pub(super) fn vip(&self) -> IpAddr {
        match self {
            Self::Vip(vip) => *vip,
            Self::Port(port) => port.vip,
        }
    }
}

/// The places of one entry in the maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Service id: index of the cold line, and of the counters.
    pub id: u16,
    /// Shape of the rows.
    pub shape: Shape,
    /// First unit of the rows; their number follows from the shape.
    pub row_unit: u16,
    /// First line of the endpoints.
    pub endpoint_line: u32,
    /// Lines of endpoints; 0 for an entry that has none.
    pub endpoint_lines: u16,
}

impl Placement {
    pub(super) fn bare(id: u16) -> Self {
        Self {
            id,
            shape: Shape::Single,
            row_unit: 0,
            endpoint_line: 0,
            endpoint_lines: 0,
        }
    }
}

/// What the previous call knew of the image. The default knows nothing.
#[derive(Clone, Debug, Default)]
pub struct Placements {
    pub(super) by_entry: BTreeMap<Entry, Placement>,
    /// Plans that the image holds already.
    pub(super) planned: BTreeMap<ServicePort, Arc<PortPlan>>,
    /// Free ids and extents; `None`: nothing is known yet.
    pub(super) arenas: Option<Arenas>,
    /// Places of keys (by word) that were cleared after the last grace: a packet may still be between key and
    /// value. After a restart of the agent, it no longer is.
    pub(super) resting: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
pub(super) struct Arenas {
    pub(super) ids: Arena,
    pub(super) units: Arena,
    pub(super) lines: Arena,
}

impl Arenas {
    pub(super) fn take(&mut self, placement: &Placement) {
        self.ids.take(placement.id.into(), 1);
        self.units
            .take(placement.row_unit.into(), placement.shape.units());
        self.lines
            .take(placement.endpoint_line, placement.endpoint_lines.into());
    }

    /// Gives back all but the id.
    pub(super) fn give_back_extents(&mut self, placement: &Placement) {
        self.units
            .give_back(placement.row_unit.into(), placement.shape.units());
        self.lines
            .give_back(placement.endpoint_line, placement.endpoint_lines.into());
    }
}

impl Placements {
    /// Nothing is placed, and that is known.
    pub(super) fn known(capacity: Capacity) -> Self {
        let lines = capacity.endpoints / lb_common::endpoint::ENDPOINTS_PER_LINE;
        Self {
            arenas: Some(Arenas {
                ids: Arena::new(capacity.services.min(1 << 16)),
                units: Arena::new(capacity.row_units.min(1 << 16)),
                lines: Arena::new(lines.min(1 << 20)),
            }),
            ..Self::default()
        }
    }

    pub(super) fn is_known(&self) -> bool {
        self.arenas.is_some()
    }

    /// Where each entry lives.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<Entry, Placement> {
        &self.by_entry
    }

    /// The id of a service port, by which its counters are found.
    #[must_use]
    pub fn id(&self, port: ServicePort) -> Option<u16> {
        let placement = self.by_entry.get(&Entry::Port(port))?;
        Some(placement.id)
    }
}

/// What shall be, by entry.
pub(super) struct Wanted<'a> {
    pub(super) cluster: &'a ClusterPlan,
    desired: &'a DesiredState,
    pub(super) ports: BTreeMap<ServicePort, &'a Arc<PortPlan>>,
    pub(super) vips: BTreeSet<IpAddr>,
    /// VIPs to answer for, with their uplinks' slots, a bit each.
    pub(super) owned: &'a BTreeMap<IpAddr, u64>,
    /// Service ports that a second Service wants as well.
    pub(super) doubles: BTreeSet<ServicePort>,
}

impl<'a> Wanted<'a> {
    pub(super) fn new(desired: &'a DesiredState, cluster: &'a ClusterPlan) -> Self {
        let mut wanted = Self {
            cluster,
            desired,
            ports: BTreeMap::new(),
            vips: BTreeSet::new(),
            owned: &desired.owned,
            doubles: BTreeSet::new(),
        };
        for plan in desired.ports() {
            wanted.vips.insert(plan.port.vip);
            match wanted.ports.entry(plan.port) {
                btree_map::Entry::Vacant(place) => _ = place.insert(plan),
                btree_map::Entry::Occupied(_) => _ = wanted.doubles.insert(plan.port),
            }
        }
        wanted
    }

    /// Endpoints whose replies this node translates; one that two Services share comes twice.
    pub(super) fn local(&self) -> impl Iterator<Item = LocalEndpoint> {
        let services = self.desired.services.values();
        let live = services.flat_map(|plan| plan.local.iter().copied());
        let leaving = self.desired.leaving.values();
        live.chain(leaving.flat_map(|leaving| leaving.local(self.cluster)))
    }

    /// Every entry, in the order of [`Placements::entries`].
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let vips = self.vips.iter().copied().map(Entry::Vip);
        vips.chain(self.ports.keys().copied().map(Entry::Port))
    }
}
