use lb_kube::reflect::source::Update;

use super::*;
use crate::{answers::tests::running, sources::Change};

fn sentences(view: &View, subject: &str) -> Vec<String> {
    let rows = explain(view, subject).rows.into_iter();
    let steps = rows.flat_map(|row| row.steps);
    steps
        .map(|step| format!("{}: {}", step.part, step.sentence))
        .collect()
}

fn has(sentences: &[String], words: &str) -> bool {
    sentences.iter().any(|sentence| sentence.contains(words))
}

#[test]
fn a_service_is_told_from_its_addresses_to_its_routers() {
    let view = running().view();
    let told = sentences(&view, "default/web");
    for words in [
        "Service: VIPs 10.99.0.1; announced by BGP; externalTrafficPolicy Cluster",
        "data path: 10.99.0.1:80/TCP: 1 endpoints get new connections; the data path has it",
        "endpoint: 10.1.1.2 for 80/TCP: used: it is ready",
        "endpoint: 10.1.2.2 for 80/TCP: not used: its health check fails",
        "VIP: 10.99.0.1: announced",
    ] {
        assert!(has(&told, words), "{words}\n{told:#?}");
    }
    assert!(has(
        &sentences(&view, "default/idle"),
        "none of its ports has an endpoint"
    ));
}

#[test]
fn a_vip_is_told_by_its_services_and_a_stranger_as_one() {
    let view = running().view();
    assert_eq!(
        explain(&view, "10.99.0.1").rows,
        explain(&view, "default/web").rows
    );
    assert!(has(
        &sentences(&view, "192.0.2.1"),
        "no Service that this node serves has it"
    ));
    assert!(has(
        &sentences(&view, "default/nobody"),
        "knows no Service of this name"
    ));
}

#[test]
fn what_the_api_server_says_comes_first_even_of_a_service_that_is_not_served() {
    let mut state = running();
    let update = Update {
        notes: vec![(
            "default/waits".into(),
            vec!["it waits for an address".to_owned()],
        )],
        ..Update::default()
    };
    state.take(Change::Kubernetes(Box::new(update)));
    assert_eq!(
        sentences(&state.view(), "default/waits"),
        ["Kubernetes: it waits for an address"]
    );
}
