//! A lab whose agents a real API server tells what to do: what an operator applies, the nodes, a Service over all pods, and
//! what the agents and the router say of it. Needs root.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};
use lb_common::abi::MapId;
use lb_datapath::MapReader;
use lb_lab::{
    AGENT, Agent, AgentOptions, ApiServer, Lab, NODE_ASN, NODE_BGP_PORT, Node, Pair, ROUTER_ASN,
    UPLINK, VIP_PORT, topology::POD_PORT, vip, wait_until,
};
use serde_json::Value;

use crate::fixture;

/// Anything that agents and servers do on request.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// In each node's own network.
pub(crate) const HTTP: &str = "127.0.0.1:9080";
/// In each node's own `/run`.
pub(crate) const STATE_FILE: &str = "/run/fairlead/kubernetes.json";

/// What an operator applies: the cluster's key, a pool, a speaker and its peer, which is told `next_hop`.
pub(crate) fn installation(lab: &Lab, next_hop: &str) -> String {
    let router = lab.node(1).router().v4;
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: fairlead-system}}
---
apiVersion: v1
kind: Secret
metadata: {{name: fairlead-cluster, namespace: fairlead-system}}
stringData: {{key: 0123456789abcdef0123456789abcdef}}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata: {{name: pool}}
spec: {{address: 10.99.0.0/24, addresses: [\"fd99::/64\"]}}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {{name: default}}
spec: {{as: {NODE_ASN}, listenPort: {NODE_BGP_PORT}}}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpPeer
metadata: {{name: router}}
spec:
  conf: {{peerAs: {ROUTER_ASN}, neighborAddress: {router}}}
  afiSafis:
    - {{config: {{family: {{afi: AFI_IP, safi: SAFI_UNICAST}}, enabled: true}}}}
    - {{config: {{family: {{afi: AFI_IP6, safi: SAFI_UNICAST}}, enabled: true}}}}
  nextHop: {next_hop}
"
    )
}

pub(crate) fn nodes(lab: &Lab) -> String {
    let manifest = |node: Node<'_>| {
        let Pair { v4, v6 } = node.addresses();
        format!(
            "---
apiVersion: v1
kind: Node
metadata: {{name: {}}}
status:
  addresses: [{{type: InternalIP, address: {v4}}}, {{type: InternalIP, address: \"{v6}\"}}]
  conditions: [{{type: Ready, status: \"True\", reason: Test, message: test}}]
",
            node.name()
        )
    };
    lab.nodes().map(manifest).collect()
}

/// The Service over all pods, and its slices, one a family.
pub(crate) fn web(lab: &Lab) -> String {
    let mut manifest = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec:
  type: LoadBalancer
  loadBalancerClass: fairlead.io/load-balancer
  ipFamilyPolicy: PreferDualStack
  ports: [{name: http, port: 80, targetPort: web}]
"
    .to_owned();
    for (family, is_v4) in [("IPv4", true), ("IPv6", false)] {
        manifest += &format!(
            "---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-{name}, namespace: default, labels: {{kubernetes.io/service-name: web}}}}
addressType: {family}
ports: [{{name: http, port: {POD_PORT}}}]
endpoints:
",
            name = family.to_lowercase()
        );
        for node in lab.nodes() {
            for pod in lab.node_pods(node.number()) {
                let addresses = pod.addresses().both().into_iter();
                for address in addresses.filter(|address| address.is_ipv4() == is_v4) {
                    let name = node.name();
                    manifest += &format!("  - {{addresses: [\"{address}\"], nodeName: {name}}}\n");
                }
            }
        }
    }
    manifest
}

pub(crate) fn start_agent(lab: &Lab, server: &ApiServer, node: u8) -> Result<Agent> {
    let settings = format!(
        "node: {{name: {}, uplinks: [{UPLINK}]}}\n",
        lab.node(node).name()
    );
    let kubeconfig = server.kubeconfig(AGENT)?.display().to_string();
    let arguments = [
        "--kubernetes",
        "--kubeconfig",
        &kubeconfig,
        "--namespace",
        "fairlead-system",
        "--state-file",
        STATE_FILE,
        "--http",
        HTTP,
        "--on-term",
        "restart",
    ];
    let options = AgentOptions {
        arguments: arguments.map(str::to_owned).to_vec(),
        ..AgentOptions::default()
    };
    lab.start_agent(node, &settings, &options)
}

pub(crate) fn target() -> SocketAddr {
    (vip(1).v4, VIP_PORT).into()
}

pub(crate) fn gateways(lab: &Lab) -> Result<Vec<IpAddr>> {
    lab.router_gateways((vip(1).v4.into(), 32))
}

pub(crate) fn nodes_are_gateways(lab: &Lab, nodes: &[u8]) -> Result<()> {
    let address = |node: &u8| lab.node(*node).addresses().v4.into();
    let wanted: Vec<IpAddr> = nodes.iter().map(address).collect();
    wait_until(SOON, "the router has a route by these nodes", || {
        let now = gateways(lab)?;
        ensure!(now == wanted, "{now:?}");
        Ok(Some(()))
    })
}

/// A lab's API server with all of it, but for the addresses of the Service.
pub(crate) fn start_server(lab: &Lab, next_hop: &str) -> Result<ApiServer> {
    let server = lab.start_api_server()?;
    fixture::install(&server)?;
    server.apply(&installation(lab, next_hop))?;
    server.apply(&nodes(lab))?;
    Ok(server)
}

/// Gives the Service its addresses, as the controller does.
pub(crate) fn assign(server: &ApiServer) -> Result<()> {
    fixture::assign(server, "web", &vip(1).both())
}

/// Waits until an agent announces both addresses of the Service.
pub(crate) fn wait_announced(agent: &mut Agent) -> Result<()> {
    let announced = agent.wait_for(SOON, "services", "two VIPs are announced", |shown| {
        let rows = shown["rows"].as_array();
        rows.is_some_and(|rows| {
            rows.len() == 2
                && rows.iter().all(|row| {
                    row["applied"] == true && row["announced_to"] != Value::Array(Vec::new())
                })
        })
    });
    announced.map(drop)
}

/// What the agent does: rows without counters, so that they can be compared.
pub(crate) fn served(agent: &Agent) -> Result<Vec<String>> {
    let shown = agent.show("services")?;
    let rows = shown["rows"].as_array().cloned().unwrap_or_default();
    let part = |row: &Value| {
        let parts = [
            "service",
            "vip",
            "port",
            "endpoints_used",
            "applied",
            "announced_to",
        ];
        parts.map(|name| row[name].to_string()).join(" ")
    };
    Ok(rows.iter().map(part).collect())
}

/// What a node's data path forwards by, word by word as the kernel has it.
pub(crate) fn maps(lab: &Lab, node: u8) -> Result<Vec<(&'static str, Vec<u64>)>> {
    const FORWARDED_BY: [MapId; 6] = [
        MapId::VipFilter,
        MapId::Services,
        MapId::ServiceCold,
        MapId::Rows,
        MapId::Endpoints,
        MapId::Nodes,
    ];
    let pins = AgentOptions::default().pin_dir;
    lab.node(node).namespace().run(|| {
        let read = |map: MapId| Ok((map.name(), MapReader::open(&pins, map)?.words()));
        FORWARDED_BY.into_iter().map(read).collect()
    })
}

/// Fails if a node forwards by anything else than before; names the map.
pub(crate) fn ensure_maps(lab: &Lab, node: u8, before: &[(&'static str, Vec<u64>)]) -> Result<()> {
    for ((name, now), (_, before)) in maps(lab, node)?.iter().zip(before) {
        let differ = now.iter().zip(before).filter(|(now, before)| now != before);
        let count = differ.count();
        ensure!(
            count == 0,
            "node{node}: {count} words of {name} have changed"
        );
    }
    Ok(())
}

pub(crate) fn has_warning(shown: &Value, words: &str) -> bool {
    let warnings = shown["warnings"].as_array().into_iter().flatten();
    warnings
        .filter_map(Value::as_str)
        .any(|warning| warning.contains(words))
}

/// What the agent of this network namespace answers by HTTP.
pub(crate) fn get(path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(HTTP)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn status(server: &ApiServer, kind: &str, name: &str) -> Result<Value> {
    let text = server.kubectl(&["get", kind, name, "-o", "json"])?;
    Ok(serde_json::from_str::<Value>(&text)?["status"].clone())
}

/// The nodes that say of themselves that they deliver, in the speaker's status.
pub(crate) fn speaking(server: &ApiServer) -> Result<Vec<String>> {
    let speaker = status(server, "bgpconf", "default")?;
    let nodes = speaker["nodesConfStatus"].as_object();
    Ok(nodes.map_or_else(Vec::new, |nodes| nodes.keys().cloned().collect()))
}
