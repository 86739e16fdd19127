//! The flow owner's memory: what a flow has come to, and which flow a pod's packet belongs to.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use crate::{cluster::Endpoint, parse::Segment};

/// A client's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// Who dials.
    pub client: IpAddr,
    /// From where.
    pub client_port: u16,
    /// What it dials.
    pub vip: IpAddr,
    /// The service port.
    pub vip_port: u16,
    /// UDP instead of TCP.
    pub udp: bool,
}

/// What a flow has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// TCP: SYN seen.
    SynReceived,
    /// TCP: found in mid-flow.
    Adopted,
    /// UDP: the pod has not answered, or the client not since.
    Unreplied,
    /// TCP: the client has acknowledged the SYN-ACK.
    Established,
    /// TCP: FIN from either side.
    Closing,
    /// TCP: RST from either side.
    Reset,
    /// UDP: both sides have spoken, and the client again.
    Stream,
}

impl FlowState {
    /// How long it outlives its last packet.
    fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::SynReceived | Self::Adopted | Self::Reset => 10,
            Self::Unreplied => 30,
            Self::Closing | Self::Stream => 120,
            Self::Established => 7440,
        })
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) endpoint: Endpoint,
    pub(crate) state: FlowState,
    /// In the established table.
    pub(crate) established: bool,
    pub(crate) replied: bool,
    pub(crate) expected_ack: u32,
    /// The client's port as the pod sees it.
    pub(crate) mapped_port: u16,
    /// What the pod has acknowledged last.
    pub(crate) endpoint_ack: u32,
    /// The client's RST was one that a pod may only challenge (RFC 5961 section 3.2).
    pub(crate) in_doubt: bool,
    pub(crate) last_seen: Duration,
}

/// A flow as a test compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// The flow.
    pub tuple: Tuple,
    /// Its pod.
    pub endpoint: Endpoint,
    /// What it has come to.
    pub state: FlowState,
}

/// A change of one node's flows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) node: usize,
    pub(crate) tuple: Tuple,
    /// `None`: it ends.
    pub(crate) flow: Option<Flow>,
}

/// What a pod's packet is found by.
pub(crate) type Reverse = (IpAddr, u16, IpAddr, u16, bool);

/// One node's flows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flows {
    by_tuple: HashMap<Tuple, Flow>,
    by_reply: HashMap<Reverse, Tuple>,
}

/// The lowest port that a pod is shown in place of a client's own: where no service listens.
pub(crate) const LOWEST_MAPPED_PORT: u16 = 0x8000;

/// How far a client's RST may be ahead of what the pod has acknowledged and still be believed: any receive window.
const WINDOW: u32 = 1 << 20;

/// Ticks are about a second, and packets fall anywhere in them.
const SLACK: Duration = Duration::from_secs(2);

impl Flows {
    /// The flow as it may be found now: alive, gone, or (near its end) both.
    pub(crate) fn find(&self, tuple: &Tuple, now: Duration) -> Vec<Option<Flow>> {
        let Some(flow) = self.by_tuple.get(tuple) else {
            return vec![None];
        };
        let (age, limit) = (now - flow.last_seen, flow.state.timeout());
        if age + SLACK < limit {
            vec![Some(*flow)]
        } else if age > limit + SLACK {
            vec![None]
        } else {
            vec![Some(*flow), None]
        }
    }

    /// The flow whose pod's packets these are.
    pub(crate) fn find_reply(&self, reply: &Reverse) -> Option<Tuple> {
        self.by_reply.get(reply).copied()
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        if let Some(old) = self.by_tuple.remove(&change.tuple) {
            let reply = reverse(&change.tuple, &old.endpoint, old.mapped_port);
            if self.by_reply.get(&reply) == Some(&change.tuple) {
                self.by_reply.remove(&reply);
            }
        }
        if let Some(flow) = change.flow {
            self.by_tuple.insert(change.tuple, flow);
            self.by_reply.insert(
                reverse(&change.tuple, &flow.endpoint, flow.mapped_port),
                change.tuple,
            );
        }
    }

