//! NetworkPolicies that let the addresses of nodes in. Behind the old product kube-proxy could put a node's address in the
//! place of the client's; here pods see the client, so that such a policy shuts clients out.

use std::{collections::BTreeMap, net::IpAddr};

use lb_core::model::Prefix;
use serde_json::Value;

use super::{
    Plan,
    convert::{items, text},
    name, namespace, of_kind,
};
use crate::crd::LabelSelector;

/// Names each of them and the Services behind it.
pub(super) fn find(objects: &[Value], plan: &mut Plan) {
    let nodes: Vec<IpAddr> = of_kind(objects, "Node").flat_map(addresses).collect();
    for policy in of_kind(objects, "NetworkPolicy") {
        let blocks: Vec<&str> = blocks(policy).collect();
        let has_node =
            |block: &&&str| prefix(block).is_some_and(|p| nodes.iter().any(|n| p.contains(*n)));
        let Some(block) = blocks.iter().find(has_node) else {
            continue;
        };
        for service in behind(policy, objects) {
            let (namespace, policy) = (namespace(policy), name(policy));
            plan.policies.push(format!(
                "NetworkPolicy {namespace}/{policy} lets {block} in, which has nodes: pods of Service {namespace}/{service} now \
                 see their clients' own addresses; let those in before you change over"
            ));
        }
    }
}

fn addresses(node: &Value) -> impl Iterator<Item = IpAddr> {
    items(&node["status"], "addresses").filter_map(|address| text(address, "address")?.parse().ok())
}

fn blocks(policy: &Value) -> impl Iterator<Item = &str> {
    let peers = items(&policy["spec"], "ingress").flat_map(|rule| items(rule, "from"));
    peers.filter_map(|peer| text(&peer["ipBlock"], "cidr"))
}

fn prefix(text: &str) -> Option<Prefix> {
    let (address, bits) = text.split_once('/')?;
    Some(Prefix::containing(
        address.parse().ok()?,
        bits.parse().ok()?,
    ))
}

/// Services whose pods the policy may select, by what their selector says of the pods' labels.
fn behind<'a>(policy: &Value, objects: &'a [Value]) -> impl Iterator<Item = &'a str> {
    let selector = policy["spec"]["podSelector"].clone();
    let selector: LabelSelector = serde_json::from_value(selector).unwrap_or_default();
    let of = namespace(policy).to_owned();
    let services = of_kind(objects, "Service").filter(move |service| {
        let labels = serde_json::from_value(service["spec"]["selector"].clone());
        let labels: BTreeMap<String, String> = labels.unwrap_or_default();
        service["spec"]["type"] == "LoadBalancer"
            && namespace(service) == of
            && !labels.is_empty()
            && selector.selects(&labels)
    });
    services.map(name)
}
