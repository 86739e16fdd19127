//! What a person gets to read. Each refusal is the error's whole text.

use std::time::Duration;

use super::*;
use crate::model::{Announce, Protocol, TrafficPolicy};

/// The example of the manual: every field that this version supports.
const WHOLE: &str = r#"
node: {name: node1, uplinks: [eth0]}
cluster: {keyFile: /etc/fairlead/key}
nodes:
  - {name: node1, addresses: [10.0.0.11, "fd00::11"], labels: {rack: a}}
  - {name: node2, addresses: [10.0.0.12]}
bgp:
  asn: 65000
  routerId: 10.0.0.11
  listenPort: 17900
  peers:
    - {address: 10.0.0.1, asn: 65001, port: 179, holdTime: 9s, nextHop: self}
services:
  - name: default/web
    addresses: [10.99.0.1, "fd99::1"]
    announce: bgp
    externalTrafficPolicy: Cluster
    sessionAffinity: None
    loadBalancerSourceRanges: []
    ports: [{name: http, protocol: TCP, port: 80}]
    healthCheck: {tcp: {port: 8080}, interval: 500ms, failures: 2}
    endpoints:
      - {address: 10.1.1.2, node: node1, ports: {http: 8080}, ready: true, serving: true, terminating: false, weight: 2}
      - {address: "fd01::2", node: node2, ports: {http: 8080}, ready: false}
"#;

const ORIGIN: Origin<'_> = Origin {
    file: "lb.yaml",
    host_name: "node1",
};

fn refusal(text: &str) -> String {
    let error = parse(text, ORIGIN).expect_err("must be refused");
    error.to_string()
}

/// The whole example with one place changed.
fn changed(from: &str, to: &str) -> String {
    assert!(WHOLE.contains(from), "{from}");
    WHOLE.replacen(from, to, 1)
}

#[test]
fn the_whole_example_is_understood() {
    let config = parse(WHOLE, ORIGIN).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (&*config.node, config.uplinks),
        ("node1", vec!["eth0".to_owned()])
    );
    assert_eq!(config.key_file, Some("/etc/fairlead/key".into()));
    assert_eq!(config.nodes[0].labels["rack"], "a");
    let bgp = config.bgp.unwrap();
    assert_eq!(
        (bgp.asn, bgp.listen_port, bgp.router_id.to_string()),
        (65_000, 17_900, "10.0.0.11".into())
    );
    assert_eq!(
        (bgp.peers[0].transport.port, bgp.peers[0].hold_time),
        (179, Duration::from_secs(9))
    );
    let service = &config.services[0];
    assert_eq!((service.vips.len(), service.announce), (2, Announce::Bgp));
    assert_eq!(
        (service.ports[0].protocol, service.ports[0].port),
        (Protocol::Tcp, 80)
    );
    let check = service.health_check.unwrap();
    assert_eq!(
        (check.tcp_port, check.interval, check.failures),
        (8080, Duration::from_millis(500), 2)
    );
    let [first, second] = &service.endpoints[..] else {
        panic!()
    };
    assert_eq!(
        (first.weight, first.ports["http"], first.serving),
        (2, 8080, true)
    );
    assert_eq!(
        (second.weight, second.ready, second.serving),
        (1, false, false)
    );
}

#[test]
fn one_node_and_one_service_need_little() {
    let config = parse(
        r"
nodes: [{name: node1, addresses: [10.0.0.11]}]
services:
  - name: web
    addresses: [10.99.0.1]
    ports: [{name: http, port: 80}]
    endpoints: [{address: 10.1.1.2, node: node1, ports: {http: 8080}}]
",
        ORIGIN,
    );
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.services[0].announce, Announce::Nobody);
    assert!(config.services[0].endpoints[0].ready);
    assert!(config.key_file.is_none() && config.bgp.is_none());
}

