//! Address families this speaker announces, and values kept once per family.
//!
//! Only IPv4 unicast and IPv6 unicast exist here; a peer may offer more and is never refused for it.
//! Numbers are the AFI and SAFI of RFC 4760.

use std::fmt;
use std::net::IpAddr;
use std::ops::{Index, IndexMut};

/// An address family that can be negotiated (RFC 4760).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// Every family, in the order in which they are announced.
    pub const ALL: [Self; 2] = [Self::Ipv4Unicast, Self::Ipv6Unicast];

    /// Address family identifier, as IANA assigned it.
    pub fn afi(self) -> u16 {
        match self {
            Self::Ipv4Unicast => 1,
            Self::Ipv6Unicast => 2,
        }
    }

    /// Subsequent address family identifier: 1, unicast.
    pub fn safi(self) -> u8 {
        1
    }

    /// The family of an AFI and SAFI from the wire; `None` for those we don't speak.
    pub fn from_wire(afi: u16, safi: u8) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|f| f.afi() == afi && f.safi() == safi)
    }

    /// The family that announces an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4Unicast,
            IpAddr::V6(_) => Self::Ipv6Unicast,
        }
    }

    /// Length of a host route in bits: 32 or 128.
    pub fn host_prefix_bits(self) -> u8 {
        match self {
            Self::Ipv4Unicast => 32,
            Self::Ipv6Unicast => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4Unicast => "IPv4 unicast",
            Self::Ipv6Unicast => "IPv6 unicast",
        })
    }
}

/// One value for each [`Family`], indexed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PerFamily<T> {
    ipv4_unicast: T,
    ipv6_unicast: T,
}

impl<T> PerFamily<T> {
    /// Computes the value of each family.
    pub fn from_fn(mut value: impl FnMut(Family) -> T) -> Self {
        Self {
            ipv4_unicast: value(Family::Ipv4Unicast),
            ipv6_unicast: value(Family::Ipv6Unicast),
        }
    }
}

impl PerFamily<bool> {
    /// The families whose value is `true`.
    pub fn enabled(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self[*family])
    }
}

impl<T> Index<Family> for PerFamily<T> {
    type Output = T;

    fn index(&self, family: Family) -> &T {
        match family {
            Family::Ipv4Unicast => &self.ipv4_unicast,
            Family::Ipv6Unicast => &self.ipv6_unicast,
        }
    }
}

impl<T> IndexMut<Family> for PerFamily<T> {
    fn index_mut(&mut self, family: Family) -> &mut T {
        match family {
            Family::Ipv4Unicast => &mut self.ipv4_unicast,
            Family::Ipv6Unicast => &mut self.ipv6_unicast,
        }
    }
}
