//! What two independent decoders read from our messages: rustbgpd-wire and netgauze-bgp-pkt.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lb_bgp::wire::header::MESSAGE_LEN_MAX;
use lb_bgp::wire::update::{self, SessionAttributes};
use lb_bgp::wire::{Capability, Open, Path};
use lb_bgp::{Family, Prefix, RouteAttributes};
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::community::LargeCommunity;
use netgauze_bgp_pkt::path_attribute::{MpReach, MpUnreach, PathAttributeValue};
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use proptest::prelude::*;
use rustbgpd_wire::{AsPathSegment, Message, PathAttribute};

use crate::random_values::{attributes, cases, next_hop, open, prefixes, session};

fn rustbgpd(message: &[u8]) -> Message {
    rustbgpd_wire::decode_message(&mut message.to_vec().into(), 4096)
        .expect("rustbgpd-wire reads it")
}

fn netgauze(message: &[u8], four_octet_asn: bool) -> BgpMessage {
    let mut context = BgpParsingContext::default();
    context.set_asn4(four_octet_asn);
    let mut reader = SliceReader::new(message);
    let read = BgpMessage::parse(&mut reader, &mut context).expect("netgauze-bgp-pkt reads it");
    assert!(reader.is_empty());
    read
}

/// What is said of some prefixes, in terms that all decoders share.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    announced: BTreeSet<String>,
    withdrawn: BTreeSet<String>,
    next_hop: Option<IpAddr>,
    as_path: Vec<u32>,
    med: Option<u32>,
    local_pref: Option<u32>,
    communities: Vec<u32>,
    extended_communities: Vec<[u8; 8]>,
    large_communities: Vec<[u32; 3]>,
}

fn said_to_rustbgpd(message: &[u8], four_octet_asn: bool) -> Said {
    let Message::Update(update) = rustbgpd(message) else {
        panic!("not an UPDATE")
    };
    let update = update
        .parse(four_octet_asn, false, &[])
        .expect("rustbgpd-wire parses it");
    let mut said = Said::default();
    let v4 = |p: &rustbgpd_wire::Ipv4NlriEntry| format!("{}/{}", p.prefix.addr, p.prefix.len);
    said.announced.extend(update.announced.iter().map(v4));
    said.withdrawn.extend(update.withdrawn.iter().map(v4));
    let any = |entry: &rustbgpd_wire::NlriEntry| match entry.prefix {
        rustbgpd_wire::Prefix::V4(p) => format!("{}/{}", p.addr, p.len),
        rustbgpd_wire::Prefix::V6(p) => format!("{}/{}", p.addr, p.len),
    };
    for attribute in update.attributes {
        match attribute {
            PathAttribute::MpReachNlri(reach) => {
                said.announced.extend(reach.announced.iter().map(any));
                said.next_hop = Some(reach.next_hop);
            }
            PathAttribute::MpUnreachNlri(unreach) => {
                said.withdrawn.extend(unreach.withdrawn.iter().map(any));
            }
            PathAttribute::NextHop(address) => said.next_hop = Some(address.into()),
            PathAttribute::AsPath(path) => {
                for segment in path.segments {
                    let AsPathSegment::AsSequence(asns) = segment else {
                        panic!("AS_SET")
                    };
                    said.as_path.extend(asns);
                }
            }
            PathAttribute::Med(med) => said.med = Some(med),
            PathAttribute::LocalPref(value) => said.local_pref = Some(value),
            PathAttribute::Communities(values) => said.communities = values,
            PathAttribute::ExtendedCommunities(values) => {
                said.extended_communities =
                    values.iter().map(|c| c.as_u64().to_be_bytes()).collect();
            }
            PathAttribute::LargeCommunities(values) => {
                let numbers = |c: &rustbgpd_wire::LargeCommunity| {
                    [c.global_admin, c.local_data1, c.local_data2]
                };
                said.large_communities = values.iter().map(numbers).collect();
            }
            _ => {}
        }
    }
    said
}

