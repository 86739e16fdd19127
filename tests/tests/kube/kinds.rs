//! Our kinds as the API server holds them: both versions are one, what OpenELB took is taken, what is new is checked, and
//! kubectl shows what a person looks for.

use anyhow::{Result, ensure};
use lb_kube::crd::{BgpConf, BgpPeer, Eip};
use serde_json::{Value, json};

use crate::fixture::{self, Scope};

fn object(version: &str, kind: &str, name: &str, spec: &Value) -> String {
    json!({
        "apiVersion": format!("network.kubesphere.io/{version}"), "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    })
    .to_string()
}

fn spec_of(scope: &Scope, resource: &str, name: &str) -> Result<Value> {
    let object: Value =
        serde_json::from_str(&scope.kubectl(&["get", resource, name, "-o", "json"])?)?;
    Ok(object["spec"].clone())
}

#[test]
fn what_is_posted_in_one_version_is_read_in_both() -> Result<()> {
    let scope = Scope::new("kinds-versions")?;
    let cases = [
        (
            "Eip",
            "eips",
            json!({"address": "10.0.0.0/24", "protocol": "bgp", "disable": true, "usingKnownIPs": true}),
        ),
        (
            "BgpConf",
            "bgpconfs",
            json!({"as": 50000, "routerID": "10.0.0.1", "port": 17900}),
        ),
        (
            "BgpPeer",
            "bgppeers",
            json!({
                "config": {"neighborAddress": "10.0.0.5", "peerAs": 50001}, "addPaths": {"sendMax": 8},
                "transport": {"passiveMode": true, "remotePort": 1179}, "usingPortForward": true,
            }),
        ),
    ];
    for (kind, resource, spec) in cases {
        for posted in ["v1alpha1", "v1alpha2"] {
            let name = format!("kinds-{posted}");
            scope.apply(&object(posted, kind, &name, &spec))?;
            for read in ["v1alpha1", "v1alpha2"] {
                let resource = format!("{resource}.{read}.network.kubesphere.io");
                assert_eq!(
                    spec_of(&scope, &resource, &name)?,
                    spec,
                    "{kind} as {posted}, read as {read}"
                );
            }
        }
    }
    Ok(())
}

/// The schema of v0.6 would take all of these; so must ours, or an upgrade would freeze such an object.
#[test]
fn what_openelb_took_is_taken() -> Result<()> {
    let scope = Scope::new("kinds-taken")?;
    let specs = [
        ("Eip", json!({"address": "10.0.0.1", "protocol": "layer2"})),
        ("Eip", json!({"address": "nonsense"})),
        (
            "Eip",
            json!({"address": "10.0.0.0/255.255.255.0", "interface": "can_reach:10.0.0.1", "protocol": "vip"}),
        ),
        (
            "Eip",
            json!({"address": "fd00::/64", "priority": -5, "namespaces": [], "namespaceSelector": {}}),
        ),
        ("BgpConf", json!({})),
        (
            "BgpConf",
            json!({"as": -5, "listenPort": -1, "families": [65537], "asPerRack": {"a": 1}}),
        ),
        (
            "BgpConf",
            json!({"as": 4_294_967_295_u32, "routerId": "not an address"}),
        ),
        ("BgpPeer", json!({})),
        (
            "BgpPeer",
            json!({"conf": {"peerAs": 4_294_967_295_u32, "localAs": 2_147_483_648_u32, "authPassword": "x"}}),
        ),
        (
            "BgpPeer",
            json!({"timers": {"config": {"holdTime": "soon"}}, "afiSafis": [{}], "nodeSelector": {}}),
        ),
    ];
    for (number, (kind, spec)) in specs.iter().enumerate() {
        let name = format!("kinds-taken-{number}");
        scope.apply(&object("v1alpha2", kind, &name, spec))?;
        let resource = format!("{}s", kind.to_lowercase());
        assert_eq!(spec_of(&scope, &resource, &name)?, *spec, "{kind}");
    }
    // Without a spec at all, as v0.1 let it be.
    for kind in ["Eip", "BgpConf", "BgpPeer"] {
        scope.apply(&format!(
            "{{apiVersion: network.kubesphere.io/v1alpha2, kind: {kind}, metadata: {{name: kinds-no-spec}}}}"
        ))?;
    }
    // OpenELB's webhook held the address fast; here a pool can grow.
    scope.apply(&object(
        "v1alpha2",
        "Eip",
        "kinds-taken-0",
        &json!({"address": "10.0.0.0/30"}),
    ))?;
    Ok(())
}

#[test]
fn what_is_new_is_checked_and_the_reason_is_told() -> Result<()> {
    let scope = Scope::new("kinds-checked")?;
    let refused = [
        (
            "Eip",
            json!({"address": "10.0.0.1", "addresses": ["everything"]}),
            "each is an address, a network",
        ),
        (
            "Eip",
            json!({"address": "10.0.0.1", "addresses": ["10.0.0.1-"]}),
            "each is an address, a network",
        ),
        (
            "Eip",
            json!({"address": "10.0.0.1", "addresses": ["10.0.0.1-10.0.0.2-10.0.0.3"]}),
            "each is an address",
        ),
        (
            "Eip",
            json!({"address": "10.0.0.1", "addresses": vec!["10.0.0.1"; 65]}),
            "must have at most 64 items",
        ),
        (
            "Eip",
            json!({"address": "10.0.0.1", "announcement": {"aggregationLength": 33}}),
            "less than or equal to 32",
        ),
        (
            "Eip",
            json!({"address": "10.0.0.1", "announcement": {"localPref": -1}}),
            "greater than or equal to 0",
        ),
        (
            "Eip",
            json!({"address": "10.0.0.1", "protocol": "rip"}),
            "Unsupported value",
        ),
        (
            "Eip",
            json!({"protocol": "bgp"}),
            "spec.address: Required value",
        ),
        (
            "BgpConf",
            json!({"routerID": "10.0.0.1", "routerId": "10.0.0.2"}),
            "old spelling of routerId",
        ),
        (
            "BgpConf",
            json!({"port": 179, "listenPort": 17900}),
            "old spelling of listenPort",
        ),
        (
            "BgpPeer",
            json!({"passwordSecret": {"name": "x"}, "conf": {"authPassword": "x"}}),
            "not both",
        ),
        (
            "BgpPeer",
            json!({"passwordSecret": {}}),
            "passwordSecret.name: Required value",
        ),
        ("BgpPeer", json!({"nextHop": "router"}), "Unsupported value"),
        (
            "BgpPeer",
            json!({"bfd": {"intervalMilliseconds": 1}}),
            "greater than or equal to 10",
        ),
    ];
    for (kind, spec, reason) in refused {
        let error = scope.apply(&object("v1alpha2", kind, "kinds-refused", &spec));
        let error = error
            .err()
            .map(|error| format!("{error:#}"))
            .unwrap_or_default();
        ensure!(error.contains(reason), "{kind} {spec}: {error:?}");
    }
    Ok(())
}

/// The API server refuses definitions whose rules could cost too much; the largest object that the limits allow shows
/// that what they cost in fact is allowed as well.
#[test]
fn the_largest_object_is_not_too_costly_to_check() -> Result<()> {
    let scope = Scope::new("kinds-cost")?;
    let range = format!(
        "{0}{1:>53}",
        "fd00:0000:0000:0000:0000:0000:0000:0001-", "fd00:0000:0000:0000:0000:0000:0000:ffff"
    );
    assert!(range.len() <= 100);
    let selector = json!({"matchLabels": {"team": "a"}});
    let spec = json!({
        "address": "10.0.0.0/24", "addresses": vec![range; 64], "namespaces": vec!["a"; 500],
        "namespaceSelectors": vec![&selector; 64], "serviceSelectors": vec![&selector; 64],
        "announcement": {
            "peers": vec!["leaf"; 64], "nodeSelectors": vec![&selector; 64], "communities": vec!["large:4294967295:4294967295:4294967295"; 50],
        },
    });
    scope.apply(&object("v1alpha2", "Eip", "kinds-large", &spec))?;
    assert_eq!(spec_of(&scope, "eips", "kinds-large")?, spec);
    let id = "1".repeat(64);
    scope.apply(&object(
        "v1alpha2",
        "BgpConf",
        "kinds-large",
        &json!({"routerID": id, "routerId": id, "port": 179, "listenPort": 179}),
    ))?;
    let peer = json!({
        "conf": {"neighborAddress": "10.0.0.5", "peerAs": 1, "authPassword": "p".repeat(1024)},
        "afiSafis": vec![json!({"config": {"family": {"afi": "AFI_IP", "safi": "SAFI_UNICAST"}}}); 64],
        "nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": vec!["b"; 500]}]},
    });
    scope.apply(&object("v1alpha2", "BgpPeer", "kinds-large", &peer))?;
    assert_eq!(spec_of(&scope, "bgppeers", "kinds-large")?, peer);
    Ok(())
}

