//! Rows about BGP: from the plan what each peer shall have, from the sessions whether it has.

use std::{fs, net::IpAddr, time::Instant};

use lb_bgp::Family;
use lb_core::{
    desired::{PeerRoutes, PlannedRoute, not_told},
    model::{Authentication, Peer, Prefix, Remote, RouteSettings},
};

use super::{answer, unix_seconds};
use crate::{
    api::rows::{Answer, BgpRow, RouteRow, TcpRow},
    engine::{
        feedback::{PeerSession, SessionState},
        state::View,
    },
};

/// Counters of the kernel that explain a session that does not come up, and what they count.
const TCP_COUNTERS: [(&str, &str); 4] = [
    (
        "TCPMD5NotFound",
        "not signed, where a password is configured",
    ),
    (
        "TCPMD5Unexpected",
        "signed, where no password is configured",
    ),
    ("TCPMD5Failure", "signed with another password"),
    ("TCPMinTTLDrop", "from farther away than GTSM allows"),
];
/// Where they are.
const NETSTAT: &str = "/proc/net/netstat";

/// Sessions: one for each peer, and one for each router that was found in a range.
#[must_use]
pub fn sessions(view: &View) -> Answer<BgpRow> {
    let rows = peers(view).flat_map(|peer| {
        let found = view.told.sessions.values();
        let found = found.filter(|session| session.range.as_ref() == Some(&peer.remote));
        let own = view.told.sessions.get(&peer.remote);
        let own = row(view, peer, own);
        let found = found.map(|session| row(view, peer, Some(session)));
        [own].into_iter().chain(found).collect::<Vec<_>>()
    });
    answer(view, rows.collect())
}

/// What each peer is told, and which VIPs it is not.
#[must_use]
pub fn routes(view: &View) -> Answer<RouteRow> {
    let empty = PeerRoutes::new();
    let mut rows = Vec::new();
    for peer in peers(view) {
        let planned = view.desired.peer_routes.by_peer.get(&peer.remote);
        let planned = planned.map_or(&empty, |routes| &**routes);
        for (name, session) in sessions_of(view, peer) {
            let told = planned
                .iter()
                .map(|(prefix, route)| told(&name, *prefix, route, session));
            rows.extend(told);
            rows.extend(untold(view, peer, &name, planned));
        }
    }
    answer(view, rows)
}

/// What the kernel counted.
#[must_use]
pub fn tcp(view: &View) -> Answer<TcpRow> {
    let text = fs::read_to_string(NETSTAT).unwrap_or_default();
    answer(view, counters(&text))
}

/// Peers that are told of a VIP.
pub(super) fn announced_to(view: &View, vip: IpAddr) -> Vec<String> {
    if !view.desired.routes.contains(&vip) {
        return Vec::new();
    }
    let family = Family::of(vip);
    established(view)
        .filter(|session| session.held_back[family].is_none())
        .filter(|session| has_route(view, session, vip))
        .map(|session| session.peer.to_string())
        .collect()
}

/// Why no peer is told of a VIP that shall be announced.
pub(super) fn unheard(view: &View, vip: IpAddr) -> Vec<String> {
    let held_back = established(view).map(|session| {
        let why = match session.held_back[Family::of(vip)] {
            Some(why) => why.to_string(),
            None => "it is not told of this Service: see `show bgp routes`".to_owned(),
        };
        format!("BGP session with {}: {why}", session.peer)
    });
    let mut reasons: Vec<_> = held_back.collect();
    if reasons.is_empty() {
        reasons.push("no BGP session is established".to_owned());
    }
    reasons
}

fn peers(view: &View) -> impl Iterator<Item = &Peer> {
    let plan = view.desired.bgp.iter();
    plan.flat_map(|plan| &plan.peers).map(|peer| &**peer)
}

fn established(view: &View) -> impl Iterator<Item = &PeerSession> {
    let sessions = view.told.sessions.values();
    sessions.filter(|session| session.state == SessionState::Established)
}

fn has_route(view: &View, session: &PeerSession, vip: IpAddr) -> bool {
    let name = session.range.as_ref().unwrap_or(&session.peer);
    let Some(routes) = view.desired.peer_routes.by_peer.get(name) else {
        return false;
    };
    let lengths = 0..=Prefix::host(vip).bits();
    lengths
        .rev()
        .any(|bits| routes.contains_key(&Prefix::containing(vip, bits)))
}

fn sessions_of<'a>(view: &'a View, peer: &Peer) -> Vec<(String, Option<&'a PeerSession>)> {
    let name = peer.remote.to_string();
    match peer.remote {
        Remote::Range(_) => {
            let found = view.told.sessions.values();
            let found = found.filter(|session| session.range.as_ref() == Some(&peer.remote));
            found
                .map(|session| (session.peer.to_string(), Some(session)))
                .collect()
        }
        _ => vec![(name, view.told.sessions.get(&peer.remote))],
    }
}

