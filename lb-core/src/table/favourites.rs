//! Each row's best endpoint among equal weights, without regard to capacity: the loop that making a table
//! spends its time in. There is a scalar path, which defines the result, and one for AVX2, which is chosen at
//! run time where the CPU has it and finds the same. The only `unsafe` of this crate is here.

use super::score::{Key, mix};

/// A way to find, for each row key, the place of the best-scored endpoint.
pub(super) type Favourites = fn(&[Key], &[u32]) -> Vec<u16>;

/// The fastest way that this CPU has.
pub(super) fn fastest() -> Favourites {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: this CPU has AVX2.
        return |endpoints, rows| unsafe { avx2::favourites(endpoints, rows) };
    }
    scalar
}

/// The way that every CPU has.
pub(super) fn scalar(endpoints: &[Key], rows: &[u32]) -> Vec<u16> {
    rows.iter().map(|&row| favourite(endpoints, row)).collect()
}

/// The first of the greatest hashes.
fn favourite(endpoints: &[Key], row: u32) -> u16 {
    let (mut best, mut winner) = (0, 0);
    for (place, &endpoint) in endpoints.iter().enumerate() {
        let hash = mix(row, endpoint);
        if hash > best {
            (best, winner) = (hash, place);
        }
    }
    winner as u16
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::{arch::x86_64::*, array};

    use super::{Key, favourite};
    use crate::table::score::{MULTIPLIERS, SHIFTS};

    /// Rows of a vector.
    const LANES: usize = 8;
    /// Vectors under way at once: multiplications take long, so that several must overlap.
    const VECTORS: usize = 4;

    #[target_feature(enable = "avx2")]
    pub(super) fn favourites(endpoints: &[Key], rows: &[u32]) -> Vec<u16> {
        let (blocks, rest) = rows.as_chunks::<{ LANES * VECTORS }>();
        let mut places = Vec::with_capacity(rows.len());
        for rows in blocks {
            for winners in block(endpoints, rows) {
                // SAFETY: 32 bytes either way, and any bits are a `u32`.
                let winners: [u32; LANES] = unsafe { std::mem::transmute(winners) };
                places.extend(winners.map(|place| place as u16));
            }
        }
        places.extend(rest.iter().map(|&row| favourite(endpoints, row)));
        places
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn block(endpoints: &[Key], rows: &[u32; LANES * VECTORS]) -> [__m256i; VECTORS] {
        let rows: [__m256i; VECTORS] = array::from_fn(|vector| {
            // SAFETY: `LANES` rows follow this one, and the load needs no alignment.
            unsafe { _mm256_loadu_si256(rows[vector * LANES..].as_ptr().cast()) }
        });
        let mut best = [_mm256_setzero_si256(); VECTORS];
        let mut winners = best;
        for (place, endpoint) in endpoints.iter().enumerate() {
            let place = _mm256_set1_epi32(place as i32);
            let first = _mm256_set1_epi32(endpoint.first as i32);
            let second = _mm256_set1_epi32(endpoint.second as i32);
            for vector in 0..VECTORS {
                let hash = mix(rows[vector], first, second);
                let greater = _mm256_max_epu32(best[vector], hash);
                let stays = _mm256_cmpeq_epi32(greater, best[vector]);
                winners[vector] = _mm256_blendv_epi8(place, winners[vector], stays);
                best[vector] = greater;
            }
        }
        winners
    }

    /// [`crate::table::score::mix`] of eight rows.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn mix(rows: __m256i, first: __m256i, second: __m256i) -> __m256i {
        let multiply = |x, by: u32| _mm256_mullo_epi32(x, _mm256_set1_epi32(by as i32));
        let x = multiply(_mm256_xor_si256(rows, first), MULTIPLIERS[0]);
        let x = _mm256_xor_si256(x, _mm256_srli_epi32::<{ SHIFTS[0] as i32 }>(x));
        let x = _mm256_add_epi32(x, second);
        let x = _mm256_xor_si256(x, _mm256_srli_epi32::<{ SHIFTS[1] as i32 }>(x));
        let x = multiply(x, MULTIPLIERS[1]);
        _mm256_xor_si256(x, _mm256_srli_epi32::<{ SHIFTS[2] as i32 }>(x))
    }
}
