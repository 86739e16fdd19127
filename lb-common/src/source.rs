//! Who may connect (`loadBalancerSourceRanges`): prefixes of client addresses, by service. Up to
//! [`INLINE_RANGES_MAX`] of them stand in lines beside the service, more are keys of one trie for all services.
//! What a service has of either is said by one word, read and written whole.

use bytemuck::{Pod, Zeroable};

use crate::Address;

/// Ranges of one service that are compared one by one; a look-up in a trie costs as much as some ten comparisons.
pub const INLINE_RANGES_MAX: u32 = 8;
/// IPv6 ranges in one line of map `source_ranges`; of IPv4 ranges one line takes all.
pub const V6_RANGES_PER_LINE: u32 = 2;

/// Where the ranges of a service are. Bits from the low end: first line 32, ranges 16, in the trie 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(transparent)]
pub struct Ranges(pub u64);

impl Ranges {
    /// In the trie, under the service's id.
    pub const TRIE: Self = Self(1 << 48);

    /// In lines of `source_ranges`; none at all refuses everybody.
    #[must_use]
    pub const fn inline(line: u32, count: u16) -> Self {
        Self(line as u64 | (count as u64) << 32)
    }

    /// First line.
    #[inline(always)]
    #[must_use]
    pub const fn line(self) -> u32 {
        self.0 as u32
    }

    /// Ranges in the lines.
    #[inline(always)]
    #[must_use]
    pub const fn count(self) -> u32 {
        (self.0 >> 32) as u16 as u32
    }

    /// Whether they are in the trie.
    #[inline(always)]
    #[must_use]
    pub const fn in_trie(self) -> bool {
        self.0 & Self::TRIE.0 != 0
    }
}

/// Lines that so many ranges of a family take, a power of two; 0 for none.
#[must_use]
pub const fn lines(count: u32, is_v6: bool) -> u32 {
    if is_v6 && count > 0 {
        count.div_ceil(V6_RANGES_PER_LINE).next_power_of_two()
    } else if count > 0 {
        1
    } else {
        0
    }
}

/// The element of map `source_ranges`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct SourceLine {
    /// IPv4: [`range_v4`] each. IPv6: four words a range, [`range_v6`].
    pub words: [u64; 8],
}

/// An IPv4 range as a word: address in the upper half, mask in the lower, both in network byte order.
#[must_use]
pub const fn range_v4(address: u32, prefix_bits: u8) -> u64 {
    (address as u64) << 32 | mask(prefix_bits, 0) as u64
}

/// Whether an IPv4 range holds a client.
#[inline(always)]
#[must_use]
pub const fn holds_v4(range: u64, client: u32) -> bool {
    (client ^ (range >> 32) as u32) & range as u32 == 0
}

/// An IPv6 range as four words: address and mask, the first half of both before the second.
#[must_use]
pub const fn range_v6(address: &Address, prefix_bits: u8) -> [u64; 4] {
    [
        half(address[0], address[1]),
        half(mask(prefix_bits, 0), mask(prefix_bits, 32)),
        half(address[2], address[3]),
        half(mask(prefix_bits, 64), mask(prefix_bits, 96)),
    ]
}

/// Whether an IPv6 range holds a client.
#[inline(always)]
#[must_use]
pub const fn holds_v6(range: [u64; 4], client: &Address) -> bool {
    let first = half(client[0], client[1]);
    let second = half(client[2], client[3]);
    (first ^ range[0]) & range[1] | (second ^ range[2]) & range[3] == 0
}

#[inline(always)]
const fn half(first: u32, second: u32) -> u64 {
    first as u64 | (second as u64) << 32
}

/// The mask of the 32 bits of a prefix that start at bit `from`, in network byte order.
const fn mask(prefix_bits: u8, from: u32) -> u32 {
    let bits = (prefix_bits as u32).saturating_sub(from);
    match bits {
        0 => 0,
        1..=31 => (u32::MAX << (32 - bits)).to_be(),
        _ => u32::MAX,
    }
}

