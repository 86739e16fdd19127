//! What the BGP speaker of this node is: the cluster's configuration, narrowed down to the peers whose selector has
//! this node, with its own AS number, router id and addresses.

use std::{net::Ipv4Addr, sync::Arc};

use crate::{
    Snapshot,
    desired::{BgpPlan, ClusterPlan},
    model::{Bgp, Node, Peer},
    snapshot::Takeover,
};

pub(super) fn plan_bgp(
    snapshot: &Snapshot,
    cluster: &ClusterPlan,
    takeover: Option<Takeover>,
    is_drained: bool,
    previous: Option<&Arc<BgpPlan>>,
) -> Option<Arc<BgpPlan>> {
    let bgp = snapshot.bgp.as_ref()?;
    let own = cluster.own();
    let of_node = own.and_then(|own| {
        let mut nodes = bgp.nodes.iter();
        nodes.find(|of| of.selector.selects(&own.labels))
    });
    let is_ours = |peer: &&Arc<Peer>| match own {
        Some(own) => peer.node_selector.selects(&own.labels),
        None => peer.node_selector.0.is_empty(),
    };
    let own_id = of_node.and_then(|of| of.router_id);
    let plan = BgpPlan {
        asn: of_node.and_then(|of| of.asn).unwrap_or(bgp.asn),
        router_id: own_id.unwrap_or_else(|| router_id(snapshot, bgp, own.map(|node| &**node))),
        listen_port: bgp.listen_port,
        peers: bgp.peers.iter().filter(is_ours).cloned().collect(),
        next_hop_v4: own.and_then(|node| node.ipv4()),
        next_hop_v6: own.and_then(|node| node.ipv6()),
        takeover,
        is_drained,
    };
    match previous {
        Some(previous) if **previous == plan => Some(Arc::clone(previous)),
        _ => Some(Arc::new(plan)),
    }
}

/// The configured one, unless it is the address of another node: two speakers with one id are refused by peers.
fn router_id(snapshot: &Snapshot, bgp: &Bgp, own: Option<&Node>) -> Ipv4Addr {
    let has = |node: &Node| node.addresses.contains(&bgp.router_id.into());
    let is_taken = snapshot.nodes.iter().any(|node| has(node)) && !own.is_some_and(has);
    let own_address = own.and_then(Node::ipv4).filter(|_| is_taken);
    own_address.unwrap_or(bgp.router_id)
}
