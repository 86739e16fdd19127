use std::net::IpAddr;

use lb_core::model::Mac;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteNextHop, RouteType, RouteVia,
};

use super::{
    gateways,
    kernel::NextHop,
    route::Route,
    way::{Candidate, Uplink, choose},
};

const UPLINK: Uplink = Uplink {
    slot: 3,
    routed_ifindex: 7,
    mtu_bytes: 1500,
};
const MAC: Mac = Mac([2, 0, 0, 0, 0, 9]);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn own() -> Vec<IpAddr> {
    vec![ip("10.0.0.11"), ip("fd00::11"), ip("10.0.0.12")]
}

fn route(gateway: Option<&str>) -> Route {
    Route {
        egress_ifindex: 7,
        gateway: gateway.map(ip),
        source: None,
        mtu_bytes: None,
    }
}

fn candidate(destination: &str, gateway: Option<&str>, mac: Option<Mac>) -> Candidate {
    Candidate {
        destination: ip(destination),
        route: route(gateway),
        mac,
    }
}

fn message(attributes: Vec<RouteAttribute>) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.kind = RouteType::Unicast;
    message.attributes = attributes;
    message
}

fn inet(text: &str) -> RouteAddress {
    ip(text).into()
}

#[test]
fn a_route_is_read_with_gateway_source_and_mtu() {
    let read = Route::from_message(&message(vec![
        RouteAttribute::Oif(7),
        RouteAttribute::Gateway(inet("10.0.0.1")),
        RouteAttribute::PrefSource(inet("10.0.0.11")),
        RouteAttribute::Metrics(vec![RouteMetric::Advmss(1400), RouteMetric::Mtu(1400)]),
    ]));
    let expected = Route {
        source: Some(ip("10.0.0.11")),
        mtu_bytes: Some(1400),
        ..route(Some("10.0.0.1"))
    };
    assert_eq!(read, Some(expected));
}

#[test]
fn an_ipv4_route_may_have_an_ipv6_gateway() {
    let read = Route::from_message(&message(vec![
        RouteAttribute::Oif(7),
        RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap())),
    ]));
    assert_eq!(read, Some(route(Some("fe80::1"))));
}

#[test]
fn own_addresses_and_blackholes_are_no_ways() {
    for kind in [
        RouteType::Local,
        RouteType::BlackHole,
        RouteType::Unreachable,
    ] {
        let mut message = message(vec![RouteAttribute::Oif(7)]);
        message.header.kind = kind;
        assert_eq!(Route::from_message(&message), None, "{kind:?}");
    }
}

#[test]
fn on_link_comes_before_a_gateway_and_the_first_before_the_second() {
    let behind = candidate("10.0.0.13", Some("10.0.0.1"), Some(MAC));
    let on_link = candidate("fd00::13", None, Some(MAC));
    let way = choose(&[behind, on_link], &own(), &[UPLINK]).unwrap();
    assert_eq!(way.outer_destination, ip("fd00::13"));
    assert!(way.on_link);
    assert_eq!(way.outer_source, ip("fd00::11"), "of the same family");

    let first = candidate("10.0.0.13", None, Some(MAC));
    let way = choose(&[first, on_link], &own(), &[UPLINK]).unwrap();
    assert_eq!(way.outer_destination, ip("10.0.0.13"));
    assert_eq!(way.uplink, 3);
}

#[test]
fn a_resolved_next_hop_comes_before_one_that_is_not() {
    let silent = candidate("10.0.0.13", None, None);
    let resolved = candidate("fd00::13", Some("fd00::1"), Some(MAC));
    let way = choose(&[silent, resolved], &own(), &[UPLINK]).unwrap();
    assert_eq!((way.mac, way.on_link), (Some(MAC), false));

    let way = choose(&[silent], &own(), &[UPLINK]).unwrap();
    assert_eq!(way.mac, None, "known, so that it is a counted drop");
}

#[test]
fn the_outer_source_is_an_address_that_other_nodes_know() {
    let mut candidate = candidate("10.0.0.13", None, Some(MAC));
    candidate.route.source = Some(ip("10.0.0.99"));
    let source = |candidate| {
        choose(&[candidate], &own(), &[UPLINK])
            .unwrap()
            .outer_source
    };
    assert_eq!(source(candidate), ip("10.0.0.11"));
    candidate.route.source = Some(ip("10.0.0.12"));
    assert_eq!(
        source(candidate),
        ip("10.0.0.12"),
        "the kernel's choice is among them"
    );
    assert_eq!(
        choose(&[candidate], &[ip("fd00::11")], &[UPLINK]),
        None,
        "no such family here"
    );
}

#[test]
fn the_smaller_mtu_counts_and_other_interfaces_do_not() {
    let mut candidate = candidate("10.0.0.13", Some("10.0.0.1"), Some(MAC));
    let way = |candidate| choose(&[candidate], &own(), &[UPLINK]);
    candidate.route.mtu_bytes = Some(1400);
    assert_eq!(way(candidate).unwrap().mtu_bytes, 1400);
    candidate.route.mtu_bytes = Some(9000);
    assert_eq!(way(candidate).unwrap().mtu_bytes, 1500);
    candidate.route.egress_ifindex = 8;
    assert_eq!(way(candidate), None);
}

#[test]
fn gateways_are_those_of_default_routes() {
    let hop = |address: &str| NextHop {
        ifindex: 7,
        address: ip(address),
    };
    let oif = RouteAttribute::Oif(7);
    let by = |address| RouteAttribute::Gateway(inet(address));
    let default = message(vec![oif.clone(), by("10.0.0.1")]);
    assert_eq!(gateways::of_default_route(&default), [hop("10.0.0.1")]);
    let via = RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap()));
    let other_family = message(vec![oif.clone(), via]);
    assert_eq!(gateways::of_default_route(&other_family), [hop("fe80::1")]);
    let several = ["10.0.0.1", "10.0.0.2"].map(|address| {
        let mut hop = RouteNextHop::default();
        hop.interface_index = 7;
        hop.attributes = vec![by(address)];
        hop
    });
    let multipath = message(vec![RouteAttribute::MultiPath(several.to_vec())]);
    assert_eq!(
        gateways::of_default_route(&multipath),
        [hop("10.0.0.1"), hop("10.0.0.2")]
    );
    let mut narrower = default.clone();
    narrower.header.destination_prefix_length = 8;
    assert_eq!(gateways::of_default_route(&narrower), []);
    let on_link = message(vec![oif]);
    assert_eq!(gateways::of_default_route(&on_link), []);
}
