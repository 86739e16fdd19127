//! From the plan to what `lb-bgp` is configured with. Pure.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use lb_bgp::{PeerConfig, Prefix, RouteAttributes, RouteSet};
use lb_core::{desired::BgpPlan, model::Peer};

/// A host route for each VIP.
pub(super) fn routes(vips: &BTreeSet<IpAddr>) -> RouteSet {
    vips.iter()
        .map(|&vip| (Prefix::host(vip), RouteAttributes::default()))
        .collect()
}

/// The configuration of one peer's session.
pub(super) fn peer(plan: &BgpPlan, peer: &Peer) -> PeerConfig {
    // Timers of different peers and nodes shall not beat together; it need not be unpredictable.
    let mut hasher = DefaultHasher::new();
    (plan.router_id, peer.address).hash(&mut hasher);
    PeerConfig {
        hold_time_secs: u16::try_from(peer.hold_time.as_secs()).unwrap_or(u16::MAX),
        next_hop_v4: plan.next_hop_v4,
        next_hop_v6: plan.next_hop_v6,
        jitter_seed: hasher.finish(),
        ..PeerConfig::new(plan.asn, peer.asn, plan.router_id)
    }
}
