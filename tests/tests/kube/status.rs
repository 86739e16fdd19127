//! What agents write: each its own keys, whoever else writes.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use lb_kube::{
    crd::{NodeConfStatus, NodePeerStatus},
    status::{Report, Writer},
};
use lb_lab::{ADMIN, ApiServer};
use serde_json::Value;

use crate::fixture::{block_on, client, start};

const OBJECTS: &str = "
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {name: default}
spec: {as: 65000}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpPeer
metadata: {name: router}
spec: {conf: {peerAs: 65001, neighborAddress: 10.0.0.1}}
";

fn report(state: &str, has_session: bool) -> Report {
    Report {
        speaker: Some(NodeConfStatus {
            state: Some(state.to_owned()),
            ..NodeConfStatus::default()
        }),
        peers: BTreeMap::from([
            (
                "router".to_owned(),
                has_session.then(NodePeerStatus::default),
            ),
            ("gone".to_owned(), None),
        ]),
    }
}

fn read(server: &ApiServer, kind: &str, name: &str) -> Result<Value> {
    let text = server.kubectl(&["get", kind, name, "-o", "json"])?;
    Ok(serde_json::from_str(&text)?)
}

fn nodes(object: &Value, map: &str) -> Vec<String> {
    let nodes = object["status"][map].as_object();
    nodes
        .into_iter()
        .flat_map(|nodes| nodes.keys().cloned())
        .collect()
}

#[test]
fn nodes_write_beside_each_other_take_back_their_own_and_nothing_twice() -> Result<()> {
    let server = start()?;
    server.apply(OBJECTS)?;
    block_on(async {
        let api = client(&server, ADMIN).await?;
        let mut one = Writer::new(api.clone(), "node1");
        let mut two = Writer::new(api.clone(), "node2");
        ensure!(one.write(&report("Ready", true)).await? == 3);
        ensure!(two.write(&report("Ready", true)).await? == 3);
        let speaker = read(&server, "bgpconf", "default")?;
        ensure!(
            nodes(&speaker, "nodesConfStatus") == ["node1", "node2"],
            "{speaker}"
        );
        let version = speaker["metadata"]["resourceVersion"].clone();

        ensure!(
            one.write(&report("Ready", true)).await? == 0,
            "nothing changed"
        );
        ensure!(
            one.write(&report("Draining", true)).await? == 0,
            "written just now"
        );
        // Another agent of the node, as after a restart: it says the same, and what it has no more is gone.
        let mut again = Writer::new(api, "node1");
        again.write(&report("Ready", false)).await?;
        let speaker = read(&server, "bgpconf", "default")?;
        ensure!(
            speaker["metadata"]["resourceVersion"] == version,
            "written without a change"
        );
        let peer = read(&server, "bgppeer", "router")?;
        ensure!(nodes(&peer, "nodesPeerStatus") == ["node2"], "{peer}");
        Ok(())
    })
}
