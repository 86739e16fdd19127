//! Single transitions, driven by hand-made messages. Whole sessions are in `tests/simulation.rs`.

#![allow(
    clippy::disallowed_methods,
    reason = "a test takes any instant as its beginning"
)]

mod dialling;
mod limits;
mod old_peers;
mod routes;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::wire::capability::GracefulRestart;
use crate::wire::notification::{ErrorCode, open_error};
use crate::wire::{self, Capability, MessageType, Open};
use crate::{Family, PerFamily, Prefix, RouteAttributes};

const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const LOWER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const HIGHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);

/// A peer with a clock, and everything it has put out.
struct Bench {
    peer: Peer,
    now: Instant,
    sent: Vec<(ConnId, Vec<u8>)>,
    closed: Vec<ConnId>,
    dialled: Vec<ConnId>,
    events: Vec<Event>,
}

impl Bench {
    fn new(config: PeerConfig) -> Self {
        let now = Instant::now();
        let peer = Peer::new(config, now).unwrap();
        let mut bench = Self {
            peer,
            now,
            sent: vec![],
            closed: vec![],
            dialled: vec![],
            events: vec![],
        };
        bench.input(Input::Start);
        bench
    }

    fn input(&mut self, input: Input<'_>) {
        self.peer.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) -> Option<Instant> {
        loop {
            match self.peer.poll(self.now) {
                Output::Connect(conn) => self.dialled.push(conn),
                Output::Send { conn, bytes } => {
                    let sent = Input::Sent {
                        conn,
                        bytes: bytes.len(),
                    };
                    self.sent.push((conn, bytes));
                    self.peer.handle(self.now, sent);
                }
                Output::Close(conn) => self.closed.push(conn),
                Output::Event(event) => self.events.push(event),
                Output::Wait(deadline) => return deadline,
            }
        }
    }

    /// Lets time pass, from deadline to deadline.
    fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(deadline) = self.drain().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
        }
        self.now = end;
        self.drain();
    }

    fn connect(&mut self) -> ConnId {
        let conn = *self.dialled.last().unwrap();
        self.input(Input::Connected {
            conn,
            local: address(1),
            remote: address(2),
        });
        conn
    }

    fn accept(&mut self, serial: u64) -> ConnId {
        let conn = ConnId::accepted(serial);
        self.input(Input::Accepted {
            conn,
            local: address(1),
            remote: address(2),
        });
        conn
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        self.input(Input::Bytes { conn, bytes });
    }

    fn establish(&mut self) -> ConnId {
        let conn = self.connect();
        self.receive(conn, &open(HIGHER).encode());
        self.receive(conn, &wire::keepalive());
        assert_eq!(self.state(), State::Established);
        conn
    }

    fn state(&self) -> State {
        self.peer.status().state
    }

    /// The last NOTIFICATION sent on a connection.
    fn notification(&self, conn: ConnId) -> Option<Notification> {
        let mut of_conn = self.sent.iter().filter(|(id, _)| *id == conn);
        let last = of_conn
            .next_back()
            .filter(|(_, b)| b[18] == MessageType::Notification as u8)?;
        Notification::decode(&last.1[19..])
    }

    fn assert_ended(&self, conn: ConnId, code: ErrorCode) {
        assert_eq!(self.notification(conn).map(|n| n.code), Some(code));
        assert!(self.closed.contains(&conn));
    }
}

fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 179))
}

fn config() -> PeerConfig {
    PeerConfig {
        hold_time_secs: 9,
        next_hop_v4: Some(OURS),
        next_hop_v6: Some("2001:db8::2".parse().unwrap()),
        ..PeerConfig::new(65000, 65001, OURS)
    }
}

fn open(identifier: Ipv4Addr) -> Open {
    let capabilities = vec![
        Capability::Multiprotocol(Family::Ipv4Unicast),
        Capability::Multiprotocol(Family::Ipv6Unicast),
        Capability::FourOctetAsn(65001),
    ];
    Open::new(65001, 90, identifier, capabilities)
}

fn routes(hosts: impl IntoIterator<Item = &'static str>) -> Arc<RouteSet> {
    let prefix = |host: &str| Prefix::host(host.parse::<IpAddr>().unwrap());
    Arc::new(
        hosts
            .into_iter()
            .map(|host| (prefix(host), RouteAttributes::default().into()))
            .collect(),
    )
}

