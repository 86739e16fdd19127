//! Rows of what Kubernetes says that a Service means, each on objects as the API server has them.

use std::sync::Arc;

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use lb_core::model::{self, Announce};
use serde_json::{Value, json};

use super::{
    claim::ClassRules,
    hints::Here,
    join::{self, Announcement},
    names::Names,
    service as services, slice as slices,
};

mod claim;
mod documented;
mod endpoints;
mod nodes;
mod objects;
mod pools;

/// A Service of type `LoadBalancer` in namespace `default`, with these further fields of `spec`.
fn service(annotations: Value, spec: Value) -> Service {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "annotations": annotations},
        "spec": {"type": "LoadBalancer", "ports": [{"name": "http", "port": 80, "targetPort": "web"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.99.0.1", "ipMode": "VIP"}]}},
    });
    for (name, value) in spec.as_object().unwrap() {
        object["spec"][name] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

/// A slice of the Service `default/web` with port `http` at 8080.
fn slice(endpoints: Value) -> EndpointSlice {
    slice_of(json!({"endpoints": endpoints}))
}

fn slice_of(fields: Value) -> EndpointSlice {
    let mut object = json!({
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
        "endpoints": [],
    });
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn joined(service: &Service, slices: &[EndpointSlice]) -> model::Service {
    joined_at(service, slices, None)
}

fn joined_at(service: &Service, slices: &[EndpointSlice], here: Option<&Here>) -> model::Service {
    let mut names = Names::default();
    let record = services::service(service, &ClassRules::default(), &mut names);
    let slices: Vec<_> = slices
        .iter()
        .filter_map(|object| slices::slice(object, &mut names))
        .collect();
    let announcement = Announcement {
        announce: Announce::Bgp,
        bgp: Arc::default(),
    };
    let vips = record.balanced.as_ref().unwrap().vips.clone();
    let name = "default/web".into();
    join::service(&name, &record, vips, &announcement, slices.iter(), here).unwrap()
}
