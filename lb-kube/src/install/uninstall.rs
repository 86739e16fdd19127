//! Takes everything of ours off a cluster but the custom resources and the addresses that Services show: first the
//! controller, so that nothing is given any more; then routes are withdrawn, by marking the Nodes as drained; then the
//! agents go, and a pod on each node removes links, programs and maps. Finalizers go last, because they hold up whoever
//! deletes a Service meanwhile until its address is announced no more. A node that is away is named and left.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment},
    coordination::v1::Lease,
    core::v1::{Node, Pod, Secret, Service},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{controller, crd::Eip, project::node::DRAIN, reflect::source::CLUSTER_SECRET};

/// Names of the chart's workloads.
const CONTROLLER: &str = "fairlead-controller";
const AGENT: &str = "fairlead-agent";
/// Label of their pods, and of the pods that clean up.
const COMPONENT: &str = "app.kubernetes.io/component";
const CLEANUP: &str = "cleanup";
/// Value of the annotation that drains a Node, so that no other's mark is taken away at the end.
const DRAIN_REASON: &str = "uninstall";
/// Agents withdraw and wait for their peers for seconds; pods have 30 s to end.
const PODS_GONE_LIMIT: Duration = Duration::from_secs(90);
/// A pod starts in seconds where its image is.
const CLEANUP_LIMIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(300);
/// RFC 9110 section 15.5.5.
const NOT_FOUND: u16 = 404;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Nodes that nothing of ours is on any more.
    pub clean_nodes: BTreeSet<String>,
    /// Nodes on which no pod could clean up: to be done by hand, or by rebooting.
    pub other_nodes: BTreeSet<String>,
    /// How many Services and Eips no longer wait for us when they are deleted.
    pub released_objects: usize,
}

/// Why it is not done.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// The API server says no.
    #[error("{0}")]
    Api(&'static str, #[source] Box<kube::Error>),
    /// Pods do not end.
    #[error("pods of {0} do not end; `kubectl get pods -l app.kubernetes.io/component` shows them")]
    PodsStay(&'static str),
    /// The DaemonSet is not as the chart has it.
    #[error("the DaemonSet {AGENT} cannot be made a pod of")]
    Template(#[source] serde_json::Error),
}

/// Takes everything of ours off the cluster.
///
/// # Errors
/// If the API server refuses, or pods do not end. It can be run again.
pub async fn uninstall(client: Client, namespace: &str) -> Result<Removed, UninstallError> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let controllers: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    delete(&controllers, CONTROLLER, "the controller cannot be deleted").await?;
    wait_gone(&pods, "controller").await?;

    let nodes: Api<Node> = Api::all(client.clone());
    let marked = mark_nodes(&nodes).await?;
    let agents: Api<DaemonSet> = Api::namespaced(client.clone(), namespace);
    let failed = |error| api_error("the agents cannot be read", error);
    let template = agents.get_opt(AGENT).await.map_err(failed)?;
    delete(&agents, AGENT, "the agents cannot be deleted").await?;
    wait_gone(&pods, "agent").await?;

    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    delete(
        &secrets,
        CLUSTER_SECRET,
        "the Secret with the cluster's key cannot be deleted",
    )
    .await?;
    let leases: Api<Lease> = Api::namespaced(client.clone(), namespace);
    delete(
        &leases,
        CONTROLLER,
        "the controllers' Lease cannot be deleted",
    )
    .await?;

    let mut removed = Removed::default();
    if let Some(template) = template {
        (removed.clean_nodes, removed.other_nodes) = clean(&pods, &nodes, &template).await?;
    }
    removed.released_objects = release(&client).await?;
    for node in marked {
        let unmark = json!({"metadata": {"annotations": {DRAIN: null}}});
        patch(&nodes, &node, &unmark, "a Node cannot be unmarked").await?;
    }
    Ok(removed)
}

/// Has every Node withdraw its routes; those that did not do so before.
async fn mark_nodes(nodes: &Api<Node>) -> Result<Vec<String>, UninstallError> {
    let listed = nodes.list(&ListParams::default()).await;
    let listed = listed.map_err(|error| api_error("the Nodes cannot be listed", error))?;
    let unmarked = listed.iter().filter(|node| {
        let mark = node.annotations().get(DRAIN);
        mark.is_none_or(|reason| reason == DRAIN_REASON)
    });
    let names: Vec<String> = unmarked.map(ResourceExt::name_any).collect();
    let mark = json!({"metadata": {"annotations": {DRAIN: DRAIN_REASON}}});
    for name in &names {
        patch(nodes, name, &mark, "a Node cannot be marked").await?;
    }
    Ok(names)
}

/// Runs `lb-agent cleanup` in a pod on each node; on which it ended well, and on which not.
async fn clean(
    pods: &Api<Pod>,
    nodes: &Api<Node>,
    agents: &DaemonSet,
) -> Result<(BTreeSet<String>, BTreeSet<String>), UninstallError> {
    let listed = nodes.list(&ListParams::default()).await;
    let listed = listed.map_err(|error| api_error("the Nodes cannot be listed", error))?;
    let mut waiting: BTreeSet<String> = listed.iter().map(ResourceExt::name_any).collect();
    for node in &waiting {
        let pod = cleanup_pod(agents, node).map_err(UninstallError::Template)?;
        let created = pods.create(&PostParams::default(), &pod).await;
        created.map_err(|error| api_error("a pod that cleans up cannot be made", error))?;
    }
    let mut clean = BTreeSet::new();
    let deadline = Instant::now() + CLEANUP_LIMIT;
    let ours = ListParams::default().labels(&format!("{COMPONENT}={CLEANUP}"));
    while !waiting.is_empty() && Instant::now() < deadline {
        sleep(POLL_INTERVAL).await;
        let listed = pods.list(&ours).await;
        let listed = listed.map_err(|error| api_error("pods cannot be listed", error))?;
        for pod in listed.items.into_iter().filter(has_succeeded) {
            let node = pod.spec.and_then(|spec| spec.node_name).unwrap_or_default();
            if waiting.remove(&node) {
                clean.insert(node);
            }
        }
    }
    let now = DeleteParams::default().grace_period(0);
    let deleted = pods.delete_collection(&now, &ours).await;
    deleted.map_err(|error| api_error("pods that cleaned up cannot be deleted", error))?;
    Ok((clean, waiting))
}

fn has_succeeded(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Succeeded")
}

/// A pod with an agent's rights and folders that runs `cleanup` in its place, and again until it succeeds.
fn cleanup_pod(agents: &DaemonSet, node: &str) -> Result<Pod, serde_json::Error> {
    let template = agents.spec.as_ref().map(|spec| &spec.template);
    let mut spec = serde_json::to_value(template.and_then(|template| template.spec.as_ref()))?;
    spec["nodeName"] = json!(node);
    spec["restartPolicy"] = json!("OnFailure");
    spec["initContainers"] = Value::Null;
    let mut container = spec["containers"][0].take();
    for member in [
        "args",
        "env",
        "lifecycle",
        "livenessProbe",
        "ports",
        "readinessProbe",
        "startupProbe",
    ] {
        container[member] = Value::Null;
    }
    container["command"] = json!(["lb-agent", "cleanup"]);
    spec["containers"] = json!([container]);
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "fairlead-cleanup-", "labels": {COMPONENT: CLEANUP}},
        "spec": spec,
    }))
}

