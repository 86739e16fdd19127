//! Conditions of BgpConf and BgpPeers, and the keys of nodes that are gone, as the controller writes them with its own
//! rights; a second look writes nothing.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use kube::{Api, Client};
use lb_kube::{
    crd::{BgpConf, BgpPeer},
    speakers,
};
use lb_lab::{ApiServer, CONTROLLER};

use crate::fixture::{self, block_on};

const OBJECTS: &str = r#"
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {name: default}
spec: {as: 50000, policy: routes}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpPeer
metadata: {name: leaf1}
spec: {conf: {neighborAddress: router}}
"#;

const POLICY: &str = r#"
[[policy-definitions]]
  name = "out"
  [[policy-definitions.statements]]
    [policy-definitions.statements.conditions.bgp-conditions]
      route-type = "local"
[global.apply-policy.config]
  export-policy-list = ["out"]
"#;

#[test]
fn objects_say_whether_they_are_followed() -> Result<()> {
    let server = fixture::start()?;
    server.apply(OBJECTS)?;
    let keys =
        r#"{"status": {"nodesConfStatus": {"node1": {"as": 50000}, "gone": {"as": 50000}}}}"#;
    fixture::patch_status(&server, "bgpconf/default", keys)?;
    let tend = || block_on(tend(&server, &["node1"]));
    assert_eq!(tend()?, 2);
    assert_eq!(tend()?, 0);

    let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    assert_eq!(
        server.kubectl(&["get", "bgpconf", "default", "-o", ready])?,
        "True"
    );
    let shown = server.kubectl(&["describe", "bgpconf", "default"])?;
    ensure!(
        shown.contains("FieldIgnored")
            && shown
                .contains("spec.policy: policy out, statement number 1: conditions.bgp-conditions"),
        "{shown}"
    );
    let left = server.kubectl(&[
        "get",
        "bgpconf",
        "default",
        "-o",
        "jsonpath={.status.nodesConfStatus}",
    ])?;
    assert_eq!(left, r#"{"node1":{"as":50000}}"#);
    assert_eq!(
        server.kubectl(&["get", "bgppeer", "leaf1", "-o", ready])?,
        "False"
    );

    let repaired = r#"{"spec": {"conf": {"neighborAddress": "10.0.0.5", "peerAs": 50001}}}"#;
    server.kubectl(&["patch", "bgppeer", "leaf1", "--type=merge", "-p", repaired])?;
    assert_eq!(tend()?, 1);
    assert_eq!(
        server.kubectl(&["get", "bgppeer", "leaf1", "-o", ready])?,
        "True"
    );
    Ok(())
}

async fn tend(server: &ApiServer, nodes: &[&str]) -> Result<usize> {
    let client: Client = fixture::client(server, CONTROLLER).await?;
    let confs = Api::<BgpConf>::all(client.clone())
        .list(&Default::default())
        .await?;
    let peers = Api::<BgpPeer>::all(client.clone())
        .list(&Default::default())
        .await?;
    let nodes: BTreeSet<String> = nodes.iter().map(|name| (*name).to_owned()).collect();
    let policy = |name: &str| (name == "routes").then_some(POLICY);
    let tended = speakers::tend(&client, &nodes, policy, &confs.items, &peers.items).await?;
    Ok(tended.confs.len() + tended.peers.len())
}
