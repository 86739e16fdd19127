//! Prefixes as they are on the wire: a length in bits, then as many octets as it needs (RFC 4271 section 4.3).
//!
//! Reading is an iterator over borrowed octets, so that a peer may send any number of prefixes without any
//! being stored.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::reader::Reader;
use crate::family::Family;
use crate::route::Prefix;

/// Octets of the longest prefix: a length and a whole IPv6 address.
pub const PREFIX_LEN_MAX: usize = 17;

/// Appends one prefix.
pub fn encode(prefix: Prefix, out: &mut Vec<u8>) {
    out.push(prefix.bits());
    let octets = usize::from(prefix.bits().div_ceil(8));
    match prefix.address() {
        IpAddr::V4(v4) => out.extend(&v4.octets()[..octets]),
        IpAddr::V6(v6) => out.extend(&v6.octets()[..octets]),
    }
}

/// Octets that [`encode`] appends.
pub fn encoded_len(prefix: Prefix) -> usize {
    1 + usize::from(prefix.bits().div_ceil(8))
}

/// The prefixes in `octets`; ends after the first one that is malformed.
pub fn prefixes(family: Family, octets: &[u8]) -> Prefixes<'_> {
    Prefixes {
        family,
        reader: Reader::new(octets),
    }
}

/// Counts prefixes; `None` if any is malformed.
pub fn count(family: Family, octets: &[u8]) -> Option<u64> {
    prefixes(family, octets).try_fold(0, |count, prefix| prefix.map(|_| count + 1).ok())
}

/// A length beyond its address family, or octets that end too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed prefix")]
pub struct MalformedPrefix;

/// See [`prefixes`].
#[derive(Debug, Clone)]
pub struct Prefixes<'a> {
    family: Family,
    reader: Reader<'a>,
}

impl Prefixes<'_> {
    fn prefix(&mut self) -> Option<Prefix> {
        let bits = self.reader.u8()?;
        let octets = self.reader.take(usize::from(bits.div_ceil(8)))?;
        let mut address = [0; 16];
        address.get_mut(..octets.len())?.copy_from_slice(octets);
        let address = match self.family {
            Family::Ipv4Unicast => IpAddr::V4(Ipv4Addr::from(*address.first_chunk::<4>()?)),
            Family::Ipv6Unicast => IpAddr::V6(Ipv6Addr::from(address)),
        };
        Prefix::new(address, bits).ok()
    }
}

impl Iterator for Prefixes<'_> {
    type Item = Result<Prefix, MalformedPrefix>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.is_empty() {
            return None;
        }
        let prefix = self.prefix().ok_or(MalformedPrefix);
        if prefix.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(prefix)
    }
}
