//! Every object that a manual prints is applied by kubectl as it is printed, with nothing refused and nothing lost, and
//! what OpenELB's kinds say is understood without a finding.

use std::{collections::BTreeMap, fs, net::Ipv4Addr, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use lb_core::model::Node;
use lb_kube::{
    crd::{BgpConf, BgpPeer},
    project::bgp::speaker,
};
use serde_json::Value;

use crate::fixture;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/manuals");

#[test]
fn objects_of_the_manuals_apply_as_printed() -> Result<()> {
    let server = fixture::start()?;
    server.kubectl(&["create", "namespace", "metallb-system"])?;
    let mut applied = 0;
    for file in manifests()? {
        let name = file.to_string_lossy().into_owned();
        let said = server.kubectl(&["apply", "-f", &name, "-o", "name"])?;
        applied += said.lines().count();
        // Applied again, nothing changes: the server holds what was said.
        let again = server
            .kubectl(&["diff", "-f", &name])
            .map_err(|error| error.context(name.clone()))?;
        ensure!(
            again.is_empty(),
            "{name} is not what the server holds: {again}"
        );
    }
    assert_eq!(applied, 17);

    let conf: BgpConf = get(&server.kubectl(&["get", "bgpconf", "default", "-o", "json"])?)?;
    let peers: Value = serde_json::from_str(&server.kubectl(&["get", "bgppeers", "-o", "json"])?)?;
    let peers: Vec<BgpPeer> = serde_json::from_value(peers["items"].clone())?;
    let peers: Vec<_> = peers
        .iter()
        .map(|peer| {
            (
                peer.metadata.name.as_deref().unwrap_or_default(),
                &peer.spec,
            )
        })
        .collect();
    let password = |_: &str, _: lb_kube::project::bgp::Password<'_>| PathBuf::new();
    let understood = speaker(Some(&conf.spec), None, peers, &node(), &password);
    ensure!(understood.of_conf.is_empty(), "{:?}", understood.of_conf);
    // Two manuals name the same router.
    let twice = understood
        .of_peers
        .keys()
        .map(String::as_str)
        .collect::<Vec<_>>();
    assert_eq!(twice, ["porter-bgp-peer"]);
    assert_eq!(understood.bgp.context("a speaker")?.peers.len(), 2);
    Ok(())
}

fn manifests() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(FOLDER)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn get<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    Ok(serde_json::from_str(text)?)
}

/// The manual's first node, in the rack of its first leaf.
fn node() -> Node {
    Node {
        name: "master1".into(),
        addresses: vec![Ipv4Addr::new(192, 168, 0, 3).into()],
        labels: BTreeMap::from([("porter.kubesphere.io/rack".to_owned(), "leaf1".to_owned())]),
        unfit: None,
    }
}
