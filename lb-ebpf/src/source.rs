//! Who may connect: a client's address against the ranges of a service, which stand in a few lines beside it or in
//! the trie of all services.

use aya_ebpf::btf_maps::lpm_trie::Key;
use lb_common::{
    Address,
    service::{ServiceCold, ServiceValue},
    source::{
        INLINE_RANGES_MAX, Ranges, SERVICE_BITS, SourceLine, TrieKey, V6_RANGES_PER_LINE, holds_v4,
        holds_v6,
    },
};

use crate::{maps, ptr};

/// Whether a service with [`ServiceValue::RANGES`] takes a client.
#[inline(always)]
pub(crate) fn admits<const V6: bool>(service: ServiceValue, client: &Address) -> bool {
    if V6 {
        let high = u64::from(client[0]) | u64::from(client[1]) << 32;
        let low = u64::from(client[2]) | u64::from(client[3]) << 32;
        admits_v6(service.0, high, low) != 0
    } else {
        admits_v4(service.0, client[0]) != 0
    }
}

/// Global, so that the verifier does not walk what follows once for each range.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn admits_v4(service: u64, client: u32) -> u32 {
    let service = ServiceValue(service);
    let Some(ranges) = ranges(service) else {
        return 0;
    };
    u32::from(if ranges.in_trie() {
        in_trie::<false>(service.id(), &[client, 0, 0, 0])
    } else {
        in_line_v4(ranges, client)
    })
}

/// As [`admits_v4`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn admits_v6(service: u64, high: u64, low: u64) -> u32 {
    let service = ServiceValue(service);
    let client = [
        high as u32,
        (high >> 32) as u32,
        low as u32,
        (low >> 32) as u32,
    ];
    let Some(ranges) = ranges(service) else {
        return 0;
    };
    u32::from(if ranges.in_trie() {
        in_trie::<true>(service.id(), &client)
    } else {
        in_lines_v6(ranges, &client)
    })
}

#[inline(always)]
fn ranges(service: ServiceValue) -> Option<Ranges> {
    let cold = maps::SERVICE_COLD.get_ptr(u32::from(service.id()))?;
    let cold: &ServiceCold = ptr::by_ref(cold);
    Some(Ranges(ptr::load_word(&raw const cold.ranges)))
}

#[inline(always)]
fn in_line_v4(ranges: Ranges, client: u32) -> bool {
    let Some(line) = maps::SOURCE_RANGES.get_ptr(ranges.line()) else {
        return false;
    };
    let line: &SourceLine = ptr::by_ref(line);
    let mut found = false;
    for (place, &range) in (0..INLINE_RANGES_MAX).zip(&line.words) {
        found |= place < ranges.count() && holds_v4(range, client);
    }
    found
}

#[inline(always)]
fn in_lines_v6(ranges: Ranges, client: &Address) -> bool {
    for number in 0..INLINE_RANGES_MAX / V6_RANGES_PER_LINE {
        let first = number * V6_RANGES_PER_LINE;
        if first >= ranges.count() {
            return false;
        }
        let Some(line) = maps::SOURCE_RANGES.get_ptr(ranges.line() + number) else {
            return false;
        };
        let line: &SourceLine = ptr::by_ref(line);
        let [a, b, c, d, e, f, g, h] = line.words;
        let second = first + 1 < ranges.count() && holds_v6([e, f, g, h], client);
        if second || holds_v6([a, b, c, d], client) {
            return true;
        }
    }
    false
}

#[inline(always)]
fn in_trie<const V6: bool>(service: u16, client: &Address) -> bool {
    let key = TrieKey {
        prefix_bits: SERVICE_BITS + if V6 { 128 } else { 32 },
        service: u32::from(service),
        address: *client,
    };
    // The crate's key is packed, which would be written byte by byte.
    let key: &Key<[u32; 5]> = ptr::by_ref((&raw const key).cast());
    maps::SOURCE_TRIE.get(key).is_some()
}
