//! What a node remembers of datagrams in parts: the ports that the first part said, and how far they have come without a gap.

use std::{collections::HashMap, time::Duration};

use crate::{
    compare::{Effect, Expected},
    flows::Tuple,
};

/// What all parts have in common: addresses and protocol (the ports are 0), and the identification.
pub(crate) type Datagram = (Tuple, u32);

/// What is known of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) client_port: u16,
    pub(crate) vip_port: u16,
    /// Where the next part begins, in units of eight bytes.
    pub(crate) end: usize,
    /// When the first part came.
    pub(crate) begun: Duration,
}

/// One node's datagrams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts {
    known: HashMap<Datagram, Entry>,
    begun: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    known: Known,
    number: u64,
    /// The node may have sent the first part home, for all that was seen of it.
    in_doubt: bool,
}

/// How long a datagram is surely, and at most, known: 30 ticks of about a second.
const LIVES: (Duration, Duration) = (Duration::from_secs(28), Duration::from_secs(34));
/// Datagrams that may come after one and surely do not take its place: lines have four, and there are 2,048.
const OTHERS: u64 = 64;

impl Parts {
    /// What may be known of a datagram now.
    pub(crate) fn find(&self, datagram: &Datagram, now: Duration) -> Vec<Option<Known>> {
        let Some(entry) = self.known.get(datagram) else {
            return vec![None];
        };
        let age = now - entry.known.begun;
        if age > LIVES.1 {
            return vec![None];
        }
        if age < LIVES.0 && self.begun - entry.number < OTHERS && !entry.in_doubt {
            return vec![Some(entry.known)];
        }
        vec![Some(entry.known), None]
    }

    /// Learns from all that a packet may have come to.
    pub(crate) fn learn(&mut self, right: &[Expected]) {
        let learned = |one: &Expected| {
            let mut effects = one.effects.iter();
            effects.find_map(|effect| match effect {
                Effect::Part(datagram, known) => Some((*datagram, *known)),
                _ => None,
            })
        };
        let Some((datagram, known)) = right.iter().find_map(learned) else {
            return;
        };
        self.begun += 1;
        let entry = Entry {
            known,
            number: self.begun,
            in_doubt: !right.iter().all(|one| learned(one).is_some()),
        };
        self.known.insert(datagram, entry);
    }
}
