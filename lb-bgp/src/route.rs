//! What the caller wants announced: prefixes, and the attributes that go with each.
//!
//! The set is always handed over whole; the speaker finds the differences itself. Values that could not
//! be written to the wire cannot be built, so encoding never fails.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::family::Family;

/// Every route a peer shall have from us.
pub type RouteSet = BTreeMap<Prefix, RouteAttributes>;

/// An IPv4 or IPv6 network; the bits beyond its length are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// The network of `bits` bits that `address` is in. Host bits are cleared.
    pub fn new(address: IpAddr, bits: u8) -> Result<Self, PrefixTooLong> {
        let host_bits = Family::of(address).host_prefix_bits();
        if bits > host_bits {
            return Err(PrefixTooLong { bits, host_bits });
        }
        Ok(Self {
            address: clear_host_bits(address, bits),
            bits,
        })
    }

    /// The host route of one address: /32 or /128.
    pub fn host(address: IpAddr) -> Self {
        Self {
            address,
            bits: Family::of(address).host_prefix_bits(),
        }
    }

    /// The network's first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// Length in bits.
    pub fn bits(self) -> u8 {
        self.bits
    }

    /// The family that announces this prefix.
    pub fn family(self) -> Family {
        Family::of(self.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// A prefix length that its address family does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("prefix length {bits} is above {host_bits}, the most its address family has")]
pub struct PrefixTooLong {
    bits: u8,
    host_bits: u8,
}

/// Path attributes of one announced route, beyond those that follow from the session
/// (ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RouteAttributes {
    med: Option<u32>,
    communities: Vec<Community>,
}

/// A standard community (RFC 1997): AS number in the upper 16 bits, its meaning in the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl RouteAttributes {
    /// Most communities one route can carry: they must leave room for prefixes in a message of 4096 octets.
    pub const COMMUNITIES_MAX: usize = 255;

    /// Sets MULTI_EXIT_DISC (RFC 4271 section 5.1.4): among routes from one AS, the lowest wins.
    #[must_use]
    pub fn with_med(self, med: u32) -> Self {
        Self {
            med: Some(med),
            ..self
        }
    }

    /// Sets the communities; order and duplicates are dropped.
    pub fn with_communities(
        self,
        mut communities: Vec<Community>,
    ) -> Result<Self, TooManyCommunities> {
        communities.sort_unstable();
        communities.dedup();
        if communities.len() > Self::COMMUNITIES_MAX {
            return Err(TooManyCommunities {
                count: communities.len(),
            });
        }
        Ok(Self {
            communities,
            ..self
        })
    }

    /// MULTI_EXIT_DISC, if it is to be sent.
    pub fn med(&self) -> Option<u32> {
        self.med
    }

    /// Communities in ascending order, each once.
    pub fn communities(&self) -> &[Community] {
        &self.communities
    }
}

/// More communities than one route can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} communities on one route; at most {} fit beside it in a message",
    RouteAttributes::COMMUNITIES_MAX
)]
pub struct TooManyCommunities {
    count: usize,
}

fn clear_host_bits(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}
