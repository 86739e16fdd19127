//! What is counted for a service port on a node. Where a packet may have come to two things that look alike, such as a flow
//! that is about to be forgotten, the model knows no number, but what it is at least and at most.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    compare::{Action, Effect, Expected},
    flows::Tuple,
};

/// VIP, port, whether UDP.
pub type Key = (IpAddr, u16, bool);

/// Packets from and to clients, and what came of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets of clients.
    pub packets: u64,
    /// Their bytes, from the Ethernet header on.
    pub bytes: u64,
    /// Of these packets, sent on by MAC.
    pub forwarded_direct: u64,
    /// Of these packets, sent on by GUE.
    pub forwarded_gue: u64,
    /// Of these packets, gone, or answered by the VIP itself.
    pub dropped: u64,
    /// Flows begun.
    pub new_flows: u64,
    /// Packets of pods.
    pub reply_packets: u64,
    /// Their bytes.
    pub reply_bytes: u64,
}

/// At least and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// At least.
    pub least: Tally,
    /// At most.
    pub most: Tally,
}

impl Tally {
    fn with(self, other: Self, of: fn(u64, u64) -> u64) -> Self {
        Self {
            packets: of(self.packets, other.packets),
            bytes: of(self.bytes, other.bytes),
            forwarded_direct: of(self.forwarded_direct, other.forwarded_direct),
            forwarded_gue: of(self.forwarded_gue, other.forwarded_gue),
            dropped: of(self.dropped, other.dropped),
            new_flows: of(self.new_flows, other.new_flows),
            reply_packets: of(self.reply_packets, other.reply_packets),
            reply_bytes: of(self.reply_bytes, other.reply_bytes),
        }
    }

    fn plus(self, other: Self) -> Self {
        self.with(other, |one, other| one + other)
    }
}

impl Range {
    /// Whether a count lies in it.
    #[must_use]
    pub fn has(&self, tally: Tally) -> bool {
        let smallest = tally.with(self.least, u64::min);
        let largest = tally.with(self.most, u64::max);
        smallest == self.least && largest == self.most
    }
}

/// The service port of a flow.
pub(crate) fn key(tuple: &Tuple) -> Key {
    (tuple.vip, tuple.vip_port, tuple.udp)
}

/// What a packet of a client is counted as that came to this.
pub(crate) fn received(expected: &Expected, bytes: usize) -> Tally {
    let is = |label: &str| u64::from(expected.counted.contains(&label));
    let (direct, gue) = (is("forwarded-direct"), is("forwarded-gue"));
    let goes_on = expected.action == Action::Pass || direct + gue != 0;
    Tally {
        packets: 1,
        bytes: bytes as u64,
        forwarded_direct: direct,
        forwarded_gue: gue,
        dropped: u64::from(!goes_on),
        ..Tally::default()
    }
}

/// Adds what a packet is counted as that came to one of these.
pub(crate) fn add(counts: &mut BTreeMap<Key, Range>, right: &[Expected]) {
    let all = right.iter().flat_map(|one| &one.effects);
    let keys: BTreeSet<Key> = all
        .filter_map(|effect| match effect {
            Effect::Count(key, _) => Some(*key),
            _ => None,
        })
        .collect();
    for key in keys {
        let tallies = right.iter().map(|one| tally(one, &key));
        let least = tallies.clone().reduce(|a, b| a.with(b, u64::min));
        let most = tallies.reduce(|a, b| a.with(b, u64::max));
        let range = counts.entry(key).or_default();
        range.least = range.least.plus(least.unwrap_or_default());
        range.most = range.most.plus(most.unwrap_or_default());
    }
}

fn tally(expected: &Expected, of: &Key) -> Tally {
    let counted = expected.effects.iter().filter_map(|effect| match effect {
        Effect::Count(key, tally) if key == of => Some(*tally),
        _ => None,
    });
    counted.fold(Tally::default(), Tally::plus)
}
