//! What comes from elsewhere: addresses outside every Eip, taken over because an operator says so, and what OpenELB left
//! on objects.

use anyhow::{Result, ensure};
use lb_lab::SYSTEM_NAMESPACE;

use super::{
    POOL,
    controller::{Cluster, service},
};

#[test]
fn addresses_outside_every_pool_are_taken_over_only_by_an_operators_word() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(POOL)?;
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    let given = r#"{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.7"}]}}}"#;
    for name in ["web", "thief"] {
        cluster.apply(
            &service(name, opt_in, "").replace("port: 80", &format!("port: {}", 80 + name.len())),
        )?;
        cluster.patch_status(&format!("service/{name}"), given)?;
    }
    let thief = cluster.whole("service/thief")?;
    let _controller = cluster.controller("one");
    cluster.apply(&service("later", opt_in, ""))?;
    cluster.wait_for_addresses("later", "10.99.0.0")?;
    assert_eq!(
        cluster.read("web", "{.metadata.finalizers}")?,
        "",
        "nobody said so yet"
    );
    let plan = [
        "create",
        "configmap",
        "fairlead-import",
        "-n",
        SYSTEM_NAMESPACE,
        "--from-literal=default.web=203.0.113.7",
        "--from-literal=nonsense=203.0.113.7",
    ];
    cluster.kubectl(&plan)?;
    cluster.wait_for_condition("web", "OutsidePool", "True NotInPool")?;
    assert_eq!(cluster.addresses("web")?, "203.0.113.7");
    let settings = cluster.read("web", "{.metadata.annotations.fairlead\\.io/announcement}")?;
    assert_eq!(settings, r#"{"protocol":"bgp"}"#);
    assert_eq!(cluster.whole("service/thief")?, thief);
    // From then on it is like any other: it leaves when a person says so.
    cluster.agent(&["reassign", "default/web"])?;
    cluster.wait_for_addresses("web", "10.99.0.1")?;
    Ok(())
}

#[test]
fn what_openelb_left_on_objects_keeps_nothing_from_being_deleted() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(POOL)?;
    cluster.apply("{apiVersion: network.kubesphere.io/v1alpha2, kind: BgpConf, metadata: {name: default}, spec: {as: 65000}}")?;
    let of_all =
        r#"{"metadata":{"finalizers":["example.com/mine","finalizer.lb.kubesphere.io/v1alpha1"]}}"#;
    let of_eip = r#"{"metadata":{"finalizers":["finalizer.ipam.kubesphere.io/v1alpha1"]}}"#;
    for object in ["bgppeer/router", "bgpconf/default"] {
        cluster.patch(object, of_all)?;
    }
    cluster.patch("eip/lan", of_eip)?;
    let _controller = cluster.controller("one");
    for object in ["bgppeer/router", "bgpconf/default"] {
        lb_lab::wait_until(
            super::controller::LIMIT,
            &format!("{object} is free"),
            || {
                let left =
                    cluster.kubectl(&["get", object, "-o", "jsonpath={.metadata.finalizers}"])?;
                ensure!(left == r#"["example.com/mine"]"#, "{left}");
                Ok(Some(()))
            },
        )?;
    }
    cluster.kubectl(&["delete", "eip", "lan", "--wait=false"])?;
    cluster.wait_until_gone("eip", "lan")?;
    // Beside a living OpenELB, which puts it back, there is no quarrel; when the object is deleted, it goes.
    cluster.patch(
        "bgppeer/router",
        r#"{"metadata":{"finalizers":["finalizer.lb.kubesphere.io/v1alpha1"]}}"#,
    )?;
    cluster.wait_for_quiet()?;
    let left = cluster.kubectl(&[
        "get",
        "bgppeer/router",
        "-o",
        "jsonpath={.metadata.finalizers}",
    ])?;
    ensure!(left.contains("finalizer.lb"), "{left}");
    cluster.kubectl(&["delete", "bgppeer", "router", "--wait=false"])?;
    cluster.wait_until_gone("bgppeer", "router")?;
    Ok(())
}
