//! What is said of a Service that has an address: whether anybody answers for it, and if not, what is missing first.

use anyhow::{Result, ensure};

use super::{
    POOL,
    controller::{Cluster, service},
};

const SPEAKER: &str = "
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {name: default}
spec: {as: 65000}
---
{apiVersion: v1, kind: Node, metadata: {name: node1}}
---
{apiVersion: v1, kind: Node, metadata: {name: node2}}
";

/// Endpoints of the Service `web`, on a node, ready or not.
fn slice(node: &str, is_ready: bool) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-1, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: p, port: 8080}}]
endpoints: [{{addresses: [10.1.0.1], nodeName: {node}, conditions: {{ready: {is_ready}}}}}]
"
    )
}

#[test]
fn what_is_missing_is_said_in_the_order_in_which_it_is_seen_to() -> Result<()> {
    let cluster = Cluster::start()?;
    let _controller = cluster.controller("one");
    cluster.apply(POOL)?;
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    cluster.apply(&service("web", opt_in, ""))?;
    let said = |words: &str| cluster.wait_for_condition("web", "LoadBalancerServing", words);
    said("False NoEndpoints no endpoint is ready")?;
    cluster.apply(&slice("node1", true))?;
    said("False NotAnnounced there is no BgpConf named default")?;
    cluster.apply(SPEAKER)?;
    said("False NoEligibleNode no node can announce it: there are only nodes that have no agent")?;
    let keys =
        r#"{"status":{"nodesConfStatus":{"node1":{"state":"Ready"},"node2":{"state":"Ready"}}}}"#;
    cluster.patch_status("bgpconf/default", keys)?;
    said("False NotAnnounced no BGP session is established")?;
    let session =
        r#"{"status":{"nodesPeerStatus":{"node1":{"peerState":{"sessionState":"ESTABLISHED"}}}}}"#;
    cluster.patch_status("bgppeer/router", session)?;
    said("True Serving")?;
    // The pool's own fences.
    cluster.patch(
        "eip/pool",
        r#"{"spec":{"announcement":{"peers":["typo"]}}}"#,
    )?;
    said("False NotAnnounced announcement.peers of Eip pool names no BgpPeer")?;
    let nobody = r#"{"spec":{"announcement":{"peers":null,"nodeSelectors":[{"matchLabels":{"rack":"a"}}]}}}"#;
    cluster.patch("eip/pool", nobody)?;
    said(
        "False NoEligibleNode no node can announce it: announcement.nodeSelectors of Eip pool selects none",
    )?;
    cluster.kubectl(&["label", "node", "node1", "rack=a"])?;
    said("True Serving")?;
    // A node that is drained announces nothing, and with `Local` its pods are of no use.
    cluster.patch(
        "service/web",
        r#"{"spec":{"externalTrafficPolicy":"Local"}}"#,
    )?;
    cluster.kubectl(&["annotate", "node", "node1", "fairlead.io/drain=true"])?;
    said(
        "False NoEligibleNode externalTrafficPolicy is Local, and no node with an endpoint can announce it: there are only nodes that are drained",
    )?;
    cluster.kubectl(&["annotate", "node", "node1", "fairlead.io/drain-"])?;
    said("True Serving")?;
    cluster.apply(&slice("node1", false))?;
    said("False NoEndpoints")?;
    let events = cluster.kubectl(&[
        "get",
        "events",
        "-o",
        "jsonpath={range .items[*]}{.type} {.reason}: {.note}{.message}{\"\\n\"}{end}",
    ])?;
    for words in [
        "Warning NoEndpoints: no endpoint is ready: see the pods",
        "Warning NoEligibleNode: ",
    ] {
        ensure!(events.contains(words), "{words} is not in\n{events}");
    }
    cluster.wait_for_quiet()
}
