//! Two controllers, a leader that dies in the middle, definitions that are deleted, and what OpenELB left behind.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use lb_lab::wait_until;

use crate::fixture;

use super::{
    POOL,
    controller::{Cluster, service},
};

/// Enough that a request too many a Service shows.
const SERVICES: usize = 100;

#[test]
fn a_leader_that_dies_half_way_loses_nothing_and_gives_nothing_twice() -> Result<()> {
    let cluster = Cluster::start()?;
    let first = cluster.controller("one");
    let wide = POOL.replace("10.99.0.0-10.99.0.9", "10.99.0.0/24");
    cluster.apply(&wide)?;
    cluster.apply(&service("leads", "lb.kubesphere.io/v1alpha1: openelb", ""))?;
    cluster.wait_for_addresses("leads", "10.99.0.0")?;
    let second = cluster.controller("two");
    let names: Vec<String> = (0..60).map(|number| format!("s{number}")).collect();
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    let all: Vec<String> = names.iter().map(|name| service(name, opt_in, "")).collect();
    cluster.apply(&all.join("---\n"))?;
    let given = || -> Result<Vec<String>> {
        let path = "jsonpath={.items[*].status.loadBalancer.ingress[*].ip}";
        let text = cluster.kubectl(&["get", "services", "-o", path])?;
        Ok(text
            .split(' ')
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
            .collect())
    };
    first.kill();
    let before = cluster.kubectl(&["get", "services", "-o", "jsonpath={range .items[*]}{.metadata.name} {.status.loadBalancer.ingress[0].ip}{\"\\n\"}{end}"])?;
    wait_until(
        Duration::from_secs(20),
        "every Service has an address",
        || {
            let given = given()?;
            ensure!(given.len() == names.len() + 1, "{} have one", given.len());
            Ok(Some(()))
        },
    )?;
    let given = given()?;
    let distinct: BTreeSet<&String> = given.iter().collect();
    assert_eq!(distinct.len(), given.len(), "an address was given twice");
    for (name, address) in before.lines().filter_map(|line| line.split_once(' ')) {
        if !address.is_empty() {
            assert_eq!(cluster.addresses(name)?, address, "{name} has moved");
        }
    }
    second.stop();
    Ok(())
}

#[test]
fn addresses_outlast_the_definitions_of_our_kinds() -> Result<()> {
    let cluster = Cluster::start()?;
    let _controller = cluster.controller("one");
    cluster.apply(POOL)?;
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    for (name, address) in [("a", "10.99.0.0"), ("b", "10.99.0.1")] {
        cluster.apply(&service(name, opt_in, ""))?;
        cluster.wait_for_addresses(name, address)?;
    }
    // Somebody deletes the definition and strips the finalizers that hold it.
    let definition = "eips.network.kubesphere.io";
    cluster.kubectl(&["delete", "crd", definition, "--wait=false"])?;
    let none = r#"{"metadata":{"finalizers":null}}"#;
    wait_until(Duration::from_secs(20), "the definition is gone", || {
        for name in ["pool", "lan", "fenced"] {
            // What is gone already cannot be patched.
            let _ = cluster.kubectl(&["patch", "eip", name, "--type=merge", "-p", none]);
        }
        let left =
            cluster.kubectl(&["get", "crd", definition, "--ignore-not-found", "-o", "name"])?;
        Ok(left.is_empty().then_some(()))
    })?;
    crate::fixture::install(&cluster.server)?;
    cluster.apply(POOL)?;
    cluster.apply(&service("c", opt_in, ""))?;
    cluster.wait_for_addresses("c", "10.99.0.2")?;
    assert_eq!(cluster.addresses("a")?, "10.99.0.0");
    assert_eq!(cluster.addresses("b")?, "10.99.0.1");
    let used = "jsonpath={.status.used['10\\.99\\.0\\.1']}";
    assert_eq!(
        cluster.kubectl(&["get", "eip", "pool", "-o", used])?,
        "default/b"
    );
    cluster.wait_for_quiet()
}

#[test]
fn takes_over_from_openelb_without_moving_anything() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(POOL)?;
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    for (name, address) in [("a", "10.99.0.4"), ("b", "10.99.0.4"), ("c", "10.99.0.6")] {
        cluster.apply(&service(name, opt_in, ""))?;
        fixture::assign(&cluster.server, name, &[address.parse()?])?;
        let mark = r#"{"metadata":{"finalizers":["finalizer.lb.kubesphere.io/v1alpha1"],"labels":{"eip.openelb.kubesphere.io/v1alpha2":"pool"}}}"#;
        cluster.kubectl(&["patch", "service", name, "--type=merge", "-p", mark])?;
    }
    let used = r#"{"status":{"usage":2,"used":{"10.99.0.4":"default/a;default/b","10.99.0.6":"default/c"}}}"#;
    cluster.patch_status("eip/pool", used)?;
    let _controller = cluster.controller("one");
    cluster.apply(&service("new", opt_in, ""))?;
    cluster.wait_for_addresses("new", "10.99.0.0")?;
    for (name, address) in [("a", "10.99.0.4"), ("b", "10.99.0.4"), ("c", "10.99.0.6")] {
        assert_eq!(cluster.addresses(name)?, address, "{name}");
        let path = "{.metadata.finalizers}";
        let ours = r#"["service.kubernetes.io/load-balancer-cleanup","fairlead.io/addresses"]"#;
        cluster.wait_for(name, path, ours)?;
    }
    // OpenELB never looked at ports; one of the two has port 80.
    let error = "{.status.loadBalancer.ingress[0].ports[0].error}";
    cluster.wait_for("b", error, "fairlead.io/PortConflict")?;
    cluster.wait_for("a", "{.status.loadBalancer.ingress[0].ports[0].port}", "80")?;
    assert_eq!(cluster.read("a", error)?, "");
    Ok(())
}

#[test]
fn writes_no_more_than_it_must() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(&POOL.replace("10.99.0.0-10.99.0.9", "10.99.0.0/24"))?;
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    let all: Vec<String> = (0..SERVICES)
        .map(|number| service(&format!("s{number}"), opt_in, ""))
        .collect();
    cluster.apply(&all.join("---\n"))?;
    let _controller = cluster.controller("one");
    let path = "jsonpath={.items[*].status.loadBalancer.ingress[*].ip}";
    wait_until(
        Duration::from_secs(20),
        "every Service has an address",
        || {
            let text = cluster.kubectl(&["get", "services", "-o", path])?;
            Ok((text.split(' ').count() == SERVICES).then_some(()))
        },
    )?;
    let patches = cluster.requests(&["resource=\"services\"", "verb=\"PATCH\""])?;
    assert_eq!(patches, 2 * SERVICES, "a finalizer and a status each");
    let updates = cluster.requests(&["resource=\"eips\"", "verb=\"PUT\""])?;
    ensure!(updates <= 12, "{updates} updates of three Eips");
    // Whatever leads next stamps each Eip once, and writes no Service.
    let versions = cluster.versions()?;
    let names: Vec<&str> = versions.keys().map(String::as_str).collect();
    let _next = cluster.controller("two");
    cluster.apply(&service("later", opt_in, ""))?;
    cluster.wait_for_addresses("later", "10.99.0.100")?;
    ensure!(
        cluster.unchanged(&versions, &names)?,
        "Services were written again"
    );
    Ok(())
}
