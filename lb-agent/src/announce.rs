//! Executors that make VIPs known to the network. They follow the published desired state, decide nothing, and
//! report what became of it.

pub mod bgp;

use std::sync::Arc;

use lb_core::DesiredState;
use tokio::sync::watch;

use crate::engine::feedback::FeedbackSender;

/// How sessions end when the agent does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// With the reason; the peers forget our routes.
    Shutdown,
    /// Connections close without a word, as if the agent had been killed: peers that know graceful restart
    /// keep our routes (RFC 4724 section 4.2).
    Silent,
}

/// Announces what the desired state says until its sender is gone, then says goodbye to every peer and returns.
pub async fn run(
    desired: watch::Receiver<Arc<DesiredState>>,
    feedback: FeedbackSender,
    goodbye: Goodbye,
) {
    bgp::run(desired, feedback, goodbye).await;
}
