//! What the BGP speaker is: its configuration joined with this node's own addresses as next hops.

use std::sync::Arc;

use crate::{
    Snapshot,
    desired::{BgpPlan, ClusterPlan},
};

pub(super) fn plan_bgp(
    snapshot: &Snapshot,
    cluster: &ClusterPlan,
    previous: Option<&Arc<BgpPlan>>,
) -> Option<Arc<BgpPlan>> {
    let bgp = snapshot.bgp.as_ref()?;
    let own = cluster.own();
    let plan = BgpPlan {
        asn: bgp.asn,
        router_id: bgp.router_id,
        listen_port: bgp.listen_port,
        peers: bgp.peers.clone(),
        next_hop_v4: own.and_then(|node| node.ipv4()),
        next_hop_v6: own.and_then(|node| node.ipv6()),
        takeover: snapshot.takeover,
    };
    match previous {
        Some(previous) if **previous == plan => Some(Arc::clone(previous)),
        _ => Some(Arc::new(plan)),
    }
}
