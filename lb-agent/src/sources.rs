//! Where facts come from. Each source is a task that sends what it knows as a [`Change`] and knows nothing of
//! plans; the engine puts the changes into the snapshot.

pub mod conntrack;
pub mod file;
pub mod flows;
pub mod kubernetes;
pub mod probes;

use std::sync::Arc;

use lb_common::flow::STATES;
use lb_core::{
    config::Config,
    probes::Probe,
    snapshot::{Drain, Link, Neighbours},
};
use lb_kube::reflect::source::Update;
use tokio::sync::mpsc;

/// Where sources send what they know; bounded, so that a source that is too fast waits.
pub type ChangeSender = mpsc::Sender<Change>;
/// Changes that may wait for the engine.
pub const CHANGES_WAITING_MAX: usize = 1024;

/// What a source knows now.
#[derive(Debug)]
pub enum Change {
    /// The file was read again, and is sound.
    Config(Arc<Config>),
    /// The file was read again and is refused: why, with line and caret. The running state stays.
    ConfigRefused(String),
    /// Something of what the API server tells.
    Kubernetes(Box<Update>),
    /// All uplinks.
    Links(Vec<Link>),
    /// All ways to other nodes.
    Neighbours(Neighbours),
    /// A health probe ended.
    Probed {
        /// Which.
        probe: Probe,
        /// Whether the connection opened in time.
        succeeded: bool,
    },
    /// This node is to be taken out of service, or back in; the agent stays.
    Drain(Option<Drain>),
    /// Flows alive whose pods are on this node.
    Flows(u64),
    /// How many ticks flows may outlive their last packet, by state.
    Timeouts([u16; STATES]),
    /// The agent is to leave: withdraw everything, keep forwarding.
    Leave,
    /// The agent is to leave and another one comes at once: withdraw nothing, keep forwarding.
    LeaveForRestart,
}