#[test]
fn walks_through_all_states() {
    let mut bench = Bench::new(config());
    assert_eq!(bench.state(), State::Connect);
    bench.establish();
    let states: Vec<State> = bench
        .events
        .iter()
        .filter_map(|event| match event {
            Event::StateChanged { to, .. } => Some(*to),
            _ => None,
        })
        .collect();
    assert_eq!(
        states,
        [
            State::Connect,
            State::OpenSent,
            State::OpenConfirm,
            State::Established
        ]
    );
    let negotiated = bench.peer.status().connection.unwrap().negotiated.unwrap();
    assert_eq!(negotiated.hold_time, Duration::from_secs(9));
    assert_eq!(negotiated.keepalive, Duration::from_secs(3));
}

#[test]
fn accepts_octets_one_by_one() {
    let mut bench = Bench::new(config());
    let conn = bench.connect();
    for octet in [open(HIGHER).encode(), wire::keepalive()].concat() {
        bench.receive(conn, &[octet]);
    }
    assert_eq!(bench.state(), State::Established);
}

#[test]
fn stop_sends_the_reason_and_closes() {
    let mut bench = Bench::new(config());
    let conn = bench.establish();
    bench.input(Input::Stop(Shutdown::Administrative("maintenance".into())));
    assert_eq!(
        bench.notification(conn).unwrap().shutdown_text().unwrap(),
        "maintenance"
    );
    bench.assert_ended(conn, cease::ADMINISTRATIVE_SHUTDOWN);
    assert_eq!(bench.state(), State::Idle);
    assert_eq!(bench.drain(), None);

    let late = bench.accept(7);
    bench.assert_ended(late, cease::CONNECTION_REJECTED);
}

#[test]
fn back_off_grows_to_two_minutes() {
    let mut bench = Bench::new(config());
    let mut delays = vec![];
    for _ in 0..8 {
        let conn = *bench.dialled.last().unwrap();
        let before = bench.now;
        bench.input(Input::ConnectFailed {
            conn,
            error: "connection refused",
        });
        assert_eq!(bench.state(), State::Active);
        bench.now = bench.drain().unwrap();
        bench.drain();
        delays.push((bench.now - before).as_secs_f64());
    }
    for (delay, bound) in delays
        .iter()
        .zip([5.0, 10.0, 20.0, 40.0, 80.0, 120.0, 120.0, 120.0])
    {
        assert!(
            (bound * 0.75..=bound).contains(delay),
            "{delay} s instead of {bound} s"
        );
    }
    let error = bench.peer.status().last_error.unwrap().reason.to_string();
    assert_eq!(error, "could not connect: connection refused");
}

#[test]
fn a_hanging_dial_is_given_up() {
    let mut bench = Bench::new(config());
    let first = bench.dialled[0];
    bench.advance(Duration::from_secs(5));
    assert_eq!(bench.closed, [first]);
    assert_eq!(bench.dialled.len(), 2);
}

#[test]
fn passive_never_dials() {
    let mut bench = Bench::new(PeerConfig {
        passive: true,
        ..config()
    });
    assert_eq!((bench.state(), bench.drain()), (State::Active, None));
    let conn = bench.accept(1);
    bench.input(Input::Closed { conn, error: None });
    assert_eq!((bench.state(), bench.drain()), (State::Active, None));
    assert!(bench.dialled.is_empty());
}

#[test]
fn silence_expires_the_hold_timer() {
    let mut bench = Bench::new(config());
    let conn = bench.establish();
    bench.advance(Duration::from_millis(8_999));
    assert_eq!(bench.state(), State::Established);
    bench.advance(Duration::from_millis(1));
    bench.assert_ended(conn, crate::wire::notification::HOLD_TIMER_EXPIRED);
    let error = bench.peer.status().last_error.unwrap().reason.to_string();
    assert_eq!(
        error,
        "nothing heard from the peer for 9 s; sent NOTIFICATION: hold timer expired (4/0)"
    );
    let keepalives = bench
        .sent
        .iter()
        .filter(|(_, bytes)| bytes.len() == 19)
        .count();
    assert!(
        (3..=5).contains(&keepalives),
        "{keepalives} keepalives in 9 s at 2.25 to 3 s"
    );
}