#[test]
fn kubectl_shows_and_explains_them() -> Result<()> {
    let scope = Scope::new("kinds-columns")?;
    let pool = json!({"address": "10.0.0.0/30", "addresses": ["fd00::/126"], "protocol": "bgp"});
    scope.apply(&object("v1alpha2", "Eip", "kinds-columns", &pool))?;
    let status = r#"{"status": {"usage": 3, "poolSize": 8, "conditions": [{"type": "Ready", "status": "True", "reason": "Valid", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}"#;
    fixture::patch_status(scope.server, "eip/kinds-columns", status)?;
    let shown = scope.kubectl(&["get", "eip", "kinds-columns"])?;
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(
        words[..6],
        ["NAME", "CIDR", "USAGE", "TOTAL", "READY", "AGE"]
    );
    assert_eq!(
        words[6..11],
        ["kinds-columns", "10.0.0.0/30", "3", "8", "True"]
    );

    scope.apply(&object(
        "v1alpha2",
        "BgpConf",
        "kinds-columns",
        &json!({"as": 50000, "listenPort": 17900}),
    ))?;
    let shown = scope.kubectl(&["get", "bgpconf", "kinds-columns"])?;
    ensure!(
        shown.contains("AS") && shown.contains("50000") && shown.contains("17900"),
        "{shown}"
    );
    let peer = json!({"conf": {"neighborAddress": "10.0.0.5", "peerAs": 50001}});
    scope.apply(&object("v1alpha2", "BgpPeer", "kinds-columns", &peer))?;
    let shown = scope.kubectl(&["get", "bgppeer", "kinds-columns"])?;
    ensure!(
        shown.contains("ADDRESS") && shown.contains("10.0.0.5") && shown.contains("50001"),
        "{shown}"
    );

    let explained = scope.kubectl(&["explain", "eip.spec.avoidBuggyIPs"])?;
    ensure!(explained.contains(".255"), "{explained}");
    ensure!(
        scope
            .kubectl(&["get", "networking"])?
            .contains("kinds-columns")
    );
    Ok(())
}

