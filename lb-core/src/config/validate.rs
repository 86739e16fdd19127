//! From the file to the model: nodes and BGP here, Services beside. What cannot be true, or would take the
//! cluster down (a VIP that is a node's address), is refused with its place. All problems are gathered.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use super::{Config, dataplane, duration, error::Problem, layer2, names, schema, services};
use crate::model::{Bgp, Node, Peer, UplinkMode};

/// The port that the OpenELB lineage listens on beside a CNI's speaker.
const LISTEN_PORT_DEFAULT: u16 = 17_900;
/// BGP's port (RFC 4271 section 8.2.1).
const PEER_PORT_DEFAULT: u16 = 179;
/// Hold time that is proposed unless the file says otherwise.
const HOLD_TIME_DEFAULT: Duration = Duration::from_secs(9);
/// RFC 4271 section 4.2: at least three seconds.
const HOLD_TIME_SECONDS_MIN: u64 = 3;

pub(super) fn validate(
    file: &schema::File,
    host_name: &str,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let nodes = nodes(&file.nodes.value, problems);
    let name: Arc<str> = file
        .node
        .name
        .as_ref()
        .map_or(host_name, |name| &name.value)
        .into();
    let own = nodes.iter().find(|node| node.name == name).cloned();
    if own.is_none() {
        problems.push(unknown_own_node(file, &name));
    }
    let key_file = key_file(file, problems);
    let bgp = file
        .bgp
        .as_ref()
        .map(|section| bgp(section, own.as_deref(), problems));
    let services = services::services(file, &nodes, problems);
    let layer2 = layer2::layer2(file, &services, problems);
    let dataplane = dataplane::dataplane(file, &nodes, &services, problems);
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
        services,
    })
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

fn key_file(file: &schema::File, problems: &mut Vec<Problem>) -> Option<PathBuf> {
    let key_file = file
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.key_file.as_ref());
    if key_file.is_none() && file.nodes.value.len() > 1 {
        let message =
            "with more than one node, `cluster.keyFile` must name a file that all of them share";
        problems.push(Problem::at(&file.nodes, "nodes", message));
    }
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
        other => {
            let message = format!("\"{other}\" is none of auto, native, generic");
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
        }));
    }
    made
}

fn bgp(
    section: &serde_saphyr::Spanned<schema::Bgp>,
    own: Option<&Node>,
    problems: &mut Vec<Problem>,
) -> Bgp {
    let bgp = &section.value;
    let router_id = match &bgp.router_id {
        Some(text) => text
            .value
            .parse()
            .ok()
            .filter(|id| u32::from(*id) != 0)
            .or_else(|| {
                let message = format!(
                    "\"{}\" is not a router id; write four numbers like 10.0.0.11",
                    text.value
                );
                problems.push(Problem::at(text, "bgp.routerId", &message));
                None
            }),
        None => own.and_then(Node::ipv4).or_else(|| {
            let message = "this node has no IPv4 address to take as router id; set `bgp.routerId`";
            problems.extend(own.map(|_| Problem::at(section, "bgp", message)));
            None
        }),
    };
    let listen_port = bgp.listen_port.as_ref();
    Bgp {
        asn: names::asn(&bgp.asn, "bgp.asn", problems),
        router_id: router_id.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED),
        listen_port: listen_port.map_or(LISTEN_PORT_DEFAULT, |port| {
            names::port(port, "bgp.listenPort", problems)
        }),
        peers: peers(&bgp.peers, own, problems),
    }
}

fn peers(peers: &[schema::Peer], own: Option<&Node>, problems: &mut Vec<Problem>) -> Vec<Peer> {
    let mut seen = BTreeSet::new();
    let mut made = Vec::with_capacity(peers.len());
    for (index, peer) in peers.iter().enumerate() {
        let field = |name: &str| format!("bgp.peers[{index}].{name}");
        let asn = names::asn(&peer.asn, field("asn"), problems);
        let port = peer.port.as_ref().map_or(PEER_PORT_DEFAULT, |port| {
            names::port(port, field("port"), problems)
        });
        let hold_time = peer.hold_time.as_ref().and_then(|text| {
            hold_time(text)
                .map_err(|why| problems.push(Problem::at(text, field("holdTime"), &why)))
                .ok()
        });
        let Some(address) = names::address(&peer.address, field("address"), problems) else {
            continue;
        };
        let message = if !seen.insert(address) {
            Some(format!("there are two peers {address}"))
        } else if own.is_some_and(|node| node.addresses.contains(&address)) {
            Some(format!("{address} is this node's own address"))
        } else {
            None
        };
        problems.extend(message.map(|why| Problem::at(&peer.address, field("address"), &why)));
        made.push(Peer {
            address,
            asn,
            port,
            hold_time: hold_time.unwrap_or(HOLD_TIME_DEFAULT),
            password_file: peer
                .password_file
                .as_ref()
                .map(|path| path.value.clone().into()),
        });
    }
    made
}

fn hold_time(text: &schema::Text) -> Result<Duration, String> {
    let hold_time = duration::parse(&text.value)?;
    let seconds = hold_time.as_secs();
    let is_whole = hold_time.subsec_nanos() == 0;
    if is_whole && (HOLD_TIME_SECONDS_MIN..=u16::MAX.into()).contains(&seconds) {
        Ok(hold_time)
    } else {
        Err("a hold time is 3s to 65535s, in whole seconds (RFC 4271)".to_owned())
    }
}
