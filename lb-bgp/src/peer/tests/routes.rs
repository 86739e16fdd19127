//! What goes out for which routes: next hops, several paths, refreshes, long messages.

use std::net::Ipv6Addr;

use super::*;
use crate::attributes::Community;
use crate::route::{NextHops, Route};
use crate::wire::capability::{AddPath, AddPaths};
use crate::wire::{NextHop, Refresh};

/// A peer that offers everything.
fn able_open() -> Open {
    let mut able = open(HIGHER);
    able.capabilities.extend([
        Capability::AddPath(AddPaths::from_fn(|_| Some(AddPath::Receive))),
        Capability::EnhancedRouteRefresh,
        Capability::ExtendedMessage,
        Capability::ExtendedNextHop,
    ]);
    able
}

fn several() -> PeerConfig {
    PeerConfig {
        add_path: true,
        ..config()
    }
}

fn by(next_hops: &[&str]) -> Route {
    let next_hops = next_hops.iter().map(|hop| hop.parse().unwrap());
    Route {
        next_hops: NextHops::Listed(next_hops.collect()),
        ..RouteAttributes::default().into()
    }
}

fn set(routes: impl IntoIterator<Item = (&'static str, Route)>) -> Input<'static> {
    let prefix = |host: &str| Prefix::host(host.parse().unwrap());
    let routes = routes.into_iter();
    Input::Routes(Arc::new(routes.map(|(h, r)| (prefix(h), r)).collect()))
}

impl Bench {
    /// Next hops that the peer has, by host.
    fn told(&self) -> Vec<(String, String)> {
        let told = self.peer.told().into_iter();
        told.map(|told| {
            let host = told.path.prefix.address().to_string();
            (host, told.next_hop.address().to_string())
        })
        .collect()
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn several_next_hops_go_to_a_peer_that_takes_several_paths() {
    let mut bench = Bench::new(several());
    bench.input(set([("192.0.2.1", by(&["10.0.0.12", "10.0.0.11"]))]));
    bench.establish_with(&able_open());
    let both = [("192.0.2.1", "10.0.0.11"), ("192.0.2.1", "10.0.0.12")];
    assert_eq!(bench.told(), pairs(&both));

    // One goes: one withdraw, and nothing is said again.
    bench.sent.clear();
    bench.input(set([("192.0.2.1", by(&["10.0.0.12"]))]));
    assert_eq!(bench.sent.len(), 1);
    assert_eq!(bench.told(), pairs(&both[1..]));
    let withdrawn = &bench.sent[0].1[19..];
    let expected = [0, 9, 10, 0, 0, 11, 32, 192, 0, 2, 1, 0, 0];
    assert_eq!(withdrawn, expected, "by the identifier it was told with");

    bench.sent.clear();
    bench.input(set([("192.0.2.1", by(&["10.0.0.12"]))]));
    assert!(bench.sent.is_empty(), "unchanged routes send nothing");
}

#[test]
fn the_first_next_hop_goes_to_any_other_peer() {
    for (config, open) in [(several(), open(HIGHER)), (config(), able_open())] {
        let mut bench = Bench::new(config);
        let hops = ["2001:db8::9", "10.0.0.12", "10.0.0.11"];
        bench.input(set([
            ("192.0.2.1", by(&hops)),
            ("192.0.2.2", by(&["2001:db8::9"])),
        ]));
        bench.establish_with(&open);
        assert_eq!(bench.told(), pairs(&[("192.0.2.1", "10.0.0.12")]));
    }
}

#[test]
fn a_new_community_is_announced_again_and_resets_nothing() {
    let mut bench = Bench::new(config());
    bench.input(Input::Routes(routes(["192.0.2.1", "192.0.2.2"])));
    let conn = bench.establish();
    bench.sent.clear();
    let marked = RouteAttributes::default()
        .with_communities(vec![Community(0xfde8_0001)])
        .unwrap();
    let (plain, marked) = (Route::default(), Route::from(marked));
    bench.input(set([("192.0.2.1", plain), ("192.0.2.2", marked)]));
    assert_eq!(bench.sent.len(), 1);
    assert!(!bench.closed.contains(&conn));
}

#[test]
fn ipv4_has_an_ipv6_next_hop_where_there_is_no_other() {
    let only_v6 = PeerConfig {
        extended_next_hop: true,
        next_hop_v4: None,
        ..config()
    };
    let mut bench = Bench::new(only_v6.clone());
    bench.input(Input::Routes(routes(["192.0.2.1"])));
    bench.establish_with(&able_open());
    assert_eq!(bench.told(), pairs(&[("192.0.2.1", "2001:db8::2")]));

    let mut bench = Bench::new(only_v6);
    bench.input(Input::Routes(routes(["192.0.2.1"])));
    bench.establish();
    assert!(bench.told().is_empty());
    let status = bench.peer.status();
    let held_back = status.families[Family::Ipv4Unicast].held_back;
    assert_eq!(held_back, Some(HeldBack::NoNextHop));
}

/// RFC 2545 section 3, RFC 8950: over a link-local session both addresses go, for either family.
#[test]
fn a_session_over_link_local_addresses_tells_both_next_hops() {
    let unnumbered = PeerConfig {
        extended_next_hop: true,
        ..config()
    };
    let link_local: Ipv6Addr = "fe80::2".parse().unwrap();
    let mut bench = Bench::new(unnumbered);
    bench.input(Input::Routes(routes(["192.0.2.1", "2001:db8:99::1"])));
    let conn = *bench.dialled.last().unwrap();
    bench.input(Input::Connected {
        conn,
        local: (link_local, 50_000).into(),
        remote: (link_local, 179).into(),
    });
    bench.receive(conn, &able_open().encode());
    bench.receive(conn, &wire::keepalive());
    let expected = NextHop::V6 {
        global: "2001:db8::2".parse().unwrap(),
        link_local: Some(link_local),
    };
    let told = bench.peer.told();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|told| told.next_hop == expected));
}

/// RFC 7313 section 4.
#[test]
fn an_enhanced_refresh_is_marked() {
    let mut bench = Bench::new(config());
    bench.input(Input::Routes(routes(["192.0.2.1", "2001:db8:99::1"])));
    let conn = bench.establish_with(&able_open());
    bench.sent.clear();
    bench.receive(conn, &wire::route_refresh(Family::Ipv4Unicast));
    let kinds: Vec<_> = bench.sent.iter().map(|(_, b)| (b[18], b[21])).collect();
    assert_eq!(kinds.len(), 3);
    assert_eq!(
        bench.sent[0].1,
        wire::refresh(Family::Ipv4Unicast, Refresh::Begin)
    );
    assert_eq!(kinds[1].0, MessageType::Update as u8);
    assert_eq!(
        bench.sent[2].1,
        wire::refresh(Family::Ipv4Unicast, Refresh::End)
    );

    // Marks of the peer's own, and subtypes that nobody knows, ask for nothing.
    bench.sent.clear();
    bench.receive(conn, &wire::refresh(Family::Ipv4Unicast, Refresh::Begin));
    let mut unknown = wire::route_refresh(Family::Ipv4Unicast);
    unknown[21] = 9;
    bench.receive(conn, &unknown);
    assert!(bench.sent.is_empty());
}

#[test]
fn a_refresh_during_the_first_dump_waits_for_end_of_rib() {
    let mut bench = Bench::new(config());
    let many = (0..40_000u32).map(|host| Prefix::host(Ipv4Addr::from(host).into()));
    let many: RouteSet = many.map(|prefix| (prefix, Route::default())).collect();
    bench.input(Input::Routes(Arc::new(many)));
    let conn = bench.connect();
    bench.receive(conn, &open_without_long_messages().encode());
    bench.peer.handle(
        bench.now,
        Input::Bytes {
            conn,
            bytes: &wire::keepalive(),
        },
    );
    let refresh = &wire::route_refresh(Family::Ipv4Unicast);
    bench.peer.handle(
        bench.now,
        Input::Bytes {
            conn,
            bytes: refresh,
        },
    );
    bench.drain();
    let at = |message: Vec<u8>| bench.sent.iter().position(|(_, b)| *b == message).unwrap();
    let end_of_rib = at(wire::update::end_of_rib(Family::Ipv4Unicast));
    let begin = at(wire::refresh(Family::Ipv4Unicast, Refresh::Begin));
    let end = at(wire::refresh(Family::Ipv4Unicast, Refresh::End));
    assert!(end_of_rib < begin && begin + 40 < end);
}

fn open_without_long_messages() -> Open {
    let mut able = able_open();
    able.capabilities
        .retain(|c| *c != Capability::ExtendedMessage);
    able
}

/// RFC 8654 section 4: only to a peer that said it reads them.
#[test]
fn long_messages_go_only_to_those_who_read_them() {
    let longest = |open: &Open| {
        let mut bench = Bench::new(config());
        let many = (0..4000u32).map(|host| Prefix::host(Ipv4Addr::from(host).into()));
        let many: RouteSet = many.map(|prefix| (prefix, Route::default())).collect();
        bench.input(Input::Routes(Arc::new(many)));
        let conn = bench.establish_with(open);
        let long = wire::header::message(MessageType::Update, |out| {
            out.extend([0; 2]);
            out.extend(5000u16.to_be_bytes());
            out.extend([0xc0 | 0x10, 200]);
            out.extend(4996u16.to_be_bytes());
            out.extend([0; 4996]);
        });
        bench.receive(conn, &long);
        assert_eq!(
            bench.state(),
            State::Established,
            "we said that we read them"
        );
        bench.sent.iter().map(|(_, b)| b.len()).max().unwrap()
    };
    assert!(longest(&able_open()) > 16_000);
    assert!(longest(&open_without_long_messages()) <= 4096);
}
