//! The two filters. Bits are added before entries are written, and taken away after entries are gone. How many members
//! set each bit is counted, so that only words are looked at whose members changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use lb_common::{
    abi::MapId,
    filter::{self, ENDPOINT_FILTER_WORDS, FilterBits, VIP_FILTER_WORDS},
};

use super::{
    draft::Draft,
    encode,
    wanted::{Seen, leaving},
};
use crate::{
    DesiredState,
    desired::{LocalEndpoint, PortPlan, ServicePlan},
    model::Protocol,
};

/// Words that may differ, as they shall be.
pub(super) struct Filters {
    words: [(MapId, BTreeMap<usize, u64>); 2],
}

/// The members of both filters.
#[derive(Clone, Debug)]
pub(super) struct Tallies {
    vips: Tally,
    endpoints: Tally,
}

/// How many members set each bit of a filter.
#[derive(Clone, Debug)]
struct Tally {
    members: Vec<u32>,
}

impl Filters {
    /// Brings the counts from what was seen to what is desired.
    pub(super) fn of(
        seed: u64,
        tallies: &mut Option<Tallies>,
        seen: &Seen,
        desired: &DesiredState,
    ) -> Self {
        let own = desired
            .cluster
            .as_ref()
            .map(|cluster| cluster.view.own_index);
        let nothing = Seen::default();
        let is_counted = tallies.is_some() && seen.own_index() == own;
        let (tallies, seen) = match is_counted {
            true => (tallies.get_or_insert_with(Tallies::none), seen),
            false => (tallies.insert(Tallies::none()), &nothing),
        };
        let all = |words| BTreeSet::from_iter((0..words).filter(|_| !is_counted));
        let mut changed = [all(VIP_FILTER_WORDS), all(ENDPOINT_FILTER_WORDS)];
        let own = own.flatten();
        for difference in seen.by_vip.diff(&desired.by_vip, Arc::ptr_eq) {
            let bits = vip_bits(seed, *difference.key);
            let was = difference.old.map(|_| bits);
            changed[0].extend(tallies.vips.change(was, difference.new.map(|_| bits)));
            let serving = |ports: Option<&Arc<[Arc<PortPlan>]>>| {
                let serving = ports
                    .into_iter()
                    .flat_map(|ports| serving_datagrams(ports, own));
                bits_of(seed, serving, filter::SERVES)
            };
            let (was, now) = (serving(difference.old), serving(difference.new));
            changed[1].extend(tallies.endpoints.change(was, now));
        }
        let replies = |plan: Option<&Arc<ServicePlan>>| {
            bits_of(
                seed,
                plan.into_iter().flat_map(|plan| plan.local.iter().copied()),
                0,
            )
        };
        for difference in seen.services.diff(&desired.services, Arc::ptr_eq) {
            let (was, now) = (replies(difference.old), replies(difference.new));
            changed[1].extend(tallies.endpoints.change(was, now));
        }
        let was = bits_of(seed, seen.leaving.iter().copied(), 0);
        let now = bits_of(seed, leaving(desired), 0);
        changed[1].extend(tallies.endpoints.change(was, now));
        let [vips, endpoints] = changed;
        Self {
            words: [
                (MapId::VipFilter, tallies.vips.words(vips)),
                (MapId::EndpointFilter, tallies.endpoints.words(endpoints)),
            ],
        }
    }

    /// Adds what is missing.
    pub(super) fn raise(&self, draft: &mut Draft<'_>) {
        for (map, words) in &self.words {
            for (&at, word) in words {
                let both = draft.word(*map, at) | word;
                draft.store(*map, at, &[both]);
            }
        }
    }

    /// Takes away what is too much.
    pub(super) fn lower(&self, draft: &mut Draft<'_>) {
        for (map, words) in &self.words {
            for (&at, word) in words {
                draft.store(*map, at, &[*word]);
            }
        }
    }
}

impl Tallies {
    fn none() -> Self {
        Self {
            vips: Tally::of_words(VIP_FILTER_WORDS),
            endpoints: Tally::of_words(ENDPOINT_FILTER_WORDS),
        }
    }
}

impl Tally {
    fn of_words(words: usize) -> Self {
        Self {
            members: vec![0; words * 64],
        }
    }

    /// Takes members in and out; the words that they are in.
    fn change(
        &mut self,
        was: impl IntoIterator<Item = FilterBits>,
        now: impl IntoIterator<Item = FilterBits>,
    ) -> BTreeSet<usize> {
        let mut words = BTreeSet::new();
        for member in now {
            self.of_bits(member).for_each(|count| *count += 1);
            words.insert(member.word as usize);
        }
        for member in was {
            self.of_bits(member).for_each(|count| *count -= 1);
            words.insert(member.word as usize);
        }
        words
    }

    fn of_bits(&mut self, member: FilterBits) -> impl Iterator<Item = &mut u32> {
        let start = member.word as usize * 64;
        let counts = self.members[start..start + 64].iter_mut().enumerate();
        let is_set = move |(bit, _): &(usize, &mut u32)| member.bits >> bit & 1 != 0;
        counts.filter(is_set).map(|(_, count)| count)
    }

    fn words(&self, of: BTreeSet<usize>) -> BTreeMap<usize, u64> {
        let word = |at: usize| {
            let counts = self.members[at * 64..at * 64 + 64].iter();
            let set = counts.enumerate().filter(|(_, count)| **count > 0);
            set.fold(0, |word, (bit, _)| word | 1 << bit)
        };
        of.into_iter().map(|at| (at, word(at))).collect()
    }
}

/// Endpoints of this node that get new UDP flows: a flow of another's moves. Of two Services with one service port the
/// first has it.
fn serving_datagrams(
    ports: &[Arc<PortPlan>],
    own_index: Option<u16>,
) -> impl Iterator<Item = LocalEndpoint> {
    let mut known = BTreeSet::new();
    let ports = ports.iter().filter(move |plan| known.insert(plan.port));
    let datagrams = ports.filter(|plan| plan.port.protocol == Protocol::Udp);
    let targets = datagrams.flat_map(|plan| plan.targets.iter());
    let own = targets.filter(move |target| Some(target.node) == own_index);
    own.map(|target| LocalEndpoint {
        address: target.address,
        port: target.port,
        protocol: Protocol::Udp,
    })
}

fn bits_of(
    seed: u64,
    endpoints: impl IntoIterator<Item = LocalEndpoint>,
    flags: u8,
) -> Vec<FilterBits> {
    let bits = |local: LocalEndpoint| endpoint_bits(seed, &local, local.protocol.number() | flags);
    endpoints.into_iter().map(bits).collect()
}

fn vip_bits(seed: u64, vip: IpAddr) -> FilterBits {
    let address = encode::address(vip);
    match vip {
        IpAddr::V4(_) => filter::vip_v4(seed, address[0]),
        IpAddr::V6(_) => filter::vip_v6(seed, &address),
    }
}

fn endpoint_bits(seed: u64, local: &LocalEndpoint, protocol: u8) -> FilterBits {
    let address = encode::address(local.address);
    let port = local.port.to_be();
    match local.address {
        IpAddr::V4(_) => filter::endpoint_v4(seed, address[0], port, protocol),
        IpAddr::V6(_) => filter::endpoint_v6(seed, &address, port, protocol),
    }
}