/// The key of map `source_trie` (`BPF_MAP_TYPE_LPM_TRIE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct TrieKey {
    /// Bits that count: [`SERVICE_BITS`] and the prefix's.
    pub prefix_bits: u32,
    /// Service id.
    pub service: u32,
    /// Address, as packets have it.
    pub address: Address,
}

/// Bits of a [`TrieKey`] before the address.
pub const SERVICE_BITS: u32 = 32;

/// A range in the trie, as the image holds it: ordered by service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrieRange {
    /// Service id.
    pub service: u16,
    /// Length of the prefix, without the service's bits.
    pub prefix_bits: u8,
    /// Address, as packets have it; zero beyond the prefix.
    pub address: Address,
}

impl TrieRange {
    /// As the trie holds it.
    #[must_use]
    pub const fn key(&self) -> TrieKey {
        TrieKey {
            prefix_bits: SERVICE_BITS + self.prefix_bits as u32,
            service: self.service as u32,
            address: self.address,
        }
    }

    /// From the trie; `None` for a key that is none of ours.
    #[must_use]
    pub const fn of(key: &TrieKey) -> Option<Self> {
        if key.service > u16::MAX as u32
            || key.prefix_bits < SERVICE_BITS
            || key.prefix_bits > SERVICE_BITS + 128
        {
            return None;
        }
        Some(Self {
            service: key.service as u16,
            prefix_bits: (key.prefix_bits - SERVICE_BITS) as u8,
            address: key.address,
        })
    }
}

const _: () = assert!(size_of::<SourceLine>() == 64 && size_of::<TrieKey>() == 24);

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(octets: [u8; 4]) -> u32 {
        u32::from_ne_bytes(octets)
    }

    #[test]
    fn a_range_holds_its_addresses_and_no_others() {
        let range = range_v4(v4([10, 32, 0, 0]), 11);
        assert!(holds_v4(range, v4([10, 32, 0, 0])) && holds_v4(range, v4([10, 63, 255, 255])));
        assert!(!holds_v4(range, v4([10, 64, 0, 0])) && !holds_v4(range, v4([11, 32, 0, 0])));
        assert!(holds_v4(range_v4(0, 0), u32::MAX));
        let host = range_v4(v4([192, 0, 2, 1]), 32);
        assert!(holds_v4(host, v4([192, 0, 2, 1])) && !holds_v4(host, v4([192, 0, 2, 0])));
    }

    #[test]
    fn an_ipv6_range_ends_in_any_word() {
        let address = [0x2001_0db8, 0, 0, 0].map(u32::to_be);
        for bits in [0u8, 1, 29, 32, 33, 64, 65, 96, 97, 127, 128] {
            let range = range_v6(&address, bits);
            assert!(holds_v6(range, &address), "/{bits}");
            for bit in 0..128u8 {
                let mut client = address;
                client[usize::from(bit / 32)] ^= (1u32 << (31 - bit % 32)).to_be();
                assert_eq!(holds_v6(range, &client), bit >= bits, "/{bits}, bit {bit}");
            }
        }
    }

    #[test]
    fn lines_are_enough() {
        assert_eq!([0, 1, 8].map(|count| lines(count, false)), [0, 1, 1]);
        assert_eq!(
            [0, 1, 2, 3, 5, 8].map(|count| lines(count, true)),
            [0, 1, 1, 2, 4, 4]
        );
    }

    #[test]
    fn a_key_comes_back_as_it_went() {
        let range = TrieRange {
            service: 7,
            prefix_bits: 128,
            address: [1, 2, 3, 4],
        };
        assert_eq!(TrieRange::of(&range.key()), Some(range));
        assert_eq!(
            TrieRange::of(&TrieKey {
                prefix_bits: 31,
                ..range.key()
            }),
            None
        );
        assert!(Ranges::TRIE.in_trie() && !Ranges::inline(u32::MAX, u16::MAX).in_trie());
    }
}