fn said_to_netgauze(message: &[u8], four_octet_asn: bool) -> Said {
    let BgpMessage::Update(update) = netgauze(message, four_octet_asn) else {
        panic!("not an UPDATE")
    };
    let mut said = Said::default();
    said.announced.extend(
        update
            .nlri()
            .iter()
            .map(|p| p.network().address().to_string()),
    );
    said.withdrawn.extend(
        update
            .withdraw_routes()
            .iter()
            .map(|p| p.network().address().to_string()),
    );
    for attribute in update.path_attributes() {
        match attribute.value() {
            PathAttributeValue::MpReach(MpReach::Ipv6Unicast {
                next_hop_global,
                nlri,
                ..
            }) => {
                said.next_hop = Some((*next_hop_global).into());
                said.announced
                    .extend(nlri.iter().map(|p| p.network().address().to_string()));
            }
            PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                said.withdrawn
                    .extend(nlri.iter().map(|p| p.network().address().to_string()));
            }
            PathAttributeValue::NextHop(hop) => said.next_hop = Some(hop.next_hop().into()),
            PathAttributeValue::MultiExitDiscriminator(med) => said.med = Some(med.metric()),
            PathAttributeValue::LocalPreference(value) => said.local_pref = Some(value.metric()),
            PathAttributeValue::LargeCommunities(values) => {
                let numbers =
                    |c: &LargeCommunity| [c.global_admin(), c.local_data1(), c.local_data2()];
                said.large_communities = values.communities().iter().map(numbers).collect();
            }
            PathAttributeValue::Communities(values) => {
                said.communities = values.communities().iter().map(|c| c.value()).collect();
            }
            _ => {}
        }
    }
    said
}

fn expected(session: SessionAttributes, attributes: &RouteAttributes, hop: IpAddr) -> Said {
    // To a peer of two octets, rustbgpd-wire puts it together from AS_PATH and AS4_PATH.
    Said {
        next_hop: Some(hop),
        as_path: if session.internal {
            vec![]
        } else {
            vec![session.local_asn; 1 + usize::from(attributes.prepend())]
        },
        med: attributes.med(),
        local_pref: session
            .internal
            .then_some(attributes.local_pref().unwrap_or(100)),
        communities: attributes.communities().iter().map(|c| c.0).collect(),
        extended_communities: attributes
            .extended_communities()
            .iter()
            .map(|c| c.0)
            .collect(),
        large_communities: attributes.large_communities().iter().map(|c| c.0).collect(),
        ..Said::default()
    }
}

fn paths(prefixes: &[Prefix]) -> impl Iterator<Item = Path> {
    prefixes.iter().copied().map(Path::from)
}

fn words(prefixes: &[Prefix]) -> BTreeSet<String> {
    prefixes.iter().map(Prefix::to_string).collect()
}

/// Whether the other decoder reads the same from capability 64.
fn said_of_restart(theirs: &rustbgpd_wire::Capability, ours: &Capability) {
    let Capability::GracefulRestart(ours) = ours else {
        return;
    };
    let rustbgpd_wire::Capability::GracefulRestart {
        restart_state,
        restart_time,
        families,
        ..
    } = theirs
    else {
        panic!("{theirs:?} instead of {ours:?}")
    };
    assert_eq!(*restart_state, ours.restarted);
    assert_eq!(*restart_time, ours.restart_time_secs);
    let preserved: Vec<bool> = families.iter().map(|f| f.forwarding_preserved).collect();
    let ours = Family::ALL.into_iter().filter_map(|f| ours.families[f]);
    assert_eq!(preserved, ours.collect::<Vec<_>>());
}

/// What CI tries of each kind, 12,000 messages in all.
const SOME: u32 = 4_000;
/// What soak tries of each kind, 120,000 messages in all.
const MANY: u32 = 40_000;

proptest! {
    #![proptest_config(cases(SOME))]

    #[test]
    fn others_read_our_opens(open in open()) {
        others_read_open(&open);
    }

    #[test]
    fn others_read_our_announcements(said in announcement()) {
        others_read_announcement(&said);
    }

    #[test]
    fn others_read_our_withdrawals(prefixes in prefixes()) {
        others_read_withdrawal(&prefixes);
    }
}