fn row(view: &View, peer: &Peer, session: Option<&PeerSession>) -> BgpRow {
    let agreed = session.and_then(|session| session.agreed.as_ref());
    let seconds = |time: std::time::Duration| Some(time.as_secs()).filter(|secs| *secs > 0);
    let speaker = view.desired.bgp.as_ref().map_or(0, |plan| plan.asn);
    let timers = session.map(|session| session.timers).unwrap_or_default();
    let now = Instant::now();
    let left = |at: Option<Instant>| at.map(|at| at.saturating_duration_since(now).as_secs());
    let name = session.map_or(&peer.remote, |session| &session.peer);
    let signed = peer.transport.authentication.as_ref().map(|by| match by {
        Authentication::Md5(_) => "MD5".to_owned(),
        Authentication::Ao { .. } => "TCP-AO".to_owned(),
    });
    BgpRow {
        peer: name.to_string(),
        address: session.and_then(|session| session.address),
        range: session.and_then(|session| Some(session.range.as_ref()?.to_string())),
        asn: peer.asn,
        local_asn: peer.local_asn.unwrap_or(speaker),
        signed,
        state: session.map(|session| session.state),
        not_configured_there: session.is_some_and(|session| session.not_configured_there),
        since: session.map(|session| unix_seconds(session.since)),
        hold_time_seconds: agreed.and_then(|agreed| seconds(agreed.hold_time)),
        keepalive_seconds: agreed.and_then(|agreed| seconds(agreed.keepalive)),
        hold_left_seconds: left(timers.hold),
        keepalive_left_seconds: left(timers.keepalive),
        retry_left_seconds: left(timers.retry),
        restart_seconds: agreed.and_then(|agreed| seconds(agreed.restart_time)),
        stale_seconds: agreed.and_then(|agreed| seconds(agreed.stale_time)),
        identifier: agreed.map(|agreed| agreed.identifier.clone()),
        agreed: agreed
            .map(|agreed| agreed.features.clone())
            .unwrap_or_default(),
        offered: agreed
            .map(|agreed| agreed.offered.clone())
            .unwrap_or_default(),
        figures: session.map(|session| session.figures).unwrap_or_default(),
        not_dialled: session.and_then(|session| Some(session.not_dialled.as_ref()?.to_string())),
        last_error: session.and_then(|session| session.last_error.clone()),
    }
}

fn told(
    peer: &str,
    prefix: Prefix,
    route: &PlannedRoute,
    session: Option<&PeerSession>,
) -> RouteRow {
    let next_hops = route.next_hops.as_ref();
    let reason = why_held(prefix, session);
    RouteRow {
        peer: peer.to_owned(),
        prefix: prefix.to_string(),
        next_hops: next_hops.map_or_else(
            || vec!["self".to_owned()],
            |list| list.iter().map(ToString::to_string).collect(),
        ),
        attributes: attributes(&route.says),
        told: reason.is_none(),
        reason,
    }
}

/// Why a peer does not have a route that is meant for it.
fn why_held(prefix: Prefix, session: Option<&PeerSession>) -> Option<String> {
    let Some(session) = session else {
        return Some("there is no session".to_owned());
    };
    if session.state != SessionState::Established {
        return Some(format!(
            "the session is not established ({:?})",
            session.state
        ));
    }
    let held_back = session.held_back[Family::of(prefix.address())];
    held_back.map(|why| why.to_string())
}

/// VIPs that this peer is not told of, each with the reason.
fn untold(view: &View, peer: &Peer, name: &str, planned: &PeerRoutes) -> Vec<RouteRow> {
    let row = |vip: IpAddr, reason: String| RouteRow {
        peer: name.to_owned(),
        prefix: Prefix::host(vip).to_string(),
        next_hops: Vec::new(),
        attributes: Vec::new(),
        told: false,
        reason: Some(reason),
    };
    let mut rows = Vec::new();
    for (&vip, plan) in view.desired.vips.iter() {
        if planned.contains_key(&Prefix::host(vip)) {
            continue;
        }
        if !plan.is_announced() {
            rows.push(row(vip, plan.reason.to_string()));
            continue;
        }
        let services = view.snapshot.services.values();
        let mut services = services.filter(|service| service.vips.contains(&vip));
        if let Some(why) = services.find_map(|service| not_told(peer, service)) {
            rows.push(row(vip, why.to_string()));
        }
    }
    rows
}

/// In the words of the configuration.
fn attributes(says: &RouteSettings) -> Vec<String> {
    let number = |name: &str, value: Option<u32>| value.map(|value| format!("{name} {value}"));
    let scalars = [
        number("med", says.med),
        number("local-pref", says.local_pref),
        number("prepend", says.prepend.map(u32::from)),
        number("bandwidth-mbps", says.link_bandwidth_mbps),
    ];
    let standard = says
        .communities
        .iter()
        .map(|value| format!("{}:{}", value >> 16, value & 0xffff));
    let large = says
        .large_communities
        .iter()
        .map(|[a, b, c]| format!("{a}:{b}:{c}"));
    let extended = says.extended_communities.iter().map(|octets| {
        let digits = octets.iter().map(|octet| format!("{octet:02x}"));
        format!("ext {}", digits.collect::<String>())
    });
    let scalars = scalars.into_iter().flatten();
    scalars
        .chain(standard)
        .chain(large)
        .chain(extended)
        .collect()
}

/// The kernel writes two lines a group: names, then values.
fn counters(netstat: &str) -> Vec<TcpRow> {
    let lines: Vec<_> = netstat.lines().collect();
    let pairs = lines.chunks_exact(2).flat_map(|pair| {
        let (names, values) = (pair[0].split_whitespace(), pair[1].split_whitespace());
        names.zip(values)
    });
    let value = |counter: &str| {
        let (_, value) = pairs.clone().find(|(name, _)| *name == counter)?;
        value.parse().ok()
    };
    let rows = TCP_COUNTERS.iter().filter_map(|(counter, meaning)| {
        Some(TcpRow {
            counter: (*counter).to_owned(),
            meaning: (*meaning).to_owned(),
            segments: value(counter)?,
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests;
