//! Flow state, which only the owner of the chosen endpoint keeps. A flow is a number: its line and place in
//! `flow_index` (tag, state, age: one word, claimed by compare-and-swap) and its record in `flows`. The
//! reverse index leads from the pod's 4-tuple to the number and has no age of its own: an entry lives while
//! the flow it names is alive and its record says the same tuple. Embryonic flows have the low numbers, so that no
//! flood touches an established one. Whoever needs room takes an expired place; nobody sweeps.

use bytemuck::{Pod, Zeroable};

use crate::Address;

/// Flows in one line of the index.
pub const FLOWS_PER_LINE: u32 = 8;

/// What a flow has come to; the number indexes [`crate::config::Config::timeout_ticks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// A place without a flow.
    Free = 0,
    /// Being written by one CPU; nobody reads the record.
    Claimed = 1,
    /// TCP: SYN seen.
    SynReceived = 2,
    /// TCP: mid-flow packet of a flow that is not known here.
    Adopted = 3,
    /// UDP: the pod has not answered yet.
    Unreplied = 4,
    /// TCP: the client acknowledged the pod's SYN-ACK.
    Established = 5,
    /// TCP: FIN from either side.
    Closing = 6,
    /// TCP: RST from either side.
    Reset = 7,
    /// UDP: answered.
    Stream = 8,
}

impl State {
    /// Every state, by number.
    pub const ALL: [Self; 9] = [
        Self::Free,
        Self::Claimed,
        Self::SynReceived,
        Self::Adopted,
        Self::Unreplied,
        Self::Established,
        Self::Closing,
        Self::Reset,
        Self::Stream,
    ];

    /// The state of this number.
    #[must_use]
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).copied()
    }

    /// Lower-case label for tables and filters.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Claimed => "claimed",
            Self::SynReceived => "syn-received",
            Self::Adopted => "adopted",
            Self::Unreplied => "unreplied",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Reset => "reset",
            Self::Stream => "stream",
        }
    }
}

/// Places in the table of time-outs.
pub const STATES: usize = 16;

/// Seconds that a flow outlives its last packet, by state, before the node's own conntrack limits them.
#[must_use]
pub const fn timeout_seconds(state: State) -> u32 {
    match state {
        State::Free => 0,
        // Between claim and record lie some hundred instructions; a CPU can be held up by its hypervisor.
        State::Claimed => 2,
        // A second SYN comes after 1 s, the third after 3 s (RFC 6298); the SYN-ACK's as well.
        State::SynReceived => 10,
        State::Adopted => 10,
        // nf_conntrack_udp_timeout.
        State::Unreplied => 30,
        // RFC 5382 REQ-5: no less than 2 hours 4 minutes.
        State::Established => 7440,
        // nf_conntrack_tcp_timeout_fin_wait and _time_wait.
        State::Closing => 120,
        // nf_conntrack_tcp_timeout_close.
        State::Reset => 10,
        // nf_conntrack_udp_timeout_stream; RFC 4787 REQ-5: no less than 2 minutes.
        State::Stream => 120,
    }
}

/// One word of the index: state 4 bits, fraction 4 bits, tag 24 bits, tick 32 bits. Tick and fraction, a sixteenth of
/// a tick, are of the last packet that was noted: a flow that is not embryonic notes one a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Meta(pub u64);

impl Meta {
    /// Puts the fields together; `tag` from [`tag`].
    #[inline(always)]
    #[must_use]
    pub const fn new(state: u32, tag: u32, tick: u32) -> Self {
        Self((state & 0xf | tag << 8) as u64 | (tick as u64) << 32)
    }

    /// With this many sixteenths of the tick.
    #[inline(always)]
    #[must_use]
    pub const fn with_fraction(self, sixteenths: u32) -> Self {
        Self(self.0 & !0xf0 | (sixteenths as u64 & 0xf) << 4)
    }

    /// Time of the last packet in sixteenths of a tick.
    #[inline(always)]
    #[must_use]
    pub const fn sixteenths(self) -> u32 {
        self.tick() << 4 | self.0 as u32 >> 4 & 0xf
    }

    /// [`State`] as a number.
    #[inline(always)]
    #[must_use]
    pub const fn state(self) -> u32 {
        self.0 as u32 & 0xf
    }

    /// 24 bits of the flow's hash.
    #[inline(always)]
    #[must_use]
    pub const fn tag(self) -> u32 {
        self.0 as u32 >> 8
    }

