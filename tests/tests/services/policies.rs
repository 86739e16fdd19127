//! Policies of Services in a lab: `externalTrafficPolicy: Local`, `sessionAffinity: ClientIP`, `loadBalancerSourceRanges`,
//! and endpoints that only the kernel's own load balancing reaches. One lab, a step each. Needs root.

use std::process::Command;

use anyhow::{Result, ensure};
use fairlead_tests::{
    steered::{SILENCE, SOON, Steered, node_of},
    steering::datagrams_are_answered,
};
use lb_lab::{Pod, Profile, Record, Request, output, per_pod, topology::POD_PORT, vip};

use crate::{ECHO, HTTP, Service, answered, here, node_number, take};

#[test]
fn services_do_what_their_policies_say() -> Result<()> {
    let mut steered = Steered::start_hostile(&Profile::default())?;
    local_stays_on_the_node_and_leaves_it_only_where_there_is_none(&mut steered)?;
    a_client_has_one_pod_by_whatever_node(&mut steered)?;
    only_the_ranges_may_connect(&mut steered)?;
    the_kernel_takes_what_no_node_steers_to(&mut steered)
}

/// Puts a Service with this field in the place of all others.
fn become_one(
    steered: &mut Steered,
    name: &str,
    field: &str,
    fields: impl Fn(&Pod) -> Option<String>,
) -> Result<()> {
    let service = Service {
        name,
        field,
        ports: &[HTTP, ECHO],
    };
    let text = service.text(steered, fields);
    take(steered, &text, name, 4)
}

fn nodes_of(records: &[Record]) -> Result<Vec<u8>> {
    let mut nodes: Vec<u8> = per_pod(records)
        .keys()
        .map(|pod| node_of(pod))
        .collect::<Result<_>>()?;
    nodes.dedup();
    Ok(nodes)
}

fn local_stays_on_the_node_and_leaves_it_only_where_there_is_none(
    steered: &mut Steered,
) -> Result<()> {
    become_one(steered, "local", "externalTrafficPolicy: Local", |pod| {
        (node_number(pod) != 3).then(|| here(pod))
    })?;
    steered.agent(3).wait_for(
        SOON,
        "services",
        "node3 says why it is not announced",
        |shown| {
            let rows = shown["rows"].as_array();
            rows.is_some_and(|rows| {
                let says = |row: &serde_json::Value| {
                    row["reasons"]
                        .to_string()
                        .contains("externalTrafficPolicy is Local")
                };
                !rows.is_empty() && rows.iter().all(says)
            })
        },
    )?;
    for target in Steered::targets() {
        for node in 1..=2 {
            steered.enter_by(target.ip(), &[node])?;
            let nodes = nodes_of(&answered(steered, target, 20_000..20_040)?)?;
            ensure!(nodes == [node], "by node{node} to {nodes:?}");
            let pods = datagrams_are_answered(steered, target, 20_000..20_010)?;
            for pod in pods.values() {
                ensure!(node_of(pod)? == node, "a datagram by node{node} to {pod}");
            }
        }
        steered.enter_by(target.ip(), &[3])?;
        let nodes = nodes_of(&answered(steered, target, 21_000..21_040)?)?;
        ensure!(nodes == [1, 2], "by node3 to {nodes:?}");
        datagrams_are_answered(steered, target, 21_000..21_010)?;
    }
    Ok(())
}

fn a_client_has_one_pod_by_whatever_node(steered: &mut Steered) -> Result<()> {
    let field = "sessionAffinity: ClientIP";
    become_one(steered, "bound", field, |pod| Some(here(pod)))?;
    for target in Steered::targets() {
        let mut pods = Vec::new();
        for node in 1..=3 {
            steered.enter_by(target.ip(), &[node])?;
            let first = 22_000 + u16::from(node) * 100;
            let records = answered(steered, target, first..first + 20)?;
            pods.extend(per_pod(&records).into_keys());
        }
        pods.dedup();
        ensure!(pods.len() == 1, "one client, several pods: {pods:?}");
    }
    Ok(())
}

fn only_the_ranges_may_connect(steered: &mut Steered) -> Result<()> {
    let few = "loadBalancerSourceRanges: [192.0.2.0/24, 198.51.100.2/32, \"2001:db8:100::/48\"]";
    let others: String = (0..20)
        .map(|third| format!("192.0.{third}.0/24, "))
        .collect();
    let many =
        format!("loadBalancerSourceRanges: [{others}198.51.100.0/24, \"2001:db8:100::/48\"]");
    let refused = "loadBalancerSourceRanges: [192.0.2.0/24]".to_owned();
    for (name, field, served) in [
        ("few", few.to_owned(), true),
        ("many", many, true),
        ("closed", refused, false),
    ] {
        become_one(steered, name, &field, |pod| Some(here(pod)))?;
        for target in Steered::targets() {
            steered.enter_by(target.ip(), &[1, 2, 3])?;
            if served {
                answered(steered, target, 24_000..24_040)?;
                continue;
            }
            let before = refusals(steered)?;
            for port in 25_000..25_005 {
                let answer = steered.lab.client().udp(target, port, 10, SILENCE);
                ensure!(
                    answer.is_err(),
                    "{target} answers a client that is not in its ranges"
                );
            }
            let counted = refusals(steered)? - before;
            ensure!(counted == 5, "{counted} of 5 datagrams counted as refused");
        }
    }
    Ok(())
}

fn refusals(steered: &Steered) -> Result<u64> {
    Ok(steered
        .all_verdicts()?
        .get("source-refused")
        .copied()
        .unwrap_or(0))
}

/// What kube-proxy does on every node, in miniature: DNAT to an endpoint, and the node's address as the source.
fn the_kernel_takes_what_no_node_steers_to(steered: &mut Steered) -> Result<()> {
    let pod = steered.lab.pods().next().map(|pod| pod.addresses());
    let pod = pod.ok_or_else(|| anyhow::anyhow!("a lab has pods"))?;
    become_one(steered, "kernel", "", |_| Some(String::new()))?;
    for (family, vip, pod) in [
        ("ip", vip(1).v4.to_string(), pod.v4.to_string()),
        ("ip6", vip(1).v6.to_string(), format!("[{}]", pod.v6)),
    ] {
        let rules = format!(
            "table {family} services {{
                chain prerouting {{
                    type nat hook prerouting priority dstnat;
                    {family} daddr {vip} tcp dport 80 meta mark set 0x4000 dnat to {pod}:{POD_PORT}
                }}
                chain postrouting {{
                    type nat hook postrouting priority srcnat;
                    meta mark 0x4000 masquerade
                }}
            }}"
        );
        let mut nft = Command::new("nft");
        nft.arg(rules);
        output(steered.lab.node(2).namespace(), nft)?;
    }
    for target in Steered::targets() {
        steered.enter_by(target.ip(), &[2])?;
        let request = Request::to(target).from_port(26_000);
        let record = steered.lab.client().http(&request);
        ensure!(!record.address_kept(), "masqueraded, and yet: {record:?}");
        let seen = record.result?;
        ensure!(seen.pod == "pod1-1", "{seen:?}");
    }
    let left = steered.verdict(2, "left-to-kernel")?;
    ensure!(left > 0, "nothing was left to the kernel");
    Ok(())
}
