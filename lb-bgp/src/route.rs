//! What the caller wants announced: prefixes, and for each its attributes and next hops.
//!
//! The set is always handed over whole; the speaker finds the differences itself. Values that could not
//! be written to the wire cannot be built, so encoding never fails.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::attributes::RouteAttributes;
use crate::family::Family;

/// Every route a peer shall have from us.
pub type RouteSet = BTreeMap<Prefix, Route>;

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

/// A route that is wanted: what it says, and by which next hops.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    /// Shared by the routes that say the same.
    pub attributes: Arc<RouteAttributes>,
    /// Where the prefix is to be reached.
    pub next_hops: NextHops,
}

impl From<RouteAttributes> for Route {
    /// A route to this node.
    fn from(attributes: RouteAttributes) -> Self {
        Self {
            attributes: Arc::new(attributes),
            next_hops: NextHops::Own,
        }
    }
}

/// The next hops of a route.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum NextHops {
    /// This node, by the address that the session is configured with.
    #[default]
    Own,
    /// These, in order of preference: all of them to a peer that takes several paths (RFC 7911), else the first.
    /// Those of another family are left out.
    Listed(Arc<[IpAddr]>),
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