#[test]
fn the_router_id_is_the_nodes_ipv4_address() {
    let text = changed("  routerId: 10.0.0.11\n", "");
    assert_eq!(
        parse(&text, ORIGIN)
            .unwrap()
            .bgp
            .unwrap()
            .router_id
            .to_string(),
        "10.0.0.11"
    );
    let text = text.replace("[10.0.0.11, \"fd00::11\"]", "[\"fd00::11\"]");
    insta::assert_snapshot!(refusal(&text), @r#"
    bgp: this node has no IPv4 address to take as router id; set `bgp.routerId`
     --> lb.yaml:8:3
      |
    8 |   asn: 65000
      |   ^
    "#);
}

#[test]
fn an_unknown_field_is_refused() {
    let text = changed("holdTime: 9s", "holdtime: 9s");
    insta::assert_snapshot!(refusal(&text), @r#"
    unknown field `holdtime`, expected one of address, interface, range, asn, localAsn, nodeSelector, port, passive, sourceAddress, sourceInterface, multihop, gtsm, passwordFile, tcpAo, holdTime, connectRetry, families, requiredFamilies, gracefulRestart, receivedRoutesMax, nextHop, sendMax, services, bfd, communities, largeCommunities, extendedCommunities, linkBandwidthMbps, med, localPref, prepend, aggregationLength, aggregationLengthV6
      --> lb.yaml:12:50
       |
    12 |     - {address: 10.0.0.1, asn: 65001, port: 179, holdtime: 9s, nextHop: self}
       |                                                  ^
    "#);
}

#[test]
fn what_is_no_yaml_is_refused() {
    insta::assert_snapshot!(refusal("nodes: [{name: node1\nbgp: }"), @r#"
    unclosed bracket '['
     --> lb.yaml:1:8
      |
    1 | nodes: [{name: node1
      |        ^
    "#);
    insta::assert_snapshot!(refusal("nodes:\n  - name: node1\n    addresses: 5\n"), @r#"
    a list is needed here
     --> lb.yaml:3:16
      |
    3 |     addresses: 5
      |                ^
    "#);
    insta::assert_snapshot!(refusal(""), @r#"
    the file ends too early
     --> lb.yaml:1:1
      |
    1 |
      | ^
    "#);
}

#[test]
fn what_bgp_does_not_support_yet_is_refused_by_field_and_line() {
    let peer = "nextHop: self, bfd: {interval: 50ms, multiplier: 3}, passwordFile: /run/key";
    let text = changed("nextHop: self", peer);
    insta::assert_snapshot!(refusal(&text), @r#"
    bgp.peers[0].bfd: BFD is not supported by this version yet
      --> lb.yaml:12:84
       |
    12 |     - {address: 10.0.0.1, asn: 65001, port: 179, holdTime: 9s, nextHop: self, bfd: {interval: 50ms, multiplier: 3}, passwordFile: /run/key}
       |                                                                                    ^
    "#);
}

#[test]
fn what_services_do_not_support_yet_is_refused_by_field_and_line() {
    let text = changed("TCP", "SCTP");
    let text = text.replacen(
        "{tcp: {port: 8080}",
        "{tcp: {port: 8080}, http: {path: /}",
        1,
    );
    insta::assert_snapshot!(refusal(&text), @r#"
    services[0].ports[0].protocol: SCTP is not supported: its associations carry addresses that cannot be translated
      --> lb.yaml:20:36
       |
    20 |     ports: [{name: http, protocol: SCTP, port: 80}]
       |                                    ^
    services[0].healthCheck.http: a health check by HTTP is not supported by this version yet
      --> lb.yaml:21:44
       |
    21 |     healthCheck: {tcp: {port: 8080}, http: {path: /}, interval: 500ms, failures: 2}
       |                                            ^
    "#);
}

#[test]
fn what_limits_and_binds_clients_is_understood() {
    let mut text = changed("Policy: Cluster", "Policy: Local");
    for (from, to) in [
        ("Affinity: None", "Affinity: ClientIP"),
        (
            "Ranges: []",
            "Ranges: [10.0.0.0/8, \"2001:db8::/32\", 0.0.0.0/0]",
        ),
        ("node: node2, ports", "ports"),
    ] {
        text = text.replacen(from, to, 1);
    }
    let service = |text: &str| {
        let config = parse(text, ORIGIN).unwrap_or_else(|error| panic!("{error}"));
        (*config.services[0]).clone()
    };
    let made = service(&text);
    assert_eq!(made.traffic_policy, TrafficPolicy::Local);
    assert_eq!(made.affinity, Some(Duration::from_secs(10_800)));
    let ranges: Vec<_> = made.source_ranges.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["0.0.0.0/0", "10.0.0.0/8", "2001:db8::/32"]);
    assert_eq!(made.endpoints[1].node, None);
    let config = "ClientIP\n    sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}";
    let made = service(&text.replacen("ClientIP", config, 1));
    assert_eq!(made.affinity, Some(Duration::from_secs(60)));
}

#[test]
fn ranges_must_be_prefixes() {
    let ranges = "Ranges: [10.1.2.3/8, 10.0.0.1, web/24, 10.0.0.0/33, \"fd00::1/64\", 10.0.0.0/+8, 192.0.2.0/24, 192.0.2.0/24]";
    let text = changed("Ranges: []", ranges);
    let messages = refusal(&text);
    let messages: Vec<_> = messages
        .lines()
        .filter(|line| line.starts_with("services"))
        .collect();
    insta::assert_snapshot!(messages.join("\n"), @r#"
    services[0].loadBalancerSourceRanges[0]: 10.1.2.3 has bits beyond the prefix; write 10.0.0.0/8, or 10.1.2.3/32
    services[0].loadBalancerSourceRanges[1]: a range has a length; write 10.0.0.1/32
    services[0].loadBalancerSourceRanges[2]: "web/24" is not a range of addresses like 192.0.2.0/24 or 2001:db8::/32
    services[0].loadBalancerSourceRanges[3]: "10.0.0.0/33" is not a range of addresses like 192.0.2.0/24 or 2001:db8::/32
    services[0].loadBalancerSourceRanges[4]: fd00::1 has bits beyond the prefix; write fd00::/64, or fd00::1/128
    services[0].loadBalancerSourceRanges[5]: "10.0.0.0/+8" is not a range of addresses like 192.0.2.0/24 or 2001:db8::/32
    services[0].loadBalancerSourceRanges[7]: 192.0.2.0/24 is listed twice
    "#);
    let first = refusal(&changed("Ranges: []", "Ranges: [10.1.2.3/8]"));
    insta::assert_snapshot!(first, @"
    services[0].loadBalancerSourceRanges[0]: 10.1.2.3 has bits beyond the prefix; write 10.0.0.0/8, or 10.1.2.3/32
      --> lb.yaml:19:32
       |
    19 |     loadBalancerSourceRanges: [10.1.2.3/8]
       |                                ^
    ");
}

#[test]
fn a_services_limit_is_read_and_one_of_nothing_refused() {
    let limited = changed("sessionAffinity: None", "newFlowsPerSecond: 1000");
    let made = parse(&limited, ORIGIN).unwrap();
    assert_eq!(made.services[0].new_flows_per_second, Some(1000));
    let nothing = changed("sessionAffinity: None", "newFlowsPerSecond: 0");
    insta::assert_snapshot!(refusal(&nothing), @"
    services[0].newFlowsPerSecond: 0 would let nobody in; leave it out to let everybody in
      --> lb.yaml:18:24
       |
    18 |     newFlowsPerSecond: 0
       |                        ^
    ");
}

#[test]
fn replies_go_straight_or_by_the_ingress_node() {
    let returned = |word: &str| changed("sessionAffinity: None", &format!("return: {word}"));
    for (word, by_ingress) in [("direct", false), ("ingress", true)] {
        let made = parse(&returned(word), ORIGIN).unwrap();
        assert_eq!(made.services[0].returns_by_ingress, by_ingress);
    }
    insta::assert_snapshot!(refusal(&returned("client")), @r#"
    services[0].return: "client" is none of direct, ingress
      --> lb.yaml:18:13
       |
    18 |     return: client
       |             ^
    "#);
}

#[test]
fn affinity_has_kubernetes_limits() {
    let config = |text: &str| changed("sessionAffinity: None", text);
    let day =
        "sessionAffinity: ClientIP\n    sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}";
    insta::assert_snapshot!(refusal(&config(day)), @"
    services[0].sessionAffinityConfig.clientIP.timeoutSeconds: a time-out is 1 to 86400 seconds (a day)
      --> lb.yaml:19:56
       |
    19 |     sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}
       |                                                        ^
    ");
    let none = "sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}";
    insta::assert_snapshot!(refusal(&config(none)), @"
    services[0].sessionAffinityConfig: it means something only with `sessionAffinity: ClientIP`
      --> lb.yaml:18:28
       |
    18 |     sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
       |                            ^
    ");
}

#[test]
fn words_that_nobody_knows_are_refused() {
    let text = changed("announce: bgp", "announce: ospf").replace("protocol: TCP", "protocol: tcp");
    insta::assert_snapshot!(refusal(&text), @r#"
    services[0].announce: "ospf" is none of bgp, layer2
      --> lb.yaml:16:15
       |
    16 |     announce: ospf
       |               ^
    services[0].ports[0].protocol: "tcp" is none of TCP, UDP
      --> lb.yaml:20:36
       |
    20 |     ports: [{name: http, protocol: tcp, port: 80}]
       |                                    ^
    "#);
}

#[test]
fn a_vip_that_is_somebodys_address_is_refused() {
    let text = changed("[10.99.0.1, \"fd99::1\"]", "[10.0.0.12, \"fd01::2\"]");
    insta::assert_snapshot!(refusal(&text), @r#"
    services[0].addresses[0]: 10.0.0.12 is the address of node node2; a VIP must be nobody's own
      --> lb.yaml:15:17
       |
    15 |     addresses: [10.0.0.12, "fd01::2"]
       |                 ^
    services[0].addresses[1]: fd01::2 is the address of an endpoint of default/web; a VIP must be nobody's own
      --> lb.yaml:15:28
       |
    15 |     addresses: [10.0.0.12, "fd01::2"]
       |                            ^
    "#);
}

#[test]
fn doubles_are_refused() {
    let double = r"
  - name: default/web
    addresses: [10.99.0.1, 10.99.0.1]
    ports: [{name: http, port: 80}, {name: http, port: 81}]
  - name: default/other
    addresses: [10.99.0.1]
    ports: [{name: http, port: 80}]
";
    insta::assert_snapshot!(refusal(&format!("{WHOLE}{}", &double[1..])), @r#"
    services[1].name: there are two Services named default/web
      --> lb.yaml:25:11
       |
    25 |   - name: default/web
       |           ^
    services[1].addresses[1]: 10.99.0.1 is listed twice
      --> lb.yaml:26:28
       |
    26 |     addresses: [10.99.0.1, 10.99.0.1]
       |                            ^
    services[1].ports[0].port: 10.99.0.1:80/TCP is served by default/web already
      --> lb.yaml:27:32
       |
    27 |     ports: [{name: http, port: 80}, {name: http, port: 81}]
       |                                ^
    services[1].ports[1].name: there are two ports named http
      --> lb.yaml:27:44
       |
    27 |     ports: [{name: http, port: 80}, {name: http, port: 81}]
       |                                            ^
    services[2].ports[0].port: 10.99.0.1:80/TCP is served by default/web already
      --> lb.yaml:30:32
       |
    30 |     ports: [{name: http, port: 80}]
       |                                ^
    "#);
}

#[test]
fn endpoints_must_fit_their_service() {
    let text = changed(
        "node: node2, ports: {http: 8080}, ready: false",
        "node: node3, ports: {https: 8080}, weight: 0",
    )
    .replace("[10.99.0.1, \"fd99::1\"]", "[10.99.0.1]");
    insta::assert_snapshot!(refusal(&text), @r#"
    services[0].endpoints[1].address: no VIP of the Service has the family of fd01::2: nothing would reach it
      --> lb.yaml:24:19
       |
    24 |       - {address: "fd01::2", node: node3, ports: {https: 8080}, weight: 0}
       |                   ^
    services[0].endpoints[1].node: node3 is not among the nodes
      --> lb.yaml:24:36
       |
    24 |       - {address: "fd01::2", node: node3, ports: {https: 8080}, weight: 0}
       |                                    ^
    services[0].endpoints[1].ports.https: the Service has no port of this name
      --> lb.yaml:24:58
       |
    24 |       - {address: "fd01::2", node: node3, ports: {https: 8080}, weight: 0}
       |                                                          ^
    services[0].endpoints[1].weight: a weight is a number from 1 to 256
      --> lb.yaml:24:73
       |
    24 |       - {address: "fd01::2", node: node3, ports: {https: 8080}, weight: 0}
       |                                                                         ^
    "#);
}

#[test]
fn numbers_durations_and_names_must_be_possible() {
    let mut text = WHOLE.to_owned();
    for (from, to) in [
        ("asn: 65000", "asn: 0"),
        ("port: 179, holdTime: 9s", "port: 0, holdTime: 2s"),
        ("routerId: 10.0.0.11", "routerId: me"),
        ("interval: 500ms, failures: 2", "interval: 5, failures: 0"),
        ("name: default/web", "name: Default/web"),
        ("[{name: http, protocol: TCP, port: 80}]", "[]"),
        ("{http: 8080}", "{}"),
        ("{http: 8080}", "{}"),
    ] {
        text = text.replacen(from, to, 1);
    }
    insta::assert_snapshot!(refusal(&text), @r#"
    bgp.asn: 0 is reserved and no AS number of anyone
     --> lb.yaml:8:8
      |
    8 |   asn: 0
      |        ^
    bgp.routerId: "me" is not a router id; write four numbers like 10.0.0.11
     --> lb.yaml:9:13
      |
    9 |   routerId: me
      |             ^
    bgp.peers[0].port: a port is a number from 1 to 65535
      --> lb.yaml:12:45
       |
    12 |     - {address: 10.0.0.1, asn: 65001, port: 0, holdTime: 2s, nextHop: self}
       |                                             ^
    bgp.peers[0].holdTime: a hold time is 3s to 65535s, in whole seconds, or 0s for none (RFC 4271)
      --> lb.yaml:12:58
       |
    12 |     - {address: 10.0.0.1, asn: 65001, port: 0, holdTime: 2s, nextHop: self}
       |                                                          ^
    services[0].name: a Service's name is NAME or NAMESPACE/NAME, each up to 63 of a-z, 0-9 and "-"
      --> lb.yaml:14:11
       |
    14 |   - name: Default/web
       |           ^
    services[0].ports: a Service needs at least one port
      --> lb.yaml:20:12
       |
    20 |     ports: []
       |            ^
    services[0].healthCheck.interval: "5" is not a duration; write a whole number and a unit, like 50ms, 9s or 2m
      --> lb.yaml:21:48
       |
    21 |     healthCheck: {tcp: {port: 8080}, interval: 5, failures: 0}
       |                                                ^
    services[0].healthCheck.failures: at least one failure must be needed
      --> lb.yaml:21:61
       |
    21 |     healthCheck: {tcp: {port: 8080}, interval: 5, failures: 0}
       |                                                             ^
    "#);
}

#[test]
fn numbers_that_do_not_fit_their_field_are_refused_with_its_range() {
    for (from, to, sentence) in [
        (
            "port: 80}]",
            "port: 80000}]",
            "a whole number from 0 to 65535",
        ),
        ("port: 80}]", "port: -1}]", "a whole number from 0 to 65535"),
        (
            "port: 80}]",
            "port: eighty}]",
            "a whole number from 0 to 65535",
        ),
        (
            "asn: 65000",
            "asn: 4294967296",
            "a whole number from 0 to 4294967295",
        ),
        ("ready: true", "ready: maybe", "true or false"),
    ] {
        let text = changed(from, to);
        let said = refusal(&text);
        assert!(
            said.starts_with(&format!("{sentence} is needed here\n")),
            "{to}: {said}"
        );
    }
    insta::assert_snapshot!(refusal(&changed("port: 80}]", "port: 80000}]")), @r#"
    a whole number from 0 to 65535 is needed here
      --> lb.yaml:20:47
       |
    20 |     ports: [{name: http, protocol: TCP, port: 80000}]
       |                                               ^
    "#);
}

#[test]
fn addresses_must_be_unicast() {
    let text = changed(
        "[10.99.0.1, \"fd99::1\"]",
        "[224.0.0.1, \"::ffff:10.0.0.1\", 10.99.0.1/32, \"fe80::1\"]",
    );
    insta::assert_snapshot!(refusal(&text), @r#"
    services[0].addresses[0]: 224.0.0.1 is a multicast address; a unicast address is needed
      --> lb.yaml:15:17
       |
    15 |     addresses: [224.0.0.1, "::ffff:10.0.0.1", 10.99.0.1/32, "fe80::1"]
       |                 ^
    services[0].addresses[1]: ::ffff:10.0.0.1 is an IPv4 address in IPv6 form; a unicast address is needed
      --> lb.yaml:15:28
       |
    15 |     addresses: [224.0.0.1, "::ffff:10.0.0.1", 10.99.0.1/32, "fe80::1"]
       |                            ^
    services[0].addresses[2]: "10.99.0.1/32" is not an IP address
      --> lb.yaml:15:47
       |
    15 |     addresses: [224.0.0.1, "::ffff:10.0.0.1", 10.99.0.1/32, "fe80::1"]
       |                                               ^
    services[0].addresses[3]: fe80::1 is a link-local address; a unicast address is needed
      --> lb.yaml:15:61
       |
    15 |     addresses: [224.0.0.1, "::ffff:10.0.0.1", 10.99.0.1/32, "fe80::1"]
       |                                                             ^
    "#);
}

#[test]
fn this_node_must_be_among_the_nodes() {
    let text = changed("name: node1, uplinks", "name: node9, uplinks");
    insta::assert_snapshot!(refusal(&text), @r#"
    node.name: node9 is not among the nodes; add it to `nodes`
     --> lb.yaml:2:14
      |
    2 | node: {name: node9, uplinks: [eth0]}
      |              ^
    "#);
    let text = changed("{name: node1, uplinks: [eth0]}", "{uplinks: [eth0, eth0]}");
    let elsewhere = Origin {
        host_name: "laptop",
        ..ORIGIN
    };
    insta::assert_snapshot!(parse(&text, elsewhere).unwrap_err(), @r#"
    nodes: this host, laptop, is not among them; add it, or set `node.name`
     --> lb.yaml:5:3
      |
    5 |   - {name: node1, addresses: [10.0.0.11, "fd00::11"], labels: {rack: a}}
      |   ^
    "#);
}

#[test]
fn the_mode_of_the_uplinks_is_one_of_three() {
    for (word, mode) in [
        ("auto", UplinkMode::Auto),
        ("native", UplinkMode::Native),
        ("generic", UplinkMode::Generic),
        ("tc", UplinkMode::Tc),
    ] {
        let text = changed(
            "uplinks: [eth0]}",
            &format!("uplinks: [eth0], mode: {word}}}"),
        );
        assert_eq!(parse(&text, ORIGIN).unwrap().uplink_mode, mode);
    }
    let text = changed("uplinks: [eth0]}", "uplinks: [eth0], mode: turbo}");
    insta::assert_snapshot!(refusal(&text), @r#"
    node.mode: "turbo" is none of auto, native, generic, tc
     --> lb.yaml:2:44
      |
    2 | node: {name: node1, uplinks: [eth0], mode: turbo}
      |                                            ^
    "#);
}

#[test]
fn several_nodes_need_a_key_and_announcing_needs_a_speaker() {
    let text = changed("cluster: {keyFile: /etc/fairlead/key}\n", "");
    insta::assert_snapshot!(refusal(&text), @r#"
    nodes: with more than one node, `cluster.keyFile` must name a file that all of them share
     --> lb.yaml:4:3
      |
    4 |   - {name: node1, addresses: [10.0.0.11, "fd00::11"], labels: {rack: a}}
      |   ^
    "#);
    let text = "
nodes: [{name: node1, addresses: [10.0.0.11]}]
services: [{name: web, addresses: [10.99.0.1], announce: bgp, ports: [{name: http, port: 80}]}]
";
    insta::assert_snapshot!(refusal(text), @r#"
    services[0].announce: there is no `bgp` section to announce it with
     --> lb.yaml:3:58
      |
    3 | services: [{name: web, addresses: [10.99.0.1], announce: bgp, ports: [{name: http, port: 80}]}]
      |                                                          ^
    "#);
}

#[test]
fn a_peer_may_have_a_password_in_a_file() {
    let text = changed(
        "nextHop: self",
        "nextHop: self, passwordFile: /etc/fairlead/router1",
    );
    let config = parse(&text, ORIGIN).unwrap();
    let peers = &config.bgp.unwrap().peers;
    let file = peers[0]
        .transport
        .authentication
        .as_ref()
        .map(|by| by.file().as_path());
    assert_eq!(file, Some(std::path::Path::new("/etc/fairlead/router1")));
}

#[test]
fn a_node_of_kubernetes_has_settings_and_nothing_that_kubernetes_tells() {
    let text =
        "node: {uplinks: [eth1]}\ncluster: {keyFile: /etc/key}\ndataplane: {closedPorts: drop}\n";
    let config = parse_settings(text, ORIGIN).unwrap();
    assert_eq!(&*config.node, ORIGIN.host_name);
    assert_eq!(config.uplinks, ["eth1"]);
    assert!(config.key_file.is_some() && !config.dataplane.refuses_closed_ports);
    assert!(parse_settings("", ORIGIN).is_ok());
    for told in ["services: []", "nodes: []", "bgp: {asn: 65000}"] {
        let refusal = parse_settings(told, ORIGIN).unwrap_err().to_string();
        assert!(refusal.contains("lb.yaml:1"), "{refusal}");
    }
}
