//! Which VIPs are announced, and how one is given up. The gate: a VIP is first announced when the data path
//! holds each of its service ports as planned, and stays while it holds one that has an endpoint. A VIP that
//! is no more is withdrawn first; its data path entries stay until the routers have acknowledged the withdraw
//! and [`WITHDRAW_LINGER`] has passed, [`WITHDRAW_MAX`] at the most.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::layer2;
use crate::{
    DesiredState, Snapshot,
    desired::{ClusterPlan, LocalEndpoint, PortPlan, ServicePlan},
    model::{Announce, Remote, ServicePort, Unfit},
    snapshot::PortFeedback,
};

/// How long a router may take to forget a route after it acknowledged the withdraw.
pub const WITHDRAW_LINGER: Duration = Duration::from_secs(1);
/// How long a withdraw may take in all: a router that is gone acknowledges nothing.
pub const WITHDRAW_MAX: Duration = Duration::from_secs(5);

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

/// A VIP whose data path entries outlive it.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// How far the withdraw is.
    pub withdrawal: Withdrawal,
    /// Its service ports as they were last.
    pub ports: Vec<Arc<PortPlan>>,
}

impl Leaving {
    /// Its endpoints on this node.
    pub fn local<'a>(
        &'a self,
        cluster: &'a ClusterPlan,
    ) -> impl Iterator<Item = LocalEndpoint> + 'a {
        self.ports.iter().flat_map(move |plan| {
            let here = plan.local.iter().flat_map(|local| local.targets.iter());
            let targets = plan.targets.iter().chain(here);
            let local = targets.filter(|target| Some(target.node) == cluster.view.own_index);
            local.map(|target| LocalEndpoint {
                address: target.address,
                port: target.port,
                protocol: plan.port.protocol,
            })
        })
    }
}

/// A withdraw under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    /// When it was decided.
    pub since: Duration,
    /// When all peers had acknowledged it.
    pub acknowledged_at: Option<Duration>,
}

impl Withdrawal {
    /// When the routers can be taken to have forgotten.
    #[must_use]
    pub fn ends_at(&self) -> Duration {
        let at_most = self.since + WITHDRAW_MAX;
        self.acknowledged_at
            .map_or(at_most, |at| at_most.min(at + WITHDRAW_LINGER))
    }

    /// Whether that moment has come.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        now >= self.ends_at()
    }

    fn started(now: Duration) -> Self {
        Self {
            since: now,
            acknowledged_at: None,
        }
    }

    /// The speaker needs one plan to hear of the withdraw: an acknowledgement counts from the next on.
    fn observed(self, still_held: bool, now: Duration) -> Self {
        let acknowledged = self.acknowledged_at.or((!still_held).then_some(now));
        Self {
            acknowledged_at: acknowledged,
            ..self
        }
    }
}

/// This node's own leave: its routes first, then the flows of its pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainPlan {
    /// How far the withdraw of all routes is.
    pub withdrawal: Withdrawal,
    /// Until when flows are waited for; `None`: there are none left.
    pub flows_until: Option<Duration>,
}

impl DrainPlan {
    /// Whether nothing is waited for any more: the sessions may end.
    #[must_use]
    pub fn is_over(&self, now: Duration) -> bool {
        self.ends().all(|at| now >= at)
    }

    /// Whether only flows are waited for.
    #[must_use]
    pub fn waits_for_flows(&self, now: Duration) -> bool {
        self.flows_until.is_some_and(|at| now < at)
    }

    fn ends(&self) -> impl Iterator<Item = Duration> + use<> {
        [Some(self.withdrawal.ends_at()), self.flows_until]
            .into_iter()
            .flatten()
    }
}

pub(super) struct Announcements {
    pub(super) vips: BTreeMap<IpAddr, VipPlan>,
    pub(super) leaving: BTreeMap<IpAddr, Leaving>,
    pub(super) routes: Arc<BTreeSet<IpAddr>>,
    pub(super) draining_since: Option<Duration>,
    pub(super) drain: Option<DrainPlan>,
    pub(super) replan_at: Option<Duration>,
}

pub(super) fn announce(
    snapshot: &Snapshot,
    previous: &DesiredState,
    services: &BTreeMap<Arc<str>, Arc<ServicePlan>>,
) -> Announcements {
    let members = members(services);
    let draining_since = draining_since(snapshot, previous);
    let withdraws_at = draining_since.map(|since| since + grace(snapshot));
    let withdraws = withdraws_at.is_some_and(|at| at <= snapshot.now) || previous.drain.is_some();
    let withdraws = withdraws && snapshot.drain.is_some();
    let own = Own::of(snapshot, withdraws);
    let vips: BTreeMap<_, _> = members
        .iter()
        .map(|(&vip, member)| (vip, vip_plan(snapshot, previous, &own, vip, member)))
        .collect();
    let leaving = leaving(snapshot, previous, &vips);
    let routes: BTreeSet<_> = vips
        .iter()
        .filter(|(_, plan)| plan.announcer == Announce::Bgp && plan.is_announced())
        .map(|(&vip, _)| vip)
        .collect();
    let routes = if routes == *previous.routes {
        Arc::clone(&previous.routes)
    } else {
        Arc::new(routes)
    };
    let since = draining_since.filter(|_| withdraws);
    let drain = since.map(|since| drain(snapshot, previous, since));
    let withdrawals = leaving.values().map(|leaving| leaving.withdrawal);
    let replan_at = withdrawals
        .map(|withdrawal| withdrawal.ends_at())
        .chain(drain.iter().flat_map(DrainPlan::ends))
        .chain(withdraws_at)
        .filter(|&at| at > snapshot.now)
        .min();
    Announcements {
        vips,
        leaving,
        routes,
        draining_since,
        drain,
        replan_at,
    }
}

