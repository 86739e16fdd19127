//! The contract between an object and the agent that loads, adopts or upgrades it. A change of any layout
//! in this crate raises [`ABI_VERSION`], which names the pin folder, so that an agent never reads maps of
//! another shape.

use core::mem::offset_of;

use crate::config::Globals;

/// Version of all layouts of this crate together.
pub const ABI_VERSION: u32 = 1;

/// A part of what the agent writes and the data path only reads: a map, or a table in the one value of map `config`
/// ([`crate::config::Globals`]).
///
/// The order is the order of the image's parts; names are those of the BPF object, its fields, and of the pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
pub enum MapId {
    /// One [`crate::config::Config`].
    Config,
    /// One [`crate::service::ServicesHead`].
    ServicesHead,
    /// [`crate::filter::VIP_FILTER_WORDS`] words that say which addresses may be VIPs.
    VipFilter,
    /// [`crate::service::ServiceBucket`]s, two copies of which the head names the current one.
    Services,
    /// [`crate::service::ServiceCold`] by service id.
    ServiceCold,
    /// [`crate::row::RowLine`]s, handed out in units of [`crate::row::LINES_PER_UNIT`].
    Rows,
    /// [`crate::endpoint::Endpoint`]s, handed out in lines of [`crate::endpoint::ENDPOINTS_PER_LINE`].
    Endpoints,
    /// [`crate::endpoint::EndpointNodes`]: which node the endpoint of a slot is on.
    EndpointNodes,
    /// Words that say which (address, port, protocol) may be an endpoint of this node.
    EndpointFilter,
    /// [`crate::node::Node`] by node index.
    Nodes,
    /// [`crate::node::NodeLine`]s of the nodes' MACs ([`crate::node::mac_tag`]).
    NodeMacs,
    /// [`crate::node::NodeLine`]s of the nodes' addresses ([`crate::node::address_tag`]).
    NodeAddresses,
    /// [`crate::interface::Interface`] by uplink slot.
    Interfaces,
    /// [`crate::source::SourceLine`]s, handed out in powers of two.
    SourceRanges,
    /// Words of four node indices: which node is home to whose fragments ([`crate::fragment::home`]).
    Homes,
}

impl MapId {
    /// Every part of the image, in order.
    pub const ALL: [Self; 15] = [
        Self::Config,
        Self::ServicesHead,
        Self::VipFilter,
        Self::Services,
        Self::ServiceCold,
        Self::Rows,
        Self::Endpoints,
        Self::EndpointNodes,
        Self::EndpointFilter,
        Self::Nodes,
        Self::NodeMacs,
        Self::NodeAddresses,
        Self::Interfaces,
        Self::SourceRanges,
        Self::Homes,
    ];

    /// The map that the part is in: itself, or `config`.
    #[must_use]
    pub const fn holder(self) -> Self {
        match self {
            Self::ServicesHead
            | Self::VipFilter
            | Self::EndpointFilter
            | Self::Nodes
            | Self::Interfaces => Self::Config,
            other => other,
        }
    }

    /// Where the part begins in the memory of its map.
    #[must_use]
    pub const fn offset_bytes(self) -> usize {
        match self {
            Self::ServicesHead => offset_of!(Globals, services_head),
            Self::VipFilter => offset_of!(Globals, vip_filter),
            Self::EndpointFilter => offset_of!(Globals, endpoint_filter),
            Self::Nodes => offset_of!(Globals, nodes),
            Self::Interfaces => offset_of!(Globals, interfaces),
            _ => 0,
        }
    }

    /// Size of one value of the map that the part is in, in bytes.
    #[must_use]
    pub const fn value_bytes(self) -> usize {
        match self.holder() {
            Self::Config => size_of::<Globals>(),
            map => map.element_bytes(),
        }
    }

