//! The maps. Sizes given here are placeholders: the loader sets those of the data path's capacity. All are
//! plain arrays that the agent maps into its memory, but for the trie.

use aya_ebpf::{
    btf_maps::{Array, LpmTrie},
    macros::btf_map,
};
use lb_common::{
    affinity::AffinityLine,
    config::{Config, Globals},
    counter::{AnswerBuckets, Beat, Sampled, ServiceCounters, VerdictCounters},
    endpoint::{Endpoint, EndpointNodes},
    flow::{Flow, IndexLine, ReverseLine},
    fragment,
    interface::Interface,
    limits::{INTERFACES_MAX, NODES_MAX},
    node::{Node, NodeLine},
    reply_fragment::FragmentLine,
    row::RowLine,
    service::{ServiceBucket, ServiceCold},
    source::SourceLine,
    walk::Walk,
};

use crate::ptr;

/// `BPF_F_MMAPABLE` (linux/bpf.h).
const MMAPABLE: usize = 1 << 10;

macro_rules! arrays {
    ($($(#[$doc:meta])* $name:ident: $symbol:literal, $type:ty;)*) => {
        $(
            $(#[$doc])*
            #[btf_map(name = $symbol)]
            pub(crate) static $name: Array<$type, 1, MMAPABLE> = Array::new();
        )*
    };
}

arrays! {
    /// What the data path knows of itself, and all tables of a fixed size.
    CONFIG: "config", Globals;
    /// Service ports, two copies.
    SERVICES: "services", ServiceBucket;
    /// What only few packets ask of a service, by id.
    SERVICE_COLD: "service_cold", ServiceCold;
    /// Rows, in units.
    ROWS: "rows", RowLine;
    /// Endpoints, in extents.
    ENDPOINTS: "endpoints", Endpoint;
    /// Which nodes these are on, four to a word.
    ENDPOINT_NODES: "endpoint_nodes", EndpointNodes;
    /// Which MACs are nodes'.
    NODE_MACS: "node_macs", NodeLine;
    /// Which addresses send GUE.
    NODE_ADDRESSES: "node_addresses", NodeLine;
    /// Who may connect, beside the service.
    SOURCE_RANGES: "source_ranges", SourceLine;
    /// Which endpoint a client has.
    AFFINITY: "affinity", AffinityLine;
    /// Tags, states and ages of flows.
    FLOW_INDEX: "flow_index", IndexLine;
    /// Records of flows.
    FLOWS: "flows", Flow;
    /// From a pod's tuple to a flow.
    FLOW_REVERSE: "flow_reverse", ReverseLine;
    /// Flows begun in this tick.
    NEW_FLOWS: "new_flows", u64;
    /// From a datagram whose first fragment left to its flow.
    REPLY_FRAGMENTS: "reply_fragments", FragmentLine;
    /// Which node is home to whose fragments.
    HOMES: "homes", u64;
    /// The ports of datagrams in parts.
    FRAGMENTS: "fragments", fragment::FragmentLine;
    /// Per CPU and service.
    COUNTERS: "counters", ServiceCounters;
    /// Samples, by slot.
    ENDPOINT_PACKETS: "endpoint_counts", Sampled;
    /// Samples, by node.
    NODE_PACKETS: "node_counts", Sampled;
    /// Per CPU.
    VERDICTS: "verdicts", VerdictCounters;
    /// Per CPU: what may still be answered.
    ANSWERS: "answers", AnswerBuckets;
    /// The agent's sign of life.
    BEAT: "beat", Beat;
    /// Per CPU: what the next program must know of the packet.
    WALKS: "walks", Walk;
}

/// The value of map `config`.
#[inline(always)]
pub(crate) fn globals() -> Option<&'static Globals> {
    CONFIG.get_ptr(0).map(ptr::by_ref)
}

/// What the data path knows of itself.
#[inline(always)]
pub(crate) fn config() -> Option<&'static Config> {
    Some(&globals()?.config)
}

/// The uplink of a slot.
#[inline(always)]
pub(crate) fn interface(slot: u8) -> Option<&'static Interface> {
    Some(interface_of(globals()?, slot.into()))
}

/// The uplink of a slot. The mask is for the verifier.
#[inline(always)]
pub(crate) fn interface_of(globals: &Globals, slot: u32) -> &Interface {
    &globals.interfaces[(slot & (INTERFACES_MAX - 1)) as usize]
}

/// The way to a node; the mask, again.
#[inline(always)]
pub(crate) fn node_of(globals: &Globals, index: u16) -> &Node {
    &globals.nodes[(u32::from(index) & (NODES_MAX - 1)) as usize]
}

/// What takes the place of compare-and-swap.
#[cfg(feature = "basic")]
#[repr(C)]
pub(crate) struct SwapLock {
    lock: aya_ebpf::bindings::bpf_spin_lock,
}

/// Held for a load, a comparison and a store.
#[cfg(feature = "basic")]
#[btf_map(name = "swap_lock")]
pub(crate) static SWAP_LOCK: Array<SwapLock, 1> = Array::new();
/// Who may connect to services with many ranges; keys are [`lb_common::source::TrieKey`] without its first field.
#[btf_map(name = "source_trie")]
pub(crate) static SOURCE_TRIE: LpmTrie<[u32; 5], u32, 1> = LpmTrie::new();

/// Slot of the uplink that this instance of the entry program is attached to; the loader sets it. Rooms are shared by
/// all uplinks and find it in their [`Walk`].
#[unsafe(no_mangle)]
static UPLINK_SLOT: u32 = 0;

/// [`UPLINK_SLOT`] as the loader left it.
#[inline(always)]
pub(crate) fn uplink_slot() -> u32 {
    // SAFETY: a static of this object; volatile, since the compiler would fold the value it has here.
    unsafe { core::ptr::read_volatile(&raw const UPLINK_SLOT) }
}
