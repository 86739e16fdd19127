use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

mod claim;

/// A Service of type `LoadBalancer` in namespace `default`, with these further fields of `spec`.
fn service(annotations: Value, spec: Value) -> Service {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
    });
    for (name, value) in spec.as_object().unwrap() {
        object["spec"][name] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}