#[test]
fn only_keepalives_and_updates_restart_the_hold_timer() {
    let mut bench = Bench::new(config());
    let conn = bench.establish();
    for message in [
        wire::keepalive(),
        wire::update::end_of_rib(Family::Ipv4Unicast),
    ] {
        bench.advance(Duration::from_secs(8));
        bench.receive(conn, &message);
    }
    bench.advance(Duration::from_secs(8));
    bench.receive(conn, &wire::route_refresh(Family::Ipv4Unicast));
    bench.receive(conn, &wire::keepalive()[..18]);
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.state(), State::Active);
}

#[test]
fn hold_time_zero_never_expires_and_sends_no_keepalives() {
    let mut bench = Bench::new(PeerConfig {
        hold_time_secs: 0,
        ..config()
    });
    bench.establish();
    let sent = bench.sent.len();
    bench.advance(Duration::from_secs(100_000));
    assert_eq!(
        (bench.state(), bench.sent.len()),
        (State::Established, sent)
    );
}

#[test]
fn open_awaited_for_four_minutes() {
    let mut bench = Bench::new(PeerConfig {
        passive: true,
        ..config()
    });
    let conn = bench.accept(1);
    bench.advance(Duration::from_secs(239));
    assert_eq!(bench.state(), State::OpenSent);
    bench.advance(Duration::from_secs(1));
    bench.assert_ended(conn, crate::wire::notification::HOLD_TIMER_EXPIRED);
}

#[test]
fn first_keepalive_awaited_for_four_minutes_without_a_hold_time() {
    let mut bench = Bench::new(PeerConfig {
        hold_time_secs: 0,
        ..config()
    });
    let conn = bench.connect();
    bench.receive(conn, &open(HIGHER).encode());
    bench.advance(Duration::from_secs(239));
    assert_eq!(bench.state(), State::OpenConfirm);
    bench.advance(Duration::from_secs(1));
    bench.assert_ended(conn, crate::wire::notification::HOLD_TIMER_EXPIRED);
}

#[test]
fn updates_stand_in_for_keepalives() {
    let mut bench = Bench::new(config());
    let conn = bench.establish();
    bench.sent.clear();
    for round in 0..10 {
        bench.advance(Duration::from_secs(2));
        bench.receive(conn, &wire::keepalive());
        let routes = if round % 2 == 0 {
            routes(["192.0.2.1"])
        } else {
            Arc::default()
        };
        bench.input(Input::Routes(routes));
    }
    assert_eq!(
        bench.sent.len(),
        10,
        "ten UPDATEs, at most 2 s apart, and no KEEPALIVE"
    );
}

#[test]
fn only_a_session_that_lasted_ends_the_back_off() {
    let retry_after_session_of = |duration: Duration| {
        let mut bench = Bench::new(config());
        for _ in 0..4 {
            let conn = *bench.dialled.last().unwrap();
            bench.input(Input::ConnectFailed {
                conn,
                error: "connection refused",
            });
            bench.now = bench.drain().unwrap();
            bench.drain();
        }
        let conn = bench.establish();
        let end = bench.now + duration;
        while bench.now < end {
            bench.advance(Duration::from_secs(5));
            bench.receive(conn, &wire::keepalive());
        }
        bench.input(Input::Closed { conn, error: None });
        bench.drain().unwrap() - bench.now
    };
    assert!(retry_after_session_of(Duration::from_secs(30)) <= Duration::from_secs(5));
    assert!(retry_after_session_of(Duration::from_secs(25)) > Duration::from_secs(60));
}

#[test]
fn refuses_opens_that_do_not_fit() {
    let with = |change: fn(&mut Open)| {
        let mut changed = open(HIGHER);
        change(&mut changed);
        changed
    };
    let as_trans = |o: &mut Open| o.capabilities = vec![Capability::FourOctetAsn(23456)];
    let cases = [
        (
            with(|o| o.capabilities = vec![Capability::FourOctetAsn(65002)]),
            open_error::BAD_PEER_AS,
        ),
        (
            with(|o| o.capabilities = vec![Capability::FourOctetAsn(0)]),
            open_error::BAD_PEER_AS,
        ),
        (with(as_trans), open_error::BAD_PEER_AS),
        (with(|o| o.hold_time_secs = 1), open_error::BAD_HOLD_TIME),
        (with(|o| o.hold_time_secs = 2), open_error::BAD_HOLD_TIME),
        (
            with(|o| o.identifier = Ipv4Addr::UNSPECIFIED),
            open_error::BAD_IDENTIFIER,
        ),
    ];
    for (open, code) in cases {
        let mut bench = Bench::new(config());
        let conn = bench.connect();
        bench.receive(conn, &open.encode());
        bench.assert_ended(conn, code);
        assert_eq!(bench.state(), State::Active);
    }
}

