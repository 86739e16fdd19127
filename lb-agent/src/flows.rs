//! `show flows`: which flows an operator asks for, and how they are told. Pure: flows of the data path in, rows and counts
//! out. However many there are, only as many rows as were asked for are kept; all are counted.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use lb_common::{Address, TCP, flow::Flow, flow::State};
use lb_core::model::{Prefix, Protocol};
use lb_datapath::LiveFlow;
use serde::Serialize;

/// Which flows; what is not named matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The client is in this network.
    pub client: Option<Prefix>,
    /// What it dials.
    pub vip: Option<IpAddr>,
    /// The service port's number.
    pub port: Option<u16>,
    /// The protocol.
    pub protocol: Option<Protocol>,
    /// The pod's address.
    pub endpoint: Option<IpAddr>,
    /// What the flow has come to.
    pub state: Option<State>,
}

/// The flows of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlowsAnswer {
    /// Flows alive, whatever was asked for.
    pub total: usize,
    /// Those that were asked for.
    pub matched: usize,
    /// These, by state.
    pub states: BTreeMap<String, usize>,
    /// These, as many as fit.
    pub rows: Vec<FlowRow>,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FlowRow {
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Who dials.
    pub client: SocketAddr,
    /// What it dials.
    pub vip: SocketAddr,
    /// The pod that serves it.
    pub endpoint: SocketAddr,
    /// The client's port as the pod sees it, if it is another.
    pub mapped_port: Option<u16>,
    /// What it has come to.
    pub state: String,
    /// Since its first packet.
    pub age_seconds: u64,
    /// Since its last packet.
    pub idle_seconds: u64,
    /// Until it is no more, unless a packet comes.
    pub expires_in_seconds: u64,
    /// Whether its packets come by GUE from another node.
    pub by_gue: bool,
}

impl Filter {
    fn takes(&self, row: &FlowRow) -> bool {
        let is = |wanted: Option<IpAddr>, end: SocketAddr| wanted.is_none_or(|ip| ip == end.ip());
        self.client.is_none_or(|net| net.contains(row.client.ip()))
            && is(self.vip, row.vip)
            && is(self.endpoint, row.endpoint)
            && self.port.is_none_or(|port| port == row.vip.port())
            && self
                .protocol
                .is_none_or(|protocol| protocol.to_string() == row.protocol)
            && self.state.is_none_or(|state| state.label() == row.state)
    }
}

/// The flows that are asked for, `limit` rows of them at the most.
#[must_use]
pub fn answer(flows: impl Iterator<Item = LiveFlow>, filter: &Filter, limit: usize) -> FlowsAnswer {
    let mut answer = FlowsAnswer::default();
    for flow in flows {
        answer.total += 1;
        let row = row(&flow);
        if !filter.takes(&row) {
            continue;
        }
        answer.matched += 1;
        *answer.states.entry(row.state.clone()).or_default() += 1;
        if answer.rows.len() < limit {
            answer.rows.push(row);
        }
    }
    answer
        .rows
        .sort_by_key(|row| (row.vip, row.protocol.clone(), row.client));
    answer
}

fn row(flow: &LiveFlow) -> FlowRow {
    let record = &flow.record;
    let end =
        |words: &Address, port: u16| SocketAddr::new(ip(words, record.family), u16::from_be(port));
    let is_mapped = record.mapped_port != record.client_port;
    let protocol = if record.protocol == TCP {
        Protocol::Tcp
    } else {
        Protocol::Udp
    };
    FlowRow {
        protocol: protocol.to_string(),
        client: end(&record.client, record.client_port),
        vip: end(&record.vip, record.vip_port),
        endpoint: end(&record.endpoint, record.endpoint_port),
        mapped_port: is_mapped.then(|| u16::from_be(record.mapped_port)),
        state: flow.state.label().to_owned(),
        age_seconds: flow.age_seconds,
        idle_seconds: flow.idle_seconds,
        expires_in_seconds: flow.expires_in_seconds,
        by_gue: record.flags & Flow::FROM_GUE != 0,
    }
}

/// An address as a record holds it.
fn ip(words: &Address, family: u8) -> IpAddr {
    if family == 4 {
        return IpAddr::from(words[0].to_ne_bytes());
    }
    let mut octets = [0; 16];
    for (bytes, word) in octets.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    IpAddr::from(octets)
}

#[cfg(test)]
mod tests;
