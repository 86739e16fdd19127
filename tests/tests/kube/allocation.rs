//! Addresses for Services, by the controller against a real API server, asked for with kubectl as a person would. Each
//! test has a server of its own: Eips are of the whole cluster, and one controller serves it.

mod controller;
mod faults;
mod import;
mod modes;
mod outages;
mod pools;
mod process;
mod verdicts;

use anyhow::{Result, ensure};
use lb_lab::wait_until;

use self::controller::{Cluster, LIMIT, service};

const POOL: &str = r"
apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata: {name: pool}
spec: {address: 10.99.0.0-10.99.0.9, addresses: ['fd99::/120']}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata: {name: lan}
spec: {address: 192.168.7.0/24, protocol: layer2, interface: eth0, autoAssign: false}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: Eip
metadata: {name: fenced}
spec: {address: 10.98.0.1, namespaces: [tenant], fence: true}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpPeer
metadata: {name: router}
spec: {conf: {peerAs: 65001, neighborAddress: 10.0.0.1}}
";

#[test]
fn gives_what_is_asked_for_in_every_way() -> Result<()> {
    let cluster = Cluster::start()?;
    let _controller = cluster.controller("one");
    cluster.apply(POOL)?;
    cluster.apply(&service("auto", "lb.kubesphere.io/v1alpha1: openelb", ""))?;
    cluster.wait_for_addresses("auto", "10.99.0.0")?;
    for (name, annotation, spec, addresses) in [
        (
            "classed",
            "",
            "loadBalancerClass: fairlead.io/load-balancer,",
            "10.99.0.1",
        ),
        (
            "porter",
            "lb.kubesphere.io/v1alpha1: porter, eip.porter.kubesphere.io/v1alpha1: 10.99.0.7",
            "",
            "10.99.0.7",
        ),
        (
            "field",
            "lb.kubesphere.io/v1alpha1: openelb",
            "loadBalancerIP: 10.99.0.8,",
            "10.99.0.8",
        ),
        (
            "metallb",
            "lb.kubesphere.io/v1alpha1: openelb, 'metallb.io/loadBalancerIPs': 10.99.0.9",
            "",
            "10.99.0.9",
        ),
        (
            "named",
            "lb.kubesphere.io/v1alpha1: openelb, eip.openelb.kubesphere.io/v1alpha2: lan",
            "",
            "192.168.7.0",
        ),
        (
            "dual",
            "lb.kubesphere.io/v1alpha1: openelb",
            "ipFamilyPolicy: RequireDualStack,",
            "10.99.0.2 fd99::",
        ),
    ] {
        cluster.apply(&service(name, annotation, spec))?;
        cluster.wait_for_addresses(name, addresses)?;
    }
    let condition = "{.status.conditions[?(@.type==\"fairlead.io/LoadBalancerServing\")].reason}";
    assert_eq!(cluster.read("named", condition)?, "NotAnnounced");
    assert_eq!(
        cluster.read("auto", "{.status.loadBalancer.ingress[0].ipMode}")?,
        "VIP"
    );
    assert_eq!(
        cluster.read("auto", "{.status.loadBalancer.ingress[0].ports[0].port}")?,
        "80"
    );
    let finalizers = cluster.read("auto", "{.metadata.finalizers}")?;
    ensure!(
        finalizers.contains("service.kubernetes.io/load-balancer-cleanup"),
        "{finalizers}"
    );
    let events = cluster.kubectl(&["get", "events", "-o", "jsonpath={.items[*].reason}"])?;
    ensure!(events.contains("AddressAssigned"), "{events}");
    let usage = "jsonpath={.status.usage} {.status.poolSize} {.status.firstIP} {.status.used['10\\.99\\.0\\.7']}";
    let usage = cluster.kubectl(&["get", "eip", "pool", "-o", usage])?;
    assert_eq!(usage, "7 266 10.99.0.0 default/porter");
    Ok(())
}

