//! The section `bgp`: the speaker, and whom it has sessions with. What contradicts itself (a source address of the
//! wrong family, two ways to sign) is refused with its place. What routes say is beside.

mod peers;
mod routes;

use std::{net::Ipv4Addr, sync::Arc};

pub(super) use routes::service;

use super::{duration, error::Problem, names, schema};
use crate::model::{Bgp, GRACEFUL_SHUTDOWN_DEFAULT, Node, NodeBgp, Selector};

/// The port that the OpenELB lineage listens on beside a CNI's speaker.
const LISTEN_PORT_DEFAULT: u16 = 17_900;

pub(super) fn bgp(
    section: &serde_saphyr::Spanned<schema::Bgp>,
    own: Option<&Node>,
    problems: &mut Vec<Problem>,
) -> Bgp {
    let bgp = &section.value;
    let nodes = bgp.nodes.iter().enumerate();
    let nodes: Vec<_> = nodes
        .map(|(index, node)| node_bgp(index, node, problems))
        .collect();
    let has_own_id = |node: &Node| {
        let mut of_node = nodes.iter().filter(|of| of.selector.selects(&node.labels));
        of_node.next().is_some_and(|of| of.router_id.is_some())
    };
    let given = bgp.router_id.as_ref();
    let given = given.map(|text| router_id(text, "bgp.routerId", problems));
    let router_id = given.unwrap_or_else(|| {
        let found = own.and_then(Node::ipv4);
        if own.is_some_and(|own| found.is_none() && !has_own_id(own)) {
            let message = "this node has no IPv4 address to take as router id; set `bgp.routerId`";
            problems.push(Problem::at(section, "bgp", message));
        }
        found
    });
    let listen_port = bgp.listen_port.as_ref();
    let graceful_shutdown = bgp.graceful_shutdown_time.as_ref();
    Bgp {
        asn: names::asn(&bgp.asn, "bgp.asn", problems),
        router_id: router_id.unwrap_or(Ipv4Addr::UNSPECIFIED),
        listen_port: listen_port.map_or(LISTEN_PORT_DEFAULT, |port| {
            names::port(port, "bgp.listenPort", problems)
        }),
        graceful_shutdown: graceful_shutdown
            .and_then(|text| {
                let parsed = duration::parse(&text.value);
                parsed
                    .map_err(|why| {
                        let field = "bgp.gracefulShutdownTime";
                        problems.push(Problem::at(text, field, &why));
                    })
                    .ok()
            })
            .unwrap_or(GRACEFUL_SHUTDOWN_DEFAULT),
        nodes,
        peers: peers::peers(&bgp.peers, own, problems)
            .into_iter()
            .map(Arc::new)
            .collect(),
    }
}

fn node_bgp(index: usize, node: &schema::NodeBgp, problems: &mut Vec<Problem>) -> NodeBgp {
    let field = |name: &str| format!("bgp.nodes[{index}].{name}");
    let asn = node.asn.as_ref();
    let id = node.router_id.as_ref();
    NodeBgp {
        selector: Selector(node.node_selector.clone()),
        asn: asn.map(|asn| names::asn(asn, field("asn"), problems)),
        router_id: id.and_then(|text| router_id(text, &field("routerId"), problems)),
    }
}

fn router_id(text: &schema::Text, field: &str, problems: &mut Vec<Problem>) -> Option<Ipv4Addr> {
    let id = text.value.parse::<Ipv4Addr>().ok();
    let id = id.filter(|id| u32::from(*id) != 0);
    if id.is_none() {
        let message = format!(
            "\"{}\" is not a router id; write four numbers like 10.0.0.11",
            text.value
        );
        problems.push(Problem::at(text, field, &message));
    }
    id
}

#[cfg(test)]
mod tests;
