//! The two filters, each word computed from all members: bits are added before entries are written, and taken
//! away, by writing exactly what is needed, after entries are gone.

use std::net::IpAddr;

use lb_common::{
    abi::MapId,
    filter::{self, FILTER_WORDS, FilterBits},
};

use super::{draft::Draft, encode, placement::Wanted};
use crate::desired::LocalEndpoint;

pub(super) struct Filters {
    words: [(MapId, Vec<u64>); 2],
}

impl Filters {
    pub(super) fn of(wanted: &Wanted<'_>) -> Self {
        let seed = wanted.cluster.keys.seed[0];
        let vips = wanted.vips.iter().map(|&vip| vip_bits(seed, vip));
        let replies = wanted
            .local()
            .map(|local| endpoint_bits(seed, &local, local.protocol.number()));
        let serving = wanted
            .serving_datagrams()
            .map(|local| endpoint_bits(seed, &local, local.protocol.number() | filter::SERVES));
        let endpoints = replies.chain(serving);
        Self {
            words: [
                (MapId::VipFilter, words(vips)),
                (MapId::EndpointFilter, words(endpoints)),
            ],
        }
    }

    /// Adds what is missing.
    pub(super) fn raise(&self, draft: &mut Draft<'_>) {
        for (map, words) in &self.words {
            for (at, word) in words.iter().enumerate() {
                let both = draft.word(*map, at) | word;
                draft.store(*map, at, &[both]);
            }
        }
    }

    /// Takes away what is too much.
    pub(super) fn lower(&self, draft: &mut Draft<'_>) {
        for (map, words) in &self.words {
            draft.store(*map, 0, words);
        }
    }
}

fn words(members: impl Iterator<Item = FilterBits>) -> Vec<u64> {
    let mut words = vec![0; FILTER_WORDS];
    for member in members {
        words[member.word as usize] |= member.bits;
    }
    words
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
