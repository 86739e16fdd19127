//! What the leading controller writes into the status of BgpConf and BgpPeers: whether the object can be used, which of
//! its fields are ignored, and that the keys of nodes that are gone go. The nodes' own keys are the agents'. Nothing is
//! written that is there already.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::{
    controller::{WRITE_TIMEOUT, no_answer},
    crd::{BGP_CONF_NAME, BgpConf, BgpPeer, Condition},
    project::bgp::{Findings, conf_findings, peer_findings, policy_name},
};

/// The object can be used.
const READY: &str = "Ready";
/// Some of its fields are ignored; the message names each, and why.
const FIELD_IGNORED: &str = "FieldIgnored";

/// Label: the object is handed to the CNI (OpenELB's Calico mode), which speaks to the router itself.
pub const CNI: &str = "openelb.kubesphere.io/cni";
/// OpenELB's finalizers on all of its kinds.
pub const OPENELB_FINALIZERS: [&str; 2] = [
    "finalizer.lb.kubesphere.io/v1alpha1",
    "finalizer.ipam.kubesphere.io/v1alpha1",
];

/// Objects as they are after they were written.
#[derive(Clone, Debug, Default)]
pub struct Tended {
    /// BgpConfs.
    pub confs: Vec<BgpConf>,
    /// BgpPeers.
    pub peers: Vec<BgpPeer>,
}

/// Writes what is due for all objects. `nodes` are the names of all Nodes, `policy` gives the text of one by the name of
/// its ConfigMap.
///
/// # Errors
/// If the API server refuses; what was written before that is not told.
pub async fn tend<'a>(
    client: &Client,
    nodes: &BTreeSet<String>,
    policy: impl Fn(&str) -> Option<&'a str>,
    confs: impl IntoIterator<Item = &'a BgpConf>,
    peers: impl IntoIterator<Item = &'a BgpPeer>,
) -> Result<Tended, kube::Error> {
    let now = Timestamp::now().to_string();
    let mut tended = Tended::default();
    for conf in confs {
        let policy = policy_name(&conf.spec).and_then(&policy);
        if let Some(patch) = conf_patch(conf, policy, nodes, &now) {
            let written = write::<BgpConf>(client, &conf.name_any(), &patch).await?;
            tended.confs.extend(written);
        }
    }
    for peer in peers {
        if let Some(patch) = peer_patch(peer, nodes, &now) {
            let written = write::<BgpPeer>(client, &peer.name_any(), &patch).await?;
            tended.peers.extend(written);
        }
    }
    Ok(tended)
}

/// The merge patch that takes OpenELB's finalizers from an object: nobody else would, and it could not be deleted.
#[must_use]
pub fn release_patch<K: Resource>(object: &K) -> Option<Value> {
    let is_openelbs = |name: &&String| OPENELB_FINALIZERS.contains(&name.as_str());
    let finalizers = object.finalizers();
    finalizers.iter().find(is_openelbs)?;
    let others: Vec<_> = finalizers
        .iter()
        .filter(|name| !is_openelbs(name))
        .collect();
    let version = object.meta().resource_version.as_deref();
    Some(json!({"metadata": {"finalizers": others, "resourceVersion": version}}))
}

/// The merge patch that is due for the status of a BgpConf with the text of its policy, at a time as RFC 3339 writes it.
#[must_use]
pub fn conf_patch(
    conf: &BgpConf,
    policy: Option<&str>,
    nodes: &BTreeSet<String>,
    now: &str,
) -> Option<Value> {
    let is_used = conf.name_any() == BGP_CONF_NAME;
    let findings = conf_findings(&conf.spec, policy);
    let ready = match findings.wrong_ones() {
        _ if cni(conf).is_some() => verdict("False", "NotUsed", &handed_over(conf)),
        _ if !is_used => {
            let message = format!("only the BgpConf named {BGP_CONF_NAME} counts");
            verdict("False", "NotUsed", &message)
        }
        Some(wrong) => verdict("False", "Invalid", &wrong),
        None => verdict("True", "Valid", ""),
    };
    let status = conf.status.clone().unwrap_or_default();
    let context = Context {
        before: &status.conditions,
        generation: conf.metadata.generation,
        now,
    };
    let conditions = context.conditions(ready, &findings);
    let gone = gone(&status.nodes_conf_status, nodes);
    patch(conditions, ("nodesConfStatus", gone))
}

