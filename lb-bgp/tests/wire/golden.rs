//! Messages octet by octet, as the RFCs draw them.

use std::net::IpAddr;

use lb_bgp::wire::capability::{AddPath, GracefulRestart, LongLived};
use lb_bgp::wire::header::{Frame, MESSAGE_LEN_MAX, first_frame};
use lb_bgp::wire::notification::{ErrorCode, header_error, open_error};
use lb_bgp::wire::received::ReadContext;
use lb_bgp::wire::update::{self, SessionAttributes};
use lb_bgp::wire::{self, Capability, Message, MessageType, NextHop, Notification, Open, Path};
use lb_bgp::{
    Community, ExtendedCommunity, Family, LargeCommunity, PerFamily, Prefix, RouteAttributes,
};

const EXTERNAL: SessionAttributes = SessionAttributes {
    local_asn: 65000,
    internal: false,
    four_octet_asn: true,
    message_len_max: MESSAGE_LEN_MAX,
};

/// Octets from text: marker `M`, else hexadecimal, spaces and line breaks aside.
fn octets(text: &str) -> Vec<u8> {
    let text = text.replace('M', "ffffffff ffffffff ffffffff ffffffff");
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn prefix(text: &str) -> Prefix {
    let (address, bits) = text.split_once('/').unwrap();
    Prefix::new(address.parse().unwrap(), bits.parse().unwrap()).unwrap()
}

fn announce(
    session: SessionAttributes,
    attributes: &RouteAttributes,
    next_hop: &str,
    prefixes: &[&str],
) -> Vec<u8> {
    let next_hop: IpAddr = next_hop.parse().unwrap();
    let packed = update::announce(
        session,
        attributes,
        (prefix(prefixes[0]).family(), next_hop.into()),
        prefixes.iter().map(|p| prefix(p).into()),
    );
    assert_eq!(packed.paths, prefixes.len());
    packed.message
}

#[test]
fn keepalive_and_route_refresh() {
    assert_eq!(wire::keepalive(), octets("M 0013 04"));
    assert_eq!(
        wire::route_refresh(Family::Ipv6Unicast),
        octets("M 0017 05 0002 00 01")
    );
    assert_eq!(
        wire::refresh(Family::Ipv4Unicast, wire::Refresh::Begin),
        octets("M 0017 05 0001 01 01"),
        "RFC 7313 section 3.2"
    );
}

#[test]
fn open_with_four_octet_as() {
    let capabilities = vec![
        Capability::Multiprotocol(Family::Ipv4Unicast),
        Capability::Multiprotocol(Family::Ipv6Unicast),
        Capability::RouteRefresh,
        Capability::FourOctetAsn(4_200_000_001),
    ];
    let open = Open::new(
        4_200_000_001,
        90,
        "10.0.0.11".parse().unwrap(),
        capabilities,
    );
    let expected = octets(
        "M 0033 01   04 5ba0 005a 0a00000b
         16   02 14   01 04 0001 00 01   01 04 0002 00 01   02 00   41 04 fa56ea01",
    );
    assert_eq!(open.encode(), expected);
    assert_eq!(Open::decode(&expected[19..]), Ok(open));
}

#[test]
fn graceful_restart_capability() {
    let capability = Capability::GracefulRestart(GracefulRestart {
        restarted: true,
        notification: true,
        restart_time_secs: 120,
        families: PerFamily::from_fn(|family| Some(family == Family::Ipv4Unicast)),
    });
    let mut written = vec![];
    capability.encode(&mut written);
    assert_eq!(
        written,
        octets("40 0a   c078   0001 01 80   0002 01 00"),
        "RFC 4724 section 3, RFC 8538 section 2"
    );

    let decode = |value: &str| {
        let value = octets(value);
        let length = value.len() as u8;
        let head = octets("04 fde9 00b4 0a000001");
        let capability = [&[length + 4, 2, length + 2, 64, length], &value[..]].concat();
        Open::decode(&[head, capability].concat()).unwrap()
    };
    let restarted = decode("c078   0001 01 80   0002 01 00");
    assert_eq!(restarted.capabilities, [capability]);
    let helper = GracefulRestart::default();
    assert_eq!(decode("0000").graceful_restart(), Some(helper));
    let other_family = decode("0078   0001 80 80");
    let expected = GracefulRestart {
        restart_time_secs: 120,
        ..helper
    };
    assert_eq!(other_family.graceful_restart(), Some(expected));
    // Of a wrong length: as if it weren't there.
    for wrong in ["", "00", "0078 0001 01"] {
        assert_eq!(decode(wrong).capabilities, [Capability::Other(64)]);
    }
}

#[test]
fn hard_reset_carries_the_real_reason() {
    let reset = Notification::administrative_shutdown("bye").in_hard_reset();
    assert_eq!(
        reset.encode(),
        octets("M 001b 03   06 09   06 02 03 627965")
    );
    assert_eq!(
        reset.to_string(),
        "hard reset (6/9): administrative shutdown (6/2): \"bye\""
    );
    let nested = reset.in_hard_reset();
    assert_eq!(nested.to_string(), "hard reset (6/9)");
    let bare = Notification::new(ErrorCode(6, 9), &[]);
    assert_eq!(bare.to_string(), "hard reset (6/9)");
}

#[test]
fn open_in_the_ways_of_others() {
    let body = |parameters: &str| octets(&format!("04 fde9 00b4 0a000001 {parameters}"));
    let decode = |parameters: &str| Open::decode(&body(parameters)).map(|open| open.capabilities);
    let four_octet = Capability::FourOctetAsn(65001);
    assert_eq!(decode("00"), Ok(vec![]));
    // Two parameters, one of them with two capabilities, one unknown (RFC 5492).
    let in_two = decode("0e   02 04 02 00 49 00   02 06 41 04 0000fde9");
    assert_eq!(
        in_two,
        Ok(vec![
            Capability::RouteRefresh,
            Capability::Other(73),
            four_octet
        ])
    );
    // Long form (RFC 9072).
    let long = decode("ff ff 0009   02 0006 41 04 0000fde9");
    assert_eq!(long, Ok(vec![four_octet]));
    // A family that we don't speak.
    let vpn = decode("08   02 06 01 04 0001 00 80");
    assert_eq!(vpn, Ok(vec![Capability::MultiprotocolOther(1, 128)]));

    let code = |parameters: &str| decode(parameters).unwrap_err().code;
    assert_eq!(code("04   01 02 0000"), open_error::UNSUPPORTED_PARAMETER);
    assert_eq!(
        code("05   02 06 41 04 00"),
        open_error::UNSPECIFIC,
        "parameter cut short"
    );
    assert_eq!(
        code("04   02 02 41 04"),
        open_error::UNSPECIFIC,
        "capability cut short"
    );
    assert_eq!(
        code("03   02 06 41 04 0000fde9"),
        open_error::UNSPECIFIC,
        "octets left over"
    );
    assert_eq!(
        code("06   02 04 41 02 fde9"),
        open_error::UNSPECIFIC,
        "AS number of two octets"
    );
    let version = Open::decode(&octets("03 fde9 00b4 0a000001 00")).unwrap_err();
    assert_eq!(
        version,
        Notification::new(open_error::UNSUPPORTED_VERSION, &[0, 4])
    );
}

#[test]
fn announce_ipv4() {
    let attributes = RouteAttributes::default()
        .with_med(10)
        .with_communities(vec![Community(0xfde8_0064), Community(0xffff_ff01)])
        .unwrap();
    let message = announce(
        EXTERNAL,
        &attributes,
        "10.0.0.11",
        &["198.51.100.1/32", "203.0.113.0/24"],
    );
    let expected = octets(
        "M 0000 02   0000 0026
         40 01 01 00   40 02 06 02 01 0000fde8   40 03 04 0a00000b   80 04 04 0000000a
         c0 08 08 fde80064 ffffff01   20 c6336401 18 cb0071",
    );
    assert_eq!(message, with_length(expected));
}

#[test]
fn announce_ipv6_reach_first() {
    let message = announce(
        EXTERNAL,
        &RouteAttributes::default(),
        "2001:db8::b",
        &["2001:db8:99::1/128", "2001:db8:9a::/48"],
    );
    let expected = octets(
        "M 0000 02   0000 003d
         80 0e 2d   0002 01 10 20010db8 00000000 00000000 0000000b 00
            80 20010db8 00990000 00000000 00000001   30 20010db8 009a
         40 01 01 00   40 02 06 02 01 0000fde8",
    );
    assert_eq!(message, with_length(expected));
}

#[test]
fn announce_within_the_as() {
    let internal = SessionAttributes {
        internal: true,
        ..EXTERNAL
    };
    let message = announce(
        internal,
        &RouteAttributes::default(),
        "10.0.0.11",
        &["0.0.0.0/0"],
    );
    let expected = octets(
        "M 0000 02   0000 0015
         40 01 01 00   40 02 00   40 03 04 0a00000b   40 05 04 00000064   00",
    );
    assert_eq!(message, with_length(expected));
}

#[test]
fn announce_to_a_peer_of_two_octets() {
    let old = SessionAttributes {
        four_octet_asn: false,
        local_asn: 4_200_000_001,
        ..EXTERNAL
    };
    let message = announce(
        old,
        &RouteAttributes::default(),
        "10.0.0.11",
        &["10.0.0.0/8"],
    );
    let expected = octets(
        "M 0000 02   0000 001b
         40 01 01 00   40 02 04 02 01 5ba0   40 03 04 0a00000b   c0 11 06 02 01 fa56ea01   08 0a",
    );
    assert_eq!(message, with_length(expected));

    let small = SessionAttributes {
        local_asn: 65000,
        ..old
    };
    let message = announce(
        small,
        &RouteAttributes::default(),
        "10.0.0.11",
        &["10.0.0.0/8"],
    );
    let expected = octets(
        "M 0000 02   0000 0012
         40 01 01 00   40 02 04 02 01 fde8   40 03 04 0a00000b   08 0a",
    );
    assert_eq!(
        message,
        with_length(expected),
        "no AS4_PATH where two octets suffice"
    );
}

#[test]
fn announce_with_everything() {
    let attributes = RouteAttributes::default()
        .with_prepend(2)
        .with_local_pref(7)
        .with_communities(vec![Community::GRACEFUL_SHUTDOWN])
        .unwrap()
        .with_extended_communities(vec![
            ExtendedCommunity::link_bandwidth(4_200_000_001, 125e6),
            ExtendedCommunity([0, 2, 0xfd, 0xe8, 0, 0, 0, 100]),
        ])
        .unwrap()
        .with_large_communities(vec![LargeCommunity([4_200_000_001, 1, 2])])
        .unwrap();
    let message = announce(EXTERNAL, &attributes, "10.0.0.11", &["10.0.0.0/8"]);
    let expected = octets(
        "M 0000 02   0000 0045
         40 01 01 00   40 02 0e 02 03 0000fde8 0000fde8 0000fde8   40 03 04 0a00000b
         c0 08 04 ffff0000
         c0 10 10 0002 fde8 00000064 4004 5ba0 4cee6b28
         c0 20 0c fa56ea01 00000001 00000002   08 0a",
    );
    assert_eq!(
        message,
        with_length(expected),
        "no LOCAL_PREF to another AS"
    );

    let internal = SessionAttributes {
        internal: true,
        ..EXTERNAL
    };
    let attributes = RouteAttributes::default()
        .with_local_pref(7)
        .with_prepend(2);
    let message = announce(internal, &attributes, "10.0.0.11", &["10.0.0.0/8"]);
    let expected = octets(
        "M 0000 02   0000 0015
         40 01 01 00   40 02 00   40 03 04 0a00000b   40 05 04 00000007   08 0a",
    );
    assert_eq!(message, with_length(expected), "no own AS within the AS");
}

/// RFC 7911 section 3: four octets before each prefix.
#[test]
fn several_paths_have_identifiers() {
    let path = |text: &str| Path {
        prefix: prefix(text),
        id: Some(0x0a00_000b),
    };
    let next_hop: IpAddr = "10.0.0.11".parse().unwrap();
    let family = Family::Ipv4Unicast;
    let message = update::announce(
        EXTERNAL,
        &RouteAttributes::default(),
        (family, next_hop.into()),
        std::iter::once(path("198.51.100.1/32")),
    );
    let expected = octets(
        "M 0000 02   0000 0014
         40 01 01 00   40 02 06 02 01 0000fde8   40 03 04 0a00000b   0a00000b 20 c6336401",
    );
    assert_eq!(message.message, with_length(expected));
    let path = std::iter::once(path("2001:db8::/32"));
    let withdrawn = update::withdraw(Family::Ipv6Unicast, MESSAGE_LEN_MAX, path);
    let expected = octets("M 0000 02   0000 000f   80 0f 0c 0002 01   0a00000b 20 20010db8");
    assert_eq!(withdrawn.message, with_length(expected));
}

/// RFC 8950 section 3, with a link-local address as in RFC 2545 section 3.
#[test]
fn ipv4_by_an_ipv6_next_hop() {
    let next_hop = NextHop::V6 {
        global: "2001:db8::b".parse().unwrap(),
        link_local: Some("fe80::b".parse().unwrap()),
    };
    let message = update::announce(
        EXTERNAL,
        &RouteAttributes::default(),
        (Family::Ipv4Unicast, next_hop),
        std::iter::once(prefix("198.51.100.1/32").into()),
    );
    let expected = octets(
        "M 0000 02   0000 003a
         80 0e 2a   0001 01 20 20010db8 00000000 00000000 0000000b
            fe800000 00000000 00000000 0000000b 00   20 c6336401
         40 01 01 00   40 02 06 02 01 0000fde8",
    );
    assert_eq!(message.message, with_length(expected));
}

#[test]
fn capabilities_of_families() {
    let written = |capability: Capability| {
        let mut out = vec![];
        capability.encode(&mut out);
        out
    };
    let sends = PerFamily::from_fn(|_| Some(AddPath::Send));
    let add_path = written(Capability::AddPath(sends));
    assert_eq!(add_path, octets("45 08   0001 01 02   0002 01 02"));
    let stale = |family| {
        (family == Family::Ipv4Unicast).then_some(LongLived {
            forwarding_preserved: true,
            stale_time_secs: 0x01_5180,
        })
    };
    let stale = Capability::LongLivedGracefulRestart(PerFamily::from_fn(stale));
    assert_eq!(written(stale), octets("47 07   0001 01 80 015180"));
    let next_hop = written(Capability::ExtendedNextHop);
    assert_eq!(next_hop, octets("05 06   0001 0001 0002"));
    assert_eq!(written(Capability::ExtendedMessage), octets("06 00"));
    assert_eq!(written(Capability::EnhancedRouteRefresh), octets("46 00"));
}

/// RFC 9072 section 2: the long form, and only where it must be.
#[test]
fn many_capabilities_need_long_lengths() {
    let open = |count| {
        let capabilities = vec![Capability::FourOctetAsn(65000); count];
        Open::new(65000, 90, [10, 0, 0, 1].into(), capabilities)
    };
    assert_eq!(open(42).encode()[28..31], [254, 2, 252]);
    let long = open(43);
    let message = long.encode();
    let lengths = [255, 255, 1, 5, 2, 1, 2];
    assert_eq!(message[28..35], lengths);
    assert_eq!(Open::decode(&message[19..]), Ok(long));
}

/// RFC 7313 section 5: the answer has an error code of its own, and the whole message.
#[test]
fn a_refresh_of_a_wrong_length_is_told_so() {
    let message = octets("M 0018 05 0001 01 01 00");
    let frame = first_frame(&message).unwrap().unwrap();
    let context = ReadContext {
        four_octet_asn: true,
        internal: false,
    };
    let refused = Message::decode(frame, context).unwrap_err();
    assert_eq!(refused, Notification::new(ErrorCode(7, 1), &message));
}

#[test]
fn withdraw_and_end_of_rib() {
    let withdraw = |family, text: &str| {
        let path = prefix(text).into();
        update::withdraw(family, MESSAGE_LEN_MAX, std::iter::once(path)).message
    };
    assert_eq!(
        withdraw(Family::Ipv4Unicast, "198.51.100.1/32"),
        octets("M 001c 02   0005 20 c6336401   0000")
    );
    assert_eq!(
        withdraw(Family::Ipv6Unicast, "2001:db8:99::1/128"),
        octets(
            "M 002e 02   0000 0017   80 0f 14 0002 01
             80 20010db8 00990000 00000000 00000001"
        )
    );
    assert_eq!(
        update::end_of_rib(Family::Ipv4Unicast),
        octets("M 0017 02   0000 0000")
    );
    let v6 = octets("M 001d 02   0000 0006   80 0f 03 0002 01");
    assert_eq!(update::end_of_rib(Family::Ipv6Unicast), v6);
}

#[test]
fn shutdown_text_is_cut_between_characters() {
    let plain = Notification::administrative_shutdown("bye");
    assert_eq!(plain.encode(), octets("M 0019 03   06 02   03 627965"));
    assert_eq!(plain.to_string(), "administrative shutdown (6/2): \"bye\"");
    let long = Notification::administrative_shutdown(&"ä".repeat(200));
    assert_eq!(long.data.len(), 1 + 254);
    assert_eq!(long.shutdown_text().unwrap(), "ä".repeat(127));
    let hostile = Notification::new(ErrorCode(6, 2), b"\x05a\x1b[2J");
    assert_eq!(
        hostile.to_string(),
        "administrative shutdown (6/2): \"a\\u{1b}[2J\""
    );
    let lying = Notification::new(ErrorCode(6, 2), b"\xffabc");
    assert_eq!(lying.shutdown_text(), None);
}

#[test]
fn headers_that_cannot_be_right() {
    let refused = |text: &str| {
        let error = first_frame(&octets(text)).unwrap_err();
        (error.code, error.data)
    };
    let not_synchronized = (header_error::NOT_SYNCHRONIZED, vec![]);
    assert_eq!(
        refused("ffffffff ffffffff ffffffff fffffffe 0013 04"),
        not_synchronized
    );
    for length in [
        "0012 04", "1001 01", "0014 04", "001c 01", "0016 02", "0014 03",
    ] {
        let data = octets(&length[..4]);
        assert_eq!(
            refused(&format!("M {length}")),
            (header_error::BAD_LENGTH, data)
        );
    }
    assert_eq!(refused("M 0013 00"), (header_error::BAD_TYPE, vec![0]));
    assert_eq!(refused("M 0013 06"), (header_error::BAD_TYPE, vec![6]));

    let whole = octets("M 0015 03 06 02");
    let frame = Frame {
        kind: MessageType::Notification,
        body: &[6, 2],
    };
    assert_eq!(first_frame(&whole), Ok(Some(frame)));
    assert_eq!(first_frame(&whole[..20]), Ok(None));
    assert_eq!(first_frame(&[]), Ok(None));
}

/// Fills in the length field of the header.
fn with_length(mut message: Vec<u8>) -> Vec<u8> {
    let length = message.len() as u16;
    message[16..18].copy_from_slice(&length.to_be_bytes());
    message
}
