//! A cluster that ran porter or OpenELB: its definitions, written again from what those releases declared, its objects as
//! they stored them, and then ours in their place. Everything is still there, understood, and can be changed.

use anyhow::{Context as _, Result, ensure};
use lb_kube::crd::{BgpConf, BgpPeer, Eip};
use lb_lab::{ApiServer, CONTROLLER};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::fixture;

const RELEASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kube/openelb");

#[test]
fn objects_of_every_release_outlive_its_definitions() -> Result<()> {
    let server = ApiServer::start()?;
    declare(&server, "v0.3")?;
    let name = "of-v03";
    create(
        &server,
        "v1alpha1",
        "Eip",
        name,
        json!({"address": "10.3.0.0/24", "protocol": "bgp", "usingKnownIPs": true}),
    )?;
    create(
        &server,
        "v1alpha1",
        "BgpConf",
        "default",
        json!({"as": 50000, "routerID": "10.0.0.1", "port": 17900}),
    )?;
    let peer = json!({
        "config": {"neighborAddress": "10.0.0.3", "peerAs": 50003}, "addPaths": {"sendMax": 8}, "usingPortForward": true,
        "transport": {"passiveMode": true, "remotePort": 1179},
    });
    create(&server, "v1alpha1", "BgpPeer", name, peer)?;

    declare(&server, "v0.4")?;
    create(
        &server,
        "v1alpha2",
        "Eip",
        "of-v04",
        json!({"address": "10.4.0.1-10.4.0.9", "protocol": "layer2", "interface": "eth0"}),
    )?;
    let pool = json!({
        "occupied": false, "usage": 2, "poolSize": 9, "firstIP": "10.4.0.1", "lastIP": "10.4.0.9", "ready": true, "v4": true,
        "used": {"10.4.0.1": "default/web", "10.4.0.2": "default/a;team/b"},
    });
    set_status(&server, "eip", "of-v04", &json!({"status": pool}))?;
    let finalizer = json!({"metadata": {
        "finalizers": ["finalizer.ipam.kubesphere.io/v1alpha1"],
        "annotations": {"eip.openelb.kubesphere.io/is-default-eip": "true"},
    }});
    server.kubectl(&[
        "patch",
        "eip",
        "of-v04",
        "--type=merge",
        "-p",
        &finalizer.to_string(),
    ])?;
    let peer = json!({
        "conf": {"neighborAddress": "10.0.0.4", "peerAs": 50004, "authPassword": "secret"},
        "afiSafis": [{
            "config": {"family": {"afi": "AFI_IP", "safi": "SAFI_UNICAST"}, "enabled": true},
            "addPaths": {"config": {"sendMax": 10}},
        }],
        "nodeSelector": {"matchLabels": {"openelb.kubesphere.io/rack": "leaf1"}}, "timers": {"config": {"holdTime": "30"}},
    });
    create(&server, "v1alpha2", "BgpPeer", "of-v04", peer)?;
    let session = json!({
        "peerState": {"authPassword": "secret", "sessionState": "ESTABLISHED", "peerAs": 50004, "queues": {"input": 1}},
        "timersState": {"negotiatedHoldTime": "30", "uptime": "5"},
    });
    set_status(
        &server,
        "bgppeer",
        "of-v04",
        &json!({"status": {"nodesPeerStatus": {"node1": session}}}),
    )?;

    declare(&server, "v0.6")?;
    let pool = json!({"address": "fd00:6::/64", "priority": 5, "namespaces": ["a"], "namespaceSelector": {"team": "a"}});
    create(&server, "v1alpha2", "Eip", "of-v06", pool)?;

    // Theirs convert nothing and prune: what v1alpha1 stored is hidden, but not gone.
    let hidden = raw(&server, "bgpconf", "default")?;
    assert_eq!(hidden["spec"], json!({"as": 50000}));

    fixture::install(&server)?;
    understood(&server)?;
    writable(&server)
}

