//! Agents without our controller: what another controller gave is announced, within the ranges that an operator allows,
//! and with no more rights than an agent has. There need be no Eip.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use lb_core::model::Prefix;
use lb_kube::reflect::{
    cluster::Settings,
    source::{self, Source},
};
use lb_lab::{AGENT, SYSTEM_NAMESPACE};
use tokio::{sync::mpsc, time::timeout};

use crate::fixture::{self, block_on, client, start};

const LIMIT: Duration = Duration::from_secs(15);

const OBJECTS: &str = "
{apiVersion: v1, kind: Node, metadata: {name: node1}}
---
apiVersion: v1
kind: Secret
metadata: {name: fairlead-cluster, namespace: fairlead-system}
stringData: {key: 0123456789abcdef0123456789abcdef}
---
apiVersion: v1
kind: Service
metadata: {name: inside}
spec: {type: LoadBalancer, loadBalancerClass: example.com/other, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: LoadBalancer, loadBalancerClass: example.com/other, ports: [{port: 80}]}
";

#[test]
fn what_others_gave_is_announced_within_the_allowed_ranges() -> Result<()> {
    let server = start()?;
    server.apply(OBJECTS)?;
    for (name, address) in [("inside", "203.0.113.7"), ("outside", "198.51.100.7")] {
        fixture::assign(&server, name, &[address.parse()?])?;
    }
    block_on(async {
        let source = Source {
            client: client(&server, AGENT).await?,
            settings: Settings {
                node: "node1".into(),
                namespace: SYSTEM_NAMESPACE.to_owned(),
                password_folder: server.folder().join("passwords"),
                allowed_ranges: BTreeSet::from([Prefix::containing([203, 0, 113, 0].into(), 24)]),
                ..Settings::default()
            },
            state_file: None,
            reads_cluster_key: true,
        };
        let (_requests, requested) = mpsc::channel(1);
        let (told, mut updates) = mpsc::channel(16);
        let task = tokio::spawn(source::run(source, requested, told));
        let (mut services, mut notes) = (BTreeSet::new(), BTreeMap::new());
        while !services.contains("default/inside") {
            let update = timeout(LIMIT, updates.recv()).await;
            let update = update
                .context("nothing is told")?
                .context("the source has ended")?;
            let there = update
                .services
                .iter()
                .filter(|(_, service)| service.is_some());
            services.extend(there.map(|(name, _)| name.to_string()));
            notes.extend(
                update
                    .notes
                    .into_iter()
                    .map(|(name, words)| (name.to_string(), words)),
            );
        }
        task.abort();
        assert_eq!(services, BTreeSet::from(["default/inside".to_owned()]));
        let words = format!("{:?}", notes.get("default/outside"));
        ensure!(
            words.contains("198.51.100.7 is not within the ranges allowed"),
            "{words}"
        );
        Ok(())
    })
}
