use lb_core::model::{Endpoint, Service};
use serde_json::{Value, json};

use super::{joined, joined_at, service, slice, slice_of};
use crate::project::hints::Here;

fn plain() -> k8s_openapi::api::core::v1::Service {
    service(json!({}), json!({}))
}

fn conditions(endpoint: &Endpoint) -> (bool, bool, bool) {
    (endpoint.ready, endpoint.serving, endpoint.terminating)
}

fn addresses(service: &Service) -> Vec<String> {
    service
        .endpoints
        .iter()
        .map(|e| e.address.to_string())
        .collect()
}

#[test]
fn conditions_that_are_not_set_mean_what_kube_proxy_takes_them_for() {
    for (given, meant) in [
        (json!({}), (true, true, false)),
        (json!({"ready": true}), (true, true, false)),
        (json!({"ready": false}), (false, false, false)),
        (
            json!({"ready": false, "serving": true, "terminating": true}),
            (false, true, true),
        ),
        (
            json!({"ready": false, "serving": false, "terminating": true}),
            (false, false, true),
        ),
        // publishNotReadyAddresses: what is ready is the slice's word, whatever else is said.
        (
            json!({"ready": true, "serving": false, "terminating": true}),
            (true, false, true),
        ),
    ] {
        let slice = slice(json!([{"addresses": ["10.1.0.1"], "conditions": given.clone()}]));
        assert_eq!(
            conditions(&joined(&plain(), &[slice]).endpoints[0]),
            meant,
            "{given}"
        );
    }
}

#[test]
fn a_named_target_port_is_each_slices_own_number() {
    let pods = |name: &str, address: &str, port: u16| {
        slice_of(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": port}, {"name": "metrics", "port": 9090}],
            "endpoints": [{"addresses": [address]}],
        }))
    };
    let made = joined(
        &plain(),
        &[pods("a", "10.1.0.1", 8080), pods("b", "10.1.0.2", 8081)],
    );
    let ports: Vec<_> = made.endpoints.iter().map(|e| (*e.ports).clone()).collect();
    assert_eq!(
        ports,
        [
            [("http".into(), 8080)].into(),
            [("http".into(), 8081)].into()
        ]
    );
}

#[test]
fn ports_are_matched_by_name_and_protocol_and_no_number_means_the_services() {
    let ports_of = |ports: Value| {
        let slice = slice_of(json!({"ports": ports, "endpoints": [{"addresses": ["10.1.0.1"]}]}));
        (*joined(&plain(), &[slice]).endpoints[0].ports).clone()
    };
    assert_eq!(
        ports_of(json!([{"name": "http"}])),
        [("http".into(), 80)].into()
    );
    assert!(ports_of(json!([{"name": "http", "port": 8080, "protocol": "UDP"}])).is_empty());
    assert!(ports_of(json!([{"name": "other", "port": 8080}])).is_empty());
    assert!(ports_of(json!(null)).is_empty());
    let unnamed = service(json!({}), json!({"ports": [{"port": 80}]}));
    let slice = slice_of(
        json!({"ports": [{"name": "", "port": 8080}], "endpoints": [{"addresses": ["10.1.0.1"]}]}),
    );
    assert_eq!(
        *joined(&unnamed, &[slice]).endpoints[0].ports,
        [("".into(), 8080)].into()
    );
}

#[test]
fn slices_without_a_selector_may_have_endpoints_on_no_node() {
    let written = slice(
        json!([{"addresses": ["192.0.2.10"]}, {"addresses": ["10.1.0.1"], "nodeName": "node1"}]),
    );
    let made = joined(&plain(), &[written]);
    let nodes: Vec<_> = made.endpoints.iter().map(|e| e.node.as_deref()).collect();
    assert_eq!(nodes, [Some("node1"), None]);
}