    /// Tick of the last packet.
    #[inline(always)]
    #[must_use]
    pub const fn tick(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The element of map `flow_index`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct IndexLine {
    /// [`Meta`] of flow `line * 8 + place`.
    pub metas: [u64; FLOWS_PER_LINE as usize],
}

/// The element of map `flow_reverse`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct ReverseLine {
    /// [`ReverseEntry`]s.
    pub entries: [u64; 8],
}

/// An entry of the reverse index; 0 is free. From the low end: flow number plus one 32 bits, the lower bits of the flow's
/// own tag 12, the upper bits of the reverse tuple's hash 20. The flow's tag tells whether the place is that flow's still,
/// so that an entry left by one that is gone is known without a look at the record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct ReverseEntry(pub u64);

impl ReverseEntry {
    const FLOW_TAG: u32 = 0xfff;

    /// Leads to a flow: `hash` of its reverse tuple, `flow_tag` from [`tag`].
    #[inline(always)]
    #[must_use]
    pub const fn new(hash: u64, flow_tag: u32, number: u32) -> Self {
        let named = (flow_tag & Self::FLOW_TAG) as u64;
        Self(hash >> 44 << 44 | named << 32 | (number as u64 + 1))
    }

    /// What an entry of a reverse tuple with this hash has as its [`ReverseEntry::tag`].
    #[inline(always)]
    #[must_use]
    pub const fn tag_of(hash: u64) -> u32 {
        (hash >> 44) as u32
    }

    /// 20 bits of the reverse tuple's hash.
    #[inline(always)]
    #[must_use]
    pub const fn tag(self) -> u32 {
        Self::tag_of(self.0)
    }

    /// The flow's number; `None` if free.
    #[inline(always)]
    #[must_use]
    pub const fn number(self) -> Option<u32> {
        (self.0 as u32).checked_sub(1)
    }

    /// Whether a place of the index with this tag can be the flow's.
    #[inline(always)]
    #[must_use]
    pub const fn is_of(self, flow_tag: u32) -> bool {
        (self.0 >> 32) as u32 & Self::FLOW_TAG == flow_tag & Self::FLOW_TAG
    }
}

/// The element of map `flows`, by flow number. All ports in network byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Flow {
    /// Who dials.
    pub client: Address,
    /// What it dials.
    pub vip: Address,
    /// The client's port, as the client has it.
    pub client_port: u16,
    /// The service port.
    pub vip_port: u16,
    /// The endpoint's port.
    pub endpoint_port: u16,
    /// The client's port, as the pod sees it: the same but for a clash.
    pub mapped_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
    /// Slot of the uplink that the flow came in on.
    pub interface: u8,
    /// [`Flow::FROM_GUE`] and what later versions add.
    pub flags: u8,
    /// Service id, for counters.
    pub service: u16,
    /// Index of the node that sent the flow here, by GUE or by its MAC; [`Flow::NO_NODE`] if it came straight.
    pub sender_node: u16,
    /// TCP: what the client must acknowledge to be established: the SYN-ACK's sequence number plus one.
    pub expected_ack: u32,
    /// Tick of creation.
    pub created: u32,
    /// The endpoint, by value. An IPv4 flow's lies in the record's first line.
    pub endpoint: Address,
    /// Row of the service's table that the flow hashes to, for alternates.
    pub row: u32,
    /// TCP: what the endpoint acknowledged last, to tell a client's RST from a forged one.
    pub endpoint_ack: u32,
    /// MAC that the client's packets come from on `interface`, as [`crate::interface::Interface::mac`]; 0 if another node
    /// sends them.
    pub next_hop_back: u64,
    /// Zero.
    pub reserved: [u32; 10],
}

impl Flow {
    /// The flow's packets come by GUE.
    pub const FROM_GUE: u8 = 1;
    /// The pod has answered: the client's next packet makes the flow an established one.
    pub const REPLIED: u8 = 2;
    /// A client's RST lay in the window but not where the pod would take it: what the pod sends next revokes it.
    pub const RESET_IN_DOUBT: u8 = 4;
    /// Replies go back by way of [`Flow::sender_node`], if there is one.
    pub const RETURN: u8 = 8;
    /// No node has this index.
    pub const NO_NODE: u16 = u16::MAX;
}

/// The index line of a flow with this hash, which may as well be in the line that differs in the lowest bit:
/// embryonic lines are `0..=embryonic_mask`, established ones follow.
#[inline(always)]
#[must_use]
pub const fn line(flow_hash: u64, mask: u32) -> u32 {
    (flow_hash >> 16) as u32 & mask
}

/// The tag of a flow with this hash.
#[inline(always)]
#[must_use]
pub const fn tag(flow_hash: u64) -> u32 {
    (flow_hash >> 40) as u32
}

const _: () = assert!(size_of::<Flow>() == 128 && size_of::<IndexLine>() == 64);