fn draining_since(snapshot: &Snapshot, previous: &DesiredState) -> Option<Duration> {
    let since = previous.draining_since.unwrap_or(snapshot.now);
    snapshot.drain.map(|_| since)
}

/// How long routers have to prefer other routes; none if no router listens.
fn grace(snapshot: &Snapshot) -> Duration {
    let mut sessions = snapshot.routes.sessions.values();
    let bgp = snapshot.bgp.as_ref().filter(|_| sessions.any(|up| *up));
    bgp.map_or(Duration::ZERO, |bgp| bgp.graceful_shutdown)
}

/// What the Services want of one VIP.
struct Member<'a> {
    ports: Vec<&'a PortPlan>,
    announcer: Announce,
}

impl Member<'_> {
    fn serves_here(&self) -> bool {
        self.ports.iter().any(|plan| plan.serves_here())
    }

    fn has_endpoints(&self) -> bool {
        self.ports.iter().any(|plan| !plan.targets.is_empty())
    }
}

fn members(services: &BTreeMap<Arc<str>, Arc<ServicePlan>>) -> BTreeMap<IpAddr, Member<'_>> {
    let mut members: BTreeMap<IpAddr, Member<'_>> = BTreeMap::new();
    for plan in services.values() {
        let wanted = plan.service.announce;
        for port in &plan.ports {
            let member = members.entry(port.port.vip).or_insert(Member {
                ports: Vec::new(),
                announcer: wanted,
            });
            member.ports.push(port);
            if member.announcer == Announce::Nobody {
                member.announcer = wanted;
            }
        }
    }
    members
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
            previous.vips.get(&vip).is_some_and(VipPlan::is_announced),
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

/// What of this node counts for every VIP, looked up once: which families it has addresses of, to be next hops, and
/// whether it gives up all routes, or is to have none.
struct Own {
    has_v4: bool,
    has_v6: bool,
    withdraws: bool,
    unfit: Option<Unfit>,
}

impl Own {
    fn of(snapshot: &Snapshot, withdraws: bool) -> Self {
        let mut nodes = snapshot.nodes.iter();
        let own = nodes.find(|node| node.name == snapshot.own_node);
        let has_v6 = own.is_some_and(|node| node.ipv6().is_some());
        // Peers on an interface take IPv6 next hops for IPv4 (RFC 8950), the link-local one if there is no other.
        let mut peers = snapshot.bgp.iter().flat_map(|bgp| &bgp.peers);
        let is_unnumbered = peers.any(|peer| matches!(peer.remote, Remote::Interface(_)));
        Self {
            has_v4: is_unnumbered || own.is_some_and(|node| node.ipv4().is_some()),
            has_v6: is_unnumbered || has_v6,
            withdraws,
            unfit: own
                .and_then(|node| node.unfit)
                .filter(|unfit| unfit.forbids_announcing()),
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

fn leaving(
    snapshot: &Snapshot,
    previous: &DesiredState,
    vips: &BTreeMap<IpAddr, VipPlan>,
) -> BTreeMap<IpAddr, Leaving> {
    let carried = previous.leaving.iter().map(|(&vip, leaving)| {
        let still_held = snapshot.routes.held.contains(&vip);
        let withdrawal = leaving.withdrawal.observed(still_held, snapshot.now);
        let ports = leaving.ports.clone();
        (vip, Leaving { withdrawal, ports })
    });
    let given_up = previous.routes.iter().filter(|vip| !vips.contains_key(vip));
    let started = started(snapshot, previous, given_up.copied().collect());
    carried
        .filter(|(vip, leaving)| {
            !vips.contains_key(vip) && !leaving.withdrawal.is_over(snapshot.now)
        })
        .chain(started)
        .collect()
}

/// One walk over the ports, however many VIPs go at once.
fn started(
    snapshot: &Snapshot,
    previous: &DesiredState,
    given_up: Vec<IpAddr>,
) -> BTreeMap<IpAddr, Leaving> {
    let leaving = |vip| {
        let withdrawal = Withdrawal::started(snapshot.now);
        let ports = Vec::new();
        (vip, Leaving { withdrawal, ports })
    };
    let mut started: BTreeMap<_, _> = given_up.into_iter().map(leaving).collect();
    if started.is_empty() {
        return started;
    }
    let services = previous.services.values();
    for plan in services.flat_map(|service| &service.ports) {
        if let Some(leaving) = started.get_mut(&plan.port.vip) {
            leaving.ports.push(Arc::clone(plan));
        }
    }
    started
}

fn drain(snapshot: &Snapshot, previous: &DesiredState, since: Duration) -> DrainPlan {
    let held = !snapshot.routes.held.is_empty();
    let withdrawal = previous.drain.map_or_else(
        || Withdrawal::started(snapshot.now),
        |drain| drain.withdrawal.observed(held, snapshot.now),
    );
    let flows_wait = snapshot.drain.unwrap_or_default().flows_wait;
    DrainPlan {
        withdrawal,
        flows_until: (snapshot.flows != Some(0)).then_some(since + flows_wait),
    }
}
