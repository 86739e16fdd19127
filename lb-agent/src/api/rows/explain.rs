//! Rows of `explain`.

use serde::{Deserialize, Serialize};

/// What becomes of a Service on this node, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainRow {
    /// `namespace/name`, or a VIP that no Service has.
    pub subject: String,
    /// The decisions, in the order in which they build on each other.
    pub steps: Vec<Step>,
}

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Who decided: Kubernetes, Service, data path, endpoint, VIP, announced, node.
    pub part: String,
    /// What, and why.
    pub sentence: String,
}