#[test]
fn refuses_its_own_identifier_within_its_as() {
    let mut bench = Bench::new(PeerConfig {
        peer_asn: 65000,
        ..config()
    });
    let conn = bench.connect();
    let capabilities = vec![Capability::FourOctetAsn(65000)];
    bench.receive(conn, &Open::new(65000, 90, OURS, capabilities).encode());
    bench.assert_ended(conn, open_error::BAD_IDENTIFIER);
}

#[test]
fn names_the_state_of_an_unexpected_message() {
    let update = wire::update::end_of_rib(Family::Ipv4Unicast);
    let messages = [
        vec![],
        vec![open(HIGHER).encode()],
        vec![open(HIGHER).encode(), wire::keepalive()],
    ];
    for (setup, subcode, unexpected) in [
        (&messages[0], 1, &update),
        (&messages[1], 2, &update),
        (&messages[2], 3, &open(HIGHER).encode()),
    ] {
        let mut bench = Bench::new(config());
        let conn = bench.connect();
        setup
            .iter()
            .for_each(|message| bench.receive(conn, message));
        bench.receive(conn, unexpected);
        bench.assert_ended(conn, ErrorCode(5, subcode));
        assert_eq!(bench.notification(conn).unwrap().data, [unexpected[18]]);
    }
}

/// Both connections are up; the OPENs come on the dialled one first, or on the accepted one first.
fn collide(identifier: Ipv4Addr, dialled_first: bool) -> (Bench, ConnId, ConnId) {
    let mut bench = Bench::new(config());
    let dialled = bench.connect();
    let accepted = bench.accept(1);
    let order = if dialled_first {
        [dialled, accepted]
    } else {
        [accepted, dialled]
    };
    for conn in order {
        bench.receive(conn, &open(identifier).encode());
    }
    (bench, dialled, accepted)
}

#[test]
fn collision_keeps_what_the_higher_identifier_dialled() {
    for dialled_first in [true, false] {
        let (bench, dialled, accepted) = collide(LOWER, dialled_first);
        bench.assert_ended(accepted, cease::COLLISION);
        assert_eq!(bench.closed, [accepted]);
        assert_eq!(bench.peer.connections[0].id, dialled);
        assert_eq!(bench.state(), State::OpenConfirm);
        assert_eq!(
            bench.peer.status().last_error,
            None,
            "a collision is nothing gone wrong"
        );

        let (bench, dialled, accepted) = collide(HIGHER, dialled_first);
        bench.assert_ended(dialled, cease::COLLISION);
        assert_eq!(bench.closed, [dialled]);
        assert_eq!(bench.peer.connections[0].id, accepted);
        assert_eq!(bench.state(), State::OpenConfirm);
    }
}

#[test]
fn collision_of_equal_identifiers_goes_by_as_number() {
    for dialled_first in [true, false] {
        let (bench, dialled, _) = collide(OURS, dialled_first);
        assert_eq!(bench.closed, [dialled], "the peer's AS 65001 is above ours");
    }
}

#[test]
fn an_established_session_survives_a_new_connection() {
    let mut bench = Bench::new(config());
    let old = bench.establish();
    let new = bench.accept(1);
    assert_eq!(bench.state(), State::Established);
    bench.receive(new, &open(HIGHER).encode());
    bench.assert_ended(new, cease::COLLISION);
    assert_eq!(
        (bench.state(), bench.peer.connections[0].id),
        (State::Established, old)
    );
}

#[test]
fn a_session_ends_what_else_is_under_way() {
    let mut bench = Bench::new(config());
    let dial = bench.dialled[0];
    let accepted = bench.accept(1);
    bench.receive(accepted, &open(HIGHER).encode());
    bench.receive(accepted, &wire::keepalive());
    assert_eq!(
        (bench.state(), &bench.closed[..]),
        (State::Established, &[dial][..])
    );
    bench.input(Input::Connected {
        conn: dial,
        local: address(1),
        remote: address(2),
    });
    assert_eq!(
        bench.peer.connections.len(),
        1,
        "a dial that was given up cannot come back"
    );

    let mut bench = Bench::new(config());
    let dialled = bench.connect();
    let accepted = bench.accept(1);
    bench.receive(accepted, &open(LOWER).encode());
    bench.receive(accepted, &wire::keepalive());
    bench.assert_ended(dialled, cease::COLLISION);
    assert_eq!(bench.peer.connections[0].id, accepted);
}