/// Takes our finalizers off Services and Eips, so that they can be deleted without us; off how many.
async fn release(client: &Client) -> Result<usize, UninstallError> {
    let mut count = 0;
    let services: Api<Service> = Api::all(client.clone());
    for service in list_if_served(&services).await? {
        let namespace = service.namespace().unwrap_or_default();
        let api = Api::<Service>::namespaced(client.clone(), &namespace);
        count += usize::from(release_one(&api, &service).await?);
    }
    let eips: Api<Eip> = Api::all(client.clone());
    for eip in list_if_served(&eips).await? {
        count += usize::from(release_one(&eips, &eip).await?);
    }
    Ok(count)
}

/// All objects; none of a kind that is not served.
async fn list_if_served<K>(api: &Api<K>) -> Result<Vec<K>, UninstallError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Ok(Vec::new()),
        listed => listed
            .map(|list| list.items)
            .map_err(|error| api_error("objects cannot be listed", error)),
    }
}

/// True if it had a finalizer of ours.
async fn release_one<K>(api: &Api<K>, object: &K) -> Result<bool, UninstallError>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let all = object.finalizers();
    let others: Vec<&String> = all
        .iter()
        .filter(|name| !controller::is_our_finalizer(name))
        .collect();
    if others.len() == all.len() {
        return Ok(false);
    }
    let change = json!({"metadata": {
        "finalizers": others,
        "resourceVersion": object.resource_version(),
    }});
    patch(
        api,
        &object.name_any(),
        &change,
        "a finalizer cannot be removed",
    )
    .await?;
    Ok(true)
}

async fn delete<K>(api: &Api<K>, name: &str, what: &'static str) -> Result<(), UninstallError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    match api.delete(name, &DeleteParams::foreground()).await {
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Ok(()),
        deleted => deleted.map(drop).map_err(|error| api_error(what, error)),
    }
}

async fn wait_gone(pods: &Api<Pod>, component: &'static str) -> Result<(), UninstallError> {
    let ours = ListParams::default().labels(&format!("{COMPONENT}={component}"));
    let deadline = Instant::now() + PODS_GONE_LIMIT;
    loop {
        let listed = pods.list(&ours).await;
        let listed = listed.map_err(|error| api_error("pods cannot be listed", error))?;
        if listed.items.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(UninstallError::PodsStay(component));
        }
        sleep(POLL_INTERVAL).await;
    }
}

async fn patch<K>(
    api: &Api<K>,
    name: &str,
    change: &Value,
    what: &'static str,
) -> Result<(), UninstallError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let patched = api
        .patch(name, &PatchParams::default(), &Patch::Merge(change))
        .await;
    patched.map(drop).map_err(|error| api_error(what, error))
}

fn api_error(what: &'static str, error: kube::Error) -> UninstallError {
    UninstallError::Api(what, Box::new(error))
}
