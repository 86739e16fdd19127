//! Log lines of a peer: each change of state once with its reason. While a peer stays away, the same attempts
//! fail in the same way over and over; only the first round is told, the rest is for `RUST_LOG=debug`.

use std::collections::BTreeSet;

use lb_bgp::{Event, State};
use lb_core::model::Remote;

/// What was logged of a peer since its session last was up.
#[derive(Debug)]
pub(super) struct Journal {
    peer: Remote,
    told: BTreeSet<String>,
}

impl Journal {
    /// Nothing yet.
    pub(super) fn new(peer: Remote) -> Self {
        Self {
            peer,
            told: BTreeSet::new(),
        }
    }

    /// Logs an event.
    pub(super) fn log(&mut self, event: &Event) {
        let peer = &self.peer;
        match event {
            Event::StateChanged { from, to, reason } => {
                self.log_state(*from, *to, &reason.to_string());
            }
            Event::SessionUp(negotiated) => tracing::info!(
                %peer, identifier = %negotiated.peer_identifier, hold_time = ?negotiated.hold_time,
                families = ?negotiated.families.enabled().map(|family| family.to_string()).collect::<Vec<_>>(),
                "BGP session is up"
            ),
            Event::ConnectionDropped { conn, reason } => {
                tracing::debug!(%peer, connection = %conn, %reason, "BGP connection closed, another goes on");
            }
            Event::InSync { routes } => {
                tracing::info!(%peer, routes, "the BGP peer has every route")
            }
            Event::InboundRoutes => tracing::info!(
                %peer, "the BGP peer announces routes; they are counted and dropped"
            ),
            Event::MalformedUpdate(fault, reaction) => tracing::warn!(
                %peer, %fault, ?reaction, "the BGP peer sent a malformed UPDATE; further ones are only counted"
            ),
        }
    }

    fn log_state(&mut self, from: State, to: State, reason: &str) {
        let peer = &self.peer;
        if from == State::Established && to == State::Idle {
            tracing::info!(%peer, reason, "BGP session ended");
        } else if from == State::Established {
            tracing::warn!(%peer, state = %to, reason, "BGP session is down");
        } else if self.told.insert(format!("{to}: {reason}")) {
            tracing::info!(%peer, state = %to, reason, "BGP state");
        } else {
            tracing::debug!(%peer, state = %to, reason, "BGP state");
        }
        if to == State::Established {
            self.told.clear();
        }
    }
}
