//! Writing UPDATE messages (RFC 4271 section 4.3, RFC 4760).
//!
//! A message either announces prefixes of one family with one set of attributes, or withdraws prefixes of
//! one family, or is an End-of-RIB (RFC 4724): nothing is ever mixed. IPv4 uses the message body; IPv6 uses
//! MP_REACH_NLRI and MP_UNREACH_NLRI, as the first attribute (RFC 7606 section 5.1).

use std::net::{IpAddr, Ipv4Addr};

use super::attribute::{self, code};
use super::header::{HEADER_LEN, MESSAGE_LEN_MAX, MessageType, message};
use super::nlri;
use super::open::AS_TRANS;
use crate::family::Family;
use crate::route::{Prefix, RouteAttributes};

/// What the session adds to the attributes of every route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionAttributes {
    /// Our AS number.
    pub local_asn: u32,
    /// Whether the peer is in our AS: then AS_PATH is empty and LOCAL_PREF is sent.
    pub internal: bool,
    /// Whether the peer reads AS numbers of four octets (RFC 6793).
    pub four_octet_asn: bool,
}

/// A message, and how many of the offered prefixes are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The UPDATE.
    pub message: Vec<u8>,
    /// At least one if one was offered.
    pub prefixes: usize,
}

/// LOCAL_PREF of our routes: the value that routers assume by default.
const LOCAL_PREF: u32 = 100;

const ORIGIN_IGP: u8 = 0;
const AS_SEQUENCE: u8 = 2;

/// Both length fields of an UPDATE.
const LENGTH_FIELDS_LEN: usize = 4;

/// AFI, SAFI, next hop length, next hop, reserved octet of MP_REACH_NLRI for IPv6.
const MP_REACH_FIXED_LEN: usize = 2 + 1 + 1 + 16 + 1;
/// AFI and SAFI of MP_UNREACH_NLRI.
const MP_UNREACH_FIXED_LEN: usize = 2 + 1;
/// Flags, code, and a length of two octets.
const ATTRIBUTE_HEADER_LEN_MAX: usize = 4;

/// Announces as many of `prefixes` as fit; all of them are of the family of `next_hop`.
pub fn announce(
    session: SessionAttributes,
    attributes: &RouteAttributes,
    next_hop: IpAddr,
    prefixes: impl Iterator<Item = Prefix>,
) -> Packed {
    match next_hop {
        IpAddr::V4(v4) => {
            let attributes = path_attributes(session, attributes, Some(v4));
            let (nlri, count) = pack(room(attributes.len()), prefixes);
            Packed {
                message: update(&[], &attributes, &nlri),
                prefixes: count,
            }
        }
        IpAddr::V6(v6) => {
            let others = path_attributes(session, attributes, None);
            let taken = others.len() + ATTRIBUTE_HEADER_LEN_MAX + MP_REACH_FIXED_LEN;
            let (nlri, count) = pack(room(taken), prefixes);
            let mut value = family_octets(Family::Ipv6Unicast);
            value.push(16);
            value.extend(v6.octets());
            value.push(0);
            value.extend(nlri);
            let mut attributes = Vec::new();
            attribute::write(&mut attributes, code::MP_REACH_NLRI, &value);
            attributes.extend(others);
            Packed {
                message: update(&[], &attributes, &[]),
                prefixes: count,
            }
        }
    }
}

/// Withdraws as many of `prefixes` as fit; all of them are of `family`.
pub fn withdraw(family: Family, prefixes: impl Iterator<Item = Prefix>) -> Packed {
    match family {
        Family::Ipv4Unicast => {
            let (withdrawn, count) = pack(room(0), prefixes);
            Packed {
                message: update(&withdrawn, &[], &[]),
                prefixes: count,
            }
        }
        Family::Ipv6Unicast => {
            let taken = ATTRIBUTE_HEADER_LEN_MAX + MP_UNREACH_FIXED_LEN;
            let (withdrawn, count) = pack(room(taken), prefixes);
            Packed {
                message: unreach(family, &withdrawn),
                prefixes: count,
            }
        }
    }
}

