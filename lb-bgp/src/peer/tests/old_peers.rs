//! Peers that know no capabilities (RFC 5492 section 3), and what is sent outside of timers.

use super::*;

/// A speaker of plain RFC 4271.
fn plain_open() -> Open {
    Open::new(65001, 90, HIGHER, vec![])
}

fn last_open(bench: &Bench, conn: ConnId) -> Open {
    let mut of_conn = bench.sent.iter().filter(|(id, _)| *id == conn);
    let is_open = |(_, bytes): &&(ConnId, Vec<u8>)| bytes[18] == MessageType::Open as u8;
    let (_, bytes) = of_conn.rfind(is_open).expect("an OPEN");
    Open::decode(&bytes[19..]).expect("our own OPEN")
}

/// The peer refuses the OPEN for its parameter; gives the next connection.
fn refuse_capabilities(bench: &mut Bench) -> ConnId {
    let conn = bench.connect();
    assert!(!last_open(bench, conn).capabilities.is_empty());
    let refusal = Notification::new(open_error::UNSUPPORTED_PARAMETER, &[]);
    bench.receive(conn, &refusal.encode());
    bench.advance(Duration::from_secs(300));
    bench.connect()
}

#[test]
fn a_peer_that_refuses_capabilities_is_opened_without() {
    let mut bench = Bench::new(PeerConfig {
        add_path: true,
        ..config()
    });
    bench.input(Input::Routes(routes(["198.51.100.1", "2001:db8::1"])));
    let conn = refuse_capabilities(&mut bench);
    assert!(last_open(&bench, conn).capabilities.is_empty());
    // What it sends by itself counts for nothing: nobody has offered it.
    bench.receive(conn, &open(HIGHER).encode());
    bench.receive(conn, &wire::keepalive());
    let status = bench.peer.status();
    let negotiated = status.connection.unwrap().negotiated.unwrap();
    assert!(negotiated.families[Family::Ipv4Unicast]);
    assert!(!negotiated.families[Family::Ipv6Unicast]);
    assert!(!negotiated.four_octet_asn && !negotiated.add_path[Family::Ipv4Unicast]);
    assert_eq!(status.families[Family::Ipv4Unicast].sent, 1);
    assert_eq!(status.families[Family::Ipv6Unicast].sent, 0);

    // It may have been replaced by another one meanwhile.
    bench.input(Input::Closed { conn, error: None });
    bench.advance(Duration::from_secs(300));
    let conn = bench.connect();
    assert!(!last_open(&bench, conn).capabilities.is_empty());
}

#[test]
fn capabilities_are_not_given_up_where_nothing_would_be_left() {
    let mut requiring = config();
    requiring.families_required[Family::Ipv6Unicast] = true;
    let mut only_ipv6 = config();
    only_ipv6.families[Family::Ipv4Unicast] = false;
    for config in [requiring, only_ipv6] {
        let mut bench = Bench::new(config);
        let conn = refuse_capabilities(&mut bench);
        assert!(!last_open(&bench, conn).capabilities.is_empty());
    }
}

#[test]
fn other_refusals_leave_the_capabilities() {
    let mut bench = Bench::new(config());
    let conn = bench.connect();
    let refusal = Notification::new(open_error::UNSUPPORTED_CAPABILITY, &[]);
    bench.receive(conn, &refusal.encode());
    bench.advance(Duration::from_secs(300));
    let conn = bench.connect();
    assert!(!last_open(&bench, conn).capabilities.is_empty());
    bench.receive(conn, &plain_open().encode());
    assert_eq!(bench.state(), State::OpenConfirm);
}

#[test]
fn a_keepalive_can_be_asked_for() {
    let mut bench = Bench::new(config());
    bench.input(Input::Keepalive);
    let conn = bench.establish();
    let count = |bench: &Bench| {
        let keepalives = bench.sent.iter().filter(|(_, b)| *b == wire::keepalive());
        keepalives.count()
    };
    let before = count(&bench);
    bench.input(Input::Keepalive);
    assert_eq!(count(&bench), before + 1);
    bench.input(Input::Closed { conn, error: None });
    bench.input(Input::Keepalive);
    assert_eq!(count(&bench), before + 1);
}