proptest! {
    #![proptest_config(cases(MANY))]

    #[test]
    #[ignore = "soak: ten times as many"]
    fn others_read_many_opens(open in open()) {
        others_read_open(&open);
    }

    #[test]
    #[ignore = "soak: ten times as many"]
    fn others_read_many_announcements(said in announcement()) {
        others_read_announcement(&said);
    }

    #[test]
    #[ignore = "soak: ten times as many"]
    fn others_read_many_withdrawals(prefixes in prefixes()) {
        others_read_withdrawal(&prefixes);
    }
}

/// What is announced: prefixes of a family, by a next hop, with attributes, in a session.
type Announcement = (
    (Family, Vec<Prefix>),
    IpAddr,
    RouteAttributes,
    SessionAttributes,
);

fn announcement() -> impl Strategy<Value = Announcement> {
    let reached = prefixes().prop_flat_map(|prefixes| (next_hop(prefixes.0), Just(prefixes)));
    let announcement = (reached, attributes(), session());
    announcement
        .prop_map(|((hop, prefixes), attributes, session)| (prefixes, hop, attributes, session))
}

fn others_read_open(open: &Open) {
    let Message::Open(theirs) = rustbgpd(&open.encode()) else {
        panic!("not an OPEN")
    };
    assert_eq!(theirs.four_byte_as(), open.asn());
    assert_eq!(theirs.hold_time, open.hold_time_secs);
    assert_eq!(theirs.bgp_identifier, open.identifier);
    let codes: Vec<u8> = theirs.capabilities.iter().map(|c| c.code()).collect();
    let ours = open.capabilities.iter().copied().map(Capability::code);
    assert_eq!(codes, ours.collect::<Vec<_>>());
    for (theirs, ours) in theirs.capabilities.iter().zip(&open.capabilities) {
        said_of_restart(theirs, ours);
    }

    let BgpMessage::Open(theirs) = netgauze(&open.encode(), true) else {
        panic!("not an OPEN")
    };
    assert_eq!(theirs.my_asn4(), open.asn());
    assert_eq!(theirs.capabilities().len(), open.capabilities.len());
}

fn others_read_announcement(((family, prefixes), hop, attributes, session): &Announcement) {
    let next_hop = (*family, (*hop).into());
    let packed = update::announce(*session, attributes, next_hop, paths(prefixes));
    let mut expected = expected(*session, attributes, *hop);
    expected.announced = words(&prefixes[..packed.paths]);
    let read = said_to_rustbgpd(&packed.message, session.four_octet_asn);
    assert_eq!(read, expected);
    expected.as_path.clear();
    // It has a type of its own for each kind, with no way back to the octets.
    expected.extended_communities.clear();
    let read = said_to_netgauze(&packed.message, session.four_octet_asn);
    assert_eq!(read, expected);
}

fn others_read_withdrawal((family, prefixes): &(Family, Vec<Prefix>)) {
    let packed = update::withdraw(*family, MESSAGE_LEN_MAX, paths(prefixes));
    let expected = Said {
        withdrawn: words(&prefixes[..packed.paths]),
        ..Said::default()
    };
    assert_eq!(said_to_rustbgpd(&packed.message, true), expected);
    assert_eq!(said_to_netgauze(&packed.message, true), expected);
}

#[test]
fn others_read_our_end_of_rib() {
    for family in Family::ALL {
        let message = update::end_of_rib(family);
        let BgpMessage::Update(theirs) = netgauze(&message, true) else {
            panic!("not an UPDATE")
        };
        assert!(theirs.end_of_rib().is_some());
    }
    let plain = Open::new(65000, 90, [10, 0, 0, 1].into(), vec![]);
    let Message::Open(theirs) = rustbgpd(&plain.encode()) else {
        panic!("not an OPEN")
    };
    assert!(theirs.capabilities.is_empty());
}
