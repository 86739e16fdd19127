//! Scores of (row, endpoint): a keyed hash of both, made fair by weights. An endpoint is hashed by its address
//! and port bytes, never by its place. Among equal weights the hash itself is the score; with weights it is
//! the exponential variate `-log2(u) / weight`, whose least wins with a probability proportional to weight.

use std::net::IpAddr;

use lb_common::hash;

use super::log2::negative_log2;
use crate::desired::Target;

/// What row and endpoint prefer each other by; greater is better. Ties go to the lower place and row.
pub(super) type Score = u64;

/// The hash keys of a set of endpoints.
pub(super) struct Scores {
    seed: u64,
    endpoints: Vec<Key>,
    weighted: bool,
}

#[derive(Clone, Copy)]
struct Key {
    first: u32,
    second: u32,
    weight: u16,
}

impl Scores {
    pub(super) fn new(seed: &[u64; 2], targets: &[Target]) -> Self {
        let endpoints: Vec<_> = targets.iter().map(|target| key(seed, target)).collect();
        let weighted = endpoints
            .windows(2)
            .any(|two| two[0].weight != two[1].weight);
        Self {
            seed: seed[1],
            endpoints,
            weighted,
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
        let mut best = vec![0u32; row_keys.len()];
        let mut places = vec![0u32; row_keys.len()];
        for (place, &key) in self.endpoints.iter().enumerate() {
            // Branch-free and over three slices of one length, so that the compiler vectorises it.
            let slots = best.iter_mut().zip(&mut places).zip(row_keys);
            for ((best, winner), &row) in slots {
                let hash = mix(row, key);
                let better = hash > *best;
                *best = if better { hash } else { *best };
                *winner = if better { place as u32 } else { *winner };
            }
        }
        places.into_iter().map(|place| place as u16).collect()
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

/// Two rounds of multiply and xor-shift on 32 bits (what every vector unit has), one half of the endpoint's
/// key before each.
#[inline(always)]
fn mix(row_key: u32, key: Key) -> u32 {
    let x = (row_key ^ key.first).wrapping_mul(0x9E37_79B1);
    let x = (x ^ (x >> 15)).wrapping_add(key.second);
    let x = (x ^ (x >> 13)).wrapping_mul(0x85EB_CA77);
    x ^ (x >> 16)
}

/// The weighted cost turned into a score; the hash breaks ties that the fixed point makes, so that equal
/// weights order exactly as the hash alone.
fn weigh(hash: u32, weight: u16) -> Score {
    let cost = (u64::from(negative_log2(hash)) << 3) / u64::from(weight.max(1));
    (u64::from(u32::MAX) - cost.min(u32::MAX.into())) << 32 | u64::from(hash)
}