/// Says that the first full set of a family's routes is complete (RFC 4724 section 2).
pub fn end_of_rib(family: Family) -> Vec<u8> {
    match family {
        Family::Ipv4Unicast => update(&[], &[], &[]),
        Family::Ipv6Unicast => unreach(family, &[]),
    }
}

fn room(taken: usize) -> usize {
    MESSAGE_LEN_MAX - HEADER_LEN - LENGTH_FIELDS_LEN - taken
}

/// Encodes prefixes until the next one would not fit.
fn pack(room: usize, prefixes: impl Iterator<Item = Prefix>) -> (Vec<u8>, usize) {
    let mut octets = Vec::new();
    let mut count = 0;
    for prefix in prefixes {
        if octets.len() + nlri::encoded_len(prefix) > room {
            break;
        }
        nlri::encode(prefix, &mut octets);
        count += 1;
    }
    (octets, count)
}

fn update(withdrawn: &[u8], attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    message(MessageType::Update, |out| {
        out.extend((withdrawn.len() as u16).to_be_bytes());
        out.extend(withdrawn);
        out.extend((attributes.len() as u16).to_be_bytes());
        out.extend(attributes);
        out.extend(nlri);
    })
}

fn unreach(family: Family, withdrawn: &[u8]) -> Vec<u8> {
    let mut value = family_octets(family);
    value.extend(withdrawn);
    let mut attributes = Vec::new();
    attribute::write(&mut attributes, code::MP_UNREACH_NLRI, &value);
    update(&[], &attributes, &[])
}

fn family_octets(family: Family) -> Vec<u8> {
    let mut octets = family.afi().to_be_bytes().to_vec();
    octets.push(family.safi());
    octets
}

/// All attributes but the multiprotocol ones, in ascending order of their codes.
fn path_attributes(
    session: SessionAttributes,
    route: &RouteAttributes,
    next_hop: Option<Ipv4Addr>,
) -> Vec<u8> {
    let mut out = Vec::new();
    attribute::write(&mut out, code::ORIGIN, &[ORIGIN_IGP]);
    attribute::write(&mut out, code::AS_PATH, &as_path(session));
    if let Some(next_hop) = next_hop {
        attribute::write(&mut out, code::NEXT_HOP, &next_hop.octets());
    }
    if let Some(med) = route.med() {
        attribute::write(&mut out, code::MULTI_EXIT_DISC, &med.to_be_bytes());
    }
    if session.internal {
        attribute::write(&mut out, code::LOCAL_PREF, &LOCAL_PREF.to_be_bytes());
    }
    if !route.communities().is_empty() {
        let value: Vec<u8> = route
            .communities()
            .iter()
            .flat_map(|c| c.0.to_be_bytes())
            .collect();
        attribute::write(&mut out, code::COMMUNITIES, &value);
    }
    if needs_as4_path(session) {
        let mut value = vec![AS_SEQUENCE, 1];
        value.extend(session.local_asn.to_be_bytes());
        attribute::write(&mut out, code::AS4_PATH, &value);
    }
    out
}

fn as_path(session: SessionAttributes) -> Vec<u8> {
    if session.internal {
        return Vec::new();
    }
    let mut value = vec![AS_SEQUENCE, 1];
    if session.four_octet_asn {
        value.extend(session.local_asn.to_be_bytes());
    } else {
        value.extend(
            u16::try_from(session.local_asn)
                .unwrap_or(AS_TRANS)
                .to_be_bytes(),
        );
    }
    value
}

/// Only towards a peer that reads two octets, and only if AS_PATH had to lie (RFC 6793 section 4.2.2).
fn needs_as4_path(session: SessionAttributes) -> bool {
    !session.internal && !session.four_octet_asn && session.local_asn > u32::from(u16::MAX)
}
