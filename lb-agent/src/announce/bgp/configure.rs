//! From the plan to what `lb-bgp` is configured with. Pure.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use lb_bgp::{GracefulRestart, PeerConfig, PerFamily, Prefix, Route, RouteSet};
use lb_core::{desired::BgpPlan, model::Peer, snapshot::Takeover};

use crate::apply::DEAD_AGENT_LIMIT;

/// How long peers keep the routes of an agent that is away: enough for a new image to be pulled, and the time
/// after which the data path takes the agent for dead.
const RESTART_TIME_SECS: u16 = DEAD_AGENT_LIMIT.as_secs() as u16;

/// A host route for each VIP.
pub(super) fn routes(vips: &BTreeSet<IpAddr>) -> RouteSet {
    vips.iter()
        .map(|&vip| (Prefix::host(vip), Route::default()))
        .collect()
}

/// The configuration of one peer's session.
pub(super) fn peer(plan: &BgpPlan, peer: &Peer, takeover: Takeover) -> PeerConfig {
    // Timers of different peers and nodes shall not beat together; it need not be unpredictable.
    let mut hasher = DefaultHasher::new();
    (plan.router_id, peer.address).hash(&mut hasher);
    PeerConfig {
        hold_time_secs: u16::try_from(peer.hold_time.as_secs()).unwrap_or(u16::MAX),
        next_hop_v4: plan.next_hop_v4,
        next_hop_v6: plan.next_hop_v6,
        graceful_restart: Some(graceful_restart(takeover)),
        jitter_seed: hasher.finish(),
        ..PeerConfig::new(plan.asn, peer.asn, plan.router_id)
    }
}

/// The data path is one for both families, and so is what became of it.
fn graceful_restart(takeover: Takeover) -> GracefulRestart {
    GracefulRestart {
        restart_time_secs: RESTART_TIME_SECS,
        // With BFD, which knows a dead node from a restarting agent, this can be true.
        over_notifications: false,
        restarted: takeover != Takeover::New,
        forwarding_preserved: PerFamily::from_fn(|_| takeover == Takeover::Preserved),
        stale_time_secs: 0,
    }
}
