//! The keyed hashes that every node of a cluster computes alike: 64-bit multiply and xor-shift, no division,
//! no 128-bit product (BPF has none). They spread; they are no MAC. All inputs are words as they lie in the
//! packet (network byte order in native integers), so hosts of both byte orders that we run on agree.

use crate::Address;

const K0: u64 = 0x9E37_79B9_7F4A_7C15;
const K1: u64 = 0xD6E8_FEB8_6659_FD93;
const K2: u64 = 0xA24B_AED4_963E_E407;

/// Avalanche of one word under a key.
#[inline(always)]
#[must_use]
pub const fn word(seed: u64, value: u64) -> u64 {
    let x = (value ^ seed).wrapping_mul(K0);
    let x = (x ^ (x >> 32)).wrapping_mul(K1);
    x ^ (x >> 32)
}

/// One keyed product, whose upper bits spread what is in the lower bits of the value: for filters.
#[inline(always)]
#[must_use]
pub const fn product(seed: u64, value: u64) -> u64 {
    (value ^ seed).wrapping_mul(K0)
}

/// Hash of an IPv6 address for the filter and the key of a VIP: its upper half is good, and it is cheap.
#[inline(always)]
#[must_use]
pub const fn vip_v6(seed: u64, address: &Address) -> u64 {
    let (high, low) = halves(address);
    let x = (high ^ seed).wrapping_mul(K0);
    let y = (low ^ seed.rotate_left(32)).wrapping_mul(K2);
    x ^ (y >> 29) ^ y
}

/// Hash of an IPv6 address.
#[inline(always)]
#[must_use]
pub const fn address_v6(seed: u64, address: &Address) -> u64 {
    let (high, low) = halves(address);
    let x = (high ^ seed).wrapping_mul(K0);
    let y = (low ^ seed.rotate_left(32)).wrapping_mul(K2);
    word(x ^ (x >> 32), y ^ (y >> 29))
}

/// Hash of an IPv4 flow: `ports` is the source port's and destination port's four bytes as one word.
#[inline(always)]
#[must_use]
pub const fn flow_v4(
    seed: &[u64; 2],
    source: u32,
    destination: u32,
    ports: u32,
    protocol: u8,
) -> u64 {
    let addresses = source as u64 | (destination as u64) << 32;
    let rest = (ports as u64) << 32 | protocol as u64;
    let x = (addresses ^ seed[0]).wrapping_mul(K0);
    let x = (x ^ (x >> 32) ^ rest ^ seed[1]).wrapping_mul(K1);
    let x = (x ^ (x >> 29)).wrapping_mul(K2);
    x ^ (x >> 32)
}

/// Hash of an IPv6 flow; arguments as [`flow_v4`].
#[inline(always)]
#[must_use]
pub const fn flow_v6(
    seed: &[u64; 2],
    source: &Address,
    destination: &Address,
    ports: u32,
    protocol: u8,
) -> u64 {
    let rest = (ports as u64) << 32 | protocol as u64;
    let a = pair(seed[0], source);
    let b = pair(seed[1], destination);
    let x = (a ^ b.rotate_left(23) ^ rest).wrapping_mul(K1);
    let x = (x ^ (x >> 29)).wrapping_mul(K2);
    x ^ (x >> 32)
}

/// Hash of a client's address alone: the row of a service with session affinity.
#[inline(always)]
#[must_use]
pub const fn client_v4(seed: &[u64; 2], source: u32) -> u64 {
    word(seed[0] ^ K2, (source as u64) << 32 ^ seed[1])
}

/// As [`client_v4`].
#[inline(always)]
#[must_use]
pub const fn client_v6(seed: &[u64; 2], source: &Address) -> u64 {
    word(seed[0] ^ K2, address_v6(seed[1], source))
}

#[inline(always)]
const fn pair(seed: u64, address: &Address) -> u64 {
    let (high, low) = halves(address);
    let x = (high ^ seed).wrapping_mul(K0);
    let x = (x ^ (x >> 32) ^ low).wrapping_mul(K1);
    x ^ (x >> 32)
}

#[inline(always)]
const fn halves(address: &Address) -> (u64, u64) {
    // As two loads of eight bytes would find them.
    (
        address[0] as u64 | (address[1] as u64) << 32,
        address[2] as u64 | (address[3] as u64) << 32,
    )
}
