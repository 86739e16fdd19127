//! A network: an address and how many of its bits count. The others are zero.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// An IPv4 or IPv6 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// `None` if there are more bits than the family has, or the address has bits beyond them.
    #[must_use]
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let prefix = Self::containing(address, bits);
        (prefix.address == address && prefix.bits == bits).then_some(prefix)
    }

    /// The network of `bits` bits, or as many as the family has, that an address is in.
    #[must_use]
    pub fn containing(address: IpAddr, bits: u8) -> Self {
        let bits = bits.min(host_bits(address));
        let address = match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Ipv4Addr::from(u32::from(v4) & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                Ipv6Addr::from(u128::from(v6) & mask).into()
            }
        };
        Self { address, bits }
    }

    /// The network of one address.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        let bits = host_bits(address);
        Self { address, bits }
    }

    /// Its first address.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Its length.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.bits
    }

    /// Whether it is one address.
    #[must_use]
    pub fn is_host(self) -> bool {
        self.bits == host_bits(self.address)
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && Self::containing(address, self.bits) == self
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

const fn host_bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_beyond_the_length_do_not_count() {
        let network = |text: &str, bits| Prefix::containing(text.parse().unwrap(), bits);
        let v4 = network("10.99.3.7", 22);
        assert_eq!(v4.to_string(), "10.99.0.0/22");
        assert!(v4.contains([10, 99, 3, 255].into()) && !v4.contains([10, 99, 4, 0].into()));
        assert!(!network("::", 0).contains([10, 0, 0, 1].into()));
        assert!(network("fd99::1", 128).is_host() && !v4.is_host());
        assert_eq!(network("10.0.0.1", 99), Prefix::host([10, 0, 0, 1].into()));
        assert_eq!(Prefix::new([10, 99, 3, 7].into(), 22), None);
        assert_eq!(Prefix::new([10, 99, 0, 0].into(), 33), None);
        assert_eq!(Prefix::new([10, 99, 0, 0].into(), 22), Some(v4));
        assert_eq!(network("10.0.0.1", 0).to_string(), "0.0.0.0/0");
    }
}
