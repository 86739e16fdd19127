//! The words of `bgp`, each with what it means and what it refuses.

use std::time::Duration;

use crate::{
    config::{Config, Origin, parse},
    model::{Authentication, Families, NextHopMode, Prefix, Remote},
};

fn file(peer: &str, service: &str) -> String {
    format!(
        "nodes: [{{name: node1, addresses: [10.0.0.11, \"fd00::11\"], labels: {{rack: a}}}}]
bgp:
  asn: 65000
  nodes: [{{nodeSelector: {{rack: a}}, asn: 65011, routerId: 1.2.3.4}}]
  gracefulShutdownTime: 3s
  peers:
    - {{{peer}}}
services:
  - {{name: web, addresses: [10.99.0.1], ports: [{{name: http, port: 80}}]{service}}}
"
    )
}

fn read(peer: &str, service: &str) -> Result<Config, String> {
    let origin = Origin {
        file: "fairlead.yaml",
        host_name: "node1",
    };
    parse(&file(peer, service), origin).map_err(|error| error.to_string())
}

fn refused(peer: &str, with: &str) {
    let error = read(peer, "").expect_err(peer);
    assert!(error.contains(with), "{peer}: {error}");
    assert!(error.contains("fairlead.yaml:7:"), "{peer}: {error}");
}

