//! From the file to the model: nodes here, BGP and Services beside. What cannot be true, or would take the
//! cluster down (a VIP that is a node's address), is refused with its place. All problems are gathered.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
};

use super::{Config, bgp, capacity, dataplane, error::Problem, layer2, names, schema, services};
use crate::model::{Node, UplinkMode};

pub(super) fn validate(
    file: &schema::File,
    host_name: &str,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let nodes = nodes(&file.nodes.value, problems);
    let name = own_name(&file.node, host_name);
    let own = nodes.iter().find(|node| node.name == name).cloned();
    if own.is_none() {
        problems.push(unknown_own_node(file, &name));
    }
    let key_file = key_file(file.cluster.as_ref());
    if key_file.is_none() && file.nodes.value.len() > 1 {
        let message =
            "with more than one node, `cluster.keyFile` must name a file that all of them share";
        problems.push(Problem::at(&file.nodes, "nodes", message));
    }
    let bgp = file
        .bgp
        .as_ref()
        .map(|section| bgp::bgp(section, own.as_deref(), problems));
    let services = services::services(file, &nodes, problems);
    let layer2 = layer2::layer2(file, &services, problems);
    let section = file.dataplane.as_ref();
    let dataplane = dataplane::dataplane(section, &nodes, &services, problems);
    own?;
    Some(Config {
        node: name,
        uplinks: uplinks(&file.node.uplinks, problems),
        uplink_mode: uplink_mode(file.node.mode.as_ref(), problems),
        key_file,
        nodes: nodes.into_iter().collect(),
        bgp: bgp.map(Arc::new),
        layer2: layer2.map(Arc::new),
        dataplane: Arc::new(dataplane),
        capacity: capacity::capacity(section, problems),
        services,
    })
}

/// A configuration without a cluster: who is in it is told later.
pub(super) fn settings(
    settings: &schema::Settings,
    host_name: &str,
    problems: &mut Vec<Problem>,
) -> Config {
    let section = settings.dataplane.as_ref();
    Config {
        node: own_name(&settings.node, host_name),
        uplinks: uplinks(&settings.node.uplinks, problems),
        uplink_mode: uplink_mode(settings.node.mode.as_ref(), problems),
        key_file: key_file(settings.cluster.as_ref()),
        nodes: Vec::new(),
        bgp: None,
        layer2: None,
        dataplane: Arc::new(dataplane::dataplane(section, &[], &[], problems)),
        capacity: capacity::capacity(section, problems),
        services: Vec::new(),
    }
}

fn own_name(node: &schema::OwnNode, host_name: &str) -> Arc<str> {
    let name = node.name.as_ref();
    name.map_or(host_name, |name| &name.value).into()
}

fn unknown_own_node(file: &schema::File, name: &str) -> Problem {
    match &file.node.name {
        Some(place) => {
            let message = format!("{name} is not among the nodes; add it to `nodes`");
            Problem::at(place, "node.name", &message)
        }
        None => {
            let message =
                format!("this host, {name}, is not among them; add it, or set `node.name`");
            Problem::at(&file.nodes, "nodes", &message)
        }
    }
}

fn key_file(cluster: Option<&schema::Cluster>) -> Option<PathBuf> {
    let key_file = cluster.and_then(|cluster| cluster.key_file.as_ref());
    key_file.map(|path| path.value.clone().into())
}

fn uplink_mode(text: Option<&schema::Text>, problems: &mut Vec<Problem>) -> UplinkMode {
    let Some(text) = text else {
        return UplinkMode::Auto;
    };
    match text.value.as_str() {
        "auto" => return UplinkMode::Auto,
        "native" => return UplinkMode::Native,
        "generic" => return UplinkMode::Generic,
        "tc" => return UplinkMode::Tc,
        other => {
            let message = format!("\"{other}\" is none of auto, native, generic, tc");
            problems.push(Problem::at(text, "node.mode", &message));
        }
    }
    UplinkMode::Auto
}

fn uplinks(uplinks: &[schema::Text], problems: &mut Vec<Problem>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for (index, uplink) in uplinks.iter().enumerate() {
        if !seen.insert(&uplink.value) {
            let message = format!("{} is listed twice", uplink.value);
            problems.push(Problem::at(
                uplink,
                format_args!("node.uplinks[{index}]"),
                &message,
            ));
        }
    }
    uplinks.iter().map(|uplink| uplink.value.clone()).collect()
}

fn nodes(nodes: &[schema::Node], problems: &mut Vec<Problem>) -> Vec<Arc<Node>> {
    let mut names = BTreeSet::new();
    let mut owners: BTreeMap<IpAddr, &str> = BTreeMap::new();
    let mut made = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let field = |name: &str| format!("nodes[{index}].{name}");
        names::node_name(&node.name, field("name"), problems);
        if !names.insert(&node.name.value) {
            let message = format!("there are two nodes named {}", node.name.value);
            problems.push(Problem::at(&node.name, field("name"), &message));
        }
        if node.addresses.value.is_empty() {
            let message = "a node needs at least one address";
            problems.push(Problem::at(&node.addresses, field("addresses"), message));
        }
        let mut addresses = Vec::new();
        for (at, text) in node.addresses.value.iter().enumerate() {
            let field = field(&format!("addresses[{at}]"));
            let Some(address) = names::address(text, &field, problems) else {
                continue;
            };
            if let Some(owner) = owners.insert(address, &node.name.value) {
                let message = format!("{address} is an address of {owner} already");
                problems.push(Problem::at(text, field, &message));
            }
            addresses.push(address);
        }
        made.push(Arc::new(Node {
            name: node.name.value.as_str().into(),
            addresses,
            labels: node.labels.clone(),
            unfit: None,
        }));
    }
    made
}
