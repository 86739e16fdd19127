//! Every capacity and bound of the data plane. Arenas that scale have their size in [`Capacity`], set when
//! the maps are made; what an encoding bounds is a constant here, asserted where the encoding is.

/// Uplinks of one node; the slot is a constant of each attached program.
pub const INTERFACES_MAX: u32 = 16;
/// Nodes of a cluster: an endpoint names its node by 16 bits, the MAC table holds this many.
pub const NODES_MAX: u32 = 1024;
/// Lines of the tables of node MACs and node addresses (8 entries each, two choices a key): at most half full
/// with one MAC a node, or both addresses.
pub const NODE_LINES: u32 = 512;
/// Hops of one packet between nodes: one steer, one correction (design: "one more hop by this node's own
/// table, else a counted drop"). The field on the wire allows 8, for the chain.
pub const HOPS_MAX: u8 = 1;
/// The same for a fragment, which has been to its home before.
pub const FRAGMENT_HOPS_MAX: u8 = 2;
/// Answers of its own (echo replies, resets, ICMP errors) that one CPU sends a second, and at once; a thousand is
/// what Linux allows itself (icmp_msgs_per_sec).
pub const ANSWERS_PER_SECOND: u32 = 1000;
/// Answers to ARP and Neighbour Discovery that one CPU sends a second, and at once: a router that has lost its table
/// asks for every VIP in one go.
pub const NEIGHBOUR_ANSWERS_PER_SECOND: u32 = 10_000;
/// Endpoints of one service: a row of two bytes could name more, the table's balance could not.
pub const ENDPOINTS_PER_SERVICE_MAX: usize = 4096;

/// Sizes of the arenas of one data path, in elements; fixed while its maps live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Service ports, the entries that mark VIPs included.
    pub services: u32,
    /// Units of rows, 4 KiB each ([`crate::row::LINES_PER_UNIT`]).
    pub row_units: u32,
    /// Endpoints over all services, extents rounded up to powers of two.
    pub endpoints: u32,
    /// Flows established at this node, a power of two.
    pub established_flows: u32,
    /// Embryonic flows (TCP SYNs, unreplied UDP) at this node, a power of two.
    pub embryonic_flows: u32,
    /// Ranges of clients over all services that have more than a few ([`crate::source::INLINE_RANGES_MAX`]).
    pub source_ranges: u32,
    /// Clients whose endpoint is kept at this node, a power of two.
    pub affinities: u32,
}

impl Capacity {
    /// For a node of a middling cluster: 2,048 service ports, 9 MiB of rows, 2 MiB of endpoints,
    /// 44 MiB of flows.
    pub const DEFAULT: Self = Self {
        services: 2048,
        row_units: 2304,
        endpoints: 65_536,
        established_flows: 262_144,
        embryonic_flows: 65_536,
        source_ranges: 65_536,
        affinities: 65_536,
    };

    /// Buckets of one copy of the services: four entries each, half full at the most.
    #[must_use]
    pub const fn buckets_per_copy(&self) -> u32 {
        let wanted = self.services / 2;
        if wanted < 8 {
            8
        } else {
            wanted.next_power_of_two()
        }
    }

    /// All flows, embryonic ones first.
    #[must_use]
    pub const fn flows(&self) -> u32 {
        self.embryonic_flows + self.established_flows
    }

    /// Lines of `flow_reverse`, eight entries each: half full at the most when every flow has its entry.
    #[must_use]
    pub const fn reverse_lines(&self) -> u32 {
        (self.flows() / 4).next_power_of_two()
    }

    /// Lines of `affinity`.
    #[must_use]
    pub const fn affinity_lines(&self) -> u32 {
        let lines = self.affinities / crate::affinity::ENTRIES_PER_LINE;
        if lines < 1 { 1 } else { lines }
    }

    /// Elements of a map of the image.
    #[must_use]
    pub const fn elements(&self, map: crate::abi::MapId) -> u32 {
        use crate::abi::MapId;
        match map {
            MapId::Config | MapId::ServicesHead => 1,
            MapId::VipFilter => crate::filter::VIP_FILTER_WORDS as u32,
            MapId::EndpointFilter => crate::filter::ENDPOINT_FILTER_WORDS as u32,
            MapId::Services => 2 * self.buckets_per_copy(),
            MapId::ServiceCold => self.services,
            // One for each service, whose IPv4 ranges fit; IPv6 takes up to four.
            MapId::SourceRanges => self.services,
            MapId::Rows => self.row_units * crate::row::LINES_PER_UNIT,
            MapId::Endpoints => self.endpoints,
            MapId::EndpointNodes => self.endpoints.div_ceil(crate::endpoint::NODES_PER_WORD),
            MapId::Nodes => NODES_MAX,
            MapId::NodeMacs | MapId::NodeAddresses => NODE_LINES,
            MapId::Interfaces => INTERFACES_MAX,
            MapId::Homes => crate::fragment::HOMES / crate::fragment::HOMES_PER_WORD,
        }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Self::DEFAULT
    }
}
