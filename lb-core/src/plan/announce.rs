//! Which VIPs are announced. The gate: a VIP is first announced when the data path holds each of its service ports as
//! planned, and stays while it holds one that has an endpoint. Only VIPs are decided anew for which something changed
//! (`touched`); how one is given up is `withdraw`'s.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    layer2,
    services::Services,
    touched::{Touched, touched},
    withdraw::{DrainPlan, Leaving, drain, draining_since, grace, leaving},
};
use crate::{
    DesiredState, Snapshot,
    desired::PortPlan,
    model::{Announce, Layer2, Remote, ServicePort, Unfit},
    ord_map::OrdMap,
    snapshot::PortFeedback,
};

/// A VIP: whether it is announced, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipPlan {
    /// Its service ports.
    pub ports: Vec<ServicePort>,
    /// Who is to announce it.
    pub announcer: Announce,
    /// What was decided, and why.
    pub reason: VipReason,
    /// Service ports that the data path could not take, with its reasons.
    pub failed: BTreeMap<ServicePort, String>,
}

impl VipPlan {
    /// Whether the network shall be told of it.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        self.reason == VipReason::Announced
    }
}

/// Why a VIP is, or is not, announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VipReason {
    /// It is.
    Announced,
    /// Nobody asked for it.
    NotWanted,
    /// Layer 2 is not configured.
    NoLayer2,
    /// It is announced on layer 2, by another node or by none.
    NotOwned,
    /// None of the interfaces to announce it on is an uplink that is there.
    NoInterface,
    /// There is no BGP speaker.
    NoSpeaker,
    /// This node has no address of the VIP's family to be the next hop.
    NoNextHop,
    /// None of its service ports has an endpoint.
    NoEndpoint,
    /// None of its service ports has an endpoint on this node, and all want one (`externalTrafficPolicy: Local`).
    NoEndpointHere,
    /// The data path has not reported these service ports as planned yet.
    WaitsForDatapath(Vec<ServicePort>),
    /// The data path holds none of the service ports that have endpoints.
    NotInDatapath,
    /// This node is to announce nothing.
    Unfit(Unfit),
    /// This node is leaving.
    Draining,
}

impl fmt::Display for VipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced => f.write_str("announced"),
            Self::NotWanted => f.write_str("not announced: its Service names no announcer"),
            Self::NoLayer2 => f.write_str("not announced: layer 2 is not configured"),
            Self::NotOwned => f.write_str("not announced here: this node does not own it"),
            Self::NoInterface => f.write_str(
                "not announced: none of the interfaces of layer 2 is an uplink that is there",
            ),
            Self::NoSpeaker => f.write_str("not announced: BGP is not configured"),
            Self::NoNextHop => f.write_str("not announced: this node has no address of its family"),
            Self::NoEndpoint => {
                f.write_str("not announced: none of its ports has an endpoint to use")
            }
            Self::NoEndpointHere => f.write_str(
                "not announced by this node: it has no endpoint of any of its ports, and externalTrafficPolicy is Local",
            ),
            Self::WaitsForDatapath(ports) => {
                let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "not announced yet: the data path has still to take {}",
                    ports.join(", ")
                )
            }
            Self::NotInDatapath => {
                f.write_str("not announced: the data path took none of its ports")
            }
            Self::Unfit(why) => write!(f, "not announced by this node: {why}"),
            Self::Draining => f.write_str("not announced: this node is leaving"),
        }
    }
}

pub(super) struct Announcements {
    pub(super) vips: OrdMap<IpAddr, Arc<VipPlan>>,
    pub(super) by_vip: OrdMap<IpAddr, Arc<[Arc<PortPlan>]>>,
    pub(super) leaving: BTreeMap<IpAddr, Leaving>,
    pub(super) routes: Arc<BTreeSet<IpAddr>>,
    pub(super) draining_since: Option<Duration>,
    pub(super) drain: Option<DrainPlan>,
    pub(super) replan_at: Option<Duration>,
    /// VIPs that are not all as they were.
    pub(super) touched: BTreeSet<IpAddr>,
    /// Of these, those for which this plan makes a difference to the next.
    pub(super) unsettled: BTreeSet<IpAddr>,
    pub(super) own: Own,
}