#[test]
fn says_why_there_is_none_and_leaves_others_alone() -> Result<()> {
    let cluster = Cluster::start()?;
    let _controller = cluster.controller("one");
    cluster.apply(POOL)?;
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    let ask = |key: &str, value: &str| format!("{opt_in}, {key}.openelb.kubesphere.io/{value}");
    for (name, annotation, spec, reason) in [
        ("nowhere", ask("eip", "v1alpha1: 203.0.113.1"), "", "NoPool"),
        ("unknown", ask("eip", "v1alpha2: nothing"), "", "NoPool"),
        ("stranger", ask("eip", "v1alpha2: fenced"), "", "PoolFenced"),
        (
            "mismatch",
            ask("eip", "v1alpha2: lan"),
            "ipFamilies: [IPv6],",
            "FamilyMismatch",
        ),
        (
            "garbage",
            ask("eip", "v1alpha1: here"),
            "",
            "InvalidRequest",
        ),
    ] {
        cluster.apply(&service(name, &annotation, spec))?;
        cluster.wait_for_reason(name, reason)?;
    }
    cluster.apply(&service(
        "other",
        "",
        "loadBalancerClass: example.com/other,",
    ))?;
    cluster.apply(&service("plain", "", ""))?;
    cluster.apply(&service("last", opt_in, ""))?;
    cluster.wait_for_addresses("last", "10.99.0.0")?;
    for name in ["other", "plain"] {
        let touched = cluster.read(name, "{.status.conditions}{.metadata.finalizers}")?;
        assert_eq!(touched, "", "{name}");
        let managers = cluster.read_managers(name)?;
        ensure!(!managers.contains("status"), "{name}: {managers}");
    }
    Ok(())
}

#[test]
fn shares_an_address_but_never_a_port() -> Result<()> {
    let cluster = Cluster::start()?;
    let _controller = cluster.controller("one");
    cluster.apply(POOL)?;
    let wish = "lb.kubesphere.io/v1alpha1: openelb, eip.openelb.kubesphere.io/v1alpha1: 10.99.0.5";
    cluster.apply(&service("web", wish, "externalTrafficPolicy: Local,"))?;
    cluster.wait_for_addresses("web", "10.99.0.5")?;
    cluster.apply(&service("twin", wish, ""))?;
    cluster.wait_for_reason("twin", "PortConflict")?;
    cluster.apply(&service("mail", wish, "").replace("port: 80", "port: 25"))?;
    cluster.wait_for_addresses("mail", "10.99.0.5")?;
    let alone = "metallb.io/loadBalancerIPs: 10.99.0.5";
    let class = "loadBalancerClass: fairlead.io/load-balancer,";
    cluster.apply(&service("alone", alone, class).replace("port: 80", "port: 81"))?;
    cluster.wait_for_reason("alone", "IPInUse")?;
    // A port that is taken away from under a Service that has the address is said at the port.
    let ports = r#"{"spec":{"ports":[{"name":"p","port":25},{"name":"q","port":80}]}}"#;
    cluster.kubectl(&["patch", "service", "mail", "--type=merge", "-p", ports])?;
    cluster.wait_for(
        "mail",
        "{.status.loadBalancer.ingress[0].ports[?(@.port==80)].error}",
        "fairlead.io/PortConflict",
    )?;
    assert_eq!(cluster.addresses("mail")?, "10.99.0.5");
    Ok(())
}

#[test]
fn the_way_of_sharing_says_with_whom() -> Result<()> {
    let cluster = Cluster::start()?;
    let _controller = cluster.controller("one");
    cluster.apply(POOL)?;
    cluster.kubectl(&["create", "namespace", "other"])?;
    let class = "loadBalancerClass: fairlead.io/load-balancer, externalTrafficPolicy: Local,";
    let on = |name: &str, annotations: &str, port: &str| {
        service(name, annotations, class).replace("port: 80", port)
    };
    // By key, MetalLB's or ours, and without asking for the address; each with pods of its own.
    cluster.apply(&on("key1", "metallb.io/allow-shared-ip: k", "port: 80"))?;
    cluster.wait_for_addresses("key1", "10.99.0.0")?;
    cluster.apply(&on("key2", "fairlead.io/sharing-key: k", "port: 81"))?;
    cluster.wait_for_addresses("key2", "10.99.0.0")?;
    cluster.apply(&on("key3", "fairlead.io/sharing-key: k", "port: 80"))?;
    cluster.wait_for_addresses("key3", "10.99.0.1")?;
    // In the namespace.
    let wish = "fairlead.io/sharing: sameNamespace, metallb.io/loadBalancerIPs: 10.99.0.5";
    cluster.apply(&on("near1", wish, "port: 80"))?;
    cluster.wait_for_addresses("near1", "10.99.0.5")?;
    cluster.apply(&on("near2", wish, "port: 81"))?;
    cluster.wait_for_addresses("near2", "10.99.0.5")?;
    let far = on("far", wish, "port: 82").replace("{name: far", "{namespace: other, name: far");
    cluster.apply(&far)?;
    let path = "jsonpath={.status.conditions[*].message}";
    wait_until(LIMIT, "a Service of another Namespace is told why", || {
        let said = cluster.kubectl(&["get", "service", "far", "-n", "other", "-o", path])?;
        ensure!(said.contains("in use by default/near1"), "{said}");
        Ok(Some(()))
    })
}