#[test]
fn nodes_write_their_own_keys_beside_each_other() -> Result<()> {
    let scope = Scope::new("kinds-keys")?;
    scope.apply(&object(
        "v1alpha2",
        "BgpConf",
        "kinds-keys",
        &json!({"as": 1}),
    ))?;
    let write = |node: &str, value: Value| {
        let status = json!({
            "apiVersion": "network.kubesphere.io/v1alpha2", "kind": "BgpConf", "metadata": {"name": "kinds-keys"},
            "status": {"nodesConfStatus": value},
        });
        let file = scope.server.write_manifest(&status.to_string())?;
        let manager = format!("--field-manager=fairlead-{node}");
        scope.kubectl(&[
            "apply",
            "--server-side",
            "--subresource=status",
            &manager,
            "-f",
            &file.to_string_lossy(),
        ])
    };
    for node in ["node1", "node2"] {
        write(
            node,
            json!({node: {"routerId": "10.0.0.1", "as": 1, "state": "Ready"}}),
        )?;
    }
    // A node that writes none gives up its own key only.
    write("node1", json!({}))?;
    let text = scope.kubectl(&["get", "bgpconf", "kinds-keys", "-o", "json"])?;
    let conf: BgpConf = serde_json::from_str(&text)?;
    let nodes = conf.status.unwrap_or_default().nodes_conf_status;
    assert_eq!(nodes.keys().collect::<Vec<_>>(), ["node2"]);
    assert_eq!(nodes["node2"].asn, Some(1));
    Ok(())
}

