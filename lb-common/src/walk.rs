//! What is known of a packet that leaves the entry program for a *room*: a program that is tail-called, verified
//! apart, and has a stack of its own. A tail call hands on nothing but the packet, so the rest travels in one record
//! a CPU; a run is never interrupted by another on its CPU. Whoever enters the first room writes all of it, since
//! the packet before has left its own there.

use bytemuck::{Pod, Zeroable};

use crate::service::ServiceValue;

/// Places in the map `rooms`.
pub const ROOMS_MAX: u32 = 32;

macro_rules! rooms {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $program:literal;)*) => {
        /// Index into the map `rooms`; numbers are part of the ABI.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Room {
            $($(#[$doc])* $name = $number,)*
        }

        impl Room {
            /// Every room, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Name of its program in the object.
            #[must_use]
            pub const fn program(self) -> &'static str {
                match self { $(Self::$name => $program,)* }
            }
        }
    };
}

rooms! {
    /// Everything that is no plain TCP or UDP packet, from the Ethernet header on: parses it and finds its way.
    Odd = 0, "odd";
    /// GUE for this node: takes the outer header off and finds the inner packet's way.
    Tunnel = 1, "tunnel";
    /// To a pod of this node, if the flow is known or may be made here; goes on to `Forward` otherwise.
    DeliverV4 = 2, "deliver_v4";
    /// As above.
    DeliverV6 = 3, "deliver_v6";
    /// To another node, whatever the packet looks like and however it came.
    ForwardV4 = 4, "forward_v4";
    /// As above.
    ForwardV6 = 5, "forward_v6";
    /// Goes nowhere: counted, and answered where an answer is due ([`Walk::reason`]).
    AnswerV4 = 6, "answer_v4";
    /// As above.
    AnswerV6 = 7, "answer_v6";
    /// ICMP error about a flow of a pod here.
    RelatedV4 = 8, "related_v4";
    /// As above.
    RelatedV6 = 9, "related_v6";
    /// ARP, for a group of stations or for this one.
    Arp = 10, "arp";
    /// Neighbour Solicitation or Advertisement.
    Ndp = 11, "ndp";
    /// To a pod of this node, by a flow that is made here, or moves to the established ones.
    NewFlow = 12, "new_flow";
    /// Of a service whose endpoint is not simply that of the flow's row ([`crate::service::ServiceValue::CHOSEN_APART`]).
    ChooseV4 = 13, "choose_v4";
    /// As above.
    ChooseV6 = 14, "choose_v6";
    /// Delivered to a flow whose client keeps its endpoint: notes that it does.
    Keep = 15, "keep";
    /// A part of a datagram: to its home, or from there like any packet.
    Fragment = 16, "fragment";
    /// A packet whose headers were read: looks up service and endpoint.
    SteerV4 = 17, "steer_v4";
    /// As above.
    SteerV6 = 18, "steer_v6";
    /// A reply that came by GUE, whose outer header is off: on to the client.
    Returned = 19, "returned";
    /// A client's SYN, translated for its pod, whose replies will have an outer header in front.
    Clamp = 20, "clamp";
}

/// The element of map `walks`, one a CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Walk {
    /// Hash of the flow; 0 until it is known.
    pub hash: u64,
    /// [`crate::service::ServiceValue`]; 0 until it is known.
    pub service: u64,
    /// Index in `endpoints` of the row's endpoint.
    pub endpoint: u32,
    /// [`Walk::V6`] and the rest.
    pub flags: u32,
    /// [`crate::verdict::Verdict`]: why the packet goes nowhere.
    pub reason: u32,
    /// By GUE: id of the node that got the packet from the router.
    pub ingress_node: u32,
    /// By GUE: the tag that it came with.
    pub tag: u32,
    /// Index in `nodes` of the endpoint's node.
    pub node: u16,
    /// By GUE: index of the node that sent it.
    pub sender: u16,
    /// Offset of the IP header from the start of the frame.
    pub ip_at: u16,
    /// Offset of the transport header from the start of the frame.
    pub transport_at: u16,
    /// Length of the IP packet by its own account, header included.
    pub ip_bytes: u16,
    /// Slot of the uplink.
    pub slot: u8,
    /// IP protocol number of what is at `transport_at`.
    pub protocol: u8,
    /// By GUE: hops that it had made.
    pub hop: u8,
    /// By GUE: flags of the private data.
    pub private_flags: u8,
    /// A fragment's place ([`crate::headers::Fragment::place`]).
    pub fragment_place: u16,
    /// A fragment's id.
    pub fragment_id: u32,
    /// Both ports, of a later fragment too, once they are known.
    pub ports: u32,
    /// Number plus one of this client's flow: the one to promote ([`Walk::PROVEN`]), or one that is over and gives way to
    /// a new one; 0: none.
    pub replaced: u32,
    /// Number of the flow that the packet was delivered to.
    pub flow: u32,
    /// Low half of the hash that chose the row, if that is another than the flow's ([`ServiceValue::AFFINITY`]).
    pub client_hash: u32,
    /// Of an ICMP error: offset of the quoted transport header from the start of the frame.
    pub quoted_at: u16,
    /// Zero.
    pub padding: [u16; 3],
    /// Zero, or whatever was there: nobody reads it.
    pub reserved: [u64; 6],
}

impl Walk {
    /// The packet (by GUE: what was inside) is IPv6.
    pub const V6: u32 = 1;
    /// It came by GUE, whose outer header is off.
    pub const BY_GUE: u32 = 1 << 1;
    /// Its source MAC is another node's.
    pub const OF_NODE: u32 = 1 << 2;
    /// The row's endpoint is on this node: a flow that is not known may be made.
    pub const IS_LOCAL: u32 = 1 << 3;
    /// An ICMP error about the flow.
    pub const IS_ERROR: u32 = 1 << 4;
    /// The destination has passed the filter of VIPs, but has not been found to be one: only what is addressed to a VIP
    /// may be dropped, or answered.
    pub const MAY_BE_VIP: u32 = 1 << 5;
    /// The flow is embryonic, and this packet proves that its client is there.
    pub const PROVEN: u32 = 1 << 6;
    /// A part of a datagram.
    pub const FRAGMENT: u32 = 1 << 7;
    /// [`Walk::node`] is not the endpoint's node but another, which is asked to send the packet on.
    pub const DETOUR: u32 = 1 << 8;
    /// It stands for [`crate::counter::SAMPLED_OF`] packets of its endpoint and node.
    pub const SAMPLED: u32 = 1 << 9;
    /// Its destination MAC is a group's: it can only be ARP or Neighbour Discovery that concerns us.
    pub const TO_GROUP: u32 = 1 << 10;

    /// Whether a node has steered this packet already.
    #[inline(always)]
    #[must_use]
    pub const fn steered_before(&self) -> bool {
        self.flags & (Self::BY_GUE | Self::OF_NODE) != 0
    }

    /// Low half of the hash that chose the row.
    #[inline(always)]
    #[must_use]
    pub const fn row_hash(&self) -> u32 {
        match ServiceValue(self.service).has(ServiceValue::AFFINITY) {
            true => self.client_hash,
            false => self.hash as u32,
        }
    }

    /// A fragment that is not the first: there is no transport header.
    #[inline(always)]
    #[must_use]
    pub const fn is_later_fragment(&self) -> bool {
        self.flags & Self::FRAGMENT != 0 && self.fragment_place >> 3 != 0
    }

    /// Whether all of `flags` are set.
    #[inline(always)]
    #[must_use]
    pub const fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }
}

const _: () = assert!(size_of::<Walk>() == 128 && Room::ALL.len() <= ROOMS_MAX as usize);
