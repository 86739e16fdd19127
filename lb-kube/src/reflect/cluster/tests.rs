use k8s_openapi::api::{core::v1, discovery::v1::EndpointSlice};
use lb_core::model::Announce;
use serde_json::{Value, json};

use super::*;
use crate::{
    crd::{EipSpec, NodeConfStatus},
    project::{
        names::Names,
        node::{self, NodeRecord},
        service::{self, ServiceRecord},
        slice::{self, SliceRecord},
    },
    reflect::{
        last_known,
        store::{Event, Known},
        stores::SpeakerRecord,
    },
};

const START: Duration = Duration::ZERO;

fn known<R>(key: &str, version: u64, record: R) -> Known<R> {
    Known {
        key: key.into(),
        uid: key.into(),
        version,
        record,
    }
}

fn service_record(name: &str, vip: Option<&str>) -> Known<ServiceRecord> {
    let ingress = vip.map(|vip| json!([{"ip": vip}])).unwrap_or_default();
    let object: v1::Service = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {
            "type": "LoadBalancer",
            "loadBalancerClass": "fairlead.io/load-balancer",
            "ports": [{"name": "http", "port": 80}],
        },
        "status": {"loadBalancer": {"ingress": ingress}},
    }))
    .unwrap();
    let record = service::service(&object, &ClassRules::default(), &mut Names::default());
    known(&format!("default/{name}"), 10, record)
}

fn slice_record(name: &str, service: &str, addresses: &[&str]) -> Known<SliceRecord> {
    let endpoints = addresses
        .iter()
        .map(|address| json!({"addresses": [address], "nodeName": "node1"}));
    let object: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": endpoints.collect::<Vec<_>>(),
    }))
    .unwrap();
    let record = slice::slice(&object, &mut Names::default()).unwrap();
    known(&format!("default/{name}"), 10, record)
}

fn node_record(name: &str, address: &str, labels: Value) -> Known<NodeRecord> {
    let object: v1::Node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }))
    .unwrap();
    known(name, 10, node::node(&object))
}

fn pool_record(name: &str, address: &str) -> Known<EipSpec> {
    known(
        name,
        10,
        serde_json::from_value(json!({"address": address})).unwrap(),
    )
}

fn listed<R>(items: Vec<Known<R>>) -> Event<R> {
    Event::Listed { version: 10, items }
}

fn settings() -> Settings {
    Settings {
        node: "node1".into(),
        ..Settings::default()
    }
}

/// Everything was listed: Services `a` and `b`, each with a slice, one node, one pool.
fn cluster(settings: Settings) -> Cluster {
    let mut cluster = Cluster::new(settings, None);
    for heard in first_lists() {
        assert!(!cluster.is_complete(START));
        cluster.take(heard, START);
    }
    assert!(cluster.is_complete(START));
    cluster
}

fn first_lists() -> [Heard; 7] {
    [
        Heard::Slice(listed(vec![
            slice_record("a-1", "a", &["10.1.0.1"]),
            slice_record("b-1", "b", &["10.1.0.2"]),
        ])),
        Heard::Service(listed(vec![
            service_record("a", Some("10.99.0.1")),
            service_record("b", Some("10.99.0.2")),
            service_record("waits", None),
        ])),
        Heard::Node(listed(vec![
            node_record("node1", "10.0.0.11", json!({})),
            node_record("node2", "10.0.0.12", json!({})),
        ])),
        Heard::Pool(listed(vec![pool_record("pool", "10.99.0.0/24")])),
        Heard::Speaker(listed(Vec::new())),
        Heard::Peer(Event::NotServed),
        Heard::Secret(listed(Vec::new())),
    ]
}

fn names(delta: &Delta) -> Vec<(&str, bool)> {
    let services = delta.services.iter();
    services
        .map(|(name, service)| (&**name, service.is_some()))
        .collect()
}

#[test]
fn the_first_delta_has_everything_and_the_next_nothing() {
    let mut cluster = cluster(settings());
    let delta = cluster.delta();
    assert_eq!(names(&delta), [("default/a", true), ("default/b", true)]);
    let (_, a) = &delta.services[0];
    assert_eq!(a.as_ref().unwrap().endpoints.len(), 1);
    assert_eq!(delta.nodes.as_ref().map(Vec::len), Some(2));
    assert_eq!(delta.pools.as_ref().map(BTreeSet::len), Some(1));
    assert!(delta.speaker.is_some());
    assert_eq!(
        delta.notes.len(),
        1,
        "one waits for an address: {:?}",
        delta.notes
    );
    assert!(cluster.delta().is_empty());
}