    /// The part's name; of a map, that in the object and in the pin folder (at most 15 characters, `BPF_OBJ_NAME_LEN`).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::ServicesHead => "services_head",
            Self::VipFilter => "vip_filter",
            Self::Services => "services",
            Self::ServiceCold => "service_cold",
            Self::Rows => "rows",
            Self::Endpoints => "endpoints",
            Self::EndpointNodes => "endpoint_nodes",
            Self::EndpointFilter => "endpoint_filter",
            Self::Nodes => "nodes",
            Self::NodeMacs => "node_macs",
            Self::NodeAddresses => "node_addresses",
            Self::Interfaces => "interfaces",
            Self::SourceRanges => "source_ranges",
            Self::Homes => "homes",
        }
    }

    /// Size of one element, in bytes; always a multiple of 8.
    #[must_use]
    pub const fn element_bytes(self) -> usize {
        match self {
            Self::Config => size_of::<crate::config::Config>(),
            Self::ServicesHead
            | Self::VipFilter
            | Self::EndpointFilter
            | Self::EndpointNodes
            | Self::Homes => 8,
            Self::Services => size_of::<crate::service::ServiceBucket>(),
            Self::ServiceCold => size_of::<crate::service::ServiceCold>(),
            Self::Rows => size_of::<crate::row::RowLine>(),
            Self::Endpoints => size_of::<crate::endpoint::Endpoint>(),
            Self::Nodes => size_of::<crate::node::Node>(),
            Self::NodeMacs | Self::NodeAddresses => size_of::<crate::node::NodeLine>(),
            Self::Interfaces => size_of::<crate::interface::Interface>(),
            Self::SourceRanges => size_of::<crate::source::SourceLine>(),
        }
    }
}

/// [`crate::source::TrieKey`]s: who may connect to services with many ranges. The agent writes it by system calls,
/// the kernel maps no trie into memory.
pub const SOURCE_TRIE: &str = "source_trie";

/// Maps that the data path writes itself.
pub mod data {
    /// [`crate::flow::IndexLine`]s: tags, states and ages of flows.
    pub const FLOW_INDEX: &str = "flow_index";
    /// [`crate::flow::Flow`] by flow number.
    pub const FLOWS: &str = "flows";
    /// [`crate::flow::ReverseLine`]s: from a pod's 4-tuple to a flow number.
    pub const FLOW_REVERSE: &str = "flow_reverse";
    /// [`crate::flow_limit::Window`]s: flows begun in this tick, by source prefix and by service.
    pub const NEW_FLOWS: &str = "new_flows";
    /// [`crate::reply_fragment::FragmentLine`]s: from a datagram whose first fragment left to its flow.
    pub const REPLY_FRAGMENTS: &str = "reply_fragments";
    /// [`crate::counter::ServiceCounters`] by CPU and service id.
    pub const COUNTERS: &str = "counters";
    /// [`crate::counter::VerdictCounters`] by CPU.
    pub const VERDICTS: &str = "verdicts";
    /// [`crate::counter::Sampled`] by slot of the endpoint.
    pub const ENDPOINT_PACKETS: &str = "endpoint_counts";
    /// [`crate::counter::Sampled`] by node index.
    pub const NODE_PACKETS: &str = "node_counts";
    /// [`crate::counter::AnswerBuckets`] by CPU: answers that the data path makes itself.
    pub const ANSWERS: &str = "answers";
    /// [`crate::affinity::AffinityLine`]s: which endpoint a client has.
    pub const AFFINITY: &str = "affinity";
    /// One [`crate::counter::Beat`], stamped by the agent.
    pub const BEAT: &str = "beat";
    /// [`crate::fragment::FragmentLine`]s: the ports of datagrams in parts.
    pub const FRAGMENTS: &str = "fragments";
    /// [`crate::walk::Walk`] by CPU: what a packet's next program must know.
    pub const WALKS: &str = "walks";
}

/// The program array of [`crate::walk::Room`]s.
pub const ROOMS: &str = "rooms";

/// The same where the programs run at tc's ingress: an array holds programs of one kind.
pub const TC_ROOMS: &str = "tc_rooms";

/// The lock that takes the place of compare-and-swap where the kernel has none; read by nobody.
pub const SWAP_LOCK: &str = "swap_lock";
