use k8s_openapi::api::core::v1::Node;
use lb_core::model::Unfit;
use serde_json::{Value, json};

use crate::project::node::{NodeRules, node};

fn object(metadata: Value, spec: Value, conditions: Value) -> Node {
    let mut object = json!({
        "metadata": {"name": "node1"},
        "spec": spec,
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "node1"},
                {"type": "ExternalIP", "address": "192.0.2.11"},
                {"type": "InternalIP", "address": "10.0.0.11"},
                {"type": "InternalIP", "address": "fd00::11"},
            ],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    });
    for (name, value) in metadata.as_object().unwrap() {
        object["metadata"][name] = value.clone();
    }
    if !conditions.is_null() {
        object["status"]["conditions"] = conditions;
    }
    serde_json::from_value(object).unwrap()
}

fn unfit_of(object: &Node, rules: &NodeRules) -> Option<Unfit> {
    node(object).node(&"node1".into(), rules).unfit
}

fn labelled(value: &str) -> Node {
    let label = "node.kubernetes.io/exclude-from-external-load-balancers";
    object(json!({"labels": {label: value}}), json!({}), json!(null))
}

#[test]
fn addresses_are_the_internal_ones_and_else_the_external_ones() {
    let of = |object: &Node| {
        let made = node(object).addresses;
        made.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let mut plain = object(json!({}), json!({}), json!(null));
    assert_eq!(of(&plain), ["10.0.0.11", "fd00::11"]);
    let addresses = plain.status.as_mut().unwrap().addresses.as_mut().unwrap();
    addresses.retain(|address| address.type_ != "InternalIP");
    assert_eq!(of(&plain), ["192.0.2.11"]);
}

#[test]
fn the_exclude_label_is_read_as_cloud_providers_do() {
    let rules = NodeRules::default();
    for value in ["", "true", "1", "garbage"] {
        assert_eq!(
            unfit_of(&labelled(value), &rules),
            Some(Unfit::Excluded),
            "{value}"
        );
    }
    for value in ["false", "0", "F"] {
        assert_eq!(unfit_of(&labelled(value), &rules), None, "{value}");
    }
    let ignoring = NodeRules {
        ignores_exclude_label: true,
        ..rules
    };
    assert_eq!(unfit_of(&labelled("true"), &ignoring), None);
}

#[test]
fn conditions_taints_and_marks_count_and_a_cordon_does_not() {
    let ready = json!({"type": "Ready", "status": "True"});
    let taint = |key: &str| json!({"taints": [{"key": key, "effect": "NoSchedule"}]});
    let cases = [
        (json!({}), json!({"unschedulable": true}), json!(null), None),
        (
            json!({}),
            taint("node.kubernetes.io/unschedulable"),
            json!(null),
            None,
        ),
        (
            json!({}),
            taint("ToBeDeletedByClusterAutoscaler"),
            json!(null),
            Some(Unfit::Draining),
        ),
        (
            json!({"annotations": {"fairlead.io/drain": "true"}}),
            json!({}),
            json!(null),
            Some(Unfit::Draining),
        ),
        (
            json!({"annotations": {"fairlead.io/drain": "false"}}),
            json!({}),
            json!(null),
            None,
        ),
        (
            json!({}),
            json!({}),
            json!([{"type": "NetworkUnavailable", "status": "True"}, ready]),
            Some(Unfit::NetworkUnavailable),
        ),
        (
            json!({}),
            json!({}),
            json!([{"type": "NetworkUnavailable", "status": "False"}, ready]),
            None,
        ),
        (
            json!({}),
            json!({}),
            json!([{"type": "Ready", "status": "Unknown"}]),
            Some(Unfit::NotReady),
        ),
        (
            json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
            json!({}),
            json!(null),
            Some(Unfit::Deleted),
        ),
    ];
    for (metadata, spec, conditions, unfit) in cases {
        let object = object(metadata.clone(), spec.clone(), conditions.clone());
        let got = unfit_of(&object, &NodeRules::default());
        assert_eq!(got, unfit, "{metadata} {spec} {conditions}");
    }
}

#[test]
fn taints_that_drain_are_a_list() {
    let rules = NodeRules {
        drain_taints: vec!["example.com/maintenance".to_owned()],
        ..NodeRules::default()
    };
    let tainted = |key: &str| {
        object(
            json!({}),
            json!({"taints": [{"key": key, "effect": "NoExecute"}]}),
            json!(null),
        )
    };
    assert_eq!(
        unfit_of(&tainted("example.com/maintenance"), &rules),
        Some(Unfit::Draining)
    );
    assert_eq!(
        unfit_of(&tainted("ToBeDeletedByClusterAutoscaler"), &rules),
        None
    );
}
