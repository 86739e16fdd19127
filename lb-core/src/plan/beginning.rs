//! When the speaker's sessions begin. At the first End-of-RIB a router forgets what it has kept for a node that came back
//! (RFC 4724 section 4.2), so sessions wait until every VIP that is going to be announced has passed the gate: the data
//! path may be written after the first plan, while the second asks for more already. They do not wait for ever, as a
//! router would not (section 4.1): a Service that never stands still must not keep the others from the network.

use std::{net::IpAddr, sync::Arc, time::Duration};

use super::announce::{VipPlan, VipReason};
use crate::{Snapshot, model::Announce, ord_map::OrdMap};

/// How long after the data path's first write VIPs may keep sessions waiting: many times what a write takes, and little of
/// the time for which routers keep routes.
pub(super) const SETTLE_MAX: Duration = Duration::from_secs(2);

/// How far a node is that has just started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Beginning {
    /// The data path was not written yet.
    #[default]
    Unwritten,
    /// VIPs wait for the data path.
    Settling {
        /// For so long at most.
        until: Duration,
    },
    /// There are to be sessions.
    Begun,
}

impl Beginning {
    /// How it goes on.
    pub(super) fn next(self, snapshot: &Snapshot, vips: &OrdMap<IpAddr, Arc<VipPlan>>) -> Self {
        let until = match self {
            Self::Begun => return Self::Begun,
            Self::Unwritten if snapshot.takeover.is_none() => return Self::Unwritten,
            Self::Unwritten => snapshot.now + SETTLE_MAX,
            Self::Settling { until } => until,
        };
        let is_awaited = snapshot.now < until && vips.values().any(|vip| waits(vip));
        match is_awaited {
            true => Self::Settling { until },
            false => Self::Begun,
        }
    }

    /// When to plan again even if nothing happens.
    pub(super) fn ends_at(self) -> Option<Duration> {
        match self {
            Self::Settling { until } => Some(until),
            Self::Unwritten | Self::Begun => None,
        }
    }
}

/// Whether a VIP will be announced as soon as the data path has it. One that it cannot take is not waited for.
fn waits(vip: &VipPlan) -> bool {
    let VipReason::WaitsForDatapath(ports) = &vip.reason else {
        return false;
    };
    vip.announcer == Announce::Bgp && ports.iter().any(|port| !vip.failed.contains_key(port))
}
