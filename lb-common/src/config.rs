//! What one data path must know about itself and its surroundings: the value of map `config`, one block that a program finds
//! by one look-up. First the lines that every packet for a VIP reads, then tables of a fixed size.

use bytemuck::{Pod, Zeroable};

use crate::{
    Address,
    filter::{ENDPOINT_FILTER_WORDS, VIP_FILTER_WORDS},
    flow::STATES,
    interface::Interface,
    limits::{INTERFACES_MAX, NODES_MAX},
    node::Node,
    service::ServicesHead,
};

/// The only element of map `config`: what has one size whatever the capacity. Its parts are written apart
/// ([`crate::abi::MapId::offset_bytes`]).
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Globals {
    /// Keys, masks, limits.
    pub config: Config,
    /// The uplinks, by slot.
    pub interfaces: [Interface; INTERFACES_MAX as usize],
    /// Which copy of the services counts.
    pub services_head: ServicesHead,
    /// Zero.
    pub reserved: [u64; 7],
    /// Which addresses may be VIPs ([`crate::filter::vip_v4`]).
    pub vip_filter: [u64; VIP_FILTER_WORDS],
    /// Which tuples may be endpoints of this node ([`crate::filter::endpoint_v4`]).
    pub endpoint_filter: [u64; ENDPOINT_FILTER_WORDS],
    /// The way to each node.
    pub nodes: [Node; NODES_MAX as usize],
}

/// The first part of [`Globals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Config {
    /// Key of the flow hash and of the filters; the same on every node of the cluster.
    pub seed: [u64; 2],
    /// Key of the GUE tag; the same on every node of the cluster.
    pub gue_key: [u64; 2],
    /// [`crate::abi::ABI_VERSION`] of whoever wrote the maps.
    pub abi_version: u32,
    /// This node's index in `nodes`.
    pub own_node: u16,
    /// UDP port of GUE, network byte order.
    pub gue_port: u16,
    /// This node's own address that GUE comes to over IPv4, network byte order; 0 if none.
    pub outer_v4: u32,
    /// A flow's age is counted in ticks of `1 << tick_shift` jiffies, about a second.
    pub tick_shift: u32,
    /// This node's own address that GUE comes to over IPv6; zero if none.
    pub outer_v6: Address,
    /// Index lines of embryonic flows minus one; they come first.
    pub embryonic_mask: u32,
    /// Index lines of established flows minus one.
    pub established_mask: u32,
    /// Lines of the reverse index minus one.
    pub reverse_mask: u32,
    /// Stride of `counters` from one CPU to the next, in elements.
    pub services: u32,
    /// Ticks after which a flow that saw no packet is no more, by [`crate::flow::State`].
    pub timeout_ticks: [u16; STATES],
    /// What GUE calls this node ([`crate::node::node_id`]).
    pub own_id: u32,
    /// Largest segment that a SYN-ACK over IPv4 may offer to take, in bytes; 0: whatever the pod says.
    pub mss_v4_bytes: u16,
    /// The same over IPv6.
    pub mss_v6_bytes: u16,
    /// [`crate::gue::tag_term`] of a packet that this node is the first to steer.
    pub first_tag_term: u64,
    /// Echo replies, refusals and ICMP errors that one CPU sends in a second, and at once.
    pub answers_per_second: u32,
    /// [`Config::SILENT_ON_ECHO`], [`Config::SILENT_ON_CLOSED_PORTS`].
    pub flags: u32,
    /// Lines of `affinity` minus one.
    pub affinity_mask: u32,
    /// Flows that may begin in one tick from one source prefix ([`crate::flow_limit`]); 0: any number.
    pub new_flows_per_prefix: u32,
    /// Zero.
    pub rarely_reserved: [u64; 6],
}

impl Config {
    /// Echo requests to a VIP are dropped.
    pub const SILENT_ON_ECHO: u32 = 1;
    /// What is for a port that a VIP does not have is dropped without a word.
    pub const SILENT_ON_CLOSED_PORTS: u32 = 2;
}

const _: () = assert!(size_of::<Config>() == 192 && NODES_MAX.is_power_of_two());