#[test]
fn every_word_of_a_peer_has_its_meaning() {
    let config = read(
        "address: 10.0.0.1, asn: 65001, localAsn: 64999, nodeSelector: {rack: a}, port: 1179,
         passive: true, sourceAddress: 10.0.0.11, sourceInterface: eth0, multihop: 3, gtsm: true,
         tcpAo: {keyFile: /run/key, sendId: 1, receiveId: 2, algorithm: aes-128-cmac-96},
         holdTime: 0s, connectRetry: 7s, families: [ipv4, ipv6], requiredFamilies: [ipv6],
         gracefulRestart: {restartTime: 60s, longLivedStaleTime: 1h}, receivedRoutesMax: 1000,
         nextHop: nodes, sendMax: 4, services: [web], communities: [\"65000:100\", no-export],
         largeCommunities: [\"4200000001:1:2\"],
         extendedCommunities: [\"rt:65000:100\", \"soo:10.0.0.1:5\", \"rt:4200000001:7\"],
         linkBandwidthMbps: 1000, med: 10, localPref: 200, prepend: 2, aggregationLength: 24,
         aggregationLengthV6: 64",
        "",
    )
    .unwrap();
    let bgp = config.bgp.unwrap();
    assert_eq!(bgp.graceful_shutdown, Duration::from_secs(3));
    assert_eq!(bgp.nodes[0].asn, Some(65011));
    assert_eq!(bgp.nodes[0].router_id, Some([1, 2, 3, 4].into()));
    let peer = &bgp.peers[0];
    assert_eq!(peer.remote, Remote::Address([10, 0, 0, 1].into()));
    assert_eq!((peer.asn, peer.local_asn), (65001, Some(64999)));
    let transport = &peer.transport;
    assert!(transport.passive && transport.gtsm);
    assert_eq!((transport.port, transport.hops()), (1179, 3));
    assert_eq!(transport.source_interface.as_deref(), Some("eth0"));
    assert!(matches!(
        transport.authentication,
        Some(Authentication::Ao {
            send_id: 1,
            receive_id: 2,
            algorithm: "cmac(aes128)",
            ..
        })
    ));
    let times = (peer.hold_time.as_secs(), peer.connect_retry.as_secs());
    assert_eq!(times, (0, 7));
    let only_ipv6 = Families {
        ipv4: false,
        ipv6: true,
    };
    assert_eq!(peer.families_required, only_ipv6);
    let restart = peer.graceful_restart.unwrap();
    let times = (restart.restart_time.as_secs(), restart.stale_time.as_secs());
    assert_eq!(times, (60, 3600));
    assert_eq!(peer.received_routes_max, Some(1000));
    assert_eq!(peer.next_hop, NextHopMode::Nodes { send_max: 4 });
    assert!(peer.services.as_ref().unwrap().contains("web"));
    let routes = &peer.routes;
    let communities: Vec<_> = routes.communities.iter().copied().collect();
    assert_eq!(communities, [0xfde8_0064, 0xffff_ff01]);
    assert!(routes.large_communities.contains(&[4_200_000_001, 1, 2]));
    let extended = &routes.extended_communities;
    assert!(extended.contains(&[0, 2, 0xfd, 0xe8, 0, 0, 0, 100]));
    assert!(extended.contains(&[1, 3, 10, 0, 0, 1, 0, 5]));
    assert!(extended.contains(&[2, 2, 0xfa, 0x56, 0xea, 0x01, 0, 7]));
    assert_eq!(
        (routes.med, routes.local_pref, routes.prepend),
        (Some(10), Some(200), Some(2))
    );
    assert_eq!(
        routes.prefix_of([10, 99, 0, 1].into()).to_string(),
        "10.99.0.0/24"
    );
}

#[test]
fn peers_are_found_by_interface_or_from_a_range() {
    let bgp = read("interface: eth1, asn: 65001", "")
        .unwrap()
        .bgp
        .unwrap();
    assert_eq!(bgp.peers[0].remote, Remote::Interface("eth1".into()));
    assert_eq!(
        bgp.peers[0].transport.source_interface.as_deref(),
        Some("eth1")
    );

    let bgp = read("range: 10.1.0.0/24, asn: 65001", "")
        .unwrap()
        .bgp
        .unwrap();
    let network = Prefix::containing([10, 1, 0, 0].into(), 24);
    assert_eq!(bgp.peers[0].remote, Remote::Range(network));
    assert!(bgp.peers[0].transport.passive);
}

#[test]
fn a_service_says_to_whom_and_how_it_is_announced() {
    let service = ", bgp: {peers: [10.0.0.1, eth0, 10.1.0.0/24], med: 5, communities: [blackhole]}";
    let config = read("address: 10.0.0.1, asn: 65001", service).unwrap();
    let bgp = &config.services[0].bgp;
    let peers = bgp.peers.as_ref().unwrap();
    assert!(peers.contains(&Remote::Interface("eth0".into())));
    assert!(peers.contains(&Remote::Address([10, 0, 0, 1].into())));
    assert!(peers.contains(&Remote::Range(Prefix::containing([10, 1, 0, 0].into(), 24))));
    assert_eq!(bgp.routes.med, Some(5));
    assert!(bgp.routes.communities.contains(&0xffff_029a));
}

#[test]
fn what_contradicts_itself_is_refused_at_its_place() {
    let refused = |words: &str, with: &str| {
        refused(&format!("address: 10.0.0.1, asn: 65001, {words}"), with);
    };
    refused(
        "interface: eth0",
        "one of `address`, `interface` and `range`",
    );
    refused("localAsn: 0", "bgp.peers[0].localAsn: 0 is reserved");
    refused("sourceAddress: fd00::11", "not of the family");
    refused(
        "multihop: 0",
        "bgp.peers[0].multihop: a number of hops is from 1 to 255",
    );
    refused(
        "holdTime: 2s",
        "bgp.peers[0].holdTime: a hold time is 3s to 65535s",
    );
    refused(
        "connectRetry: 500ms",
        "bgp.peers[0].connectRetry: a retry time",
    );
    refused(
        "families: []",
        "bgp.peers[0].families: a session without a family",
    );
    refused("families: [ipx]", "\"ipx\" is none of ipv4, ipv6");
    refused(
        "families: [ipv4], requiredFamilies: [ipv6]",
        "must be among `families`",
    );
    refused(
        "gracefulRestart: {restartTime: 5000s}",
        "a restart time is 1s to 4095s",
    );
    refused(
        "gracefulRestart: {longLivedStaleTime: 17000000s}",
        "a stale time is up to",
    );
    refused(
        "sendMax: 3",
        "it says something only beside `nextHop: nodes`",
    );
    refused(
        "nextHop: nodes, sendMax: 0",
        "at least one path must be sent",
    );
    refused(
        "communities: [\"65000\"]",
        "\"65000\" is not a community; write two numbers",
    );
    refused("communities: [\"65536:1\"]", "is not a community");
    refused("largeCommunities: [\"1:2\"]", "write three numbers");
    refused("extendedCommunities: [\"rt:1\"]", "write rt:65000:100");
    refused(
        "prepend: 17",
        "bgp.peers[0].prepend: it is a number from 0 to 16",
    );
    refused("aggregationLength: 33", "it is a number from 1 to 32");
    refused("linkBandwidthMbps: 0", "it is a number from 1 to");
    refused(
        "passwordFile: /a, tcpAo: {keyFile: /b, sendId: 1, receiveId: 1}",
        "not by both",
    );
    refused(
        "tcpAo: {keyFile: /b, sendId: 1, receiveId: 1, algorithm: md5}",
        "\"md5\" is none of",
    );
    refused("unknown: 1", "unknown");
}

#[test]
fn a_peer_is_somebody() {
    refused(
        "asn: 65001",
        "a peer needs an `address`, an `interface` or a `range`",
    );
    refused("range: 10.1.0.1/24, asn: 65001", "is not a network");
    refused("range: 10.1.0.0, asn: 65001", "is not a network");
    refused(
        "range: 10.1.0.0/24, asn: 65001, passive: false",
        "never dialled",
    );
    refused("address: 10.0.0.11, asn: 65001", "this node's own address");
}

#[test]
fn graceful_restart_can_be_left_out() {
    let peer = "address: 10.0.0.1, asn: 65001, gracefulRestart: {enabled: false}";
    let bgp = read(peer, "").unwrap().bgp.unwrap();
    assert_eq!(bgp.peers[0].graceful_restart, None);
}
