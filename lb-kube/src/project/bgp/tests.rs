use std::time::Duration;

use lb_core::model::{Authentication, Families, NextHopMode};
use serde_json::{Value, json};

use super::*;
use crate::crd::Announcement;

fn conf(value: Value) -> BgpConfSpec {
    serde_json::from_value(value).unwrap()
}

fn peer(value: Value) -> BgpPeerSpec {
    serde_json::from_value(value).unwrap()
}

fn node(labels: &[(&str, &str)]) -> Node {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    Node {
        name: "node1".into(),
        addresses: vec!["192.168.0.2".parse().unwrap(), "fd00::2".parse().unwrap()],
        labels: labels.iter().map(owned).collect(),
        unfit: None,
    }
}

fn file(peer: &str, password: Password<'_>) -> PathBuf {
    match password {
        Password::Secret(key) => format!("/secrets/{}", key.name).into(),
        Password::Text(_) => format!("/peers/{peer}").into(),
    }
}

fn made(conf_value: Value, peers: &[(&str, Value)], labels: &[(&str, &str)]) -> Speaker {
    let peers: Vec<_> = peers
        .iter()
        .map(|(name, value)| (*name, peer(value.clone())))
        .collect();
    let peers = peers.iter().map(|(name, spec)| (*name, spec));
    speaker(Some(&conf(conf_value)), None, peers, &node(labels), &file)
}

fn made_peer(value: Value) -> (Peer, Findings) {
    let mut speaker = made(json!({"as": 50000}), &[("leaf1", value)], &[]);
    let peer = speaker.bgp.unwrap().peers.remove(0);
    (
        Arc::unwrap_or_clone(peer),
        speaker.of_peers.remove("leaf1").unwrap_or_default(),
    )
}

