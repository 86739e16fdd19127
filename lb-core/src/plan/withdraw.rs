//! How a VIP, or this whole node, is given up: withdrawn first; what the data path holds stays until the routers have
//! acknowledged the withdraw and [`WITHDRAW_LINGER`] has passed, [`WITHDRAW_MAX`] at the most. A node that leaves first
//! gives routers time to prefer others, and in the end may wait for its flows.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use super::announce::VipPlan;
use crate::{
    DesiredState, Snapshot,
    desired::{ClusterPlan, LocalEndpoint, PortPlan},
    ord_map::OrdMap,
};

/// How long a router may take to forget a route after it acknowledged the withdraw.
pub const WITHDRAW_LINGER: Duration = Duration::from_secs(1);
/// How long a withdraw may take in all: a router that is gone acknowledges nothing.
pub const WITHDRAW_MAX: Duration = Duration::from_secs(5);

/// A VIP whose data path entries outlive it.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// How far the withdraw is.
    pub withdrawal: Withdrawal,
    /// Its service ports as they were last.
    pub ports: Arc<[Arc<PortPlan>]>,
}

impl Leaving {
    /// Its endpoints on this node.
    pub fn local<'a>(
        &'a self,
        cluster: &'a ClusterPlan,
    ) -> impl Iterator<Item = LocalEndpoint> + 'a {
        self.ports.iter().flat_map(move |plan| {
            let here = plan.local.iter().flat_map(|local| local.iter());
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

    pub(super) fn ends(&self) -> impl Iterator<Item = Duration> + use<> {
        [Some(self.withdrawal.ends_at()), self.flows_until]
            .into_iter()
            .flatten()
    }
}

pub(super) fn leaving<'a>(
    snapshot: &Snapshot,
    previous: &DesiredState,
    vips: &OrdMap<IpAddr, Arc<VipPlan>>,
    touched: impl Iterator<Item = &'a IpAddr>,
) -> BTreeMap<IpAddr, Leaving> {
    let carried = previous.leaving.iter().map(|(&vip, leaving)| {
        let still_held = snapshot.routes.held.contains(&vip);
        let withdrawal = leaving.withdrawal.observed(still_held, snapshot.now);
        let ports = Arc::clone(&leaving.ports);
        (vip, Leaving { withdrawal, ports })
    });
    let given_up = touched.filter(|vip| previous.routes.contains(vip) && !vips.contains_key(vip));
    let started = given_up.filter_map(|vip| {
        let withdrawal = Withdrawal::started(snapshot.now);
        let ports = Arc::clone(previous.by_vip.get(vip)?);
        Some((*vip, Leaving { withdrawal, ports }))
    });
    carried
        .filter(|(vip, leaving)| {
            !vips.contains_key(vip) && !leaving.withdrawal.is_over(snapshot.now)
        })
        .chain(started)
        .collect()
}

pub(super) fn drain(snapshot: &Snapshot, previous: &DesiredState, since: Duration) -> DrainPlan {
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

pub(super) fn draining_since(snapshot: &Snapshot, previous: &DesiredState) -> Option<Duration> {
    let since = previous.draining_since.unwrap_or(snapshot.now);
    snapshot.drain.map(|_| since)
}

/// How long routers have to prefer other routes; none if no router listens.
pub(super) fn grace(snapshot: &Snapshot) -> Duration {
    let mut sessions = snapshot.routes.sessions.values();
    let bgp = snapshot.bgp.as_ref().filter(|_| sessions.any(|up| *up));
    bgp.map_or(Duration::ZERO, |bgp| bgp.graceful_shutdown)
}
