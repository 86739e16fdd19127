//! From the plan to what `lb-bgp` and the sockets are configured with. Pure.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
};

use lb_bgp::{
    Community, ExtendedCommunity, GracefulRestart, LargeCommunity, NextHops, PeerConfig, PerFamily,
    Prefix, Route, RouteAttributes, RouteSet, TooManyCommunities,
};
use lb_core::{
    desired::{BgpPlan, PeerRoutes, PlannedRoute},
    model::{self, Families, NextHopMode, Peer, Remote, RouteSettings},
    snapshot::Takeover,
};

use super::{
    password::Signature,
    socket::{Distance, Transport},
};

/// Octets a second of one Mbit/s.
const OCTETS_OF_MBIT: f32 = 125_000.0;

/// The routes of a peer. A route whose settings do not fit a message is left out.
pub(super) fn routes(planned: &PeerRoutes, asn: u32) -> RouteSet {
    let mut known: Vec<(&RouteSettings, Route)> = Vec::new();
    let mut routes = RouteSet::new();
    for (prefix, planned) in planned {
        // Mostly a handful of distinct ones; the last is the likeliest.
        let says = &*planned.says;
        let same = known.iter().rev().take(8).find(|(other, _)| *other == says);
        let route = match same {
            Some((_, route)) => route.clone(),
            None => match attributes(says, asn) {
                Ok(attributes) => {
                    let route = Route::from(attributes);
                    known.push((says, route.clone()));
                    route
                }
                Err(error) => {
                    tracing::error!(%prefix, %error, "the route is not announced");
                    continue;
                }
            },
        };
        let Ok(prefix) = Prefix::new(prefix.address(), prefix.bits()) else {
            continue;
        };
        routes.insert(prefix, with_next_hops(route, planned));
    }
    routes
}

fn with_next_hops(route: Route, planned: &PlannedRoute) -> Route {
    match &planned.next_hops {
        Some(next_hops) => Route {
            next_hops: NextHops::Listed(next_hops.clone()),
            ..route
        },
        None => route,
    }
}

fn attributes(says: &RouteSettings, asn: u32) -> Result<RouteAttributes, TooManyCommunities> {
    let communities = says.communities.iter().copied().map(Community);
    let large = says.large_communities.iter().copied().map(LargeCommunity);
    let extended = says
        .extended_communities
        .iter()
        .copied()
        .map(ExtendedCommunity);
    let bandwidth = says
        .link_bandwidth_mbps
        .map(|mbps| ExtendedCommunity::link_bandwidth(asn, mbps as f32 * OCTETS_OF_MBIT));
    let attributes = RouteAttributes::default()
        .with_prepend(says.prepend.unwrap_or(0))
        .with_communities(communities.collect())?
        .with_large_communities(large.collect())?
        .with_extended_communities(extended.chain(bandwidth).collect())?;
    let attributes = says
        .med
        .into_iter()
        .fold(attributes, RouteAttributes::with_med);
    Ok(says
        .local_pref
        .into_iter()
        .fold(attributes, RouteAttributes::with_local_pref))
}

/// The configuration of the session with one peer at an address.
pub(super) fn peer(
    plan: &BgpPlan,
    peer: &Peer,
    address: IpAddr,
    takeover: Takeover,
    passive: bool,
) -> PeerConfig {
    // Timers of different peers and nodes shall not beat together; it need not be unpredictable.
    let mut hasher = DefaultHasher::new();
    (plan.router_id, address).hash(&mut hasher);
    let families = |families: Families| {
        PerFamily::from_fn(|family| match family {
            lb_bgp::Family::Ipv4Unicast => families.ipv4,
            lb_bgp::Family::Ipv6Unicast => families.ipv6,
        })
    };
    PeerConfig {
        hold_time_secs: seconds(peer.hold_time),
        passive,
        families: families(peer.families),
        families_required: families(peer.families_required),
        add_path: matches!(peer.next_hop, NextHopMode::Nodes { .. }),
        extended_next_hop: address.is_ipv6(),
        next_hop_v4: plan.next_hop_v4,
        next_hop_v6: plan.next_hop_v6,
        connect_retry: peer.connect_retry,
        received_routes_max: peer.received_routes_max,
        graceful_restart: peer
            .graceful_restart
            .map(|restart| graceful_restart(restart, takeover)),
        jitter_seed: hasher.finish(),
        ..PeerConfig::new(local_asn(plan, peer), peer.asn, plan.router_id)
    }
}

/// Our AS number towards a peer.
pub(super) fn local_asn(plan: &BgpPlan, peer: &Peer) -> u32 {
    peer.local_asn.unwrap_or(plan.asn)
}

/// How connections with a peer at an address are made.
pub(super) fn transport(
    peer: &Peer,
    address: SocketAddr,
    signature: Option<Signature>,
) -> Transport {
    let configured = &peer.transport;
    Transport {
        peer: address,
        source: configured.source_address,
        // On a link-local address the scope says it already, and a VRF could not be had as well.
        interface: match peer.remote {
            Remote::Interface(_) => None,
            _ => configured.source_interface.clone(),
        },
        distance: distance(peer),
        signature,
    }
}

/// How far away a peer may be.
pub(super) fn distance(peer: &Peer) -> Distance {
    Distance {
        hops: peer.transport.multihop,
        gtsm: peer.transport.gtsm,
    }
}

/// The data path is one for both families, and so is what became of it.
fn graceful_restart(restart: model::GracefulRestart, takeover: Takeover) -> GracefulRestart {
    GracefulRestart {
        restart_time_secs: seconds(restart.restart_time),
        // With BFD, which knows a dead node from a restarting agent, this can be true.
        over_notifications: false,
        restarted: takeover != Takeover::New,
        forwarding_preserved: PerFamily::from_fn(|_| takeover == Takeover::Preserved),
        stale_time_secs: u32::try_from(restart.stale_time.as_secs()).unwrap_or(u32::MAX),
    }
}

fn seconds(time: std::time::Duration) -> u16 {
    u16::try_from(time.as_secs()).unwrap_or(u16::MAX)
}
