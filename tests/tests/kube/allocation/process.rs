//! `lb-agent controller` as it runs in a pod: probes, metrics, its end, and what a thousand Services cost the API server.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::PostParams};
use lb_lab::{ADMIN, wait_until};
use tokio::task::JoinSet;

use super::{
    POOL,
    controller::{Cluster, LIMIT, service},
};
use crate::fixture::{self, block_on};

const OPT_IN: &str = "lb.kubesphere.io/v1alpha1: openelb";
const SERVICES: usize = 1000;
/// Requests at a time that make them.
const WORKERS: usize = 32;

#[test]
fn it_answers_kubelet_and_prometheus_and_gives_its_lease_up() -> Result<()> {
    let cluster = Cluster::start()?;
    let definition = "eips.network.kubesphere.io";
    cluster.kubectl(&["delete", "crd", definition])?;
    let mut one = cluster.process("one", &[])?;
    wait_until(LIMIT, "it says what is missing", || {
        let ready = one.get("/readyz")?;
        ensure!(
            ready.contains("503") && ready.contains("serves no Eips: apply the definitions"),
            "{ready}"
        );
        Ok(Some(()))
    })?;
    ensure!(one.get("/healthz")?.contains("200 OK"));
    fixture::install(&cluster.server)?;
    cluster.apply(POOL)?;
    cluster.apply(&service("web", OPT_IN, ""))?;
    cluster.wait_for_addresses("web", "10.99.0.0")?;
    for line in [
        "fairlead_controller_leader 1",
        "fairlead_eip_addresses{eip=\"pool\",family=\"IPv4\"} 10",
        "fairlead_eip_addresses{eip=\"pool\",family=\"IPv6\"} 256",
        "fairlead_eip_addresses_in_use{eip=\"pool\",family=\"IPv4\"} 1",
        "fairlead_controller_services{state=\"addressed\"} 1",
        "fairlead_controller_services_not_serving{reason=\"NoEndpoints\"} 1",
        "fairlead_controller_addresses_assigned_total 1",
    ] {
        one.wait_for_metric(line)?;
    }
    let metrics = one.get("/metrics")?;
    ensure!(
        metrics.contains("application/openmetrics-text"),
        "{metrics}"
    );
    ensure!(one.get("/readyz")?.contains("200 OK"));
    let two = cluster.process("two", &[])?;
    two.wait_for_metric("fairlead_controller_listed 1")?;
    two.wait_for_metric("fairlead_controller_leader 0")?;
    one.terminate()?;
    two.wait_for_metric("fairlead_controller_leader 1")?;
    Ok(())
}

#[test]
fn a_thousand_services_cost_three_requests_each_and_then_nothing() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(&POOL.replace("10.99.0.0-10.99.0.9", "10.99.0.0/20"))?;
    let one = cluster.process("one", &[])?;
    one.wait_for_metric("fairlead_controller_leader 1")?;
    cluster.wait_for_quiet()?;
    let kinds = [
        (
            "services PATCH",
            vec!["resource=\"services\"", "verb=\"PATCH\""],
        ),
        (
            "services GET",
            vec!["resource=\"services\"", "verb=\"GET\""],
        ),
        ("eips PUT", vec!["resource=\"eips\"", "verb=\"PUT\""]),
        ("eips PATCH", vec!["resource=\"eips\"", "verb=\"PATCH\""]),
        ("events POST", vec!["resource=\"events\"", "verb=\"POST\""]),
    ];
    let count = || -> Result<Vec<usize>> {
        kinds
            .iter()
            .map(|(_, words)| cluster.requests(words))
            .collect()
    };
    let before = count()?;
    block_on(make_services(&cluster))?;
    wait_until(
        Duration::from_secs(60),
        "every Service has an address",
        || {
            let line = format!("fairlead_controller_services{{state=\"addressed\"}} {SERVICES}");
            let metrics = one.get("/metrics")?;
            Ok(metrics.lines().any(|known| known == line).then_some(()))
        },
    )?;
    cluster.wait_for_quiet()?;
    let spent: Vec<usize> = count()?
        .iter()
        .zip(before)
        .map(|(now, before)| now - before)
        .collect();
    for ((name, _), spent) in kinds.iter().zip(&spent) {
        println!("{spent:>6} {name}");
    }
    assert_eq!(spent[0], 2 * SERVICES, "a finalizer and a status each");
    assert_eq!(spent[1], 0, "nothing is read again");
    let eips = spent[2] + spent[3];
    ensure!(
        eips <= SERVICES / 5,
        "{eips} writes of Eips: claims are not written together"
    );
    assert_eq!(spent[4], SERVICES, "one event each");
    // A restart writes each Eip once, and no Service.
    drop(one);
    let versions = cluster.versions()?;
    let before = count()?;
    let next = cluster.process("two", &[])?;
    next.wait_for_metric("fairlead_controller_leader 1")?;
    cluster.wait_for_quiet()?;
    assert_eq!(cluster.versions()?, versions);
    let spent = count()?[2] - before[2];
    ensure!(spent <= 3, "{spent} writes of three Eips");
    Ok(())
}

async fn make_services(cluster: &Cluster) -> Result<()> {
    let client = fixture::client(&cluster.server, ADMIN).await?;
    let mut made = JoinSet::new();
    for worker in 0..WORKERS {
        let api: Api<Service> = Api::namespaced(client.clone(), "default");
        made.spawn(async move {
            for number in (worker..SERVICES).step_by(WORKERS) {
                let object = serde_json::json!({
                    "metadata": {"name": format!("s{number}"), "annotations": {"lb.kubesphere.io/v1alpha1": "openelb"}},
                    "spec": {"type": "LoadBalancer", "ports": [{"name": "p", "port": 80}]},
                });
                let object: Service = serde_json::from_value(object)?;
                api.create(&PostParams::default(), &object).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = made.join_next().await {
        ended??;
    }
    Ok(())
}