/// What our types read is what was written: no field of theirs is unknown to the server, and none is lost between.
#[test]
fn every_field_survives_the_way_there_and_back() -> Result<()> {
    let scope = Scope::new("kinds-fields")?;
    let pool = json!({
        "address": "10.0.0.1", "addresses": ["fd00::1"], "protocol": "layer2", "interface": "eth0", "disable": false,
        "usingKnownIPs": true, "avoidBuggyIPs": true, "autoAssign": false, "priority": 7, "namespaces": ["a"],
        "namespaceSelector": {"team": "a"}, "namespaceSelectors": [{"matchExpressions": [{"key": "x", "operator": "Exists"}]}],
        "serviceSelectors": [{"matchLabels": {"app": "web"}}], "fence": true,
        "announcement": {
            "peers": ["leaf1"], "nodeSelectors": [{}], "communities": ["65000:1"], "localPref": 4_294_967_295_u32, "med": 1,
            "prepend": 2, "aggregationLength": 24, "aggregationLengthV6": 64,
        },
    });
    let read: Eip = round(&scope, "Eip", &pool)?;
    assert_eq!(serde_json::to_value(read.spec)?, pool);
    let restart = json!({
        "enabled": true, "restartTime": 1, "longlivedEnabled": true, "staleRoutesTime": 2, "helperOnly": false,
        "deferralTime": 3, "notificationEnabled": true, "peerRestartTime": 4, "peerRestarting": false,
        "localRestarting": false, "mode": "m",
    });
    let conf = json!({
        "as": 1, "asPerRack": {"a": 2}, "routerId": "10.0.0.1", "listenPort": 3, "listenAddresses": ["10.0.0.1"], "families": [4],
        "useMultiplePaths": true, "gracefulRestart": restart, "policy": "p", "routerID": "10.0.0.1", "port": 3,
        "drain": {"taints": ["t"], "gracefulShutdownSeconds": 5},
    });
    let read: BgpConf = round(&scope, "BgpConf", &conf)?;
    assert_eq!(serde_json::to_value(read.spec)?, conf);
    let peer = json!({
        "conf": {
            "neighborAddress": "10.0.0.5", "peerAs": 1, "localAs": 2, "description": "d", "neighborInterface": "eth0",
            "adminDown": false, "vrf": "v", "peerGroup": "g", "peerType": 3, "removePrivateAs": "r", "routeFlapDamping": true,
            "sendCommunity": 4, "allowOwnAs": 5, "replacePeerAs": true,
        },
        "ebgpMultihop": {"enabled": true, "multihopTtl": 6},
        "timers": {"config": {
            "connectRetry": "1", "holdTime": "2", "keepaliveInterval": "3", "minimumAdvertisementInterval": "4",
        }},
        "transport": {"passiveMode": true, "remotePort": 7, "remoteAddress": "a", "mtuDiscovery": true, "tcpMss": 8},
        "gracefulRestart": restart,
        "afiSafis": [{
            "config": {"family": {"afi": "AFI_IP", "safi": "SAFI_UNICAST"}, "enabled": true},
            "addPaths": {"config": {"receive": true, "sendMax": 9}}, "mpGracefulRestart": {"config": {"enabled": true}},
        }],
        "nodeSelector": {"matchLabels": {"a": "b"}}, "nextHop": "self", "sourceAddress": "10.0.0.1", "gtsm": true,
        "passwordSecret": {"name": "s", "key": "k"}, "bfd": {"enabled": true, "intervalMilliseconds": 50, "multiplier": 3},
        "config": {"neighborAddress": "10.0.0.5", "peerAs": 1}, "addPaths": {"sendMax": 9}, "usingPortForward": true,
    });
    let read: BgpPeer = round(&scope, "BgpPeer", &peer)?;
    assert_eq!(serde_json::to_value(read.spec)?, peer);
    Ok(())
}

fn round<T: serde::de::DeserializeOwned>(scope: &Scope, kind: &str, spec: &Value) -> Result<T> {
    scope.apply(&object("v1alpha2", kind, "kinds-fields", spec))?;
    let resource = kind.to_lowercase();
    let text = scope.kubectl(&["get", &resource, "kinds-fields", "-o", "json"])?;
    Ok(serde_json::from_str(&text)?)
}
