//! Small bit filters that stop most packets at a line of the first-level cache: no false negatives, a few
//! false positives. Bits are set before the entry they announce is written, and cleared after it is gone.

use crate::{Address, hash};

/// Words of a filter: 8 KiB.
pub const FILTER_WORDS: usize = 1024;

/// Where a key's bits are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterBits {
    /// Index of the word.
    pub word: u32,
    /// The bits that are all set if the key may be present.
    pub bits: u64,
}

impl FilterBits {
    /// From a hash that is uniform in its upper 28 bits.
    #[inline(always)]
    #[must_use]
    pub const fn from_hash(hash: u64) -> Self {
        let first = 1u64 << ((hash >> 48) & 63);
        let second = 1u64 << ((hash >> 42) & 63);
        let third = 1u64 << ((hash >> 36) & 63);
        Self {
            word: (hash >> 54) as u32,
            bits: first | second | third,
        }
    }
}

/// Bits of a VIP, IPv4.
#[inline(always)]
#[must_use]
pub const fn vip_v4(seed: u64, address: u32) -> FilterBits {
    // The upper half of one product: all of the address is in it, and strangers cost no more.
    FilterBits::from_hash(hash::product(seed, address as u64))
}

/// Bits of a VIP, IPv6.
#[inline(always)]
#[must_use]
pub const fn vip_v6(seed: u64, address: &Address) -> FilterBits {
    FilterBits::from_hash(hash::vip_v6(seed, address))
}

/// Bits of an endpoint of this node, IPv4; `port` in network byte order.
#[inline(always)]
#[must_use]
pub const fn endpoint_v4(seed: u64, address: u32, port: u16, protocol: u8) -> FilterBits {
    let key = (address as u64) << 32 | (port as u64) << 16 | protocol as u64;
    FilterBits::from_hash(hash::word(seed, key))
}

/// Bits of an endpoint of this node, IPv6; `port` in network byte order.
#[inline(always)]
#[must_use]
pub const fn endpoint_v6(seed: u64, address: &Address, port: u16, protocol: u8) -> FilterBits {
    let key = hash::address_v6(seed, address) ^ ((port as u64) << 16 | protocol as u64);
    FilterBits::from_hash(hash::word(seed, key))
}

/// Set in the protocol of a key that says that an endpoint gets new UDP flows, not only that it is one.
pub const SERVES: u8 = 0x80;

/// Words of [`crate::interface::Interface::node_mac_filter`].
pub const MAC_FILTER_WORDS: usize = 4;

/// Word and bit of a MAC in [`crate::interface::Interface::node_mac_filter`].
#[inline(always)]
#[must_use]
pub const fn mac_bit(mac: u64) -> (usize, u64) {
    let hash = hash::product(0, mac);
    (
        (hash >> 62) as usize & (MAC_FILTER_WORDS - 1),
        1u64 << ((hash >> 56) & 63),
    )
}