    /// Those that are surely alive, and those that may be.
    pub(crate) fn views(&self, now: Duration) -> impl Iterator<Item = (FlowView, bool)> {
        self.by_tuple.iter().filter_map(move |(tuple, flow)| {
            let found = self.find(tuple, now);
            let view = FlowView {
                tuple: *tuple,
                endpoint: flow.endpoint,
                state: flow.state,
            };
            found
                .iter()
                .any(Option::is_some)
                .then_some((view, found.len() == 1))
        })
    }
}

/// The tuple of a flow's replies.
pub(crate) fn reverse(tuple: &Tuple, endpoint: &Endpoint, mapped_port: u16) -> Reverse {
    (
        endpoint.address,
        endpoint.port,
        tuple.client,
        mapped_port,
        tuple.udp,
    )
}

impl Flow {
    /// A flow's first packet at its owner.
    pub(crate) fn begin(
        endpoint: Endpoint,
        mapped_port: u16,
        segment: Option<Segment>,
        now: Duration,
    ) -> Self {
        let state = match segment {
            None => FlowState::Unreplied,
            Some(segment) if segment.rst => FlowState::Reset,
            Some(segment) if segment.syn && !segment.ack => FlowState::SynReceived,
            Some(_) => FlowState::Adopted,
        };
        Self {
            endpoint,
            state,
            established: false,
            replied: false,
            expected_ack: 0,
            mapped_port,
            endpoint_ack: 0,
            in_doubt: false,
            last_seen: now,
        }
    }

    /// Whether a segment of the client is the first of another flow with the same tuple.
    pub(crate) fn is_over_by(&self, segment: Option<Segment>) -> bool {
        let closed = matches!(self.state, FlowState::Closing | FlowState::Reset);
        closed && segment.is_some_and(|segment| segment.syn && !segment.ack)
    }

    /// The client's next packet.
    pub(crate) fn after_client(mut self, segment: Option<Segment>, now: Duration) -> Self {
        self.last_seen = now;
        let Some(segment) = segment else {
            if self.replied && !self.established {
                self.established = true;
                self.state = FlowState::Stream;
            }
            return self;
        };
        if segment.rst {
            let ahead = segment.sequence.wrapping_sub(self.endpoint_ack);
            if self.replied && ahead < WINDOW {
                self.state = FlowState::Reset;
                self.in_doubt |= ahead != 0;
            }
            return self;
        }
        if self.established {
            if segment.fin {
                self.state = FlowState::Closing;
            }
            return self;
        }
        let proven =
            self.state != FlowState::SynReceived || segment.acknowledgement == self.expected_ack;
        if self.replied && proven && self.state != FlowState::Reset {
            self.established = true;
            self.state = if segment.fin {
                FlowState::Closing
            } else {
                FlowState::Established
            };
        }
        self
    }

    /// Whether a segment of the pod is none of this flow's: the flow is over, and the client has dialled the pod's own
    /// address from the same port.
    pub(crate) fn is_strange(&self, segment: &Segment) -> bool {
        let closed = matches!(self.state, FlowState::Closing | FlowState::Reset);
        closed
            && segment.syn
            && segment.ack
            && segment.sequence.wrapping_add(1) != self.expected_ack
    }

    /// The pod's next packet.
    pub(crate) fn after_pod(mut self, segment: Option<Segment>, now: Duration) -> Self {
        self.last_seen = now;
        let Some(segment) = segment else {
            self.replied = true;
            return self;
        };
        if segment.syn && segment.ack {
            self.expected_ack = segment.sequence.wrapping_add(1);
        }
        if segment.ack {
            self.endpoint_ack = segment.acknowledgement;
        }
        let in_doubt = std::mem::take(&mut self.in_doubt);
        if segment.rst {
            self.state = FlowState::Reset;
            return self;
        }
        if in_doubt {
            self.state = self.before_reset();
        }
        self.replied = true;
        if segment.fin && self.state == FlowState::Established {
            self.state = FlowState::Closing;
        }
        self
    }

    /// The state of a flow whose pod goes on after a RST.
    fn before_reset(&self) -> FlowState {
        match (self.established, self.expected_ack) {
            (true, _) => FlowState::Established,
            (false, 0) => FlowState::Adopted,
            (false, _) => FlowState::SynReceived,
        }
    }
}
