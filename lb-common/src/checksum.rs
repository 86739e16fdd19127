//! Internet checksums, whole and by difference (RFC 1071, RFC 1624). Sums are taken over words as they lie in
//! memory: one's-complement addition does not care for byte order as long as all words share it.

use crate::packet::Packet;

/// A change to the bytes under a checksum, gathered before it is applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(u64);

impl Delta {
    /// No change yet.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self(0)
    }

    /// Four aligned bytes change.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, old: u32, new: u32) -> Self {
        Self(self.0 + !old as u64 + new as u64)
    }

    /// Two aligned bytes change.
    #[inline(always)]
    #[must_use]
    pub const fn half(self, old: u16, new: u16) -> Self {
        Self(self.0 + (!old) as u64 + new as u64)
    }

    /// An address changes.
    #[inline(always)]
    #[must_use]
    pub const fn address(self, old: &crate::Address, new: &crate::Address) -> Self {
        self.word(old[0], new[0])
            .word(old[1], new[1])
            .word(old[2], new[2])
            .word(old[3], new[3])
    }

    /// Both changes.
    #[inline(always)]
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum after the change (RFC 1624 equation 3).
    #[inline(always)]
    #[must_use]
    pub const fn apply(self, checksum: u16) -> u16 {
        !fold((!checksum) as u64 + self.0)
    }

    /// As [`Delta::apply`] for a UDP checksum: 0 means *none* and stays, a computed 0 is sent as all ones
    /// (RFC 768).
    #[inline(always)]
    #[must_use]
    pub const fn apply_udp(self, checksum: u16) -> u16 {
        if checksum == 0 {
            return 0;
        }
        match self.apply(checksum) {
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

/// Folds a sum of 16-bit and 32-bit words to 16 bits.
#[inline(always)]
#[must_use]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

/// Folds a sum of at most four 16-bit words.
#[inline(always)]
#[must_use]
pub const fn fold_few(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    (sum + (sum >> 16)) as u16
}

/// Sum of a run of bytes as 16-bit words in memory order; an odd last byte is padded with zero.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    bytes.chunks(2).fold(0, |sum, pair| match pair {
        [a, b] => sum + u64::from(u16::from_ne_bytes([*a, *b])),
        [a] => sum + u64::from(u16::from_ne_bytes([*a, 0])),
        _ => sum,
    })
}

/// Sum of whole words of a frame, which must have them.
#[inline(always)]
#[must_use]
pub fn sum_of_words<const WORDS: usize, P: Packet + ?Sized>(packet: &P, at: usize) -> u64 {
    let mut sum = 0;
    for word in 0..WORDS {
        sum += u64::from(packet.load_u32(at + word * 4));
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delta_equals_the_sum_from_scratch(
            mut bytes in proptest::collection::vec(any::<u8>(), 40..80),
            new in any::<u32>(), port in any::<u16>(), at in 0usize..8,
        ) {
            let before = !fold(sum(&bytes));
            let word = at * 4;
            let old = u32::from_ne_bytes(bytes[word..word + 4].try_into().unwrap());
            bytes[word..word + 4].copy_from_slice(&new.to_ne_bytes());
            let old_port = u16::from_ne_bytes(bytes[36..38].try_into().unwrap());
            bytes[36..38].copy_from_slice(&port.to_ne_bytes());
            let after = Delta::new().word(old, new).half(old_port, port).apply(before);
            // 0x0000 and 0xffff are the same number in one's complement.
            prop_assert_eq!(after % 0xffff, !fold(sum(&bytes)) % 0xffff);
        }
    }

    #[test]
    fn few_words_fold_as_many_do() {
        for sum in [
            0, 1, 0xffff, 0x1_0000, 0x1_ffff, 0x2_fffd, 0x2_ffff, 0x3_fffc,
        ] {
            assert_eq!(fold_few(sum), fold(sum.into()), "{sum:#x}");
        }
    }

    #[test]
    fn udp_without_a_checksum_keeps_none() {
        assert_eq!(Delta::new().word(1, 2).apply_udp(0), 0);
        let to_zero = Delta::new().half(0, 0xfffe);
        assert_eq!(to_zero.apply(0xfffe), 0);
        assert_eq!(to_zero.apply_udp(0xfffe), 0xffff);
    }
}
