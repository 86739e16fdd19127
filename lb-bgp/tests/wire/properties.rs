//! What holds for every value and for any octets.

#![allow(
    clippy::disallowed_methods,
    reason = "a test takes any instant as its beginning"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use lb_bgp::wire::header::{MESSAGE_LEN_MAX, first_frame};
use lb_bgp::wire::received::{ReadContext, inspect};
use lb_bgp::wire::{Message, Notification, Open, Path, nlri, update};
use lb_bgp::{ConnId, Input, Output, Peer, PeerConfig};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::random_values::{attributes, cases, next_hop, open, prefixes, read_context, session};

const CONTEXT: ReadContext = ReadContext {
    four_octet_asn: true,
    internal: false,
};

/// Octets that look like the beginning of a session now and then.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let framed = (1..6u8, vec(any::<u8>(), 0..80)).prop_map(|(kind, body)| {
        let length = (19 + body.len() as u16).to_be_bytes();
        [&[0xff; 16], &length[..], &[kind], &body].concat()
    });
    let good_open = Just(Open::new(65001, 90, Ipv4Addr::new(10, 0, 0, 1), vec![]).encode());
    let piece = prop_oneof![
        4 => framed,
        2 => good_open,
        2 => Just(lb_bgp::wire::keepalive()),
        1 => vec(any::<u8>(), 0..200),
    ];
    vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn open_survives_the_wire(open in open()) {
        let message = open.encode();
        let frame = first_frame(&message).unwrap().unwrap();
        prop_assert_eq!(Message::decode(frame, CONTEXT), Ok(Message::Open(open)));
    }

    #[test]
    fn notification_survives_the_wire(code: u8, subcode: u8, data in vec(any::<u8>(), 0..300)) {
        let sent = Notification { code: lb_bgp::wire::notification::ErrorCode(code, subcode), data };
        let message = sent.encode();
        let frame = first_frame(&message).unwrap().unwrap();
        prop_assert_eq!(Message::decode(frame, CONTEXT), Ok(Message::Notification(sent)));
    }

    #[test]
    fn prefixes_survive_the_wire((family, prefixes) in prefixes()) {
        let mut octets = Vec::new();
        prefixes.iter().for_each(|prefix| nlri::encode(*prefix, &mut octets));
        let read: Result<Vec<_>, _> = nlri::prefixes(family, &octets).collect();
        prop_assert_eq!(read, Ok(prefixes));
    }

    #[test]
    fn no_octets_make_a_peer_panic(octets in stream(), cut in 1..300usize) {
        let now = Instant::now();
        let config = PeerConfig::new(65000, 65001, Ipv4Addr::new(10, 0, 0, 2));
        let mut peer = Peer::new(config, now).unwrap();
        peer.handle(now, Input::Start);
        let conn = ConnId::accepted(0);
        let address = SocketAddr::from(([10, 0, 0, 1], 179));
        peer.handle(now, Input::Accepted { conn, local: address, remote: address });
        for bytes in octets.chunks(cut) {
            peer.handle(now, Input::Bytes { conn, bytes });
        }
        let outputs = std::iter::from_fn(|| match peer.poll(now) {
            Output::Wait(_) => None,
            output => Some(output),
        });
        prop_assert!(outputs.count() < 50);
    }

    #[test]
    fn no_octets_make_a_decoder_panic(octets in vec(any::<u8>(), 0..120)) {
        let _ = first_frame(&octets);
        let _ = Open::decode(&octets);
        let _ = Open::decode(&[&[4], &octets[..]].concat());
        let _ = inspect(&octets, CONTEXT);
        if let Some(notification) = Notification::decode(&octets) {
            let _ = notification.to_string();
        }
    }

    #[test]
    fn damage_never_makes_a_decoder_panic(
        (family, prefixes) in prefixes(),
        attributes in attributes(),
        session in session(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let hop: IpAddr = match family {
            lb_bgp::Family::Ipv4Unicast => [10, 0, 0, 1].into(),
            lb_bgp::Family::Ipv6Unicast => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1].into(),
        };
        let packed = update::announce(session, &attributes, (family, hop.into()), prefixes.into_iter().map(Path::from));
        let mut body = packed.message[19..].to_vec();
        for (index, octet) in damage {
            let index = index.index(body.len());
            body[index] = octet;
        }
        let _ = inspect(&body, CONTEXT);
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn packing_loses_nothing_and_fills_messages(
        ((family, prefixes), hop) in prefixes().prop_flat_map(|p| (Just(p.clone()), next_hop(p.0))),
        attributes in attributes(),
        session in session(),
    ) {
        let mut rest = &prefixes[..];
        let mut announced = 0;
        while !rest.is_empty() {
            let packed = update::announce(session, &attributes, (family, hop.into()), rest.iter().copied().map(Path::from));
            prop_assert!(packed.paths > 0 && packed.message.len() <= MESSAGE_LEN_MAX);
            let is_last = packed.paths == rest.len();
            prop_assert!(is_last || packed.message.len() > MESSAGE_LEN_MAX - nlri::PREFIX_LEN_MAX - 1);
            let received = inspect(&packed.message[19..], read_context(session)).unwrap();
            prop_assert_eq!(received.fault, None);
            announced += received.announced;
            rest = &rest[packed.paths..];
        }
        prop_assert_eq!(announced, prefixes.len() as u64);

        let withdrawn = update::withdraw(family, MESSAGE_LEN_MAX, prefixes.iter().copied().map(Path::from));
        let received = inspect(&withdrawn.message[19..], CONTEXT).unwrap();
        prop_assert_eq!(received.withdrawn, withdrawn.paths as u64);
    }
}
