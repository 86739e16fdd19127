//! Received UPDATEs: what RFC 7606 resets, what it tolerates, and what is counted.

use lb_bgp::wire::Notification;
use lb_bgp::wire::notification::update_error;
use lb_bgp::wire::received::{Reaction, ReadContext, ReceivedUpdate, UpdateFault, inspect};

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 10, 0, 0, 1];
const HOST: &[u8] = &[32, 192, 0, 2, 1];

fn body(withdrawn: &[u8], attributes: &[&[u8]], nlri: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let length = |octets: &[u8]| (octets.len() as u16).to_be_bytes();
    [
        &length(withdrawn),
        withdrawn,
        &length(&attributes),
        &attributes,
        nlri,
    ]
    .concat()
}

fn reach(next_hop_len: u8, nlri: &[u8]) -> Vec<u8> {
    let next_hop = vec![0x20; next_hop_len.into()];
    let value = [&[0, 2, 1, next_hop_len], &next_hop[..], &[0], nlri].concat();
    [&[0x80, 14, value.len() as u8], &value[..]].concat()
}

const EXTERNAL: ReadContext = ReadContext {
    four_octet_asn: true,
    internal: false,
};
const INTERNAL: ReadContext = ReadContext {
    internal: true,
    ..EXTERNAL
};

fn inspected(body: &[u8]) -> Result<ReceivedUpdate, Notification> {
    inspect(body, EXTERNAL)
}

/// What is wrong, and what becomes of the routes, from a peer of another AS.
fn fault(attributes: &[&[u8]], nlri: &[u8]) -> Option<(UpdateFault, Reaction)> {
    let update = inspected(&body(&[], attributes, nlri)).expect("no reset");
    update.fault
}

#[test]
fn counts_prefixes_of_all_fields() {
    let unreach = [0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0x0d, 0xb8];
    let reach = reach(32, &[0, 16, 0x20, 1]);
    let message = body(
        HOST,
        &[&reach, &unreach, ORIGIN, AS_PATH, NEXT_HOP],
        &[HOST, HOST].concat(),
    );
    let expected = ReceivedUpdate {
        announced: 4,
        withdrawn: 2,
        fault: None,
    };
    assert_eq!(inspected(&message), Ok(expected));
}

/// RFC 7606 section 7 and the sections of the RFCs it points to: every attribute that it has a rule for, and one
/// value each that breaks it.
#[test]
fn each_malformed_attribute_has_its_reaction() {
    use Reaction::{AttributeDiscard as Discard, TreatAsWithdraw as Withdraw};
    let cases: &[(&str, &[u8], Reaction, Reaction)] = &[
        (
            "7.1 ORIGIN of 2 octets",
            &[0x40, 1, 2, 0, 0],
            Withdraw,
            Withdraw,
        ),
        ("7.1 ORIGIN 3", &[0x40, 1, 1, 3], Withdraw, Withdraw),
        ("3 c ORIGIN optional", &[0xc0, 1, 1, 0], Withdraw, Withdraw),
        (
            "7.2 AS_PATH cut short",
            &[0x40, 2, 1, 2],
            Withdraw,
            Withdraw,
        ),
        (
            "7.2 segment overrun",
            &[0x40, 2, 6, 2, 2, 0, 0, 0, 1],
            Withdraw,
            Withdraw,
        ),
        (
            "7.2 segment of type 9",
            &[0x40, 2, 6, 9, 1, 0, 0, 0, 1],
            Withdraw,
            Withdraw,
        ),
        ("7.2 empty segment", &[0x40, 2, 2, 2, 0], Withdraw, Withdraw),
        (
            "7.3 NEXT_HOP of 5",
            &[0x40, 3, 5, 1, 2, 3, 4, 5],
            Withdraw,
            Withdraw,
        ),
        (
            "7.4 MED of 5",
            &[0x80, 4, 5, 0, 0, 0, 0, 0],
            Withdraw,
            Withdraw,
        ),
        (
            "7.5 LOCAL_PREF of 3",
            &[0x40, 5, 3, 0, 0, 0],
            Discard,
            Withdraw,
        ),
        (
            "7.6 ATOMIC_AGGREGATE of 1",
            &[0x40, 6, 1, 0],
            Discard,
            Discard,
        ),
        (
            "7.7 AGGREGATOR of 6",
            &[0xc0, 7, 6, 0, 1, 1, 2, 3, 4],
            Discard,
            Discard,
        ),
        ("7.8 COMMUNITIES empty", &[0xc0, 8, 0], Withdraw, Withdraw),
        (
            "7.8 COMMUNITIES of 5",
            &[0xc0, 8, 5, 0, 0, 0, 0, 0],
            Withdraw,
            Withdraw,
        ),
        (
            "7.9 ORIGINATOR_ID of 3",
            &[0x80, 9, 3, 0, 0, 0],
            Discard,
            Withdraw,
        ),
        ("7.10 CLUSTER_LIST empty", &[0x80, 10, 0], Discard, Withdraw),
        (
            "7.14 EXTENDED of 4",
            &[0xc0, 16, 4, 0, 0, 0, 0],
            Withdraw,
            Withdraw,
        ),
        (
            "6793 AS4_PATH of 5",
            &[0xc0, 17, 5, 2, 1, 0, 0, 0],
            Discard,
            Discard,
        ),
        (
            "6793 AS4_AGGREGATOR of 6",
            &[0xc0, 18, 6, 0, 0, 0, 0, 0, 0],
            Discard,
            Discard,
        ),
        (
            "8092 LARGE of 8",
            &[0xc0, 32, 8, 0, 0, 0, 0, 0, 0, 0, 0],
            Withdraw,
            Withdraw,
        ),
        (
            "unknown and well-known",
            &[0x40, 200, 1, 0],
            Withdraw,
            Withdraw,
        ),
    ];
    for (name, attribute, external, internal) in cases {
        let others = [ORIGIN, AS_PATH, NEXT_HOP];
        let others = others.into_iter().filter(|good| good[1] != attribute[1]);
        let attributes: Vec<&[u8]> = others.chain([*attribute]).collect();
        let body = body(&[], &attributes, HOST);
        for (context, reaction) in [(EXTERNAL, external), (INTERNAL, internal)] {
            let update = inspect(&body, context).expect("no reset");
            let fault = UpdateFault::MalformedAttribute(attribute[1]);
            assert_eq!(update.fault, Some((fault, *reaction)), "{name}");
            assert_eq!(update.announced, 1, "{name}");
        }
    }
}

