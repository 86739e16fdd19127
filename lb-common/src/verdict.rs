//! What becomes of a packet for a VIP, and why: the index of a counter, the label of a metric, the words of
//! `show`. Packets that are none of ours have no verdict: they pass uncounted.

macro_rules! verdicts {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $label:literal;)*) => {
        /// Index into [`crate::counter::VerdictCounters`]; numbers are part of the ABI.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum Verdict {
            $($(#[$doc])* $name = $number,)*
        }

        impl Verdict {
            /// Every verdict, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Lower-case label for metrics and tables.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

verdicts! {
    /// To a pod of this node: destination translated, passed into the stack.
    Delivered = 0, "delivered";
    /// To another node by MAC rewrite.
    ForwardedDirect = 1, "forwarded-direct";
    /// To another node by GUE.
    ForwardedGue = 2, "forwarded-gue";
    /// Reply of a pod, source translated back to the VIP.
    Replied = 3, "replied";
    /// The VIP has no such port.
    NoSuchPort = 4, "no-such-port";
    /// The service has no endpoint.
    NoEndpoint = 5, "no-endpoint";
    /// TTL or hop limit would reach zero.
    TtlExpired = 6, "ttl-expired";
    /// The endpoint's node has no resolved MAC.
    NodeUnresolved = 7, "node-unresolved";
    /// With its outer header the packet exceeds the MTU to the node.
    TooBig = 8, "too-big";
    /// Headers contradict each other or the frame's length.
    Malformed = 9, "malformed";
    /// A fragment of neither TCP nor UDP.
    Fragment = 10, "fragment";
    /// A source route, or more IPv4 options or IPv6 extension headers than are looked at.
    HeaderOptions = 11, "header-options";
    /// Neither TCP nor UDP.
    UnsupportedProtocol = 12, "unsupported-protocol";
    /// GUE for this node, but not from a node of the cluster, or on an interface that faces none.
    GueStranger = 13, "gue-stranger";
    /// GUE for this node that is none of ours, or cut short.
    GueMalformed = 14, "gue-malformed";
    /// GUE for this node whose tag is wrong.
    GueBadTag = 15, "gue-bad-tag";
    /// Steered already, and neither here nor allowed to go on.
    HopLimit = 16, "hop-limit";
    /// No room for a new flow.
    FlowsFull = 17, "flows-full";
    /// Beside `Delivered`: the endpoint has another flow with this client address and port. Another endpoint took this
    /// one, or [`Verdict::PortTranslated`].
    ReverseClash = 18, "reverse-clash";
    /// A table names what is not there: written between two packets, or a defect.
    TableInconsistent = 19, "table-inconsistent";
    /// The kernel refused to make room for the outer header or to take it off.
    NoHeadroom = 20, "no-headroom";
    /// Beside the reason why the packet itself went nowhere: an echo reply was sent.
    EchoAnswered = 21, "echo-answered";
    /// As above: a TCP reset was sent.
    ResetSent = 22, "reset-sent";
    /// As above: an ICMP error was sent.
    ErrorSent = 23, "error-sent";
    /// As above: an answer was due, but there had been too many.
    AnswerLimited = 24, "answer-limited";
    /// An ICMP error about a flow, to the pod that has the flow.
    ErrorDelivered = 25, "icmp-error-delivered";
    /// An ICMP error about a flow that nobody has.
    ErrorOfNoFlow = 26, "icmp-error-of-no-flow";
    /// An ICMP error that a pod or this node sends about a flow, sent on as the VIP.
    ErrorReplied = 27, "icmp-error-replied";
    /// A later fragment of a pod's reply, source translated back to the VIP.
    ReplyFragment = 28, "reply-fragment";
    /// Beside the first fragment of a reply: its note took the place of another datagram's.
    ReplyFragmentsFull = 29, "reply-fragments-full";
    /// ARP or Neighbour Discovery for a VIP that this node answers for: the answer was sent.
    NeighbourAnswered = 30, "neighbour-answered";
    /// Somebody else says, by ARP or Neighbour Discovery, to have such a VIP; passed into the stack.
    VipClaimed = 31, "vip-claimed";
    /// Beside `ReverseClash`: no other endpoint was there, the pod sees another port of the client's.
    PortTranslated = 32, "client-port-translated";
    /// Too many new flows from this source prefix; see `dataplane.newFlowsPerSourcePrefixPerSecond`.
    SourceLimited = 33, "source-limited";
    /// Beside the verdict on the packet: the oldest embryonic flow gave way to a new one.
    FlowEvicted = 34, "flow-evicted";
    /// The service does not take clients of this address (`loadBalancerSourceRanges`).
    SourceRefused = 35, "source-refused";
    /// Passed to the kernel's own load balancing: no node steers to the endpoints.
    LeftToKernel = 36, "left-to-kernel";
    /// Beside the verdict on a reply: it left by the uplink that its flow comes in by, not by the one of the route.
    ReplyRedirected = 37, "reply-redirected";
    /// The service began as many flows as it may; see `newFlowsPerSecond`.
    ServiceLimited = 38, "service-limited";
    /// A fragment, sent to the node that is home to its datagrams.
    FragmentSentHome = 39, "fragment-sent-home";
    /// A later fragment whose first one has not been seen, or is long past.
    FragmentUnknown = 40, "fragment-unknown";
    /// A first fragment too small for its transport header.
    FragmentTiny = 41, "fragment-tiny";
    /// A fragment that overlaps what has come of its datagram.
    FragmentOverlap = 42, "fragment-overlap";
    /// Beside the reason why the packet went nowhere: an answer was due, but nobody can have sent it from there.
    SourceMartian = 43, "source-martian";
    /// Beside the verdict: the endpoint's node has no resolved MAC, so the packet goes to another node, which sends it on.
    Detoured = 44, "detoured";
    /// Beside `Replied` and its like: the reply went back to the node that the flow came in by.
    ReturnedByIngress = 45, "returned-by-ingress";
    /// A reply that another node has sent back, on to its client.
    ReturnForwarded = 46, "return-forwarded";
    /// A reply that another node has sent back, and the kernel has no route to the client.
    ReturnUnroutable = 47, "return-unroutable";
}

/// Counters there is room for.
pub const VERDICTS: usize = 64;

const _: () = assert!(Verdict::ALL.len() <= VERDICTS && VERDICTS.is_power_of_two());
