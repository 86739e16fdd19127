//! What becomes of Eips that are switched off, full, changed, overlap, or are deleted, and what their conditions say.

use anyhow::{Result, ensure};

use super::controller::{Cluster, service};

const OPT_IN: &str = "lb.kubesphere.io/v1alpha1: openelb";

fn pool(name: &str, fields: &str) -> String {
    format!(
        "apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata: {{name: {name}}}
spec: {{{fields}}}
---
"
    )
}

fn from(pool: &str) -> String {
    format!("{OPT_IN}, eip.openelb.kubesphere.io/v1alpha2: {pool}")
}

#[test]
fn a_pool_that_is_off_full_smaller_or_deleted_moves_nobody() -> Result<()> {
    let cluster = Cluster::start()?;
    let _controller = cluster.controller("one");
    cluster.apply(&pool("small", "address: 10.99.0.0/31"))?;
    for name in ["a", "b", "c"] {
        cluster.apply(&service(name, OPT_IN, ""))?;
    }
    cluster.wait_for_reason("c", "PoolExhausted")?;
    let message = cluster.condition("c", "LoadBalancerProvisioning")?;
    ensure!(
        message.contains("add a range to it, or delete Services"),
        "{message}"
    );
    cluster.wait_for_state("eip/small", "Exhausted", "True AllInUse")?;
    // More room, but nobody may come in.
    cluster.patch(
        "eip/small",
        r#"{"spec":{"address":"10.99.0.0/30","disable":true}}"#,
    )?;
    cluster.wait_for_reason("c", "PoolDisabled")?;
    cluster.wait_for_state("eip/small", "Ready", "False Disabled")?;
    cluster.patch("eip/small", r#"{"spec":{"disable":false}}"#)?;
    cluster.wait_for_addresses("c", "10.99.0.2")?;
    // Less room: what was given stays, and says so.
    cluster.patch("eip/small", r#"{"spec":{"address":"10.99.0.0/31"}}"#)?;
    cluster.wait_for_condition(
        "c",
        "OutsidePool",
        "True NotInPool 10.99.0.2 is in no Eip any more",
    )?;
    // A pool that overlaps is told, and gives each address once.
    cluster.apply(&pool("wide", "address: 10.99.0.0/29, autoAssign: false"))?;
    let words = cluster.wait_for_state("eip/wide", "Overlapping", "True SharedRange")?;
    ensure!(words.contains("also in small"), "{words}");
    cluster.wait_for(
        "c",
        "{.status.conditions[?(@.type==\"fairlead.io/OutsidePool\")].status}",
        "",
    )?;
    cluster.apply(&service("d", &from("wide"), ""))?;
    cluster.wait_for_addresses("d", "10.99.0.3")?;
    // A deleted one serves until its last Service has left.
    cluster.kubectl(&["delete", "eip", "wide", "--wait=false"])?;
    cluster.wait_for_state("eip/wide", "Ready", "False Terminating")?;
    cluster.apply(&service("e", &from("wide"), ""))?;
    cluster.wait_for_reason("e", "PoolDisabled")?;
    for (name, address) in [("c", "10.99.0.2"), ("d", "10.99.0.3")] {
        assert_eq!(cluster.addresses(name)?, address);
    }
    let settings = cluster.read("d", "{.metadata.annotations.fairlead\\.io/announcement}")?;
    ensure!(settings.contains("bgp"), "{settings}");
    Ok(())
}

#[test]
fn what_is_the_clusters_own_is_given_to_nobody_and_the_pool_says_so() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(
        "{apiVersion: v1, kind: Node, metadata: {name: node1}, spec: {podCIDR: 10.99.0.4/30, podCIDRs: [10.99.0.4/30]}}",
    )?;
    let address = r#"{"status":{"addresses":[{"type":"InternalIP","address":"10.99.0.0"}]}}"#;
    cluster.patch_status("node/node1", address)?;
    cluster.apply(&pool("home", "address: 10.99.0.0-10.99.0.9"))?;
    // The API server of the tests has its ClusterIPs from here.
    cluster.apply(&pool(
        "services",
        "address: 10.96.0.0/16, autoAssign: false",
    ))?;
    let _controller = cluster.controller("one");
    for (name, address) in [
        ("a", "10.99.0.1"),
        ("b", "10.99.0.2"),
        ("c", "10.99.0.3"),
        ("d", "10.99.0.8"),
    ] {
        cluster.apply(&service(name, OPT_IN, ""))?;
        cluster.wait_for_addresses(name, address)?;
    }
    let words = cluster.wait_for_state("eip/home", "Overlapping", "True ClusterRange")?;
    ensure!(
        words.contains("10.99.0.4/30 is of the pods of node node1")
            && words.contains("10.99.0.0 is an address of node node1"),
        "{words}"
    );
    let words = cluster.wait_for_state("eip/services", "Overlapping", "True ClusterRange")?;
    ensure!(
        words.contains("10.96.0.0/16 is of the ClusterIPs (ServiceCIDR kubernetes)"),
        "{words}"
    );
    cluster.apply(&service("e", &from("services"), ""))?;
    cluster.wait_for_reason("e", "PoolExhausted")?;
    let asks = format!("{OPT_IN}, eip.openelb.kubesphere.io/v1alpha1: 10.96.7.7");
    cluster.apply(&service("f", &asks, ""))?;
    cluster.wait_for_reason("f", "IPInUse")?;
    let message = cluster.condition("f", "LoadBalancerProvisioning")?;
    ensure!(
        message.contains("10.96.7.7 is of the ClusterIPs"),
        "{message}"
    );
    Ok(())
}

#[test]
fn pools_name_what_has_no_effect() -> Result<()> {
    let cluster = Cluster::start()?;
    let default = "metadata: {annotations: {eip.openelb.kubesphere.io/is-default-eip: \"true\"}, ";
    let marked = |text: String| text.replace("metadata: {", default);
    let fields = "address: 10.99.0.1, usingKnownIPs: true, interface: eth0, fence: true, announcement: {communities: ['1:2:3:4']}";
    cluster.apply(&marked(pool("one", fields)))?;
    cluster.apply(&marked(pool(
        "two",
        "address: 10.99.0.2, protocol: layer2, interface: eth0, announcement: {med: 1}",
    )))?;
    cluster.apply(&pool("bad", "address: nonsense"))?;
    let _controller = cluster.controller("one");
    let words = cluster.wait_for_state("eip/one", "FieldIgnored", "True NoEffect")?;
    for field in [
        "usingKnownIPs",
        "interface",
        "fence",
        "announcement.communities: \"1:2:3:4\"",
    ] {
        ensure!(words.contains(field), "{field}: {words}");
    }
    let words = cluster.wait_for_state("eip/two", "FieldIgnored", "True NoEffect")?;
    for field in ["interface", "announcement: it is of BGP"] {
        ensure!(words.contains(field), "{field}: {words}");
    }
    cluster.wait_for_state(
        "eip/one",
        "SeveralDefaults",
        "True AlsoDefault two is marked",
    )?;
    cluster.wait_for_state("eip/bad", "Ready", "False Invalid `nonsense`")?;
    Ok(())
}