/// The merge patch that is due for the status of a BgpPeer, at a time as RFC 3339 writes it.
#[must_use]
pub fn peer_patch(peer: &BgpPeer, nodes: &BTreeSet<String>, now: &str) -> Option<Value> {
    let findings = peer_findings(&peer.spec);
    let ready = match findings.wrong_ones() {
        _ if cni(peer).is_some() => verdict("False", "NotUsed", &handed_over(peer)),
        Some(wrong) => verdict("False", "Invalid", &wrong),
        None => verdict("True", "Valid", ""),
    };
    let status = peer.status.clone().unwrap_or_default();
    let context = Context {
        before: &status.conditions,
        generation: peer.metadata.generation,
        now,
    };
    let conditions = context.conditions(ready, &findings);
    let gone = gone(&status.nodes_peer_status, nodes);
    patch(conditions, ("nodesPeerStatus", gone))
}

/// The CNI that an object is handed to.
pub fn cni<K: Resource>(object: &K) -> Option<&str> {
    object.labels().get(CNI).map(String::as_str)
}

fn handed_over<K: Resource>(object: &K) -> String {
    let cni = cni(object).unwrap_or_default();
    format!("the label {CNI} hands it to {cni}: remove the label to have it used here")
}

/// A condition without the words that depend on what was there before.
struct Verdict {
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn verdict(status: &'static str, reason: &'static str, message: &str) -> Verdict {
    let message = message.to_owned();
    Verdict {
        status,
        reason,
        message,
    }
}

struct Context<'a> {
    before: &'a [Condition],
    generation: Option<i64>,
    now: &'a str,
}

impl Context<'_> {
    /// All conditions, if they are not those that are there.
    fn conditions(&self, ready: Verdict, findings: &Findings) -> Option<Vec<Condition>> {
        let mut made = vec![self.condition(READY, ready)];
        if let Some(ignored) = findings.ignored() {
            made.push(self.condition(FIELD_IGNORED, verdict("True", "NotSupported", &ignored)));
        }
        (made != self.before).then_some(made)
    }

    /// Its time moves only when its status does.
    fn condition(&self, kind: &str, verdict: Verdict) -> Condition {
        let mut same = self.before.iter();
        let same = same.find(|known| known.type_ == kind && known.status == verdict.status);
        Condition {
            type_: kind.to_owned(),
            status: verdict.status.to_owned(),
            observed_generation: self.generation,
            last_transition_time: same
                .map_or(self.now, |known| &known.last_transition_time)
                .to_owned(),
            reason: verdict.reason.to_owned(),
            message: verdict.message,
        }
    }
}

fn gone<T>(keys: &BTreeMap<String, T>, nodes: &BTreeSet<String>) -> Map<String, Value> {
    let gone = keys.keys().filter(|node| !nodes.contains(*node));
    gone.map(|node| (node.clone(), Value::Null)).collect()
}

fn patch(
    conditions: Option<Vec<Condition>>,
    (field, gone): (&str, Map<String, Value>),
) -> Option<Value> {
    let mut status = Map::new();
    if let Some(conditions) = conditions {
        status.insert("conditions".to_owned(), json!(conditions));
    }
    if !gone.is_empty() {
        status.insert(field.to_owned(), Value::Object(gone));
    }
    (!status.is_empty()).then(|| json!({ "status": status }))
}

