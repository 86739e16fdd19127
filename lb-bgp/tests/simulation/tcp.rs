//! TCP as a peer sees it: octets arrive late, in order, and in other pieces than they were sent in.

use std::collections::VecDeque;
use std::time::Instant;

use lb_bgp::ConnId;

/// What travels towards one end.
#[derive(Debug)]
pub(crate) enum Segment {
    Syn,
    SynAck,
    Refused,
    Octets(Vec<u8>),
    Fin,
    Reset,
}

/// One connection between end 0 and end 1.
#[derive(Debug)]
pub(crate) struct Tcp {
    pub(crate) dialler: usize,
    /// Distinguishes connections by address, as a port does.
    pub(crate) port: u16,
    /// What each end calls it; none before it knows of it.
    pub(crate) ids: [Option<ConnId>; 2],
    /// Whether each end still holds its socket.
    pub(crate) open: [bool; 2],
    /// Towards each end, in order.
    pub(crate) flows: [VecDeque<(Instant, Segment)>; 2],
}

impl Tcp {
    pub(crate) fn dial(dialler: usize, id: ConnId, port: u16) -> Self {
        let mut ids = [None, None];
        ids[dialler] = Some(id);
        let mut open = [false, false];
        open[dialler] = true;
        Self {
            dialler,
            port,
            ids,
            open,
            flows: Default::default(),
        }
    }

    pub(crate) fn push(&mut self, to: usize, at: Instant, segment: Segment) {
        let after_last = self.flows[to].back().map_or(at, |(last, _)| at.max(*last));
        self.flows[to].push_back((after_last, segment));
    }

    pub(crate) fn next_arrival(&self, end: usize) -> Option<Instant> {
        self.flows[end].front().map(|(at, _)| *at)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.open == [false, false] && self.flows.iter().all(VecDeque::is_empty)
    }
}
