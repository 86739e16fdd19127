//! An API server that dies, freezes, or comes back with an older state, under controllers that are processes. Addresses
//! stay, none has two holders, and when it is over nothing more is written.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use lb_lab::wait_until;

use super::{
    POOL,
    controller::{Cluster, LIMIT, service},
};

const OPT_IN: &str = "lb.kubesphere.io/v1alpha1: openelb";

/// Names and addresses of all Services, of which no two have the same.
fn holders(cluster: &Cluster) -> Result<Vec<(String, String)>> {
    let path = "jsonpath={range .items[*]}{.metadata.name} {.status.loadBalancer.ingress[0].ip}{\"\\n\"}{end}";
    let text = cluster.kubectl(&["get", "services", "-o", path])?;
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let all = lines.map(|(name, address)| (name.to_owned(), address.to_owned()));
    let all: Vec<_> = all.filter(|(name, _)| name != "kubernetes").collect();
    let given = all
        .iter()
        .map(|(_, address)| address)
        .filter(|text| !text.is_empty());
    let given: Vec<_> = given.collect();
    let distinct: BTreeSet<_> = given.iter().collect();
    ensure!(
        distinct.len() == given.len(),
        "an address has two holders: {all:?}"
    );
    Ok(all)
}

#[test]
fn an_api_server_that_dies_or_freezes_moves_nothing() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.apply(POOL)?;
    let _one = cluster.process("one", &[])?;
    let _two = cluster.process("two", &[])?;
    for (name, address) in [("a", "10.99.0.0"), ("b", "10.99.0.1")] {
        cluster.apply(&service(name, OPT_IN, ""))?;
        cluster.wait_for_addresses(name, address)?;
    }
    cluster.server.restart()?;
    cluster.apply(&service("c", OPT_IN, ""))?;
    cluster.wait_for_addresses("c", "10.99.0.2")?;
    // Frozen for longer than a leader keeps its Lease, with something to do.
    cluster.apply(&service("d", OPT_IN, ""))?;
    cluster.server.freeze()?;
    let frozen = std::time::Instant::now();
    wait_until(LIMIT, "the Lease is over", || {
        Ok((frozen.elapsed().as_secs() >= 5).then_some(()))
    })?;
    cluster.server.thaw()?;
    cluster.wait_for_addresses("d", "10.99.0.3")?;
    for (name, address) in [("a", "10.99.0.0"), ("b", "10.99.0.1"), ("c", "10.99.0.2")] {
        assert_eq!(cluster.addresses(name)?, address);
    }
    holders(&cluster)?;
    cluster.wait_for_quiet()
}

#[test]
fn an_older_state_of_the_api_server_changes_no_address() -> Result<()> {
    let mut cluster = Cluster::start()?;
    cluster.apply(POOL)?;
    let one = cluster.process("one", &[])?;
    cluster.apply(&service("old", OPT_IN, ""))?;
    cluster.wait_for_addresses("old", "10.99.0.0")?;
    // Asks for a pool that gives nothing yet.
    let waits = format!("{OPT_IN}, eip.openelb.kubesphere.io/v1alpha2: lan");
    cluster.patch("eip/lan", r#"{"spec":{"disable":true}}"#)?;
    for name in ["first", "second"] {
        cluster.apply(&service(name, &waits, ""))?;
        cluster.wait_for_reason(name, "PoolDisabled")?;
    }
    let saved = cluster.server.save()?;
    for (name, address) in [("lost", "10.99.0.1"), ("gone", "10.99.0.2")] {
        cluster.apply(&service(name, OPT_IN, ""))?;
        cluster.wait_for_addresses(name, address)?;
    }
    // The younger one asks for the first address, so that order alone cannot give it again.
    let asks =
        r#"{"metadata":{"annotations":{"eip.openelb.kubesphere.io/v1alpha1":"192.168.7.9"}}}"#;
    cluster.patch("service/second", asks)?;
    cluster.patch("eip/lan", r#"{"spec":{"disable":false}}"#)?;
    cluster.wait_for_addresses("first", "192.168.7.0")?;
    cluster.wait_for_addresses("second", "192.168.7.9")?;
    cluster.server.roll_back(&saved)?;
    // What was given since is given again, though the pool says once more that it gives nothing.
    cluster.wait_for_addresses("first", "192.168.7.0")?;
    cluster.wait_for_addresses("second", "192.168.7.9")?;
    assert_eq!(cluster.addresses("old")?, "10.99.0.0");
    // Agents may still serve what the API server has forgotten: nobody else gets it.
    cluster.apply(&service("new", OPT_IN, ""))?;
    cluster.wait_for_addresses("new", "10.99.0.3")?;
    holders(&cluster)?;
    one.wait_for_metric("fairlead_controller_leader 1")?;
    cluster.wait_for_quiet()
}

#[test]
fn a_leader_that_freezes_gives_nothing_when_it_wakes() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.apply(&POOL.replace("10.99.0.0-10.99.0.9", "10.99.0.0/24"))?;
    let one = cluster.process("one", &[])?;
    cluster.apply(&service("leads", OPT_IN, ""))?;
    cluster.wait_for_addresses("leads", "10.99.0.0")?;
    let mut two = cluster.process("two", &[])?;
    let names: Vec<String> = (0..40).map(|number| format!("s{number}")).collect();
    let all: Vec<String> = names.iter().map(|name| service(name, OPT_IN, "")).collect();
    cluster.apply(&all.join("---\n"))?;
    one.freeze(true)?;
    let everyone = || {
        wait_until(LIMIT * 2, "every Service has an address", || {
            let waiting = holders(&cluster)?;
            let waiting = waiting
                .iter()
                .filter(|(_, address)| address.is_empty())
                .count();
            ensure!(waiting == 0, "{waiting} wait");
            Ok(Some(()))
        })
    };
    everyone()?;
    let before = holders(&cluster)?;
    one.freeze(false)?;
    one.wait_for_metric("fairlead_controller_leader 0")?;
    assert_eq!(holders(&cluster)?, before);
    // And when the other one dies in the middle of more, the first goes on.
    let more: Vec<String> = (0..20)
        .map(|number| service(&format!("t{number}"), OPT_IN, ""))
        .collect();
    cluster.apply(&more.join("---\n"))?;
    two.kill()?;
    everyone()?;
    let after = holders(&cluster)?;
    for pair in before {
        ensure!(after.contains(&pair), "{pair:?} has moved");
    }
    cluster.wait_for_quiet()
}
