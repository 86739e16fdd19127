//! What is told of taking this node out of service.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How far a node is on its way out of service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRow {
    /// How far.
    pub phase: DrainPhase,
    /// Flows alive whose pods are on this node; none: not counted.
    pub flows: Option<u64>,
    /// How long they are waited for, from the command on.
    pub flows_wait_seconds: u64,
}

/// The steps out of service, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum DrainPhase {
    /// Nobody wants it out of service.
    InService,
    /// Its routes carry the community GRACEFUL_SHUTDOWN (RFC 8326): routers prefer others.
    Marked,
    /// Its routes are withdrawn; routers may still have them.
    Withdrawing,
    /// Nobody has a route to it; its pods' flows go on by way of other nodes.
    WaitsForFlows,
    /// The BGP sessions have ended.
    Drained,
}

impl fmt::Display for DrainPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InService => "in service",
            Self::Marked => "routes are marked (GRACEFUL_SHUTDOWN), so that routers prefer others",
            Self::Withdrawing => "routes are withdrawn; waiting for the routers",
            Self::WaitsForFlows => {
                "no router has a route; waiting for the flows of this node's pods"
            }
            Self::Drained => "out of service: the BGP sessions have ended; forwarding goes on",
        })
    }
}