#[test]
fn a_newer_accepted_connection_replaces_a_half_open_one() {
    let mut bench = Bench::new(config());
    let stale = bench.accept(1);
    let fresh = bench.accept(2);
    bench.assert_ended(stale, cease::COLLISION);
    assert_eq!(bench.peer.connections[0].id, fresh);
}

#[test]
fn reports_what_is_in_sync_and_what_is_held_back() {
    let mut bench = Bench::new(PeerConfig {
        next_hop_v6: None,
        ..config()
    });
    bench.input(Input::Routes(routes(["192.0.2.1", "2001:db8:99::1"])));
    let families = bench.peer.status().families;
    assert_eq!(
        families[Family::Ipv4Unicast].held_back,
        Some(HeldBack::NotEstablished)
    );
    bench.establish();
    let status = bench.peer.status();
    assert!(status.in_sync);
    assert_eq!(
        status.families[Family::Ipv4Unicast],
        FamilyStatus {
            wanted: 1,
            sent: 1,
            held_back: None
        }
    );
    let v6 = status.families[Family::Ipv6Unicast];
    assert_eq!((v6.sent, v6.held_back), (0, Some(HeldBack::NoNextHop)));
    assert!(bench.events.contains(&Event::InSync { routes: 1 }));

    bench.input(Input::Routes(Arc::default()));
    assert_eq!(bench.events.last(), Some(&Event::InSync { routes: 0 }));
}

#[test]
fn updates_wait_until_the_system_takes_octets() {
    let mut bench = Bench::new(config());
    bench.establish();
    let many: RouteSet = (0..40_000u32)
        .map(|host| {
            (
                Prefix::host(Ipv4Addr::from(host).into()),
                RouteAttributes::default().into(),
            )
        })
        .collect();
    bench.peer.handle(bench.now, Input::Routes(Arc::new(many)));
    let mut octets = 0;
    while let Output::Send { bytes, .. } = bench.peer.poll(bench.now) {
        octets += bytes.len();
    }
    assert!(
        (64 * 1024..72 * 1024).contains(&octets),
        "{octets} octets at once"
    );
    assert!(!bench.peer.status().in_sync);
}

#[test]
fn route_refresh_sends_the_family_again() {
    let mut bench = Bench::new(config());
    bench.input(Input::Routes(routes(["192.0.2.1", "2001:db8:99::1"])));
    let conn = bench.establish();
    bench.sent.clear();
    bench.receive(conn, &wire::route_refresh(Family::Ipv6Unicast));
    assert_eq!(bench.sent.len(), 1);
    assert_eq!(
        bench.sent[0].1[23 + 1],
        14,
        "an UPDATE with MP_REACH_NLRI first"
    );
}

#[test]
fn inbound_routes_are_counted_and_dropped() {
    let mut bench = Bench::new(config());
    let conn = bench.establish();
    let session = wire::update::SessionAttributes {
        local_asn: 65001,
        internal: false,
        four_octet_asn: true,
        message_len_max: wire::header::MESSAGE_LEN_MAX,
    };
    let prefixes = (0..500u32).map(|host| Prefix::host(Ipv4Addr::from(host).into()).into());
    let attributes = RouteAttributes::default();
    let next_hop = (Family::Ipv4Unicast, wire::NextHop::V4(HIGHER));
    let update = wire::update::announce(session, &attributes, next_hop, prefixes);
    bench.receive(conn, &update.message);
    bench.receive(conn, &update.message);
    assert_eq!(bench.peer.status().counters.prefixes_dropped, 1000);
    let reported = bench
        .events
        .iter()
        .filter(|e| **e == Event::InboundRoutes)
        .count();
    assert_eq!(reported, 1);
}

