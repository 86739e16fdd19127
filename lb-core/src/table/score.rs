//! Scores of (row, endpoint): a keyed hash of both, made fair by weights. An endpoint is hashed by its address
//! and port bytes, never by its place. Among equal weights the hash itself is the score; with weights it is
//! the exponential variate `-log2(u) / weight`, whose least wins with a probability proportional to weight.

use std::net::IpAddr;

use lb_common::hash;

use super::{favourites::Favourites, log2::negative_log2};
use crate::desired::Target;

/// What row and endpoint prefer each other by; greater is better. Ties go to the lower place and row.
pub(super) type Score = u64;

/// The hash keys of a set of endpoints.
pub(super) struct Scores {
    seed: u64,
    endpoints: Vec<Key>,
    weighted: bool,
    favourites: Favourites,
}

/// What an endpoint is hashed by, and its share.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) first: u32,
    pub(super) second: u32,
    weight: u16,
}

impl Scores {
    pub(super) fn new(seed: &[u64; 2], targets: &[Target], favourites: Favourites) -> Self {
        let endpoints: Vec<_> = targets.iter().map(|target| key(seed, target)).collect();
        let weighted = endpoints
            .windows(2)
            .any(|two| two[0].weight != two[1].weight);
        Self {
            seed: seed[1],
            endpoints,
            weighted,
            favourites,
        }
    }

    pub(super) fn endpoints(&self) -> usize {
        self.endpoints.len()
    }

    /// The score of one pair; the row as its [`Scores::row_key`].
    pub(super) fn score(&self, row_key: u32, place: usize) -> Score {
        let key = self.endpoints[place];
        let hash = mix(row_key, key);
        if self.weighted {
            weigh(hash, key.weight)
        } else {
            hash.into()
        }
    }

    /// What a row is hashed by.
    pub(super) fn row_key(&self, row: u32) -> u32 {
        (hash::word(self.seed, row.into()) >> 32) as u32
    }

    /// Each row's best place, without regard to capacity.
    pub(super) fn favourites(&self, row_keys: &[u32]) -> Vec<u16> {
        if self.weighted {
            return row_keys.iter().map(|&row| self.favourite(row)).collect();
        }
        (self.favourites)(&self.endpoints, row_keys)
    }

    fn favourite(&self, row_key: u32) -> u16 {
        let mut best = (0, 0);
        for place in 0..self.endpoints.len() {
            let score = self.score(row_key, place);
            if score > best.0 {
                best = (score, place);
            }
        }
        best.1 as u16
    }
}

fn key(seed: &[u64; 2], target: &Target) -> Key {
    let (family, address) = match target.address {
        IpAddr::V4(address) => (4, u128::from(u32::from(address))),
        IpAddr::V6(address) => (6, u128::from(address)),
    };
    let high = hash::word(seed[0], (address >> 64) as u64);
    let low = hash::word(high, address as u64);
    let hash = hash::word(low, u64::from(target.port) << 8 | family);
    Key {
        first: hash as u32,
        second: (hash >> 32) as u32,
        weight: target.weight,
    }
}

/// Odd factors of [`mix`].
pub(super) const MULTIPLIERS: [u32; 2] = [0x9E37_79B1, 0x85EB_CA77];
/// Shifts of [`mix`].
pub(super) const SHIFTS: [u32; 3] = [15, 13, 16];

/// Two rounds of multiply and xor-shift on 32 bits (what every vector unit has), one half of the endpoint's
/// key before each.
#[inline(always)]
pub(super) fn mix(row_key: u32, key: Key) -> u32 {
    let x = (row_key ^ key.first).wrapping_mul(MULTIPLIERS[0]);
    let x = (x ^ (x >> SHIFTS[0])).wrapping_add(key.second);
    let x = (x ^ (x >> SHIFTS[1])).wrapping_mul(MULTIPLIERS[1]);
    x ^ (x >> SHIFTS[2])
}

/// The weighted cost turned into a score; the hash breaks ties that the fixed point makes, so that equal
/// weights order exactly as the hash alone.
fn weigh(hash: u32, weight: u16) -> Score {
    let cost = (u64::from(negative_log2(hash)) << 3) / u64::from(weight.max(1));
    (u64::from(u32::MAX) - cost.min(u32::MAX.into())) << 32 | u64::from(hash)
}