#[test]
fn keeps_addresses_over_restarts_and_gives_them_back() -> Result<()> {
    let cluster = Cluster::start()?;
    let controller = cluster.controller("one");
    cluster.apply(POOL)?;
    let opt_in = "lb.kubesphere.io/v1alpha1: openelb";
    for (name, address) in [("a", "10.99.0.0"), ("b", "10.99.0.1"), ("c", "10.99.0.2")] {
        cluster.apply(&service(name, opt_in, ""))?;
        cluster.wait_for_addresses(name, address)?;
    }
    controller.stop();
    // A gap below, a pool that has shrunk: nobody moves.
    let shrunk = r#"{"spec":{"address":"10.99.0.1-10.99.0.9"}}"#;
    cluster.kubectl(&["patch", "eip", "pool", "--type=merge", "-p", shrunk])?;
    let versions = cluster.versions()?;
    let second = cluster.controller("two");
    cluster.apply(&service("d", opt_in, ""))?;
    cluster.wait_for_addresses("d", "10.99.0.3")?;
    for (name, address) in [("a", "10.99.0.0"), ("b", "10.99.0.1"), ("c", "10.99.0.2")] {
        assert_eq!(cluster.addresses(name)?, address);
    }
    let outside = "{.status.conditions[?(@.type==\"fairlead.io/OutsidePool\")].status}";
    cluster.wait_for("a", outside, "True")?;
    let settings = cluster.read("a", "{.metadata.annotations.fairlead\\.io/announcement}")?;
    ensure!(settings.contains("bgp"), "{settings}");
    ensure!(
        cluster.unchanged(&versions, &["b", "c"])?,
        "a restart wrote Services"
    );
    // Only a person's word, or the Service's own request, moves it.
    let said = cluster.agent(&["reassign", "default/a"])?;
    ensure!(said.contains("leaves 10.99.0.0"), "{said}");
    cluster.wait_for_addresses("a", "10.99.0.4")?;
    cluster.wait_for("a", outside, "")?;
    cluster.kubectl(&["delete", "service", "b", "--wait=false"])?;
    cluster.wait_until_gone("service", "b")?;
    let freed = "jsonpath={.status.claims[?(@.service==\"default/b\")].freedAt}";
    let freed = cluster.kubectl(&["get", "eip", "pool", "-o", freed])?;
    ensure!(!freed.is_empty(), "what is freed must rest");
    second.stop();
    Ok(())
}

#[test]
fn a_leader_says_whether_routers_can_be_spoken_to() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(POOL)?;
    cluster.apply(
        "{apiVersion: v1, kind: Node, metadata: {name: node1}}
---
apiVersion: network.kubesphere.io/v1alpha2
kind: BgpConf
metadata: {name: default}
spec: {as: 65000, policy: routes}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: routes, namespace: fairlead-system}
data: {gobgp.conf: '[zebra.config]'}
",
    )?;
    let keys =
        r#"{"status": {"nodesConfStatus": {"node1": {"as": 65000}, "gone": {"as": 65000}}}}"#;
    cluster.patch_status("bgpconf/default", keys)?;
    let _controller = cluster.controller("one");
    let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    for object in ["bgppeer/router", "bgpconf/default"] {
        wait_until(LIMIT, &format!("{object} is ready"), || {
            let seen = cluster.kubectl(&["get", object, "-o", ready])?;
            Ok((seen == "True").then_some(()))
        })?;
    }
    let ignored = r#"jsonpath={.status.conditions[?(@.type=="FieldIgnored")].message}"#;
    let ignored = cluster.kubectl(&["get", "bgpconf/default", "-o", ignored])?;
    ensure!(ignored.contains("spec.policy: zebra: "), "{ignored}");
    let left = "jsonpath={.status.nodesConfStatus}";
    let left = cluster.kubectl(&["get", "bgpconf/default", "-o", left])?;
    assert_eq!(left, r#"{"node1":{"as":65000}}"#);
    Ok(())
}
