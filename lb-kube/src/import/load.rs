//! Where objects to import come from, and how those of a plan are written: manifests of any number of objects, or what a
//! live cluster has of the kinds that count. Lists are taken apart. Nothing is written to the cluster.

use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use serde_json::Value;

/// Kinds of both products and what they act upon: group, version, kind and plural.
const KINDS: [(&str, &str, &str, &str); 18] = [
    ("", "v1", "Service", "services"),
    ("", "v1", "Node", "nodes"),
    (
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
    ),
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "DaemonSet", "daemonsets"),
    (
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    ),
    ("network.kubesphere.io", "v1alpha2", "Eip", "eips"),
    ("network.kubesphere.io", "v1alpha2", "BgpConf", "bgpconfs"),
    ("network.kubesphere.io", "v1alpha2", "BgpPeer", "bgppeers"),
    ("metallb.io", "v1beta1", "IPAddressPool", "ipaddresspools"),
    ("metallb.io", "v1beta1", "AddressPool", "addresspools"),
    (
        "metallb.io",
        "v1beta1",
        "BGPAdvertisement",
        "bgpadvertisements",
    ),
    (
        "metallb.io",
        "v1beta1",
        "L2Advertisement",
        "l2advertisements",
    ),
    ("metallb.io", "v1beta1", "Community", "communities"),
    ("metallb.io", "v1beta1", "BFDProfile", "bfdprofiles"),
    ("metallb.io", "v1beta2", "BGPPeer", "bgppeers"),
    ("batch", "v1", "Job", "jobs"),
];
/// Where MetalLB's ConfigMap is; those of other Namespaces are nobody's business here.
const METALLB_NAMESPACE: &str = "metallb-system";
const CONFIG_MAP: (&str, &str, &str, &str) = ("", "v1", "ConfigMap", "configmaps");

/// The objects of a text: YAML with any number of documents, or JSON.
///
/// # Errors
/// If it is neither.
pub fn objects(text: &str) -> Result<Vec<Value>, serde_saphyr::Error> {
    // Larger than what the YAML reader takes, as whole clusters are, and JSON is YAML to it.
    let documents: Vec<Value> = match serde_json::from_str::<Value>(text) {
        Ok(document) => vec![document],
        Err(_) => serde_saphyr::from_multiple(text)?,
    };
    Ok(documents.into_iter().flat_map(taken_apart).collect())
}

/// The items of a list, or the object itself.
fn taken_apart(object: Value) -> Vec<Value> {
    match object {
        Value::Object(mut fields) if fields.get("items").is_some_and(Value::is_array) => {
            match fields.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        Value::Null => Vec::new(),
        object => vec![object],
    }
}

/// What a live cluster has. A kind that it does not serve has no objects.
///
/// # Errors
/// If the API server does not answer, or refuses.
pub async fn live(client: &Client) -> kube::Result<Vec<Value>> {
    let mut found = Vec::new();
    for kind in KINDS {
        let resource = resource(kind);
        let api = Api::all_with(client.clone(), &resource);
        found.extend(list(api, kind.2).await?);
    }
    let resource = resource(CONFIG_MAP);
    let api = Api::namespaced_with(client.clone(), METALLB_NAMESPACE, &resource);
    found.extend(list(api, CONFIG_MAP.2).await?);
    Ok(found)
}

fn resource((group, version, kind, plural): (&str, &str, &str, &str)) -> ApiResource {
    let api_version = match group {
        "" => version.to_owned(),
        group => format!("{group}/{version}"),
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Items of a list do not say their kind.
async fn list(api: Api<DynamicObject>, kind: &str) -> kube::Result<Vec<Value>> {
    let listed = match api.list(&ListParams::default()).await {
        Ok(listed) => listed,
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let objects = listed.items.into_iter().filter_map(|object| {
        let mut object = serde_json::to_value(object).ok()?;
        object["kind"] = kind.into();
        Some(object)
    });
    Ok(objects.collect())
}

/// Objects as `kubectl apply -f -` takes them.
///
/// # Errors
/// Never in practice: every object can be written.
pub fn to_yaml(objects: &[Value]) -> Result<String, serde_saphyr::SerializeError> {
    let documents = objects.iter().map(serde_saphyr::to_string);
    Ok(documents.collect::<Result<Vec<_>, _>>()?.join("---\n"))
}
