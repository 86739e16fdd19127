//! An Eip as the agent needs it: which addresses are ours to announce, and how. Who has which of them is the
//! controller's business.

use std::{collections::BTreeSet, net::IpAddr};

use lb_core::model::{Announce, Prefix};

use crate::crd::{Announcement, EipSpec, Protocol};

/// A pool of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// First and last address of each range, of either family.
    pub ranges: Vec<(IpAddr, IpAddr)>,
    /// Who announces its addresses.
    pub announce: Announce,
    /// How, beside that.
    pub announcement: Option<Announcement>,
    /// What of it is no range, a sentence each.
    pub problems: Vec<String>,
}

impl Pool {
    /// Reads an Eip.
    #[must_use]
    pub fn of(spec: &EipSpec) -> Self {
        let (mut ranges, mut problems) = (Vec::new(), Vec::new());
        for text in std::iter::once(&spec.address).chain(&spec.addresses) {
            match range(text) {
                Some(range) => ranges.push(range),
                None => problems.push(format!(
                    "\"{text}\" is no address, no network like 10.0.0.0/24 and no range like 10.0.0.1-10.0.0.9"
                )),
            }
        }
        Self {
            ranges,
            announce: announce(spec.protocol),
            announcement: spec.announcement.clone(),
            problems,
        }
    }

    /// Whether an address is one of these.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|(first, last)| {
            first.is_ipv4() == address.is_ipv4() && *first <= address && address <= *last
        })
    }

    /// The fewest networks that have exactly these addresses.
    #[must_use]
    pub fn prefixes(&self) -> BTreeSet<Prefix> {
        let ranges = self.ranges.iter();
        ranges
            .flat_map(|&(first, last)| prefixes(first, last))
            .collect()
    }
}

/// Who announces by a protocol; BGP if none is given.
#[must_use]
pub fn announce(protocol: Option<Protocol>) -> Announce {
    match protocol {
        None | Some(Protocol::Bgp) => Announce::Bgp,
        Some(Protocol::Layer2 | Protocol::Vip) => Announce::Layer2,
    }
}

/// Understands an address, a network or a range.
fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let address = |text: &str| text.trim().parse::<IpAddr>().ok();
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (address(first)?, address(last)?);
        return (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last));
    }
    let Some((start, bits)) = text.split_once('/') else {
        return address(text).map(|address| (address, address));
    };
    let start = address(start)?;
    let bits: u8 = bits.trim().parse().ok()?;
    let most = if start.is_ipv4() { 32 } else { 128 };
    let network = (bits <= most).then(|| Prefix::containing(start, bits))?;
    let first = number(network.address());
    let last = first | host_mask(most - bits);
    Some((network.address(), from_number(last, start.is_ipv4())))
}

fn prefixes(first: IpAddr, last: IpAddr) -> Vec<Prefix> {
    let width: u8 = if first.is_ipv4() { 32 } else { 128 };
    let (mut at, end) = (number(first), number(last));
    let mut made = Vec::new();
    loop {
        // The largest block that begins here and does not go beyond the end.
        let aligned = u8::try_from(at.trailing_zeros())
            .unwrap_or(width)
            .min(width);
        let fits = |bits: &u8| at | host_mask(*bits) <= end;
        let host_bits = (0..=aligned).rev().find(fits).unwrap_or(0);
        made.push(Prefix::containing(
            from_number(at, first.is_ipv4()),
            width - host_bits,
        ));
        let block_end = at | host_mask(host_bits);
        if block_end >= end {
            return made;
        }
        at = block_end + 1;
    }
}

fn host_mask(bits: u8) -> u128 {
    1_u128
        .checked_shl(bits.into())
        .map_or(u128::MAX, |size| size - 1)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn from_number(number: u128, is_v4: bool) -> IpAddr {
    match is_v4 {
        true => IpAddr::V4((number as u32).into()),
        false => IpAddr::V6(number.into()),
    }
}