/// An object that is gone meanwhile needs nothing.
async fn write<K>(client: &Client, name: &str, patch: &Value) -> Result<Option<K>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let (how, patch) = (PatchParams::default(), Patch::Merge(patch));
    let written = timeout(WRITE_TIMEOUT, api.patch_status(name, &how, &patch)).await;
    match written.unwrap_or_else(|_| Err(no_answer())) {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        written => written.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: &str = "2026-01-01T00:00:00Z";
    const LATE: &str = "2026-01-02T00:00:00Z";

    fn conf(name: &str, spec: Value, status: Value) -> BgpConf {
        let object = json!({
            "apiVersion": "network.kubesphere.io/v1alpha2", "kind": "BgpConf",
            "metadata": {"name": name, "generation": 3}, "spec": spec, "status": status,
        });
        serde_json::from_value(object).unwrap()
    }

    fn nodes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn says_what_is_wrong_and_what_is_ignored() {
        let object = conf("default", json!({"as": 0, "families": [1]}), json!({}));
        let patch = conf_patch(&object, None, &nodes(&[]), EARLY).unwrap();
        let conditions = &patch["status"]["conditions"];
        assert_eq!(
            (&conditions[0]["type"], &conditions[0]["status"]),
            (&json!("Ready"), &json!("False"))
        );
        assert!(
            conditions[0]["message"]
                .as_str()
                .unwrap()
                .starts_with("spec.as: 0 is not")
        );
        assert_eq!(conditions[0]["observedGeneration"], 3);
        assert_eq!(
            (&conditions[1]["type"], &conditions[1]["status"]),
            (&json!("FieldIgnored"), &json!("True"))
        );
        assert!(
            conditions[1]["message"]
                .as_str()
                .unwrap()
                .starts_with("spec.families: ")
        );
    }

    #[test]
    fn writes_nothing_twice_and_keeps_the_time_of_what_did_not_change() {
        let object = conf("default", json!({"as": 1}), json!({}));
        let first = conf_patch(&object, None, &nodes(&[]), EARLY).unwrap();
        let object = conf("default", json!({"as": 1}), first["status"].clone());
        assert_eq!(conf_patch(&object, None, &nodes(&[]), LATE), None);

        let object = conf(
            "default",
            json!({"as": 1, "families": [1]}),
            first["status"].clone(),
        );
        let second = conf_patch(&object, None, &nodes(&[]), LATE).unwrap();
        let conditions = &second["status"]["conditions"];
        assert_eq!(conditions[0]["lastTransitionTime"], EARLY);
        assert_eq!(conditions[1]["lastTransitionTime"], LATE);
    }

    #[test]
    fn a_conf_of_another_name_does_not_count() {
        let object = conf("mine", json!({"as": 1}), json!({}));
        let patch = conf_patch(&object, None, &nodes(&[]), EARLY).unwrap();
        assert_eq!(patch["status"]["conditions"][0]["reason"], "NotUsed");
    }

    #[test]
    fn what_is_handed_to_a_cni_is_not_used_and_openelbs_finalizers_go() {
        let mut object = conf("default", json!({"as": 1}), json!({}));
        object.metadata.labels = Some([(CNI.to_owned(), "calico".to_owned())].into());
        let patch = conf_patch(&object, None, &nodes(&[]), EARLY).unwrap();
        assert_eq!(patch["status"]["conditions"][0]["reason"], "NotUsed");
        assert_eq!(release_patch(&object), None);
        let finalizers = ["example.com/mine", OPENELB_FINALIZERS[0]].map(str::to_owned);
        object.metadata.finalizers = Some(finalizers.to_vec());
        let patch = release_patch(&object).unwrap();
        assert_eq!(patch["metadata"]["finalizers"], json!(["example.com/mine"]));
    }

    #[test]
    fn keys_of_nodes_that_are_gone_go_and_no_others() {
        let keys = json!({"nodesConfStatus": {"node1": {"as": 1}, "node2": {"as": 1}}});
        let object = conf("default", json!({"as": 1}), keys);
        let patch = conf_patch(&object, None, &nodes(&["node1"]), EARLY).unwrap();
        assert_eq!(patch["status"]["nodesConfStatus"], json!({"node2": null}));
        let patch = conf_patch(&object, None, &nodes(&["node1", "node2"]), EARLY).unwrap();
        assert!(patch["status"].get("nodesConfStatus").is_none());
    }
}
