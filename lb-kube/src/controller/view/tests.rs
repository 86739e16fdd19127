use lb_core::allocate::allocate;
use serde_json::{Value, json};

use super::*;
use crate::controller::{eip, look, service, term::Term};

fn eip(name: &str, version: u64, address: &str, holder: Option<&str>) -> Known<EipRecord> {
    let claims: Vec<Value> = holder
        .map(|service| json!({"address": address, "service": service}))
        .into_iter()
        .collect();
    let object = json!({
        "metadata": {"name": name, "uid": name, "resourceVersion": version.to_string(),
            "finalizers": ["fairlead.io/addresses"]},
        "spec": {"address": address}, "status": {"epoch": 1, "claims": claims},
    });
    let object = serde_json::from_value(object).unwrap();
    look::known(&object, eip::record(&object))
}

fn service(name: &str, version: u64, annotations: Value) -> Known<ServiceRecord> {
    let object = json!({
        "metadata": {"name": name, "namespace": "a", "uid": name, "resourceVersion": version.to_string(),
            "annotations": annotations, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    });
    let object = serde_json::from_value(object).unwrap();
    look::known(&object, service::record(&object, &ClassRules::default()))
}

fn office(view: &View) -> Office {
    let now = Instant::now();
    Office {
        term: Term {
            transitions: 1,
            began: now,
            until: now + Duration::from_secs(10),
        },
        epoch: 1,
        seen: view.eips_seen(),
    }
}

/// Every kind but Eips and Services is there, with nothing.
fn listed() -> View {
    let mut view = View::new(ClassRules::default(), false);
    view.look((1, Vec::new()), (1, Vec::new()));
    view
}

/// A seeded shuffle.
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    for index in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let other = usize::try_from(seed >> 33).unwrap() % (index + 1);
        items.swap(index, other);
    }
}

#[test]
fn the_order_in_which_objects_come_decides_nothing() {
    let opt_in = || json!({"lb.kubesphere.io/v1alpha1": "openelb"});
    let asks = |address: &str| json!({"lb.kubesphere.io/v1alpha1": "openelb", "eip.openelb.kubesphere.io/v1alpha1": address});
    let mut decided = None;
    for seed in 0..200 {
        let mut heard: Vec<Heard> = Vec::new();
        for (name, address) in [
            ("wide", "10.0.0.0-10.0.0.9"),
            ("same", "10.0.0.5-10.0.0.20"),
        ] {
            let eip = eip(name, 10, address, None);
            heard.push(Heard::Eip(Event::Applied(eip)));
        }
        for number in 0..12 {
            let wish = if number % 3 == 0 {
                asks("10.0.0.7")
            } else {
                opt_in()
            };
            let now = service(&format!("s{number}"), 20, wish);
            let before = service(&format!("s{number}"), 15, opt_in());
            heard.push(Heard::Service(Event::Applied(now)));
            heard.push(Heard::Service(Event::Applied(before)));
        }
        shuffle(&mut heard, seed);
        let mut view = listed();
        for event in heard {
            view.hear(event);
        }
        let allocations = allocate(&view.cluster(&office(&view)));
        assert!(!allocations.pools.is_empty());
        let first = decided.get_or_insert_with(|| allocations.clone());
        assert_eq!(*first, allocations, "seed {seed}");
    }
}

#[test]
fn claims_that_the_api_server_has_forgotten_are_remembered() {
    let mut view = listed();
    let holds = eip("pool", 50, "10.0.0.1", Some("a/web"));
    view.hear(Heard::Eip(Event::Applied(holds)));
    let restored = Event::Listed {
        version: 20,
        items: vec![eip("pool", 10, "10.0.0.1", None)],
    };
    view.hear(Heard::Eip(restored));
    let cluster = view.cluster(&office(&view));
    assert!(cluster.pools["pool"].status.claims.is_empty());
    assert_eq!(&*cluster.remembered[0].1.service, "a/web");
    assert!(cluster.holds_orphans);
    view.forget_what_was();
    assert!(view.cluster(&office(&view)).remembered.is_empty());
    // An answer to a request of our own tells the same.
    let mut view = listed();
    view.put_eip("pool", Some(eip("pool", 50, "10.0.0.1", Some("a/web"))));
    view.put_eip("pool", Some(eip("pool", 10, "10.0.0.1", None)));
    assert_eq!(view.cluster(&office(&view)).remembered.len(), 1);
}

#[test]
fn endpoints_count_for_the_service_that_they_were_made_for() {
    let mut view = listed();
    let class = json!({"lb.kubesphere.io/v1alpha1": "openelb"});
    view.put_service("a/web", Some(service("web", 5, class)));
    let mut slice = |key: &str, owner: Option<&str>, count| {
        let record = SliceRecord {
            service: "a/web".into(),
            owner_uid: owner.map(Arc::from),
            count,
            nodes: Box::new(["n1".into()]),
        };
        let known = Known {
            key: key.into(),
            uid: "u".into(),
            version: 7,
            record,
        };
        let later = view.hear(Heard::Slice(Event::Applied(known)));
        let cluster = view.cluster(&office(&view));
        let Announcer::Agents(agents) = cluster.announcer else {
            panic!("agents announce");
        };
        let endpoints = agents.endpoints.get("a/web");
        (later, endpoints.map_or(0, |endpoints| endpoints.count))
    };
    let soon = Some(ENDPOINTS_WINDOW);
    assert_eq!(slice("a/old", Some("another"), 3), (soon, 0));
    assert_eq!(slice("a/hand", None, 1), (soon, 1));
    assert_eq!(slice("a/web-1", Some("web"), 2), (soon, 3));
    assert_eq!(
        slice("a/web-1", Some("web"), 2),
        (None, 3),
        "nothing that counts has changed"
    );
}
