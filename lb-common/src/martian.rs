//! Sources that nobody can be answered at: what is no unicast address, and what no packet on a network may come from
//! (RFC 1122 section 3.2.1.3, RFC 4443 section 2.4, RFC 6890). Forged packets have them, and an answer would go astray.

use crate::Address;

/// Whether a packet to `destination` can have no sender at `source`: unspecified, loopback, multicast, reserved, broadcast,
/// or the destination itself.
#[inline(always)]
#[must_use]
pub fn is_martian<const V6: bool>(source: &Address, destination: &Address) -> bool {
    if V6 {
        return is_martian_v6(source) || source == destination;
    }
    // 0.0.0.0/8, 127.0.0.0/8, and everything from 224.0.0.0 on.
    let first = source[0].to_ne_bytes()[0];
    matches!(first, 0 | 127 | 224..) || source[0] == destination[0]
}

/// `::`, `::1`, an IPv4 address in disguise (RFC 4291 section 2.5.5), `ff00::/8`.
#[inline(always)]
fn is_martian_v6(source: &Address) -> bool {
    let [a, b, c, d] = *source;
    let in_low_half = a | b == 0;
    let is_special = c == 0 && (d == 0 || d == 1_u32.to_be());
    let is_mapped = c == 0xffff_u32.to_be();
    in_low_half && (is_special || is_mapped) || a.to_ne_bytes()[0] == 0xff
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn v4(text: &str) -> bool {
        let word = |address: Ipv4Addr| [u32::from_ne_bytes(address.octets()), 0, 0, 0];
        let source = word(text.parse().expect("an address"));
        is_martian::<false>(&source, &word(Ipv4Addr::new(10, 99, 0, 1)))
    }

    fn v6(text: &str) -> bool {
        let words = |text: &str| {
            let octets = text.parse::<Ipv6Addr>().expect("an address").octets();
            let (words, _) = octets.as_chunks::<4>();
            core::array::from_fn(|at| u32::from_ne_bytes(words[at]))
        };
        is_martian::<true>(&words(text), &words("fd99::1"))
    }

    #[test]
    fn no_host_has_a_martian_address() {
        for martian in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "10.99.0.1",
        ] {
            assert!(v4(martian), "{martian}");
        }
        for martian in ["::", "::1", "::ffff:192.0.2.1", "ff02::1", "fd99::1"] {
            assert!(v6(martian), "{martian}");
        }
    }

    #[test]
    fn hosts_have_all_others() {
        for host in [
            "1.0.0.1",
            "10.0.0.1",
            "126.255.255.255",
            "128.0.0.1",
            "223.255.255.255",
            "169.254.0.1",
        ] {
            assert!(!v4(host), "{host}");
        }
        for host in [
            "2001:db8::1",
            "fe80::1",
            "fd99::2",
            "::2",
            "64:ff9b::192.0.2.1",
        ] {
            assert!(!v6(host), "{host}");
        }
    }
}
