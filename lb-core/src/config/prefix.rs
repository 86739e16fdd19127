//! Prefixes of addresses, as `loadBalancerSourceRanges` lists them. Bits beyond the prefix are refused: who wrote
//! 10.1.2.3/8 meant something else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::Prefix;

/// Understands `ADDRESS/BITS`; the error is a sentence.
pub(super) fn parse(text: &str) -> Result<Prefix, String> {
    let Some((address, bits)) = text.split_once('/') else {
        return Err(match text.parse::<IpAddr>() {
            Ok(address) => format!("a range has a length; write {address}/{}", bits_of(address)),
            Err(_) => not_a_range(text),
        });
    };
    let address: IpAddr = address.parse().map_err(|_| not_a_range(text))?;
    let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u8 = bits.parse().map_err(|_| not_a_range(text))?;
    if !is_number || bits > bits_of(address) {
        return Err(not_a_range(text));
    }
    let lowest = masked(address, bits);
    if lowest != address {
        return Err(format!(
            "{address} has bits beyond the prefix; write {lowest}/{bits}, or {address}/{}",
            bits_of(address)
        ));
    }
    Prefix::new(address, bits).ok_or_else(|| not_a_range(text))
}

fn not_a_range(text: &str) -> String {
    format!("\"{text}\" is not a range of addresses like 192.0.2.0/24 or 2001:db8::/32")
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}