pub(super) fn announce(
    snapshot: &Snapshot,
    previous: &DesiredState,
    services: &Services,
) -> Announcements {
    let draining_since = draining_since(snapshot, previous);
    let withdraws_at = draining_since.map(|since| since + grace(snapshot));
    let withdraws = withdraws_at.is_some_and(|at| at <= snapshot.now) || previous.drain.is_some();
    let withdraws = withdraws && snapshot.drain.is_some();
    let own = Own::of(snapshot, withdraws);
    let counts_for_all = previous.memo.own.as_ref() != Some(&own);
    let touched = touched(snapshot, previous, services, counts_for_all);
    let vips = vips(snapshot, previous, services, &own, &touched);
    let leaving = leaving(snapshot, previous, &vips, touched.keys());
    let since = draining_since.filter(|_| withdraws);
    let drain = since.map(|since| drain(snapshot, previous, since));
    let withdrawals = leaving.values().map(|leaving| leaving.withdrawal);
    let replan_at = withdrawals
        .map(|withdrawal| withdrawal.ends_at())
        .chain(drain.iter().flat_map(DrainPlan::ends))
        .chain(withdraws_at)
        .filter(|&at| at > snapshot.now)
        .min();
    let differs = |vip: &&IpAddr| is_announced(&vips, vip) != is_announced(&previous.vips, vip);
    Announcements {
        by_vip: by_vip(previous, &touched, &leaving),
        routes: routes(previous, &vips, touched.keys()),
        unsettled: touched.keys().filter(differs).copied().collect(),
        touched: touched
            .keys()
            .chain(previous.leaving.keys())
            .copied()
            .collect(),
        vips,
        leaving,
        draining_since,
        drain,
        replan_at,
        own,
    }
}

fn is_announced(vips: &OrdMap<IpAddr, Arc<VipPlan>>, vip: &IpAddr) -> bool {
    vips.get(vip).is_some_and(|plan| plan.is_announced())
}

/// All VIPs, of which only those that are touched are decided anew.
fn vips(
    snapshot: &Snapshot,
    previous: &DesiredState,
    services: &Services,
    own: &Own,
    touched: &Touched,
) -> OrdMap<IpAddr, Arc<VipPlan>> {
    let mut vips = previous.vips.clone();
    for (&vip, ports) in touched {
        if ports.is_empty() {
            vips.remove(&vip);
            continue;
        }
        let member = Member::new(ports, services);
        let plan = vip_plan(snapshot, previous, own, vip, &member);
        if vips.get(&vip).is_none_or(|before| **before != plan) {
            vips.insert(vip, Arc::new(plan));
        }
    }
    vips
}

/// What the data path shall hold: the ports of VIPs that are there or leave.
fn by_vip(
    previous: &DesiredState,
    touched: &Touched,
    leaving: &BTreeMap<IpAddr, Leaving>,
) -> OrdMap<IpAddr, Arc<[Arc<PortPlan>]>> {
    let mut by_vip = previous.by_vip.clone();
    let ended = previous
        .leaving
        .keys()
        .filter(|vip| !touched.contains_key(vip));
    let unheld = touched.iter().filter(|(_, ports)| ports.is_empty());
    for vip in unheld.map(|(vip, _)| vip).chain(ended) {
        if !leaving.contains_key(vip) {
            by_vip.remove(vip);
        }
    }
    for (&vip, ports) in touched.iter().filter(|(_, ports)| !ports.is_empty()) {
        let is_as_before = by_vip.get(&vip).is_some_and(|before| {
            before.len() == ports.len() && before.iter().zip(ports).all(|(a, b)| Arc::ptr_eq(a, b))
        });
        if !is_as_before {
            by_vip.insert(vip, ports.as_slice().into());
        }
    }
    by_vip
}

/// The VIPs that the speaker announces.
fn routes<'a>(
    previous: &DesiredState,
    vips: &OrdMap<IpAddr, Arc<VipPlan>>,
    touched: impl Iterator<Item = &'a IpAddr>,
) -> Arc<BTreeSet<IpAddr>> {
    let mut routes = Arc::clone(&previous.routes);
    for vip in touched {
        let plan = vips.get(vip);
        let shall = plan.is_some_and(|plan| plan.announcer == Announce::Bgp && plan.is_announced());
        match (routes.contains(vip), shall) {
            (false, true) => _ = Arc::make_mut(&mut routes).insert(*vip),
            (true, false) => _ = Arc::make_mut(&mut routes).remove(vip),
            _ => {}
        }
    }
    routes
}

/// What the Services want of one VIP.
struct Member<'a> {
    ports: &'a [Arc<PortPlan>],
    announcer: Announce,
}

impl<'a> Member<'a> {
    /// Of several Services the first that names an announcer decides.
    fn new(ports: &'a [Arc<PortPlan>], services: &Services) -> Self {
        let plans = ports
            .iter()
            .filter_map(|port| services.plans.get(&port.service));
        let mut announcers = plans.map(|plan| plan.service.announce);
        let announcer = announcers.find(|announcer| *announcer != Announce::Nobody);
        Self {
            ports,
            announcer: announcer.unwrap_or(Announce::Nobody),
        }
    }

    fn serves_here(&self) -> bool {
        self.ports.iter().any(|plan| plan.serves_here())
    }

    fn has_endpoints(&self) -> bool {
        self.ports.iter().any(|plan| !plan.targets.is_empty())
    }
}