#[test]
fn a_new_next_hop_keeps_the_session_and_a_new_as_does_not() {
    let mut bench = Bench::new(config());
    bench.input(Input::Routes(routes(["192.0.2.1"])));
    let conn = bench.establish();
    bench.sent.clear();
    let moved = PeerConfig {
        next_hop_v4: Some(HIGHER),
        ..config()
    };
    bench.peer.reconfigure(bench.now, moved.clone()).unwrap();
    bench.drain();
    assert_eq!((bench.sent.len(), bench.state()), (1, State::Established));

    bench
        .peer
        .reconfigure(
            bench.now,
            PeerConfig {
                peer_asn: 65009,
                ..moved
            },
        )
        .unwrap();
    bench.drain();
    bench.assert_ended(conn, cease::CONFIGURATION_CHANGE);
    assert_eq!(bench.state(), State::Connect);
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let refused = |config: PeerConfig| Peer::new(config, Instant::now()).map(|_| ()).unwrap_err();
    assert_eq!(
        refused(PeerConfig {
            local_asn: 0,
            ..config()
        }),
        ConfigError::ReservedAsn(0)
    );
    assert_eq!(
        refused(PeerConfig {
            hold_time_secs: 2,
            ..config()
        }),
        ConfigError::HoldTime(2)
    );
    let zero = PeerConfig {
        router_id: Ipv4Addr::UNSPECIFIED,
        ..config()
    };
    assert_eq!(refused(zero), ConfigError::ZeroRouterId);
    let none = PeerConfig {
        families: PerFamily::from_fn(|_| false),
        ..config()
    };
    assert_eq!(refused(none), ConfigError::NoFamily);
}

/// As after a restart; IPv4 was forwarded all along, IPv6 was not.
fn restarted() -> PeerConfig {
    PeerConfig {
        graceful_restart: Some(crate::GracefulRestart {
            restart_time_secs: 120,
            over_notifications: true,
            restarted: true,
            forwarding_preserved: PerFamily::from_fn(|family| family == Family::Ipv4Unicast),
            stale_time_secs: 0,
        }),
        ..config()
    }
}

/// A peer that keeps routes over a restart, and with `notification` over a NOTIFICATION as well.
fn helper_open(notification: bool) -> Open {
    let mut open = open(HIGHER);
    let helper = GracefulRestart {
        notification,
        ..GracefulRestart::default()
    };
    open.capabilities.push(Capability::GracefulRestart(helper));
    open
}

impl Bench {
    fn establish_with(&mut self, open: &Open) -> ConnId {
        let conn = self.connect();
        self.receive(conn, &open.encode());
        self.receive(conn, &wire::keepalive());
        assert_eq!(self.state(), State::Established);
        conn
    }

    /// Capability 64 of the OPEN sent on a connection.
    fn graceful_restart_sent(&self, conn: ConnId) -> Option<GracefulRestart> {
        let is_open =
            |(id, b): &&(ConnId, Vec<u8>)| *id == conn && b[18] == MessageType::Open as u8;
        let (_, open) = self.sent.iter().find(is_open).unwrap();
        Open::decode(&open[19..]).unwrap().graceful_restart()
    }

    /// The peer's TCP goes without a word, and time passes until we have dialled again.
    fn lose(&mut self, conn: ConnId) {
        let dialled = self.dialled.len();
        self.input(Input::Closed { conn, error: None });
        while self.dialled.len() == dialled {
            self.advance(Duration::from_secs(1));
        }
    }
}

#[test]
fn says_that_it_restarted_until_the_first_session() {
    let mut bench = Bench::new(restarted());
    let first = bench.connect();
    let sent = bench.graceful_restart_sent(first).unwrap();
    assert!(sent.restarted && sent.notification);
    assert_eq!(sent.restart_time_secs, 120);
    let preserved = [Some(true), Some(false)];
    assert_eq!(Family::ALL.map(|family| sent.families[family]), preserved);

    bench.lose(first);
    let second = bench.establish_with(&helper_open(false));
    let sent = bench.graceful_restart_sent(second).unwrap();
    assert!(sent.restarted, "no session was up yet");

    // This process was there all along: what it forwards has no gap.
    bench.lose(second);
    let third = bench.connect();
    let sent = bench.graceful_restart_sent(third).unwrap();
    assert!(!sent.restarted);
    let preserved = [Some(true); 2];
    assert_eq!(Family::ALL.map(|family| sent.families[family]), preserved);
}

