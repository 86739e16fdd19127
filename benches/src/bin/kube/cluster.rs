//! The cluster that is measured: nodes, Services with addresses in their status, and a slice of endpoints for each.

use std::net::Ipv4Addr;

use anyhow::Result;
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams, PostParams},
    config::Kubeconfig,
};
use lb_lab::{ADMIN, ApiServer, Lab};
use serde_json::{Value, json};

/// Where EndpointSlices are.
pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";
/// Endpoints of a Service.
pub(crate) const ENDPOINTS: u32 = 10;
/// Requests under way at once while the cluster is made.
const REQUESTS_AT_ONCE: usize = 32;
const INSTALLED: [&str; 3] = ["files/crds", "files/rbac/namespace.yaml", "files/rbac"];
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/chart");

/// Our kinds and rights, the cluster's key, a pool, and the nodes.
pub(crate) fn install(lab: &Lab, server: &ApiServer) -> Result<()> {
    for part in INSTALLED {
        let path = format!("{CHART}/{part}");
        server.kubectl(&["apply", "--server-side", "-f", &path])?;
    }
    let established = "--for=condition=established";
    server.kubectl(&["wait", established, "crd", "--all", "--timeout=20s"])?;
    let key = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fairlead-cluster", "namespace": "fairlead-system"},
        "stringData": {"key": "0123456789abcdef0123456789abcdef"},
    });
    let pool = json!({
        "apiVersion": "network.kubesphere.io/v1alpha2", "kind": "Eip", "metadata": {"name": "pool"},
        "spec": {"address": "10.98.0.0/16"},
    });
    let nodes = lab.nodes().map(|node| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name()},
            "status": {
                "addresses": [{"type": "InternalIP", "address": node.addresses().v4}],
                "conditions": [{"type": "Ready", "status": "True", "reason": "Bench", "message": ""}],
            },
        })
    });
    let all: Vec<Value> = [key, pool].into_iter().chain(nodes).collect();
    server.apply(&json!({"apiVersion": "v1", "kind": "List", "items": all}).to_string())?;
    Ok(())
}

/// A client that may do everything.
pub(crate) async fn client(server: &ApiServer) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig(ADMIN)?)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    Ok(Client::try_from(config)?)
}

/// The Services from 0 on, each with its address and its endpoints.
pub(crate) async fn fill(client: &Client, services: u32) -> Result<()> {
    let made = futures_util::stream::iter((0..services).map(|number| make(client.clone(), number)));
    made.buffer_unordered(REQUESTS_AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(())
}

async fn make(client: Client, number: u32) -> Result<()> {
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let slices: Api<EndpointSlice> = Api::default_namespaced(client);
    let name = name(number);
    let service = json!({
        "metadata": {"name": name},
        "spec": {
            "type": "LoadBalancer", "loadBalancerClass": "fairlead.io/load-balancer",
            "allocateLoadBalancerNodePorts": false, "ports": [{"name": "web", "port": 80}],
        },
    });
    services
        .create(&PostParams::default(), &serde_json::from_value(service)?)
        .await?;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": vip(number)}]}}});
    services
        .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    let slice = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"name": "web", "port": port(number)}],
        "endpoints": (0..ENDPOINTS).map(|index| endpoint(pod(index), index)).collect::<Vec<_>>(),
    });
    slices
        .create(&PostParams::default(), &serde_json::from_value(slice)?)
        .await?;
    Ok(())
}

/// Puts one endpoint in the place of the first.
pub(crate) async fn change(client: &Client, number: u32, first: Ipv4Addr) -> Result<()> {
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let endpoints: Vec<Value> = (0..ENDPOINTS)
        .map(|index| endpoint(if index == 0 { first } else { pod(index) }, index))
        .collect();
    let patch = Patch::Merge(json!({ "endpoints": endpoints }));
    slices
        .patch(&name(number), &PatchParams::default(), &patch)
        .await?;
    Ok(())
}

pub(crate) fn name(number: u32) -> String {
    format!("service-{number:05}")
}

/// Each Service has a port of its own, so that no two endpoints are the same.
pub(crate) fn port(number: u32) -> u16 {
    u16::try_from(10_000 + number).unwrap_or(u16::MAX)
}

fn vip(number: u32) -> Ipv4Addr {
    let [_, _, high, low] = (number + 1).to_be_bytes();
    Ipv4Addr::new(10, 98, high, low)
}

fn pod(index: u32) -> Ipv4Addr {
    let [.., low] = index.to_be_bytes();
    Ipv4Addr::new(10, 1, 1 + low % 3, 10 + low)
}

fn endpoint(address: Ipv4Addr, index: u32) -> Value {
    json!({"addresses": [address], "nodeName": format!("node{}", 1 + index % 3), "conditions": {"ready": true}})
}