fn understood(server: &ApiServer) -> Result<()> {
    let conf: BgpConf = read(server, "bgpconf", "default")?;
    let conf = conf.spec.normalised()?;
    assert_eq!(
        (conf.asn, conf.router_id.as_deref(), conf.listen_port),
        (Some(50_000), Some("10.0.0.1"), Some(17_900))
    );
    let peer: BgpPeer = read(server, "bgppeer", "of-v03")?;
    let peer = peer.spec.normalised()?;
    let who = peer.conf.context("who it is")?;
    assert_eq!(
        (who.neighbor_address.as_deref(), who.peer_as),
        (Some("10.0.0.3"), Some(50_003))
    );
    let paths = peer.afi_safis[0]
        .add_paths
        .as_ref()
        .and_then(|paths| paths.config.as_ref());
    assert_eq!(paths.and_then(|config| config.send_max), Some(8));
    let pool: Eip = read(server, "eip", "of-v03")?;
    assert_eq!(
        (pool.spec.address.as_str(), pool.spec.using_known_ips),
        ("10.3.0.0/24", Some(true))
    );

    let pool: Eip = read(server, "eip", "of-v04")?;
    let status = pool.status.context("its status")?;
    assert_eq!(status.used["10.4.0.2"], "default/a;team/b");
    assert_eq!(
        (status.usage, status.pool_size, status.v4, status.ready),
        (Some(2), Some(9), Some(true), Some(true))
    );
    assert_eq!(
        pool.metadata.finalizers,
        Some(vec!["finalizer.ipam.kubesphere.io/v1alpha1".to_owned()])
    );
    let peer: BgpPeer = read(server, "bgppeer", "of-v04")?;
    let sessions = peer.status.context("its status")?.nodes_peer_status;
    let state = sessions["node1"].peer_state.clone().unwrap_or_default();
    assert_eq!(state.session_state.as_deref(), Some("ESTABLISHED"));
    // The password that OpenELB copied into the status is no longer shown.
    let text = raw(server, "bgppeer", "of-v04")?["status"].to_string();
    ensure!(!text.contains("secret"), "{text}");

    let pool: Eip = read(server, "eip", "of-v06")?;
    assert_eq!(
        (pool.spec.priority, pool.spec.namespaces.len()),
        (Some(5), 1)
    );
    assert_eq!(pool.spec.namespace_selector["team"], "a");
    Ok(())
}

/// Finalizers can be taken away and status written, by the controller's own rights.
fn writable(server: &ApiServer) -> Result<()> {
    let none = r#"{"metadata": {"finalizers": null}}"#;
    let write = |words: &[&str]| server.kubectl_as(CONTROLLER, words);
    for (kind, name) in [
        ("eip", "of-v03"),
        ("eip", "of-v04"),
        ("eip", "of-v06"),
        ("bgpconf", "default"),
        ("bgppeer", "of-v03"),
    ] {
        write(&["patch", kind, name, "--type=merge", "-p", none])?;
    }
    let usage = r#"{"status": {"usage": 1, "claims": [{"address": "10.3.0.1", "service": "default/web"}]}}"#;
    fixture::patch_status(server, "eip/of-v03", usage)?;
    let pool: Eip = read(server, "eip", "of-v03")?;
    assert_eq!(pool.status.unwrap_or_default().claims.len(), 1);
    // What was stored as v1alpha1 keeps its old words when it is written again.
    let conf: BgpConf = read(server, "bgpconf", "default")?;
    assert_eq!(conf.spec.port_v1alpha1, Some(17_900));
    Ok(())
}

fn declare(server: &ApiServer, release: &str) -> Result<()> {
    server.kubectl(&["apply", "-f", &format!("{RELEASES}/{release}.yaml")])?;
    let established = "--for=condition=established";
    server.kubectl(&["wait", established, "crd", "--all", "--timeout=20s"])?;
    Ok(())
}

/// A definition is served a moment after it is established.
fn create(server: &ApiServer, version: &str, kind: &str, name: &str, spec: Value) -> Result<()> {
    let object = json!({
        "apiVersion": format!("network.kubesphere.io/{version}"), "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    let what = format!("{kind} {name} is stored with every field");
    lb_lab::wait_until(std::time::Duration::from_secs(10), &what, || {
        server.apply(&object.to_string())?;
        let resource = format!("{}s.{version}.network.kubesphere.io", kind.to_lowercase());
        Ok((raw(server, &resource, name)?["spec"] == object["spec"]).then_some(()))
    })
}

fn set_status(server: &ApiServer, kind: &str, name: &str, status: &Value) -> Result<()> {
    fixture::patch_status(server, &format!("{kind}/{name}"), &status.to_string())
}

fn raw(server: &ApiServer, resource: &str, name: &str) -> Result<Value> {
    Ok(serde_json::from_str(
        &server.kubectl(&["get", resource, name, "-o", "json"])?,
    )?)
}

/// As soon as our schema is the one that is served.
fn read<T: DeserializeOwned>(server: &ApiServer, resource: &str, name: &str) -> Result<T> {
    Ok(serde_json::from_value(raw(server, resource, name)?)?)
}
