//! Three nodes with agents that a real API server tells what to do, behind a router that they announce to, while a client
//! asks all the time: the API server is killed, frozen and rolled back, an agent starts while it is away, and nothing that
//! is served changes. Needs root.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use lb_lab::{
    AGENT, Agent, AgentOptions, ApiServer, Lab, NODE_ASN, NODE_BGP_PORT, Node, Pair, Profile,
    ROUTER_ASN, UPLINK, VIP_PORT, agent_binary, failures, output, topology::POD_PORT, vip,
    wait_until,
};
use serde_json::Value;

use crate::fixture;

/// Anything that agents and servers do on request.
const SOON: Duration = Duration::from_secs(15);

/// In each node's own network.
const HTTP: &str = "127.0.0.1:9080";
/// In each node's own `/run`.
const STATE_FILE: &str = "/run/fairlead/kubernetes.json";

/// What an operator applies: the cluster's key, a pool, a speaker and its peer.
fn installation(lab: &Lab) -> String {
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
  nextHop: self
"
    )
}

fn nodes(lab: &Lab) -> String {
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
fn web(lab: &Lab) -> String {
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

fn start_agent(lab: &Lab, server: &ApiServer, node: u8) -> Result<Agent> {
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

fn target() -> SocketAddr {
    (vip(1).v4, VIP_PORT).into()
}

fn gateways(lab: &Lab) -> Result<Vec<std::net::IpAddr>> {
    lab.router_gateways((vip(1).v4.into(), 32))
}

fn nodes_are_gateways(lab: &Lab, nodes: &[u8]) -> Result<()> {
    let address = |node: &u8| lab.node(*node).addresses().v4.into();
    let wanted: Vec<std::net::IpAddr> = nodes.iter().map(address).collect();
    wait_until(SOON, "the router has a route by these nodes", || {
        let now = gateways(lab)?;
        ensure!(now == wanted, "{now:?}");
        Ok(Some(()))
    })
}

/// A mark on the Node takes it out of service and back, and no request is lost.
fn a_mark_drains(lab: &Lab, server: &ApiServer) -> Result<()> {
    let load = lab.client().start_load(target(), 20_000..24_000, 4);
    server.kubectl(&["annotate", "node", "node3", "fairlead.io/drain=true"])?;
    nodes_are_gateways(lab, &[1, 2])?;
    server.kubectl(&["annotate", "node", "node3", "fairlead.io/drain-"])?;
    nodes_are_gateways(lab, &[1, 2, 3])?;
    let records = load.stop()?;
    let failed = failures(&records);
    ensure!(
        failed.is_empty(),
        "{} of {}: {failed:?}",
        failed.len(),
        records.len()
    );
    Ok(())
}

/// What the agent does: rows without counters, so that they can be compared.
fn served(agent: &Agent) -> Result<Vec<String>> {
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

fn has_warning(shown: &Value, words: &str) -> bool {
    let warnings = shown["warnings"].as_array().into_iter().flatten();
    warnings
        .filter_map(Value::as_str)
        .any(|warning| warning.contains(words))
}

/// What the agent of this network namespace answers by HTTP.
fn get(path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(HTTP)?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn status(server: &ApiServer, kind: &str, name: &str) -> Result<Value> {
    let text = server.kubectl(&["get", kind, name, "-o", "json"])?;
    Ok(serde_json::from_str::<Value>(&text)?["status"].clone())
}

#[test]
fn what_is_served_does_not_notice_an_api_server_that_is_away_or_goes_back() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let _bird = lab.start_bird()?;
    let mut server = lab.start_api_server()?;
    fixture::install(&server)?;
    server.apply(&installation(&lab))?;
    server.apply(&nodes(&lab))?;
    let mut agents = (1..=3)
        .map(|node| start_agent(&lab, &server, node))
        .collect::<Result<Vec<_>>>()?;
    let saved = server.save()?;

    server.apply(&web(&lab))?;
    let ingress = vip(1)
        .both()
        .map(|address| format!("{{\"ip\":\"{address}\"}}"))
        .join(",");
    let patch = format!("{{\"status\":{{\"loadBalancer\":{{\"ingress\":[{ingress}]}}}}}}");
    let words = [
        "patch",
        "service",
        "web",
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch,
    ];
    server.kubectl(&words)?;
    for agent in &mut agents {
        agent.wait_for(SOON, "services", "two VIPs are announced", |shown| {
            let rows = shown["rows"].as_array();
            rows.is_some_and(|rows| {
                rows.len() == 2
                    && rows.iter().all(|row| {
                        row["applied"] == true && row["announced_to"] != Value::Array(Vec::new())
                    })
            })
        })?;
    }
    nodes_are_gateways(&lab, &[1, 2, 3])?;
    wait_until(SOON, "every node says that it serves", || {
        let speaker = status(&server, "bgpconf", "default")?;
        let nodes = speaker["nodesConfStatus"]
            .as_object()
            .map_or(0, serde_json::Map::len);
        ensure!(nodes == 3, "{speaker}");
        let peer = status(&server, "bgppeer", "router")?;
        let session = &peer["nodesPeerStatus"]["node2"]["peerState"]["sessionState"];
        ensure!(session == "ESTABLISHED", "{peer}");
        Ok(Some(()))
    })?;

    a_mark_drains(&lab, &server)?;
    wait_until(SOON, "the first node has put down what it knows", || {
        let read = || Ok(fs::read_to_string(STATE_FILE)?);
        let kept = lab.node(1).namespace().run(read)?;
        Ok(kept.contains("default/web").then_some(()))
    })?;

    let ready = lab.node(1).namespace().run(|| get("/readyz"))?;
    ensure!(ready.contains("200 OK"), "{ready}");
    let metrics = lab.node(1).namespace().run(|| get("/metrics"))?;
    ensure!(metrics.contains("fairlead_cluster_listed 1"), "{metrics}");
    let mut explain = Command::new(agent_binary()?);
    explain.args(["explain", "default/web"]);
    let explained = output(lab.node(1).namespace(), explain)?;
    ensure!(explained.contains("announced  10.99.0.1 to"), "{explained}");

    let before: Vec<_> = agents.iter().map(served).collect::<Result<_>>()?;
    let client = lab.client();
    let load = client.start_load(target(), 24_000..28_000, 4);
    server.kill()?;
    for agent in &mut agents {
        agent.wait_for(SOON, "services", "the API server is away", |shown| {
            has_warning(shown, "does not answer")
        })?;
    }
    // An agent that starts meanwhile goes by what was known last.
    agents[0].process().kill()?;
    agents[0].restart()?;
    wait_until(SOON, "the agent serves again", || {
        let now = served(&agents[0])?;
        ensure!(now == before[0], "{now:#?}");
        Ok(Some(()))
    })?;
    server.roll_back(&saved)?;
    for agent in &mut agents {
        agent.wait_for(SOON, "services", "the API server went back", |shown| {
            has_warning(shown, "went back") && !has_warning(shown, "does not answer")
        })?;
    }
    let records = load.stop()?;
    let failed = failures(&records);
    ensure!(
        failed.is_empty(),
        "{} of {}: {failed:?}",
        failed.len(),
        records.len()
    );
    ensure!(records.len() > 100, "only {} requests", records.len());
    for (agent, before) in agents.iter().zip(&before) {
        ensure!(served(agent)? == *before, "{:#?}", served(agent)?);
    }
    nodes_are_gateways(&lab, &[1, 2, 3])?;
    println!("{} requests, none lost", records.len());
    Ok(())
}
