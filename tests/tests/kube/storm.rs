//! More changes than anybody can follow, at the wire of the watch: what the source holds of them is bounded, an engine
//! that is slow gets fewer updates and not older ones, and the last word of each object is the one that counts.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, LazyLock},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use kube::{Client, Config, config::Kubeconfig};
use lb_core::model::Service;
use lb_kube::reflect::{
    cluster::Settings,
    source::{self, Source, Update},
};
use lb_lab::{
    SYSTEM_NAMESPACE,
    replay::{Line, Replay, modified},
    wait_until,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fixture::block_on;

const SERVICES: u32 = 200;
/// Events of the storm that is read, and the most that may be taken of one that nobody reads: what sockets and queues
/// hold is a fraction of it.
const EVENTS: u32 = 10_000;
const UNREAD_MAX: u32 = 60_000;
/// How often the engine looks.
const WINDOW: Duration = Duration::from_millis(20);
/// A watch that takes nothing for so long is stalled.
const STALL: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(15);

/// Nothing that anybody reads.
static PADDING: LazyLock<String> = LazyLock::new(|| "x".repeat(4096));

const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

fn list(items: Vec<Value>) -> Value {
    json!({"metadata": {"resourceVersion": "1000"}, "items": items})
}

fn metadata(name: &str) -> Value {
    json!({"name": name, "namespace": "default", "uid": name, "resourceVersion": "10"})
}

fn service(number: u32) -> Value {
    json!({
        "metadata": metadata(&format!("service-{number}")),
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "fairlead.io/load-balancer",
            "ports": [{"name": "web", "port": 80}],
        },
        "status": {"loadBalancer": {"ingress": [{"ip": format!("10.98.0.{}", number + 1)}]}},
    })
}

/// Ten endpoints, of which the first has a port that tells which event it is of.
fn slice(number: u32, event: u32) -> Value {
    let name = format!("service-{number}");
    let mut metadata = metadata(&name);
    metadata["labels"] = json!({"kubernetes.io/service-name": name});
    let [_, high, middle, low] = event.to_be_bytes();
    let first = format!("10.{}.{middle}.{low}", 16 + high);
    let others = (1..10).map(|index| format!("10.1.0.{index}"));
    let endpoints: Vec<_> = [first]
        .into_iter()
        .chain(others)
        .map(|address| json!({"addresses": [address], "nodeName": "node1", "conditions": {"ready": true}}))
        .collect();
    json!({
        "metadata": metadata, "addressType": "IPv4",
        "ports": [{"name": "web", "port": 8080}], "endpoints": endpoints,
    })
}

/// As large as an object with all that an API server keeps of who wrote it, so that sockets hold few.
fn event(number: u32) -> Line {
    let line = modified(&slice(number % SERVICES, number));
    let padded = line.replacen(
        "{\"addressType",
        &format!("{{\"padding\":\"{}\",\"addressType", *PADDING),
        1,
    );
    padded.into()
}

fn cluster() -> Result<Replay> {
    let replay = Replay::start(TcpListener::bind("127.0.0.1:0")?)?;
    let kinds = [
        ("/api/v1/services", (0..SERVICES).map(service).collect()),
        (SLICES, (0..SERVICES).map(|of| slice(of, 0)).collect()),
        (
            "/api/v1/nodes",
            vec![json!({"metadata": {"name": "node1", "uid": "n", "resourceVersion": "1"}})],
        ),
        (
            "/apis/network.kubesphere.io/v1alpha2/eips",
            vec![json!({
                "metadata": {"name": "pool", "uid": "p", "resourceVersion": "1"},
                "spec": {"address": "10.98.0.0/16"},
            })],
        ),
    ];
    for (path, items) in kinds {
        replay.put(path, &list(items));
    }
    Ok(replay)
}

async fn start(replay: &Replay) -> Result<mpsc::Receiver<Update>> {
    let kubeconfig = Kubeconfig::from_yaml(&replay.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    let source = Source {
        client: Client::try_from(config)?,
        settings: Settings {
            node: "node1".into(),
            namespace: SYSTEM_NAMESPACE.to_owned(),
            ..Settings::default()
        },
        state_file: None,
        reads_cluster_key: false,
    };
    let (_requests, requested) = mpsc::channel(1);
    let (sent, updates) = mpsc::channel(1);
    tokio::spawn(source::run(source, requested, sent));
    Ok(updates)
}

type Known = BTreeMap<Arc<str>, Arc<Service>>;

fn take(known: &mut Known, update: Update) {
    for (name, service) in update.services {
        match service {
            Some(service) => _ = known.insert(name, service),
            None => _ = known.remove(&name),
        }
    }
}

/// Whether each Service has the endpoint of the last event about it.
fn is_up_to_date(known: &Known, last: u32) -> bool {
    (last - SERVICES + 1..=last).all(|event| {
        let name = format!("default/service-{}", event % SERVICES);
        let wanted = slice(0, event)["endpoints"][0]["addresses"][0].clone();
        known.get(&*name).is_some_and(|service| {
            let mut endpoints = service.endpoints.iter();
            endpoints.any(|endpoint| wanted == endpoint.address.to_string())
        })
    })
}

/// Tells as much as is taken, until nothing more is for a while; the number of the last event.
fn storm_until_stalled(replay: &Replay) -> Result<u32> {
    let mut taken_at = Instant::now();
    let mut number = 1;
    while taken_at.elapsed() < STALL {
        ensure!(
            number < UNREAD_MAX,
            "{number} events are held for somebody who does not read"
        );
        match replay.try_tell(SLICES, &event(number)) {
            true => {
                number += 1;
                taken_at = Instant::now();
            }
            false => thread::yield_now(),
        }
    }
    Ok(number)
}

#[test]
fn a_storm_stalls_the_watch_fills_no_queue_and_ends_with_the_last_word() -> Result<()> {
    let replay = cluster()?;
    block_on(async {
        let mut updates = start(&replay).await?;
        let mut known = Known::new();
        while known.len() < SERVICES as usize {
            let Some(update) = updates.recv().await else {
                bail!("the source has ended");
            };
            take(&mut known, update);
        }
        wait_until(SOON, "the slices are watched", || {
            Ok((replay.watches(SLICES) == 1).then_some(()))
        })?;

        let told = replay.clone();
        let storm = tokio::task::spawn_blocking(move || storm_until_stalled(&told));
        let unread = storm.await??;

        let last = unread + EVENTS;
        let told = replay.clone();
        let begun = Instant::now();
        let storm = tokio::task::spawn_blocking(move || {
            (unread..=last).for_each(|number| told.tell(SLICES, &event(number)));
            begun.elapsed()
        });
        let mut count = 0;
        while !is_up_to_date(&known, last) {
            let update = tokio::time::timeout(SOON, updates.recv()).await?;
            let Some(update) = update else {
                bail!("the source has ended");
            };
            take(&mut known, update);
            count += 1;
            tokio::time::sleep(WINDOW).await;
        }
        let rate = f64::from(EVENTS) / storm.await?.as_secs_f64();
        println!(
            "{unread} events were taken unread, {EVENTS} were read at {rate:.0} a second in {count} updates"
        );
        ensure!(
            count * 20 < EVENTS,
            "{count} updates are not fewer than the events"
        );
        Ok(())
    })
}
