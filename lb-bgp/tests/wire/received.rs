//! Received UPDATEs: what RFC 7606 resets, what it tolerates, and what is counted.

use lb_bgp::wire::notification::update_error;
use lb_bgp::wire::received::{ReceivedUpdate, UpdateFault, inspect};

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

fn fault(attributes: &[&[u8]], nlri: &[u8]) -> Option<UpdateFault> {
    inspect(&body(&[], attributes, nlri))
        .expect("no reset")
        .fault
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
    assert_eq!(inspect(&message), Ok(expected));
}

#[test]
fn tolerates_what_leaves_the_prefixes_readable() {
    let good = [ORIGIN, AS_PATH, NEXT_HOP];
    assert_eq!(fault(&good, HOST), None);
    assert_eq!(
        fault(&good[..2], HOST),
        Some(UpdateFault::MissingAttribute(3))
    );
    assert_eq!(fault(&[], HOST), Some(UpdateFault::MissingAttribute(1)));
    assert_eq!(fault(&[], &[]), None, "End-of-RIB");
    let wrong_flags = [0xc0, 1, 1, 0];
    assert_eq!(
        fault(&[&wrong_flags, AS_PATH, NEXT_HOP], HOST),
        Some(UpdateFault::MalformedAttribute(1))
    );
    let bad_origin = [0x40, 1, 1, 3];
    assert_eq!(
        fault(&[&bad_origin, AS_PATH, NEXT_HOP], HOST),
        Some(UpdateFault::MalformedAttribute(1))
    );
    let long_med = [0x80, 4, 5, 0, 0, 0, 0, 0];
    assert_eq!(
        fault(&[ORIGIN, AS_PATH, NEXT_HOP, &long_med], HOST),
        Some(UpdateFault::MalformedAttribute(4))
    );
    let twice = [ORIGIN, ORIGIN, AS_PATH, NEXT_HOP];
    assert_eq!(
        fault(&twice, HOST),
        Some(UpdateFault::DuplicateAttribute(1))
    );
    let overrun = [0x80, 4, 9, 0];
    assert_eq!(
        fault(&[ORIGIN, AS_PATH, NEXT_HOP, &overrun], HOST),
        Some(UpdateFault::AttributeOverrun)
    );
    let unknown_optional = [0xe0, 200, 1, 0];
    assert_eq!(
        fault(&[ORIGIN, AS_PATH, NEXT_HOP, &unknown_optional], HOST),
        None
    );
    let unknown_well_known = [0x40, 200, 1, 0];
    assert_eq!(
        fault(&[ORIGIN, AS_PATH, NEXT_HOP, &unknown_well_known], HOST),
        Some(UpdateFault::MalformedAttribute(200))
    );
}

#[test]
fn resets_where_prefixes_cannot_be_found() {
    let code = |body: &[u8]| inspect(body).unwrap_err().code;
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
        let refused = inspect(&body(&[], &[&bad], &[])).unwrap_err();
        assert_eq!(
            (refused.code, refused.data),
            (update_error::OPTIONAL_ATTRIBUTE, bad)
        );
    }
}

#[test]
fn does_not_look_into_families_of_others() {
    let vpn = [0x80, 14, 6, 0, 1, 128, 0, 0, 0xff];
    let counted = inspect(&body(&[], &[&vpn], &[]));
    assert_eq!(counted, Ok(ReceivedUpdate::default()));
}