fn with(more: Value) -> Value {
    let mut spec = json!({"conf": {"neighborAddress": "192.168.0.5", "peerAs": 50001}});
    merge(&mut spec, &more);
    spec
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// What the manual's objects come to.
#[test]
fn the_manuals_objects_are_followed_to_the_letter() {
    let leaf = |rack: &str, address: &str| {
        json!({
            "conf": {"peerAs": 50001, "neighborAddress": address},
            "afiSafis": [{
                "config": {"family": {"afi": "AFI_IP", "safi": "SAFI_UNICAST"}, "enabled": true},
                "addPaths": {"config": {"sendMax": 10}},
            }],
            "nodeSelector": {"matchLabels": {"openelb.kubesphere.io/rack": rack}},
        })
    };
    let peers = [
        ("leaf1", leaf("leaf1", "192.168.0.5")),
        ("leaf2", leaf("leaf2", "192.168.1.5")),
    ];
    let conf = json!({"as": 50000, "listenPort": 17900, "routerId": "192.168.0.2"});
    let speaker = made(conf, &peers, &[("openelb.kubesphere.io/rack", "leaf1")]);

    let bgp = speaker.bgp.unwrap();
    assert_eq!((bgp.asn, bgp.listen_port), (50_000, 17_900));
    assert_eq!(bgp.router_id.to_string(), "192.168.0.2");
    assert!(speaker.of_conf.is_empty() && speaker.of_peers.is_empty());
    let [peer] = &bgp.peers[..] else {
        panic!("{:?}", bgp.peers)
    };
    assert_eq!(peer.remote, Remote::Address("192.168.0.5".parse().unwrap()));
    assert_eq!((peer.asn, peer.transport.port), (50_001, 179));
    assert_eq!(peer.next_hop, NextHopMode::Nodes { send_max: 10 });
    assert_eq!(
        peer.families,
        Families {
            ipv4: true,
            ipv6: false
        }
    );
    assert_eq!(speaker.remotes.len(), 2);
}

#[test]
fn racks_have_numbers_router_ids_and_next_hops_of_their_own() {
    let spec = json!({"as": 50000, "routerId": "9.9.9.9", "asPerRack": {"a": 50100, "b": 50200}});
    for label in ["openelb.kubesphere.io/rack", "porter.kubesphere.io/rack"] {
        let bgp = made(spec.clone(), &[], &[(label, "b")]).bgp.unwrap();
        assert_eq!(
            (bgp.asn, bgp.router_id.to_string().as_str()),
            (50_200, "192.168.0.2")
        );
    }
    let bgp = made(spec.clone(), &[], &[]).bgp.unwrap();
    assert_eq!(
        (bgp.asn, bgp.router_id.to_string().as_str()),
        (50_000, "9.9.9.9")
    );

    let in_rack = |rack| node(&[("openelb.kubesphere.io/rack", rack)]);
    let spec = conf(spec);
    assert!(is_of_other_rack(&spec, &in_rack("a"), &in_rack("b")));
    assert!(is_of_other_rack(&spec, &in_rack("a"), &node(&[])));
    assert!(!is_of_other_rack(&spec, &in_rack("a"), &in_rack("a")));
    assert!(!is_of_other_rack(
        &spec,
        &in_rack("elsewhere"),
        &in_rack("a")
    ));
    assert!(!is_of_other_rack(&spec, &node(&[]), &in_rack("a")));
}

#[test]
fn all_as_numbers_of_four_octets_are_taken_and_no_other() {
    let asn = |asn: i64| made(json!({"as": asn}), &[], &[]).bgp.map(|bgp| bgp.asn);
    assert_eq!(asn(4_294_967_295), Some(u32::MAX));
    assert_eq!(asn(2_147_483_648), Some(2_147_483_648));
    assert_eq!((asn(0), asn(-5), asn(4_294_967_296)), (None, None, None));
    let speaker = made(json!({"as": 0}), &[], &[]);
    assert_eq!(
        speaker.of_conf.wrong_ones().unwrap(),
        "spec.as: 0 is not a number from 1 to 4294967295; not used"
    );
}

#[test]
fn old_spelling_counts_and_a_conflict_stops_the_object() {
    let bgp = made(
        json!({"as": 1, "routerID": "1.2.3.4", "port": 1179}),
        &[],
        &[],
    )
    .bgp
    .unwrap();
    assert_eq!(
        (bgp.listen_port, bgp.router_id.to_string().as_str()),
        (1179, "1.2.3.4")
    );
    let old = json!({"config": {"neighborAddress": "192.168.0.5", "peerAs": 50001}, "addPaths": {"sendMax": 8}});
    let (peer, findings) = made_peer(old);
    assert_eq!(
        (peer.asn, peer.next_hop),
        (50_001, NextHopMode::Nodes { send_max: 8 })
    );
    assert!(findings.is_empty());

    let speaker = made(json!({"as": 1, "port": 179, "listenPort": 17900}), &[], &[]);
    assert!(speaker.bgp.is_none());
    assert!(
        speaker
            .of_conf
            .wrong_ones()
            .unwrap()
            .contains("old spelling")
    );
}

#[test]
fn ports_that_gobgp_reads_as_its_own_default_are_that() {
    let port = |port: Value| made(json!({"as": 1, "listenPort": port}), &[], &[]);
    assert_eq!(port(json!(0)).bgp.unwrap().listen_port, 179);
    assert_eq!(
        made(json!({"as": 1}), &[], &[]).bgp.unwrap().listen_port,
        179
    );
    let none = port(json!(-1));
    assert_eq!(none.bgp.unwrap().listen_port, 17_900);
    assert!(
        none.of_conf
            .ignored()
            .unwrap()
            .starts_with("spec.listenPort: agents always listen")
    );
    assert!(port(json!(70000)).of_conf.wrong_ones().is_some());
}

#[test]
fn settings_of_a_session_become_the_models() {
    let (peer, findings) = made_peer(with(json!({
        "conf": {"localAs": 64999, "authPassword": "secret", "vrf": "red", "description": "a leaf"},
        "ebgpMultihop": {"enabled": true, "multihopTtl": 3},
        "timers": {"config": {"holdTime": "30", "connectRetry": "5"}},
        "transport": {"passiveMode": true, "remotePort": 1179},
        "gracefulRestart": {"enabled": true, "restartTime": 60, "longlivedEnabled": true},
        "afiSafis": [
            {"config": {"family": {"afi": "AFI_IP", "safi": "SAFI_UNICAST"}}},
            {"config": {"family": {"afi": "AFI_IP6", "safi": "SAFI_UNICAST"}, "enabled": true}},
        ],
        "gtsm": true, "nextHop": "self", "sourceAddress": "192.168.0.2",
    })));
    assert!(findings.is_empty(), "{findings:?}");
    assert_eq!(peer.local_asn, Some(64_999));
    let transport = &peer.transport;
    assert_eq!(
        (transport.port, transport.passive, transport.gtsm),
        (1179, true, true)
    );
    assert_eq!(
        (transport.multihop, transport.source_interface.as_deref()),
        (Some(3), Some("red"))
    );
    assert_eq!(transport.source_address.unwrap().to_string(), "192.168.0.2");
    assert_eq!(
        transport.authentication,
        Some(Authentication::Md5("/peers/leaf1".into()))
    );
    assert_eq!(
        (peer.hold_time, peer.connect_retry),
        (Duration::from_secs(30), Duration::from_secs(5))
    );
    let restart = peer.graceful_restart.unwrap();
    assert_eq!(
        (restart.restart_time.as_secs(), restart.stale_time.as_secs()),
        (60, 3600)
    );
    assert_eq!(
        peer.families,
        Families {
            ipv4: true,
            ipv6: true
        }
    );
    assert_eq!(peer.next_hop, NextHopMode::Own);
}

#[test]
fn a_secret_is_preferred_to_a_password_in_the_object() {
    let (peer, _) = made_peer(with(json!({"passwordSecret": {"name": "leaf"}})));
    assert_eq!(
        peer.transport.authentication,
        Some(Authentication::Md5("/secrets/leaf".into()))
    );
}

#[test]
fn without_words_a_peer_gets_what_openelb_gave_it() {
    let (peer, findings) = made_peer(with(json!({})));
    assert!(findings.is_empty());
    assert_eq!(peer.next_hop, NextHopMode::Nodes { send_max: 10 });
    assert_eq!(
        peer.families,
        Families {
            ipv4: true,
            ipv6: false
        }
    );
    assert_eq!(peer.transport.multihop, None);
    let (peer, _) = made_peer(with(json!({"conf": {"peerAs": 50000}})));
    assert_eq!(peer.transport.multihop, Some(255), "within an AS");
    let (peer, _) = made_peer(with(json!({"conf": {"neighborAddress": "fd00::5"}})));
    assert_eq!(
        peer.families,
        Families {
            ipv4: false,
            ipv6: true
        }
    );
}

#[test]
fn the_conf_speaks_for_peers_that_are_silent() {
    let conf = json!({"as": 50000, "gracefulRestart": {"enabled": false}});
    let off = made(conf.clone(), &[("a", with(json!({})))], &[])
        .bgp
        .unwrap();
    assert_eq!(off.peers[0].graceful_restart, None);
    let own = with(json!({"gracefulRestart": {"enabled": true}}));
    assert!(
        made(conf, &[("a", own)], &[]).bgp.unwrap().peers[0]
            .graceful_restart
            .is_some()
    );
}

/// Each ignored field by itself, so that none hides behind another.
#[test]
fn every_field_without_a_meaning_here_is_reported() {
    let fields = [
        ("conf.peerGroup", json!("g")),
        ("conf.peerType", json!(1)),
        ("conf.removePrivateAs", json!("ALL")),
        ("conf.routeFlapDamping", json!(true)),
        ("conf.sendCommunity", json!(1)),
        ("conf.allowOwnAs", json!(1)),
        ("conf.replacePeerAs", json!(true)),
        ("transport.remoteAddress", json!("10.0.0.1")),
        ("transport.mtuDiscovery", json!(true)),
        ("transport.tcpMss", json!(1400)),
        ("timers.config.keepaliveInterval", json!("3")),
        ("timers.config.minimumAdvertisementInterval", json!("30")),
        ("gracefulRestart.helperOnly", json!(true)),
        ("gracefulRestart.deferralTime", json!(10)),
        ("gracefulRestart.notificationEnabled", json!(true)),
        ("gracefulRestart.peerRestartTime", json!(1)),
        ("gracefulRestart.peerRestarting", json!(true)),
        ("gracefulRestart.localRestarting", json!(true)),
        ("gracefulRestart.mode", json!("x")),
        ("gracefulRestart.staleRoutesTime", json!(60)),
        ("ebgpMultihop.multihopTtl", json!(3)),
        ("bfd", json!({})),
        ("usingPortForward", json!(true)),
    ];
    for (path, value) in fields {
        let more = path
            .rsplit('.')
            .fold(value, |inner, word| json!({word: inner}));
        let (_, findings) = made_peer(with(more));
        let ignored: Vec<_> = findings
            .0
            .iter()
            .map(|one| (one.field.as_str(), one.kind))
            .collect();
        assert_eq!(ignored, [(path, FindingKind::Ignored)]);
    }
    let fields = [
        ("listenAddresses", json!(["10.0.0.1"])),
        ("families", json!([65537])),
        ("useMultiplePaths", json!(true)),
    ];
    for (field, value) in fields {
        let findings = conf_findings(&conf(json!({"as": 1, field: value})), None);
        let ignored: Vec<_> = findings
            .0
            .iter()
            .map(|one| (one.field.as_str(), one.kind))
            .collect();
        assert_eq!(ignored, [(field, FindingKind::Ignored)]);
    }
}

#[test]
fn values_without_sense_are_reported_and_not_used() {
    let wrong = [
        (json!({"conf": {"localAs": -1}}), "conf.localAs"),
        (
            json!({"transport": {"remotePort": 70000}}),
            "transport.remotePort",
        ),
        (
            json!({"timers": {"config": {"holdTime": "2"}}}),
            "timers.config.holdTime",
        ),
        (
            json!({"timers": {"config": {"connectRetry": "soon"}}}),
            "timers.config.connectRetry",
        ),
        (
            json!({"ebgpMultihop": {"enabled": true, "multihopTtl": 256}}),
            "ebgpMultihop.multihopTtl",
        ),
        (
            json!({"gracefulRestart": {"restartTime": 5000}}),
            "gracefulRestart.restartTime",
        ),
        (json!({"sourceAddress": "fd00::1"}), "sourceAddress"),
        (
            json!({"afiSafis": [{"config": {"enabled": false}}]}),
            "afiSafis",
        ),
        (
            json!({"afiSafis": [{"addPaths": {"config": {"sendMax": 1000}}}]}),
            "afiSafis[].addPaths.config.sendMax",
        ),
    ];
    let (plain, _) = made_peer(with(json!({})));
    for (more, field) in wrong {
        let (mut peer, findings) = made_peer(with(more));
        assert_eq!(findings.0.len(), 1, "{findings:?}");
        assert_eq!(
            (findings.0[0].field.as_str(), findings.0[0].kind),
            (field, FindingKind::Wrong)
        );
        if field.starts_with("ebgp") {
            assert_eq!(peer.transport.multihop.take(), Some(255));
        }
        assert_eq!(peer, plain, "{field}");
    }
}

#[test]
fn an_object_that_says_too_little_gives_no_session() {
    let too_little = [
        json!({}),
        json!({"conf": {"neighborAddress": "192.168.0.5"}}),
        json!({"conf": {"peerAs": 1}}),
        json!({"conf": {"neighborAddress": "router", "peerAs": 1}}),
        json!({"conf": {"neighborAddress": "192.168.0.5", "peerAs": 0}}),
        json!({"conf": {"peerAs": 1}, "config": {"peerAs": 2}}),
    ];
    for value in too_little {
        let speaker = made(json!({"as": 50000}), &[("leaf1", value.clone())], &[]);
        assert!(speaker.bgp.unwrap().peers.is_empty(), "{value}");
        assert!(speaker.of_peers["leaf1"].wrong_ones().is_some(), "{value}");
        assert!(speaker.remotes.is_empty());
    }
}

#[test]
fn a_node_has_one_session_with_a_peer_and_none_with_itself() {
    let same = [("a", with(json!({}))), ("b", with(json!({})))];
    let speaker = made(json!({"as": 1}), &same, &[]);
    assert_eq!(speaker.bgp.unwrap().peers.len(), 1);
    assert!(
        speaker.of_peers["b"]
            .wrong_ones()
            .unwrap()
            .contains("BgpPeer a is the same peer")
    );

    let nobody = [
        (
            "self",
            with(json!({"conf": {"neighborAddress": "192.168.0.2"}})),
        ),
        ("down", with(json!({"conf": {"adminDown": true}}))),
        (
            "elsewhere",
            with(json!({"nodeSelector": {"matchLabels": {"rack": "b"}}})),
        ),
        ("others", with(json!({"sourceAddress": "192.168.0.3"}))),
    ];
    let speaker = made(json!({"as": 1}), &nobody, &[("rack", "a")]);
    assert!(speaker.bgp.unwrap().peers.is_empty());
    assert!(speaker.of_peers.is_empty(), "{:?}", speaker.of_peers);
}

#[test]
fn a_pool_is_announced_as_it_says() {
    let given: Announcement = serde_json::from_value(json!({
        "peers": ["leaf1", "nobody"], "nodeSelectors": [{"matchLabels": {"rack": "a"}}],
        "communities": ["65000:100", "no-export", "large:65000:1:2", "rt:65000:1", "red"],
        "localPref": 4_294_967_295_i64, "med": 5, "prepend": 2, "aggregationLength": 24,
    }))
    .unwrap();
    let leaf = Remote::Address("192.168.0.5".parse().unwrap());
    let remotes = [("leaf1".to_owned(), leaf.clone())].into();
    let (bgp, findings) = announcement(Some(&given), &remotes);
    assert_eq!(bgp.peers, Some([leaf].into()));
    assert_eq!(
        (bgp.routes.local_pref, bgp.routes.med, bgp.routes.prepend),
        (Some(u32::MAX), Some(5), Some(2))
    );
    assert_eq!(
        (
            bgp.routes.aggregation_length,
            bgp.routes.aggregation_length_v6
        ),
        (Some(24), None)
    );
    let kinds = (
        bgp.routes.communities.len(),
        bgp.routes.large_communities.len(),
        bgp.routes.extended_communities.len(),
    );
    assert_eq!(kinds, (2, 1, 1));
    let wrong = findings.wrong_ones().unwrap();
    assert!(
        wrong.contains("no usable BgpPeer nobody") && wrong.contains("\"red\" is not a community"),
        "{wrong}"
    );
    assert!(announces(Some(&given), &node(&[("rack", "a")])));
    assert!(!announces(Some(&given), &node(&[])));
    assert!(announces(None, &node(&[])));
}