#[test]
fn tolerates_what_leaves_the_prefixes_readable() {
    use Reaction::{AttributeDiscard, TreatAsWithdraw};
    let good = [ORIGIN, AS_PATH, NEXT_HOP];
    assert_eq!(fault(&good, HOST), None);
    let missing = |code| Some((UpdateFault::MissingAttribute(code), TreatAsWithdraw));
    assert_eq!(fault(&good[..2], HOST), missing(3));
    assert_eq!(fault(&[], HOST), missing(1));
    assert_eq!(fault(&[], &[]), None, "End-of-RIB");
    let twice = [ORIGIN, ORIGIN, AS_PATH, NEXT_HOP];
    let duplicate = UpdateFault::DuplicateAttribute(1);
    assert_eq!(fault(&twice, HOST), Some((duplicate, AttributeDiscard)));
    let overrun = [0x80, 4, 9, 0];
    let cut = Some((UpdateFault::AttributeOverrun, TreatAsWithdraw));
    assert_eq!(fault(&[ORIGIN, AS_PATH, NEXT_HOP, &overrun], HOST), cut);
    let worse_wins = fault(&[ORIGIN, ORIGIN, AS_PATH, NEXT_HOP, &overrun], HOST);
    assert_eq!(worse_wins, cut);
    let unknown_optional = [0xe0, 200, 1, 0];
    let unknown = [ORIGIN, AS_PATH, NEXT_HOP, &unknown_optional];
    assert_eq!(fault(&unknown, HOST), None);
}

#[test]
fn as_numbers_have_the_length_that_was_agreed_on() {
    let two_octets = ReadContext {
        four_octet_asn: false,
        ..EXTERNAL
    };
    let short_path = [0x40, 2, 4, 2, 1, 0xfd, 0xe9];
    let body = body(&[], &[ORIGIN, &short_path, NEXT_HOP], HOST);
    assert_eq!(inspect(&body, two_octets).unwrap().fault, None);
    assert!(inspect(&body, EXTERNAL).unwrap().fault.is_some());
}

/// As GoBGP 3.10 writes IPv4 routes in a session over IPv6, whether we offered RFC 8950 or not.
#[test]
fn ipv4_by_ipv6_next_hops_is_counted() {
    let next_hop = [0x20; 16];
    let value = [&[0, 1, 1, 16], &next_hop[..], &[0], HOST].concat();
    let reach = [&[0x80, 14, value.len() as u8], &value[..]].concat();
    let body = body(&[], &[&reach, ORIGIN, AS_PATH], &[]);
    assert_eq!(inspected(&body).unwrap().announced, 1);
}

#[test]
fn resets_where_prefixes_cannot_be_found() {
    let code = |body: &[u8]| inspected(body).unwrap_err().code;
    assert_eq!(
        code(&[0, 9, 0, 0]),
        update_error::MALFORMED_ATTRIBUTES,
        "withdrawn overruns"
    );
    assert_eq!(
        code(&[0, 0, 0, 9]),
        update_error::MALFORMED_ATTRIBUTES,
        "attributes overrun"
    );
    assert_eq!(
        code(&body(&[], &[], &[33, 1, 2, 3, 4, 5])),
        update_error::INVALID_NETWORK
    );
    assert_eq!(
        code(&body(&[32, 1], &[], &[])),
        update_error::INVALID_NETWORK
    );
    let reach_twice = [reach(16, &[0]), reach(16, &[0])];
    assert_eq!(
        code(&body(&[], &[&reach_twice[0], &reach_twice[1]], &[])),
        update_error::MALFORMED_ATTRIBUTES
    );
    for bad in [
        reach(4, &[0]),
        reach(16, &[129, 0]),
        vec![0x80, 14, 2, 0, 2],
        vec![0x80, 15, 1, 0],
    ] {
        let refused = inspected(&body(&[], &[&bad], &[])).unwrap_err();
        assert_eq!(
            (refused.code, refused.data),
            (update_error::OPTIONAL_ATTRIBUTE, bad)
        );
    }
}

#[test]
fn does_not_look_into_families_of_others() {
    let vpn = [0x80, 14, 6, 0, 1, 128, 0, 0, 0xff];
    let counted = inspected(&body(&[], &[&vpn], &[]));
    assert_eq!(counted, Ok(ReceivedUpdate::default()));
}
