//! Ways to run the controller: as the cluster's default, and without agents. What is another controller's is not touched
//! in either, to the last byte.

use anyhow::{Result, ensure};

use super::{
    POOL,
    controller::{Cluster, service},
};

/// Services that are not ours, each for another reason.
const STRANGERS: &str = "
apiVersion: v1
kind: Service
metadata: {name: classed}
spec: {type: LoadBalancer, loadBalancerClass: example.com/other, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: internal, annotations: {lb.kubesphere.io/v1alpha1: openelb}}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: named, annotations: {lb.kubesphere.io/v1alpha1: openelb}}
spec: {type: ExternalName, externalName: example.com}
---
apiVersion: v1
kind: Service
metadata: {name: headless, annotations: {lb.kubesphere.io/v1alpha1: openelb}}
spec: {clusterIP: None, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: given, annotations: {lb.kubesphere.io/v1alpha1: openelb}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: hosted, annotations: {lb.kubesphere.io/v1alpha1: openelb}}
spec: {type: LoadBalancer, ports: [{port: 80}]}
";

#[test]
fn as_the_default_it_serves_who_says_nothing_and_touches_nobody_elses() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(POOL)?;
    cluster.apply(STRANGERS)?;
    let given = |entry: &str| format!(r#"{{"status":{{"loadBalancer":{{"ingress":[{entry}]}}}}}}"#);
    cluster.patch_status("service/given", &given(r#"{"ip":"203.0.113.1"}"#))?;
    cluster.patch_status("service/hosted", &given(r#"{"hostname":"lb.example.com"}"#))?;
    let names = [
        "classed", "internal", "named", "headless", "given", "hosted",
    ];
    let whole = || -> Result<Vec<String>> {
        let objects = names
            .iter()
            .map(|name| cluster.whole(&format!("service/{name}")));
        objects.collect()
    };
    let before = whole()?;
    let _controller = cluster.controller_as("one", |options| options.class.default_class = true);
    cluster.apply(&service("plain", "", ""))?;
    cluster.wait_for_addresses("plain", "10.99.0.0")?;
    cluster.apply(&service("opted", "lb.kubesphere.io/v1alpha1: openelb", ""))?;
    cluster.wait_for_addresses("opted", "10.99.0.1")?;
    cluster.kubectl(&["delete", "service", "plain", "--wait=false"])?;
    cluster.wait_until_gone("service", "plain")?;
    assert_eq!(whole()?, before);
    Ok(())
}

#[test]
fn without_agents_it_manages_addresses_and_says_no_more() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(POOL)?;
    let peer = cluster.whole("bgppeer/router")?;
    let _controller = cluster.controller_as("one", |options| options.addresses_only = true);
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    cluster.apply(&service("web", opt_in, ""))?;
    cluster.wait_for_addresses("web", "10.99.0.0")?;
    let serving = "Unknown AddressManagementOnly ";
    cluster.wait_for_condition("web", "LoadBalancerServing", serving)?;
    let lan = format!("{opt_in}, eip.openelb.kubesphere.io/v1alpha2: lan");
    cluster.apply(&service("lan", &lan, ""))?;
    cluster.wait_for_condition("lan", "LoadBalancerServing", serving)?;
    assert_eq!(
        cluster.whole("bgppeer/router")?,
        peer,
        "speakers are nobody's then"
    );
    Ok(())
}

#[test]
fn a_second_family_comes_when_it_is_asked_for_and_can_be_given() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(&POOL.replace(", addresses: ['fd99::/120']", ""))?;
    let _controller = cluster.controller("one");
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    for name in ["prefers", "requires"] {
        cluster.apply(&service(name, opt_in, "ipFamilyPolicy: SingleStack,"))?;
    }
    cluster.wait_for_addresses("prefers", "10.99.0.0")?;
    cluster.wait_for_addresses("requires", "10.99.0.1")?;
    for (name, policy) in [
        ("prefers", "PreferDualStack"),
        ("requires", "RequireDualStack"),
    ] {
        let policy = format!(r#"{{"spec":{{"ipFamilyPolicy":"{policy}"}}}}"#);
        cluster.patch(&format!("service/{name}"), &policy)?;
    }
    // What it has stays while the other cannot be had.
    cluster.wait_for_condition(
        "requires",
        "LoadBalancerDegraded",
        "True FamilyMismatch Eip pool has no IPv6",
    )?;
    assert_eq!(cluster.addresses("requires")?, "10.99.0.1");
    assert_eq!(cluster.condition("prefers", "LoadBalancerDegraded")?, "");
    cluster.apply(&service(
        "late",
        opt_in,
        "ipFamilyPolicy: RequireDualStack,",
    ))?;
    cluster.wait_for_reason("late", "FamilyMismatch")?;
    assert_eq!(cluster.addresses("late")?, "", "both or none");
    cluster.patch("eip/pool", r#"{"spec":{"addresses":["fd99::/120"]}}"#)?;
    for (name, first) in [
        ("prefers", "10.99.0.0"),
        ("requires", "10.99.0.1"),
        ("late", "10.99.0.2"),
    ] {
        cluster.wait_for(name, "{.status.loadBalancer.ingress[0].ip}", first)?;
        let second = cluster.read(name, "{.status.loadBalancer.ingress[1].ip}")?;
        ensure!(second.starts_with("fd99::"), "{name}: {second}");
    }
    Ok(())
}