#[test]
fn a_slice_that_changes_costs_its_own_service_alone() {
    let mut cluster = cluster(settings());
    cluster.delta();
    let changed = slice_record("a-1", "a", &["10.1.0.1", "10.1.0.9"]);
    cluster.take(Heard::Slice(Event::Applied(changed)), START);
    let delta = cluster.delta();
    assert_eq!(names(&delta), [("default/a", true)]);
    assert!(delta.nodes.is_none() && delta.speaker.is_none());
    cluster.take(Heard::Slice(Event::Deleted("default/a-1".into())), START);
    let delta = cluster.delta();
    assert!(delta.services[0].1.as_ref().unwrap().endpoints.is_empty());
}

#[test]
fn a_slice_may_move_to_another_service() {
    let mut cluster = cluster(settings());
    cluster.delta();
    let moved = slice_record("a-1", "b", &["10.1.0.1"]);
    cluster.take(Heard::Slice(Event::Applied(moved)), START);
    let delta = cluster.delta();
    let counts: Vec<_> = delta
        .services
        .iter()
        .map(|(_, service)| service.as_ref().unwrap().endpoints.len())
        .collect();
    assert_eq!(counts, [0, 2]);
}

#[test]
fn addresses_outside_of_every_pool_are_not_served_and_say_so() {
    let mut cluster = cluster(settings());
    cluster.delta();
    let strange = service_record("b", Some("192.0.2.1"));
    cluster.take(Heard::Service(Event::Applied(strange)), START);
    let delta = cluster.delta();
    assert_eq!(names(&delta), [("default/b", false)]);
    assert!(
        delta.notes[0].1[0].contains("in no Eip"),
        "{:?}",
        delta.notes
    );
    cluster.take(
        Heard::Pool(Event::Applied(pool_record("more", "192.0.2.0/24"))),
        START,
    );
    let delta = cluster.delta();
    assert_eq!(names(&delta), [("default/b", true)]);
    assert_eq!(
        delta.notes,
        [("default/b".into(), Vec::new())],
        "nothing to say any more"
    );
}

#[test]
fn an_address_of_a_node_is_no_vip() {
    let mut cluster = cluster(settings());
    cluster.delta();
    let node = node_record("node2", "10.99.0.2", json!({}));
    cluster.take(Heard::Node(Event::Applied(node)), START);
    let delta = cluster.delta();
    assert_eq!(names(&delta), [("default/b", false)]);
    assert_eq!(
        delta.pools,
        Some(BTreeSet::new()),
        "a route to nowhere would cut the node off"
    );
}

#[test]
fn services_of_others_are_announced_only_within_the_allowed_ranges() {
    let range = Prefix::containing([10, 99, 0, 2].into(), 32);
    let mut cluster = cluster(Settings {
        allowed_ranges: BTreeSet::from([range]),
        ..settings()
    });
    assert_eq!(names(&cluster.delta()), [("default/b", true)]);
    let mut foreign = service_record("b", Some("10.99.0.2"));
    foreign.record.claim = Claim::Unclaimed;
    cluster.take(Heard::Service(Event::Applied(foreign.clone())), START);
    assert!(
        names(&cluster.delta()).is_empty(),
        "it is announced whoever made it"
    );
    let mut ours = self::cluster(settings());
    ours.delta();
    ours.take(Heard::Service(Event::Applied(foreign)), START);
    assert_eq!(names(&ours.delta()), [("default/b", false)]);
}

#[test]
fn a_next_hop_is_a_node_whose_agent_says_so() {
    let mut cluster = cluster(settings());
    let unfit = |delta: &Delta| -> Vec<_> {
        delta
            .nodes
            .as_ref()
            .unwrap()
            .iter()
            .map(|node| node.unfit)
            .collect()
    };
    let not_serving = Some(lb_core::model::Unfit::NotServing);
    assert_eq!(unfit(&cluster.delta()), [None, not_serving]);
    let speaker = |version, state: &str| {
        let says = NodeConfStatus {
            state: Some(state.to_owned()),
            ..NodeConfStatus::default()
        };
        let record = SpeakerRecord {
            nodes: BTreeMap::from([("node2".to_owned(), says)]),
            ..SpeakerRecord::default()
        };
        Heard::Speaker(Event::Applied(known("default", version, record)))
    };
    cluster.take(speaker(11, "Ready"), START);
    assert_eq!(unfit(&cluster.delta()), [None, None]);
    cluster.take(speaker(12, DRAINING), START);
    assert_eq!(unfit(&cluster.delta()), [None, not_serving]);
}