#[test]
fn a_first_start_claims_nothing() {
    let mut fresh = restarted();
    fresh.graceful_restart.as_mut().unwrap().restarted = false;
    fresh.families[Family::Ipv6Unicast] = false;
    let mut bench = Bench::new(fresh);
    let conn = bench.connect();
    let sent = bench.graceful_restart_sent(conn).unwrap();
    assert!(!sent.restarted);
    let preserved = [Some(false), None];
    assert_eq!(Family::ALL.map(|family| sent.families[family]), preserved);

    let mut without = Bench::new(config());
    let conn = without.connect();
    assert_eq!(without.graceful_restart_sent(conn), None);
}

#[test]
fn agrees_on_what_both_ends_do() {
    let agreed = |config: PeerConfig, open: &Open| {
        let mut bench = Bench::new(config);
        bench.establish_with(open);
        let negotiated = bench.peer.status().connection.unwrap().negotiated.unwrap();
        (negotiated.restart_time.as_secs(), negotiated.hard_reset)
    };
    assert_eq!(agreed(restarted(), &helper_open(true)), (120, true));
    assert_eq!(agreed(restarted(), &helper_open(false)), (120, false));
    assert_eq!(agreed(restarted(), &open(HIGHER)), (0, false));
    let mut plain = restarted();
    plain.graceful_restart.as_mut().unwrap().over_notifications = false;
    assert_eq!(
        agreed(plain, &helper_open(true)),
        (120, false),
        "the N bit counts if both send it"
    );
    assert_eq!(agreed(config(), &helper_open(true)), (0, false));
}

#[test]
fn leaves_for_good_by_a_hard_reset() {
    let shutdown = || Input::Stop(Shutdown::Administrative("maintenance".into()));
    let mut bench = Bench::new(restarted());
    let conn = bench.establish_with(&helper_open(true));
    bench.input(shutdown());
    bench.assert_ended(conn, cease::HARD_RESET);
    let inner = bench.notification(conn).unwrap().within_hard_reset();
    assert_eq!(
        inner,
        Some(Notification::administrative_shutdown("maintenance"))
    );

    // Without the N bit, GoBGP keeps the routes after any Cease but this one.
    let mut bench = Bench::new(restarted());
    let conn = bench.establish_with(&helper_open(false));
    bench.input(shutdown());
    bench.assert_ended(conn, cease::HARD_RESET);

    let mut bench = Bench::new(restarted());
    let conn = bench.establish_with(&open(HIGHER));
    bench.input(shutdown());
    bench.assert_ended(conn, cease::ADMINISTRATIVE_SHUTDOWN);

    let mut bench = Bench::new(config());
    let conn = bench.establish();
    bench.input(Input::Stop(Shutdown::Deconfigured));
    bench.assert_ended(conn, cease::PEER_DECONFIGURED);
}

#[test]
fn a_reset_for_a_new_configuration_keeps_the_routes() {
    let mut bench = Bench::new(restarted());
    let conn = bench.establish_with(&helper_open(true));
    let mut other = restarted();
    other.hold_time_secs = 30;
    bench.peer.reconfigure(bench.now, other).unwrap();
    bench.drain();
    bench.assert_ended(conn, cease::CONFIGURATION_CHANGE);

    let conn = bench.establish_with(&helper_open(true));
    bench.input(Input::Reconnect);
    bench.assert_ended(conn, cease::CONFIGURATION_CHANGE);
    assert_eq!(bench.state(), State::Connect);
}

#[test]
fn facts_about_the_restart_need_no_new_session() {
    let mut bench = Bench::new(restarted());
    let conn = bench.establish_with(&helper_open(true));
    let mut other = restarted();
    let facts = other.graceful_restart.as_mut().unwrap();
    facts.restarted = false;
    facts.forwarding_preserved = PerFamily::default();
    bench.peer.reconfigure(bench.now, other.clone()).unwrap();
    bench.drain();
    assert!(!bench.closed.contains(&conn));

    other.graceful_restart.as_mut().unwrap().restart_time_secs = 60;
    bench.peer.reconfigure(bench.now, other).unwrap();
    bench.drain();
    assert!(bench.closed.contains(&conn), "the peer must hear of it");
}

#[test]
fn a_restart_time_beyond_its_field_is_refused() {
    let mut config = restarted();
    config.graceful_restart.as_mut().unwrap().restart_time_secs = 4096;
    let error = Peer::new(config, Instant::now()).unwrap_err();
    assert_eq!(error, ConfigError::RestartTime(4096));
}
