//! Executors that make VIPs known to the network. They follow the published desired state, decide nothing, and
//! report what became of it.

pub mod bgp;

use std::sync::Arc;

use lb_core::DesiredState;
use tokio::sync::watch;

use crate::engine::feedback::FeedbackSender;

/// Announces what the desired state says until its sender is gone, then says goodbye to every peer and returns.
pub async fn run(desired: watch::Receiver<Arc<DesiredState>>, feedback: FeedbackSender) {
    bgp::run(desired, feedback).await;
}
