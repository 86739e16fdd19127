//! What the data path counts, per CPU and without atomics; the agent adds the CPUs up.

use bytemuck::{Pod, Zeroable};

use crate::{Address, hash, verdict::VERDICTS};

/// One line of map `counters`, at `cpu * services + service id`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct ServiceCounters {
    /// Packets from clients to this service port that this node saw first or by GUE.
    pub packets: u64,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
    /// Of these, sent on to another node by a new MAC.
    pub forwarded_direct: u64,
    /// Of these, dropped (the reason is in `verdicts`).
    pub dropped: u64,
    /// Flows created here.
    pub new_flows: u64,
    /// Packets from endpoints back to clients.
    pub reply_packets: u64,
    /// Their bytes, from the Ethernet header on; a GSO packet counts as the kernel holds it.
    pub reply_bytes: u64,
    /// Of the packets, sent on to another node by GUE.
    pub forwarded_gue: u64,
}

impl ServiceCounters {
    /// Packets sent on to another node.
    #[must_use]
    pub const fn forwarded(&self) -> u64 {
        self.forwarded_direct + self.forwarded_gue
    }
}

/// Of so many packets of a service on one CPU one is looked at, and counts as so many: for its endpoint, and for the
/// endpoint's node.
pub const SAMPLED_OF: u64 = 64;

/// The element of maps `endpoint_counts`, by slot, and `node_counts`, by node index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(16))]
pub struct Sampled {
    /// Whose packets these are ([`Sampled::of_endpoint`], [`Sampled::of_node`]): slots and indices get other owners.
    pub whose: u64,
    /// How many, a multiple of [`SAMPLED_OF`].
    pub packets: u64,
}

impl Sampled {
    /// The mark of an endpoint.
    #[inline(always)]
    #[must_use]
    pub const fn of_endpoint(address: &Address, port: u16) -> u64 {
        hash::word(port as u64, hash::address_v6(0, address)) | 1
    }

    /// The mark of the node with this id ([`crate::node::Node::id`]).
    #[inline(always)]
    #[must_use]
    pub const fn of_node(id: u32) -> u64 {
        (id as u64) << 1 | 1
    }
}

/// The element of map `verdicts`: one count a [`crate::verdict::Verdict`]. What is forwarded is counted in the
/// service's line alone, which that path touches anyway; whoever reads adds it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct VerdictCounters {
    /// Packets, by verdict.
    pub packets: [u64; VERDICTS],
}

/// The element of map `beat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Beat {
    /// `jiffies64` at the agent's last sign of life; [`Beat::NO_LIMIT`] if nobody is meant to stamp.
    pub stamped_at: u64,
    /// Jiffies after which a silent agent counts as dead; 0: never.
    pub limit: u64,
    /// Grows with every start of an agent.
    pub epoch: u64,
    /// Zero.
    pub reserved: [u64; 5],
}

impl Beat {
    /// What `lb-agent run --once` stamps: the data path outlives it on purpose.
    pub const NO_LIMIT: u64 = u64::MAX;
}

/// The element of map `answers`: what one CPU may still send of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct AnswerBuckets {
    /// What VIPs say: echo replies, refusals, ICMP errors.
    pub vips: TokenBucket,
    /// Answers to ARP and Neighbour Discovery, which no flood of the others may use up.
    pub neighbours: TokenBucket,
    /// Zero.
    pub reserved: [u64; 4],
}

/// A bucket of [`AnswerBuckets`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TokenBucket {
    /// Answers left, times the jiffies of a tick ([`crate::config::Config::tick_shift`]).
    pub filling: u64,
    /// `jiffies64` when tokens were added last.
    pub filled_at: u64,
}

const _: () = assert!(size_of::<ServiceCounters>() == 64 && size_of::<Beat>() == 64);
const _: () = assert!(size_of::<AnswerBuckets>() == 64);
