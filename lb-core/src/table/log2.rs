//! Logarithm in fixed point, by a table of 1,025 entries with linear interpolation. The table is made at compile
//! time by integer arithmetic: a `libm` differs between architectures, and a mixed cluster would disagree.

/// Bits after the point of the result.
pub(super) const FRACTION_BITS: u32 = 26;

const INDEX_BITS: u32 = 10;

/// `-log2((hash + 1) / 2^32)`: from 0 for the greatest hash to 32 for 0.
pub(super) fn negative_log2(hash: u32) -> u32 {
    let u = u64::from(hash) + 1;
    let exponent = 63 - u.leading_zeros();
    // The mantissa without its leading one, in 32 bits.
    let mantissa = ((u << (63 - exponent)) << 1 >> 32) as u32;
    let index = (mantissa >> (32 - INDEX_BITS)) as usize;
    let rest = u64::from(mantissa << INDEX_BITS >> INDEX_BITS);
    let (low, high) = (u64::from(LOG2[index]), u64::from(LOG2[index + 1]));
    let log = low + (((high - low) * rest) >> (32 - INDEX_BITS));
    (32 << FRACTION_BITS) - ((exponent << FRACTION_BITS) + log as u32)
}

/// `log2(1 + i / 1024)`.
static LOG2: [u32; (1 << INDEX_BITS) + 1] = table();

const fn table() -> [u32; (1 << INDEX_BITS) + 1] {
    let mut table = [0; (1 << INDEX_BITS) + 1];
    let mut index = 0;
    while index <= 1 << INDEX_BITS {
        table[index] = log2_of((1 << INDEX_BITS) + index as u64);
        index += 1;
    }
    table
}

/// `log2(x / 1024)` for `1024 <= x <= 2048`, bit by bit: squaring doubles the logarithm.
const fn log2_of(x: u64) -> u32 {
    const ONE: u64 = 1 << 31;
    if x == 2 << INDEX_BITS {
        return 1 << FRACTION_BITS;
    }
    let mut y = x << (31 - INDEX_BITS);
    let mut log = 0;
    let mut bit = 0;
    while bit < FRACTION_BITS {
        y = (y * y) >> 31;
        log <<= 1;
        if y >= 2 * ONE {
            y >>= 1;
            log |= 1;
        }
        bit += 1;
    }
    log
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_monotonic_and_close_to_the_real_logarithm() {
        let mut before = u32::MAX;
        for step in 0..=65_536u64 {
            let hash = (step * 65_536).min(u32::MAX.into()) as u32;
            let fixed = negative_log2(hash);
            let real = -((f64::from(hash) + 1.0) / 4_294_967_296.0).log2();
            let error = (f64::from(fixed) / f64::from(1u32 << FRACTION_BITS) - real).abs();
            assert!(error < 1e-6, "{hash}: {error}");
            assert!(fixed <= before, "{hash}");
            before = fixed;
        }
        assert_eq!(negative_log2(0), 32 << FRACTION_BITS);
        assert_eq!(negative_log2(u32::MAX), 0);
    }
}
