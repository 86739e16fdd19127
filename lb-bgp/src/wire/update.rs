//! Writing UPDATE messages (RFC 4271 section 4.3, RFC 4760).
//!
//! A message either announces paths of one family with one set of attributes, or withdraws paths of one family,
//! or is an End-of-RIB (RFC 4724): nothing is ever mixed. IPv4 uses the message body, unless its next hop is one
//! of IPv6 (RFC 8950); all else MP_REACH_NLRI and MP_UNREACH_NLRI, as the first attribute (RFC 7606 section 5.1).

use std::net::Ipv4Addr;

use super::attribute::{self, code};
use super::header::{HEADER_LEN, MessageType, message};
use super::open::AS_TRANS;
use super::path::{NextHop, Path};
use crate::attributes::RouteAttributes;
use crate::family::Family;

/// What the session adds to the attributes of every route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionAttributes {
    /// Our AS number.
    pub local_asn: u32,
    /// Whether the peer is in our AS: then AS_PATH is empty and LOCAL_PREF is sent.
    pub internal: bool,
    /// Whether the peer reads AS numbers of four octets (RFC 6793).
    pub four_octet_asn: bool,
    /// Longest message that the peer reads: 4096 octets, or 65535 (RFC 8654).
    pub message_len_max: usize,
}

/// A message, and how many of the offered paths are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The UPDATE.
    pub message: Vec<u8>,
    /// At least one if one was offered.
    pub paths: usize,
}

/// LOCAL_PREF of our routes unless they say otherwise: the value that routers assume by default.
pub const LOCAL_PREF_DEFAULT: u32 = 100;

const ORIGIN_IGP: u8 = 0;
const AS_SEQUENCE: u8 = 2;

/// Both length fields of an UPDATE.
const LENGTH_FIELDS_LEN: usize = 4;

/// AFI, SAFI, next hop length, reserved octet of MP_REACH_NLRI.
const MP_REACH_FIXED_LEN: usize = 2 + 1 + 1 + 1;
/// AFI and SAFI of MP_UNREACH_NLRI.
const MP_UNREACH_FIXED_LEN: usize = 2 + 1;
/// Flags, code, and a length of two octets.
const ATTRIBUTE_HEADER_LEN_MAX: usize = 4;

/// Announces as many of `paths` as fit; all of them are of `family`, and so is the next hop, or of IPv6.
pub fn announce(
    session: SessionAttributes,
    attributes: &RouteAttributes,
    (family, next_hop): (Family, NextHop),
    paths: impl Iterator<Item = Path>,
) -> Packed {
    if let (Family::Ipv4Unicast, NextHop::V4(v4)) = (family, next_hop) {
        let attributes = path_attributes(session, attributes, Some(v4));
        let (nlri, count) = pack(room(session.message_len_max, attributes.len()), paths);
        return Packed {
            message: update(&[], &attributes, &nlri),
            paths: count,
        };
    }
    let others = path_attributes(session, attributes, None);
    let next_hop = next_hop.octets();
    let fixed = ATTRIBUTE_HEADER_LEN_MAX + MP_REACH_FIXED_LEN + next_hop.len();
    let (nlri, count) = pack(room(session.message_len_max, others.len() + fixed), paths);
    let mut value = family_octets(family);
    value.push(next_hop.len() as u8);
    value.extend(next_hop);
    value.push(0);
    value.extend(nlri);
    let mut attributes = Vec::new();
    attribute::write(&mut attributes, code::MP_REACH_NLRI, &value);
    attributes.extend(others);
    Packed {
        message: update(&[], &attributes, &[]),
        paths: count,
    }
}

/// Withdraws as many of `paths` as fit a message of `message_len_max` octets; all of them are of `family`.
pub fn withdraw(
    family: Family,
    message_len_max: usize,
    paths: impl Iterator<Item = Path>,
) -> Packed {
    match family {
        Family::Ipv4Unicast => {
            let (withdrawn, count) = pack(room(message_len_max, 0), paths);
            Packed {
                message: update(&withdrawn, &[], &[]),
                paths: count,
            }
        }
        Family::Ipv6Unicast => {
            let fixed = ATTRIBUTE_HEADER_LEN_MAX + MP_UNREACH_FIXED_LEN;
            let (withdrawn, count) = pack(room(message_len_max, fixed), paths);
            Packed {
                message: unreach(family, &withdrawn),
                paths: count,
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

fn room(message_len_max: usize, taken: usize) -> usize {
    message_len_max - HEADER_LEN - LENGTH_FIELDS_LEN - taken
}

/// Encodes paths until the next one would not fit.
fn pack(room: usize, paths: impl Iterator<Item = Path>) -> (Vec<u8>, usize) {
    let mut octets = Vec::new();
    let mut count = 0;
    for path in paths {
        if octets.len() + path.encoded_len() > room {
            break;
        }
        path.encode(&mut octets);
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
    let mut write = |code, value: &[u8]| attribute::write(&mut out, code, value);
    write(code::ORIGIN, &[ORIGIN_IGP]);
    write(code::AS_PATH, &as_path(session, route));
    if let Some(next_hop) = next_hop {
        write(code::NEXT_HOP, &next_hop.octets());
    }
    if let Some(med) = route.med() {
        write(code::MULTI_EXIT_DISC, &med.to_be_bytes());
    }
    if session.internal {
        let local_pref = route.local_pref().unwrap_or(LOCAL_PREF_DEFAULT);
        write(code::LOCAL_PREF, &local_pref.to_be_bytes());
    }
    if !route.communities().is_empty() {
        let octets = route.communities().iter().map(|c| c.0.to_be_bytes());
        write(code::COMMUNITIES, &octets.flatten().collect::<Vec<u8>>());
    }
    if !route.extended_communities().is_empty() {
        let octets = route.extended_communities().iter().map(|c| c.0);
        let value: Vec<u8> = octets.flatten().collect();
        write(code::EXTENDED_COMMUNITIES, &value);
    }
    if needs_as4_path(session) {
        write(
            code::AS4_PATH,
            &own_asns(route, session.local_asn.to_be_bytes()),
        );
    }
    if !route.large_communities().is_empty() {
        let numbers = route.large_communities().iter().flat_map(|c| c.0);
        let value: Vec<u8> = numbers.flat_map(u32::to_be_bytes).collect();
        write(code::LARGE_COMMUNITIES, &value);
    }
    out
}

fn as_path(session: SessionAttributes, route: &RouteAttributes) -> Vec<u8> {
    if session.internal {
        return Vec::new();
    }
    if session.four_octet_asn {
        return own_asns(route, session.local_asn.to_be_bytes());
    }
    let asn = u16::try_from(session.local_asn).unwrap_or(AS_TRANS);
    own_asns(route, asn.to_be_bytes())
}

/// One AS_SEQUENCE of our AS number, once and as often as it is prepended.
fn own_asns<const N: usize>(route: &RouteAttributes, asn: [u8; N]) -> Vec<u8> {
    let times = 1 + route.prepend();
    let mut value = vec![AS_SEQUENCE, times];
    (0..times).for_each(|_| value.extend(asn));
    value
}

/// Only towards a peer that reads two octets, and only if AS_PATH had to lie (RFC 6793 section 4.2.2).
fn needs_as4_path(session: SessionAttributes) -> bool {
    !session.internal && !session.four_octet_asn && session.local_asn > u32::from(u16::MAX)
}