#[test]
fn an_api_server_that_was_rolled_back_takes_no_service_no_endpoint_and_no_pool() {
    let mut cluster = cluster(settings());
    cluster.delta();
    let older = |version| Known {
        version,
        ..service_record("a", None)
    };
    cluster.take(
        Heard::Service(Event::Listed {
            version: 5,
            items: vec![older(5)],
        }),
        START,
    );
    cluster.take(
        Heard::Slice(Event::Listed {
            version: 5,
            items: Vec::new(),
        }),
        START,
    );
    cluster.take(
        Heard::Pool(Event::Listed {
            version: 5,
            items: Vec::new(),
        }),
        START,
    );
    assert!(cluster.delta().is_empty());
    assert_eq!(
        cluster.stores().alarms().len(),
        3,
        "{:#?}",
        cluster.stores().alarms()
    );
    cluster.release(START, true);
    assert_eq!(
        names(&cluster.delta()),
        [("default/a", false), ("default/b", false)]
    );
}

#[test]
fn the_last_known_state_counts_if_the_api_server_stays_away() {
    let before = cluster(settings());
    let mut after = Cluster::new(settings(), Some(before.stores().clone()));
    assert!(
        after.is_complete(START),
        "a store that was listed stays listed in this test"
    );
    assert_eq!(names(&after.delta()).len(), 2);
    let mut empty = Cluster::new(settings(), Some(Stores::default()));
    assert!(!empty.is_complete(RECOVER_AFTER - Duration::from_millis(1)));
    assert!(empty.is_complete(RECOVER_AFTER));
    assert!(empty.delta().services.is_empty());
}

/// A file that goes with the test.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fairlead-{name}-{}", std::process::id()));
        Self(folder)
    }

    fn file(&self) -> std::path::PathBuf {
        self.0.join("kubernetes.json")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_file_brings_the_same_services_back_and_after_a_reboot_not_the_pods_of_this_node() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("last-known");
    let before = cluster(settings());
    let state = last_known::State::of(before.stores());
    last_known::write(&scratch.file(), "boot", &state).unwrap();
    let mode = std::fs::metadata(scratch.file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let endpoints = |boot: &str| -> Vec<usize> {
        let stores = last_known::read(&scratch.file(), "node1", boot).unwrap();
        let mut cluster = Cluster::new(settings(), stores);
        assert!(!cluster.is_complete(START) && cluster.is_complete(RECOVER_AFTER));
        let services = cluster.delta().services;
        services
            .iter()
            .map(|(_, service)| service.as_ref().unwrap().endpoints.len())
            .collect()
    };
    assert_eq!(endpoints("boot"), [1, 1]);
    assert_eq!(endpoints("another"), [0, 0]);
    std::fs::write(scratch.file(), "{").unwrap();
    assert!(last_known::read(&scratch.file(), "node1", "boot").is_err());
    std::fs::remove_file(scratch.file()).unwrap();
    assert!(
        last_known::read(&scratch.file(), "node1", "boot")
            .unwrap()
            .is_none()
    );
}

#[test]
fn an_address_that_left_its_pool_goes_on_as_it_was_recorded() {
    let mut cluster = cluster(settings());
    cluster.delta();
    let mut kept = service_record("a", Some("10.99.0.1"));
    let recorded = service::Recorded {
        protocol: Some(crate::crd::Protocol::Layer2),
        announcement: None,
    };
    kept.record.balanced.as_mut().unwrap().recorded = Some(Box::new(recorded));
    cluster.take(Heard::Service(Event::Applied(kept)), START);
    cluster.take(
        Heard::Pool(Event::Applied(pool_record("pool", "10.98.0.0/24"))),
        START,
    );
    let delta = cluster.delta();
    assert_eq!(names(&delta), [("default/a", true), ("default/b", false)]);
    let (_, a) = &delta.services[0];
    assert_eq!(a.as_ref().unwrap().announce, Announce::Layer2);
}