#[test]
fn slices_of_both_families_are_united_and_names_are_no_addresses() {
    let of = |name: &str, kind: &str, address: &str| {
        slice_of(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": kind,
            "endpoints": [{"addresses": [address, "ignored"]}],
        }))
    };
    let made = joined(
        &plain(),
        &[
            of("a", "IPv4", "10.1.0.1"),
            of("b", "IPv6", "fd01::1"),
            of("c", "FQDN", "pod.example.com"),
            of("d", "IPv4", "10.1.0.2"),
        ],
    );
    assert_eq!(addresses(&made), ["10.1.0.1", "10.1.0.2", "fd01::1"]);
}

#[test]
fn an_endpoint_in_two_slices_is_one_in_its_better_condition_whichever_comes_first() {
    let of = |name: &str, ready: bool, port: u16| {
        slice_of(json!({
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "ports": [{"name": "http", "port": port}],
            "endpoints": [{"addresses": ["10.1.0.1"], "nodeName": "node1", "conditions": {"ready": ready}}],
        }))
    };
    let slices = [of("a", false, 8080), of("b", true, 8081)];
    let made = joined(&plain(), &slices);
    assert_eq!(made.endpoints.len(), 1);
    assert!(made.endpoints[0].ready);
    assert_eq!(made.endpoints[0].ports.get("http"), Some(&8081));
    let [a, b] = slices;
    assert_eq!(joined(&plain(), &[b, a]), made);
}

fn elsewhere(endpoints: Value, spec: Value, here: Option<&Here>) -> Vec<bool> {
    let made = joined_at(&service(json!({}), spec), &[slice(endpoints)], here);
    made.endpoints.iter().map(|e| e.elsewhere).collect()
}

#[test]
fn hints_count_only_if_every_ready_endpoint_has_one_and_one_is_for_here() {
    let here = Here {
        node: "node1".into(),
        zone: Some("a".into()),
    };
    let zone = |address: &str, zone: &str| json!({"addresses": [address], "hints": {"forZones": [{"name": zone}]}});
    let both = json!([zone("10.1.0.1", "a"), zone("10.1.0.2", "b")]);
    let at = Some(&here);
    assert_eq!(elsewhere(both.clone(), json!({}), at), [false, true]);
    assert_eq!(
        elsewhere(both.clone(), json!({}), None),
        [false, false],
        "they are a setting"
    );
    assert_eq!(
        elsewhere(both, json!({"externalTrafficPolicy": "Local"}), at),
        [false, false]
    );
    let one_without = json!([zone("10.1.0.1", "a"), {"addresses": ["10.1.0.2"]}]);
    assert_eq!(elsewhere(one_without, json!({}), at), [false, false]);
    let none_here = json!([zone("10.1.0.1", "b"), zone("10.1.0.2", "c")]);
    assert_eq!(elsewhere(none_here, json!({}), at), [false, false]);
    let mut unready = zone("10.1.0.3", "");
    unready["hints"] = json!(null);
    unready["conditions"] = json!({"ready": false});
    let with_unready = json!([zone("10.1.0.1", "a"), zone("10.1.0.2", "b"), unready]);
    assert_eq!(elsewhere(with_unready, json!({}), at), [false, true, true]);
}

#[test]
fn hints_for_nodes_go_before_hints_for_zones() {
    let here = Here {
        node: "node1".into(),
        zone: Some("a".into()),
    };
    let hinted = |address: &str, node: &str| json!({"addresses": [address], "hints": {"forZones": [{"name": "a"}], "forNodes": [{"name": node}]}});
    let endpoints = json!([hinted("10.1.0.1", "node1"), hinted("10.1.0.2", "node2")]);
    assert_eq!(elsewhere(endpoints, json!({}), Some(&here)), [false, true]);
    let endpoints = json!([hinted("10.1.0.1", "node2"), hinted("10.1.0.2", "node3")]);
    assert_eq!(elsewhere(endpoints, json!({}), Some(&here)), [false, false]);
}
