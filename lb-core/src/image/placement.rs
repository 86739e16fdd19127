//! Where each entry lives: its id, the extent of its rows, the extent of its endpoints. With what the image was made
//! from, so that the next call looks only at what differs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_common::{abi::MapId, limits::Capacity, source::Ranges};

use super::{extents::Arena, filters::Tallies, sources, view::Extents, wanted::Seen};
use crate::{
    desired::PortPlan,
    model::{Protocol, ServicePort},
    ord_map::OrdMap,
    snapshot::PortFeedback,
};

/// What an entry of the services stands for. The entries of VIPs come first, then service ports, by VIP.
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
    /// Rows and endpoints of the whole cluster.
    pub cluster: Extents,
    /// Rows and endpoints of this node.
    pub local: Option<Extents>,
    /// Who may connect; `None`: everybody.
    pub ranges: Option<Ranges>,
}

impl Placement {
    pub(super) fn bare(id: u16) -> Self {
        Self {
            id,
            cluster: Extents::NONE,
            local: None,
            ranges: None,
        }
    }

    pub(super) fn views(&self) -> impl Iterator<Item = &Extents> {
        std::iter::once(&self.cluster).chain(&self.local)
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
    /// What the previous call was given.
    pub(super) seen: Seen,
    /// Members of the filters; `None`: they are not counted yet.
    pub(super) tallies: Option<Tallies>,
    pub(super) feedback: OrdMap<ServicePort, PortFeedback>,
}

#[derive(Clone, Debug)]
pub(super) struct Arenas {
    pub(super) ids: Arena,
    pub(super) units: Arena,
    pub(super) lines: Arena,
    pub(super) sources: Arena,
}

impl Arenas {
    /// Takes all places of an entry, if they are inside and free.
    pub(super) fn take(&mut self, entry: &Entry, placement: &Placement) -> bool {
        let lines = sources::lines(placement.ranges, entry.vip().is_ipv6());
        let is_free = |extents: &Extents| {
            self.lines
                .is_free(extents.endpoint_line, extents.endpoint_lines.into())
                && self
                    .units
                    .is_free(extents.row_unit.into(), extents.shape.units())
        };
        let are_free = placement.views().all(is_free)
            && lines.is_none_or(|(line, lines)| self.sources.is_free(line, lines));
        if !are_free {
            return false;
        }
        for extents in placement.views() {
            self.units
                .take(extents.row_unit.into(), extents.shape.units());
            self.lines
                .take(extents.endpoint_line, extents.endpoint_lines.into());
        }
        if let Some((line, lines)) = lines {
            self.sources.take(line, lines);
        }
        self.ids.take(placement.id.into(), 1);
        true
    }

    /// Gives back the places of a view.
    pub(super) fn give_back(&mut self, extents: &Extents) {
        self.units
            .give_back(extents.row_unit.into(), extents.shape.units());
        self.lines
            .give_back(extents.endpoint_line, extents.endpoint_lines.into());
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
                sources: Arena::new(capacity.elements(MapId::SourceRanges)),
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

    /// The entries of a VIP, its own first.
    pub(super) fn of_vip(&self, vip: IpAddr) -> impl Iterator<Item = Entry> {
        let own = Entry::Vip(vip);
        let first = Entry::Port(ServicePort {
            vip,
            protocol: Protocol::Tcp,
            port: 0,
        });
        let ports = self.by_entry.range(first..).map(|(entry, _)| *entry);
        let ports = ports.take_while(move |entry| entry.vip() == vip);
        self.by_entry
            .contains_key(&own)
            .then_some(own)
            .into_iter()
            .chain(ports)
    }

    /// The id of a service port, by which its counters are found.
    #[must_use]
    pub fn id(&self, port: ServicePort) -> Option<u16> {
        let placement = self.by_entry.get(&Entry::Port(port))?;
        Some(placement.id)
    }
}
