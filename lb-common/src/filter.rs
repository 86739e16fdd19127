//! Small bit filters that stop most packets at a line of the first-level cache: no false negatives, a few
//! false positives. Bits are set before the entry they announce is written, and cleared after it is gone.

use crate::{Address, hash};

/// Words of the filter of VIPs: 16 KiB. With 10,000 VIPs one stranger in seventy gets past it, of 8 KiB one in seventeen;
/// 32 KiB would leave no room for anything else in a first-level cache.
pub const VIP_FILTER_WORDS: usize = 2048;
/// Words of the filter of endpoints: 8 KiB.
pub const ENDPOINT_FILTER_WORDS: usize = 1024;

/// Where a key's bits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterBits {
    /// Index of the word.
    pub word: u32,
    /// The bits that are all set if the key may be present.
    pub bits: u64,
}

impl FilterBits {
    /// In a filter of so many words, from a hash that is uniform in its upper 18 bits and as many as the words take.
    #[inline(always)]
    #[must_use]
    pub const fn from_hash<const WORDS: usize>(hash: u64) -> Self {
        const { assert!(WORDS.is_power_of_two()) };
        let below = 64 - WORDS.trailing_zeros();
        let first = 1u64 << ((hash >> (below - 6)) & 63);
        let second = 1u64 << ((hash >> (below - 12)) & 63);
        let third = 1u64 << ((hash >> (below - 18)) & 63);
        Self {
            word: (hash >> below) as u32,
            bits: first | second | third,
        }
    }
}

/// Bits of a VIP, IPv4.
#[inline(always)]
#[must_use]
pub const fn vip_v4(seed: u64, address: u32) -> FilterBits {
    // The upper half of one product: all of the address is in it, and strangers cost no more.
    FilterBits::from_hash::<VIP_FILTER_WORDS>(hash::product(seed, address as u64))
}

/// Bits of a VIP, IPv6.
#[inline(always)]
#[must_use]
pub const fn vip_v6(seed: u64, address: &Address) -> FilterBits {
    FilterBits::from_hash::<VIP_FILTER_WORDS>(hash::vip_v6(seed, address))
}

/// Bits of an endpoint of this node, IPv4; `port` in network byte order.
#[inline(always)]
#[must_use]
pub const fn endpoint_v4(seed: u64, address: u32, port: u16, protocol: u8) -> FilterBits {
    let key = (address as u64) << 32 | (port as u64) << 16 | protocol as u64;
    FilterBits::from_hash::<ENDPOINT_FILTER_WORDS>(hash::word(seed, key))
}

/// Bits of an endpoint of this node, IPv6; `port` in network byte order.
#[inline(always)]
#[must_use]
pub const fn endpoint_v6(seed: u64, address: &Address, port: u16, protocol: u8) -> FilterBits {
    let key = hash::address_v6(seed, address) ^ ((port as u64) << 16 | protocol as u64);
    FilterBits::from_hash::<ENDPOINT_FILTER_WORDS>(hash::word(seed, key))
}

/// Set in the protocol of a key that says that an endpoint gets new UDP flows, not only that it is one.
pub const SERVES: u8 = 0x80;

/// Words of [`crate::interface::Interface::node_mac_filter`].
pub const MAC_FILTER_WORDS: usize = 4;

/// Word and bit of a MAC in [`crate::interface::Interface::node_mac_filter`].
#[inline(always)]
#[must_use]
pub const fn mac_bit(mac: u64) -> (usize, u64) {
    // The last four bytes: what one maker's, or one cloud's, MACs differ in.
    let hash = ((mac >> 16) as u32).wrapping_mul(0x9E37_79B1);
    (
        (hash >> 30) as usize & (MAC_FILTER_WORDS - 1),
        1u64 << ((hash >> 24) & 63),
    )
}