fn vip_plan(
    snapshot: &Snapshot,
    previous: &DesiredState,
    own: &Own,
    vip: IpAddr,
    member: &Member<'_>,
) -> VipPlan {
    let failed = member.ports.iter().filter_map(|plan| {
        let feedback = snapshot.applied.get(&plan.port)?;
        match feedback {
            PortFeedback::Failed { reason } => Some((plan.port, reason.clone())),
            PortFeedback::Applied { .. } => None,
        }
    });
    VipPlan {
        ports: member.ports.iter().map(|plan| plan.port).collect(),
        failed: failed.collect(),
        announcer: member.announcer,
        reason: reason(snapshot, previous, own, vip, member),
    }
}

fn reason(
    snapshot: &Snapshot,
    previous: &DesiredState,
    own: &Own,
    vip: IpAddr,
    member: &Member<'_>,
) -> VipReason {
    let (obstacle, was_announced) = match member.announcer {
        Announce::Nobody => (Some(VipReason::NotWanted), false),
        Announce::Bgp => {
            let obstacle = match snapshot.bgp {
                None => Some(VipReason::NoSpeaker),
                Some(_) if !own.has_next_hop(vip) => Some(VipReason::NoNextHop),
                Some(_) => None,
            };
            (obstacle, previous.routes.contains(&vip))
        }
        Announce::Layer2 => (
            layer2::obstacle(snapshot, vip),
            previous
                .vips
                .get(&vip)
                .is_some_and(|plan| plan.is_announced()),
        ),
    };
    match obstacle {
        Some(obstacle) => obstacle,
        None if let Some(unfit) = own.unfit => VipReason::Unfit(unfit),
        None if own.withdraws => VipReason::Draining,
        None if !member.serves_here() => match member.has_endpoints() {
            true => VipReason::NoEndpointHere,
            false => VipReason::NoEndpoint,
        },
        None => gate(snapshot, member, was_announced),
    }
}

/// What counts for every VIP, looked up once: which families this node has addresses of, to be next hops, whether it
/// gives up all routes, or is to have none, and who announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    has_v4: bool,
    has_v6: bool,
    withdraws: bool,
    unfit: Option<Unfit>,
    has_speaker: bool,
    layer2: Option<Arc<Layer2>>,
    /// Slots of the uplinks on which layer 2 answers, a bit each.
    uplinks: u64,
}

impl Own {
    fn of(snapshot: &Snapshot, withdraws: bool) -> Self {
        let mut nodes = snapshot.nodes.iter();
        let own = nodes.find(|node| node.name == snapshot.own_node);
        let has_v6 = own.is_some_and(|node| node.ipv6().is_some());
        // Peers on an interface take IPv6 next hops for IPv4 (RFC 8950), the link-local one if there is no other; those
        // with an IPv6 address may.
        let peers = || snapshot.bgp.iter().flat_map(|bgp| &bgp.peers);
        let is_unnumbered = peers().any(|peer| matches!(peer.remote, Remote::Interface(_)));
        let speaks_v6 = peers().any(|peer| match &peer.remote {
            Remote::Address(address) => address.is_ipv6(),
            Remote::Range(network) => network.address().is_ipv6(),
            Remote::Interface(_) => true,
        });
        let has_v4 = own.is_some_and(|node| node.ipv4().is_some());
        Self {
            has_v4: is_unnumbered || has_v4 || has_v6 && speaks_v6,
            has_v6: is_unnumbered || has_v6,
            withdraws,
            unfit: own
                .and_then(|node| node.unfit)
                .filter(|unfit| unfit.forbids_announcing()),
            has_speaker: snapshot.bgp.is_some(),
            layer2: snapshot.layer2.clone(),
            uplinks: layer2::uplinks(snapshot),
        }
    }

    fn has_next_hop(&self, vip: IpAddr) -> bool {
        match vip {
            IpAddr::V4(_) => self.has_v4,
            IpAddr::V6(_) => self.has_v6,
        }
    }
}

fn gate(snapshot: &Snapshot, member: &Member<'_>, was_announced: bool) -> VipReason {
    let applied = |plan: &PortPlan| match snapshot.applied.get(&plan.port) {
        Some(PortFeedback::Applied { generation }) => Some(*generation),
        _ => None,
    };
    if was_announced {
        let mut usable = member.ports.iter().filter(|plan| plan.serves_here());
        return match usable.any(|plan| applied(plan).is_some()) {
            true => VipReason::Announced,
            false => VipReason::NotInDatapath,
        };
    }
    let waits: Vec<_> = member
        .ports
        .iter()
        .filter(|plan| applied(plan).is_none_or(|generation| generation < plan.generation))
        .map(|plan| plan.port)
        .collect();
    match waits.is_empty() {
        true => VipReason::Announced,
        false => VipReason::WaitsForDatapath(waits),
    }
}
