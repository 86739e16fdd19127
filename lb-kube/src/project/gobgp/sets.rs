//! GoBGP's defined sets: prefixes with the lengths that count, and neighbours by address or network.

use std::{collections::BTreeMap, net::IpAddr, ops::RangeInclusive};

use lb_core::model::{Prefix, Remote};
use toml::Table;

use super::{Reader, items, strings, text};

/// Networks, with the lengths that a prefix within each may have.
pub(super) type Prefixes = Vec<(Prefix, RangeInclusive<u8>)>;

/// All sets by name.
#[derive(Default)]
pub(super) struct Sets {
    pub(super) prefixes: BTreeMap<String, Prefixes>,
    pub(super) neighbours: BTreeMap<String, Vec<Prefix>>,
}

/// Which peers a statement is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Neighbours {
    pub(super) networks: Vec<Prefix>,
    pub(super) is_inverted: bool,
}

impl Neighbours {
    /// A peer without an address is in no set.
    pub(super) fn include(&self, peer: &Remote) -> bool {
        let address = match peer {
            Remote::Address(address) => Some(*address),
            Remote::Range(network) => Some(network.address()),
            Remote::Interface(_) => None,
        };
        let is_in = |address| {
            self.networks
                .iter()
                .any(|network| network.contains(address))
        };
        address.is_some_and(is_in) != self.is_inverted
    }
}

impl Sets {
    /// An entry that is not understood leaves its set out, and with it the statements that ask for it.
    pub(super) fn read(defined: Option<&Table>, reader: &mut Reader) -> Self {
        let mut sets = Self::default();
        let Some(defined) = defined else {
            return sets;
        };
        for set in items(defined, "prefix-sets") {
            let name = text(set, "prefix-set-name").unwrap_or_default();
            let read = items(set, "prefix-list").into_iter().map(prefix);
            match read.collect::<Result<_, _>>() {
                Ok(prefixes) => _ = sets.prefixes.insert(name.to_owned(), prefixes),
                Err(why) => reader.ignore(&format!("defined-sets: prefix set {name}"), &why),
            }
        }
        for set in items(defined, "neighbor-sets") {
            let name = text(set, "neighbor-set-name").unwrap_or_default();
            let list = strings(set.get("neighbor-info-list"));
            let read = list.iter().map(|text| network(text));
            match read.collect::<Result<_, _>>() {
                Ok(networks) => _ = sets.neighbours.insert(name.to_owned(), networks),
                Err(why) => reader.ignore(&format!("defined-sets: neighbor set {name}"), &why),
            }
        }
        for key in defined.keys() {
            if key != "prefix-sets" && key != "neighbor-sets" {
                reader.ignore(
                    &format!("defined-sets.{key}"),
                    "sets of this kind are not supported",
                );
            }
        }
        sets
    }
}

/// Without a range it is the network itself (`masklength-range` of GoBGP).
fn prefix(entry: &Table) -> Result<(Prefix, RangeInclusive<u8>), String> {
    let network = network(text(entry, "ip-prefix").unwrap_or_default())?;
    let Some(range) = text(entry, "masklength-range").filter(|range| !range.is_empty()) else {
        return Ok((network, network.bits()..=network.bits()));
    };
    let wrong = || format!("masklength-range {range} is not like 24..32");
    let (least, most) = range.split_once("..").ok_or_else(wrong)?;
    let least: u8 = least.parse().map_err(|_| wrong())?;
    let most: u8 = most.parse().map_err(|_| wrong())?;
    Ok((network, least..=most))
}

/// A network, or an address alone.
fn network(text: &str) -> Result<Prefix, String> {
    let wrong = || format!("\"{text}\" is no network like 10.99.0.0/24");
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Prefix::host(address));
    }
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let bits: u8 = bits.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let fits = bits <= longest;
    fits.then(|| Prefix::containing(address, bits))
        .ok_or_else(wrong)
}
