//! What ends a session because the peer does too much or too little: routes, families, taking octets.

use super::*;
use crate::wire::notification::SEND_HOLD_TIMER_EXPIRED;

fn announcement(hosts: std::ops::Range<u32>) -> Vec<u8> {
    let session = wire::update::SessionAttributes {
        local_asn: 65001,
        internal: false,
        four_octet_asn: true,
        message_len_max: wire::header::MESSAGE_LEN_MAX,
    };
    let paths = hosts.map(|host| Prefix::host(Ipv4Addr::from(host).into()).into());
    let next_hop = (Family::Ipv4Unicast, wire::NextHop::V4(HIGHER));
    wire::update::announce(session, &RouteAttributes::default(), next_hop, paths).message
}

#[test]
fn too_many_routes_end_the_session() {
    let limited = PeerConfig {
        received_routes_max: Some(100),
        ..config()
    };
    let mut bench = Bench::new(limited.clone());
    let conn = bench.establish();
    bench.receive(conn, &announcement(0..100));
    let paths = (0..50u32).map(|host| Prefix::host(Ipv4Addr::from(host).into()).into());
    let withdrawn = wire::update::withdraw(Family::Ipv4Unicast, 4096, paths);
    bench.receive(conn, &withdrawn.message);
    bench.receive(conn, &announcement(200..250));
    assert_eq!(bench.state(), State::Established);
    bench.receive(conn, &announcement(300..301));
    bench.assert_ended(conn, cease::MAXIMUM_PREFIXES);

    // A higher limit needs no new session.
    let mut bench = Bench::new(limited);
    let conn = bench.establish();
    bench.peer.reconfigure(bench.now, config()).unwrap();
    bench.receive(conn, &announcement(0..101));
    assert_eq!(bench.state(), State::Established);
}

/// RFC 5492 section 3.
#[test]
fn a_required_family_that_is_missing_ends_the_session() {
    let mut requiring = config();
    requiring.families_required[Family::Ipv6Unicast] = true;
    let mut bench = Bench::new(requiring.clone());
    let conn = bench.connect();
    let mut only_ipv4 = open(HIGHER);
    let ipv6 = Capability::Multiprotocol(Family::Ipv6Unicast);
    only_ipv4.capabilities.retain(|c| *c != ipv6);
    bench.receive(conn, &only_ipv4.encode());
    bench.assert_ended(conn, open_error::UNSUPPORTED_CAPABILITY);
    let data = bench.notification(conn).unwrap().data;
    assert_eq!(data, [1, 4, 0, 2, 0, 1]);

    let mut bench = Bench::new(requiring.clone());
    bench.establish();
    requiring.families[Family::Ipv6Unicast] = false;
    let error = Peer::new(requiring, Instant::now()).unwrap_err();
    assert_eq!(error, ConfigError::RequiredFamily(Family::Ipv6Unicast));
}

/// RFC 9687: a peer that is heard but takes nothing.
#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let mut bench = Bench::new(config());
    let conn = bench.establish();
    let wanted = routes(["192.0.2.1"]);
    bench.peer.handle(bench.now, Input::Routes(wanted));
    // Nothing that is given out now is ever taken.
    let mut outputs = vec![];
    let mut run = |bench: &mut Bench, seconds: u64| {
        for _ in 0..seconds {
            bench.now += Duration::from_secs(1);
            let bytes = &wire::keepalive();
            bench.peer.handle(bench.now, Input::Bytes { conn, bytes });
            while let output = bench.peer.poll(bench.now)
                && !matches!(output, Output::Wait(_))
            {
                outputs.push(output);
            }
        }
        bench.peer.status().state
    };
    assert_eq!(run(&mut bench, 470), State::Established);
    assert_ne!(run(&mut bench, 20), State::Established);
    let is_it = |output: &Output| match output {
        Output::Send { bytes, .. } => {
            Notification::decode(&bytes[19..]).is_some_and(|n| n.code == SEND_HOLD_TIMER_EXPIRED)
                && bytes[18] == MessageType::Notification as u8
        }
        _ => false,
    };
    assert!(outputs.iter().any(is_it));
}

#[test]
fn a_peer_that_takes_a_little_now_and_then_stays() {
    let mut bench = Bench::new(config());
    let conn = bench.establish();
    let many = (0..40_000u32).map(|host| Prefix::host(Ipv4Addr::from(host).into()));
    let many: RouteSet = many
        .map(|prefix| (prefix, RouteAttributes::default().into()))
        .collect();
    bench.peer.handle(bench.now, Input::Routes(Arc::new(many)));
    for _ in 0..1000 {
        bench.now += Duration::from_secs(1);
        let bytes = &wire::keepalive();
        bench.peer.handle(bench.now, Input::Bytes { conn, bytes });
        bench.peer.handle(bench.now, Input::Sent { conn, bytes: 1 });
        while !matches!(bench.peer.poll(bench.now), Output::Wait(_)) {}
    }
    assert_eq!(bench.state(), State::Established);
}
