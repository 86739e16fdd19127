//! Ranges of addresses as pools name them: one address, a prefix (all of its addresses, as OpenELB has it), or first
//! and last joined by a hyphen. Both ends are of one family.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use super::Family;
use crate::model::Prefix;

/// Addresses from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// A range is not written like one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither address nor prefix nor `first-last`.
    #[error("`{0}` is neither an address nor a prefix nor FIRST-LAST")]
    Syntax(String),
    /// Its ends are of two families or in the wrong order.
    #[error("`{0}` ends before it begins")]
    Backwards(String),
}

impl AddressRange {
    /// `None` if the last address is below the first, or of the other family.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let is_forwards = Family::of(first) == Family::of(last) && first <= last;
        is_forwards.then_some(Self { first, last })
    }

    /// All addresses of a network.
    #[must_use]
    pub fn of(network: Prefix) -> Self {
        Self {
            first: network.address(),
            last: last_of(network),
        }
    }

    /// Its first address.
    #[must_use]
    pub const fn first(self) -> IpAddr {
        self.first
    }

    /// Its last address.
    #[must_use]
    pub const fn last(self) -> IpAddr {
        self.last
    }

    /// Its family.
    #[must_use]
    pub const fn family(self) -> Family {
        Family::of(self.first)
    }

    /// How many addresses it has; `u128::MAX` for all of IPv6.
    #[must_use]
    pub fn size(self) -> u128 {
        (number(self.last) - number(self.first)).saturating_add(1)
    }

    /// Whether an address is in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        self.family() == Family::of(address) && self.first <= address && address <= self.last
    }

    /// Whether some address is in both.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }
}

/// The address after one, unless that was its family's last.
pub(super) fn next(address: IpAddr) -> Option<IpAddr> {
    Some(match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address).checked_add(1)?).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address).checked_add(1)?).into(),
    })
}

/// The last address of a network.
pub(super) fn last_of(prefix: Prefix) -> IpAddr {
    match prefix.address() {
        IpAddr::V4(address) => {
            let host = u32::MAX
                .checked_shr(u32::from(prefix.bits()))
                .unwrap_or_default();
            Ipv4Addr::from(u32::from(address) | host).into()
        }
        IpAddr::V6(address) => {
            let host = u128::MAX
                .checked_shr(u32::from(prefix.bits()))
                .unwrap_or_default();
            Ipv6Addr::from(u128::from(address) | host).into()
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return self.first.fmt(f);
        }
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for AddressRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || RangeError::Syntax(text.to_owned());
        let address = |part: &str| part.trim().parse::<IpAddr>().map_err(|_| syntax());
        if let Some((first, last)) = text.split_once('-') {
            let range = Self::new(address(first)?, address(last)?);
            return range.ok_or_else(|| RangeError::Backwards(text.to_owned()));
        }
        if let Some((network, length)) = text.split_once('/') {
            let network = address(network)?;
            let bits = prefix_length(network, length.trim()).ok_or_else(syntax)?;
            let prefix = Prefix::containing(network, bits);
            return Ok(Self::of(prefix));
        }
        let address = address(text)?;
        Ok(Self {
            first: address,
            last: address,
        })
    }
}

/// `24`, or for IPv4 also `255.255.255.0`, which OpenELB v0.6 took.
fn prefix_length(network: IpAddr, text: &str) -> Option<u8> {
    let bits_max = if network.is_ipv4() { 32 } else { 128 };
    if let Ok(bits) = text.parse::<u8>() {
        return (bits <= bits_max).then_some(bits);
    }
    let mask = u32::from(text.parse::<Ipv4Addr>().ok()?);
    let is_mask = network.is_ipv4() && mask.leading_ones() + mask.trailing_zeros() == 32;
    is_mask.then(|| u8::try_from(mask.leading_ones()).unwrap_or(32))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_openelb_is_read() {
        for (text, first, last, size) in [
            ("10.0.0.1", "10.0.0.1", "10.0.0.1", 1),
            ("10.0.0.91-10.0.0.100", "10.0.0.91", "10.0.0.100", 10),
            ("10.0.0.7/24", "10.0.0.0", "10.0.0.255", 256),
            ("10.0.0.0/255.255.255.0", "10.0.0.0", "10.0.0.255", 256),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255", 1 << 32),
            ("fd00::1-fd00::ff", "fd00::1", "fd00::ff", 255),
            ("fd00::/64", "fd00::", "fd00::ffff:ffff:ffff:ffff", 1 << 64),
            ("fd00::1/128", "fd00::1", "fd00::1", 1),
        ] {
            let range: AddressRange = text.parse().unwrap();
            assert_eq!(range.first().to_string(), first, "{text}");
            assert_eq!(range.last().to_string(), last, "{text}");
            assert_eq!(range.size(), size, "{text}");
        }
        let all: AddressRange = "::/0".parse().unwrap();
        assert_eq!(all.size(), u128::MAX);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "x", "10.0.0.0/33", "10.0.0.0/255.0.255.0", "fd00::/129"] {
            let error = text.parse::<AddressRange>().unwrap_err();
            assert_eq!(error, RangeError::Syntax(text.to_owned()));
        }
        for text in ["10.0.0.9-10.0.0.1", "10.0.0.1-fd00::1"] {
            let error = text.parse::<AddressRange>().unwrap_err();
            assert_eq!(error, RangeError::Backwards(text.to_owned()));
        }
    }

    #[test]
    fn ranges_overlap_by_one_address() {
        let range = |text: &str| text.parse::<AddressRange>().unwrap();
        assert!(range("10.0.0.1-10.0.0.9").overlaps(range("10.0.0.9-10.0.0.20")));
        assert!(!range("10.0.0.1-10.0.0.9").overlaps(range("10.0.0.10")));
        assert!(!range("0.0.0.0/0").overlaps(range("::/0")));
        assert!(!range("10.0.0.0/24").contains("::a00:1".parse().unwrap()));
    }
}
