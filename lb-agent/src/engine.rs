//! The only loop that decides. It puts what sources and executors say into the snapshot, lets `lb-core` plan,
//! and publishes the result; executors follow what is published at their own pace. The first change is planned
//! at once, what comes within [`WINDOW`] after a plan waits for its end, so that a burst is one plan. It plans
//! nothing before every source has spoken: half a snapshot would take down what runs.

pub mod feedback;
pub mod latency;
pub mod state;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_core::{DesiredState, probes::Probe, snapshot::Neighbours};
use tokio::sync::{mpsc, oneshot, watch};

use self::{
    feedback::Feedback,
    state::{State, View},
};
use crate::sources::Change;

/// Least time from one plan to the next.
pub const WINDOW: Duration = Duration::from_millis(20);
/// Time between two signs of life.
pub const BEAT: Duration = Duration::from_secs(1);

/// What the engine listens to.
#[derive(Debug)]
pub struct Inputs {
    /// What sources know.
    pub changes: mpsc::Receiver<Change>,
    /// What executors report.
    pub feedback: mpsc::UnboundedReceiver<Feedback>,
    /// Who wants to see everything.
    pub views: mpsc::Receiver<oneshot::Sender<View>>,
}

/// What the engine publishes; each always holds the newest.
#[derive(Debug)]
pub struct Outputs {
    /// What this node shall do.
    pub desired: watch::Sender<Arc<DesiredState>>,
    /// The ways to other nodes, which the data path joins without a plan.
    pub neighbours: watch::Sender<Arc<Neighbours>>,
    /// Health probes to run.
    pub probes: watch::Sender<BTreeSet<Probe>>,
    /// The loop goes round: said every [`BEAT`], and the data path hears of it only through its executor, so
    /// that neither may hang unnoticed.
    pub beat: watch::Sender<()>,
}

/// Runs until the node is drained after [`Change::Leave`], until [`Change::LeaveForRestart`], or until every
/// source is gone. Dropping the outputs, which ends this, tells the executors to end.
pub async fn run(mut state: State, mut inputs: Inputs, outputs: Outputs) {
    let start = Instant::now();
    let mut pace = Pace::default();
    let mut beat = tokio::time::interval(BEAT);
    outputs.probes.send_replace(state.wanted_probes().clone());
    loop {
        let complete = state.is_complete();
        let wake = pace.next(state.replan_at()).filter(|_| complete);
        tokio::select! {
            Some(feedback) = inputs.feedback.recv() => {
                if state.hear(feedback) {
                    pace.mark();
                }
            }
            change = inputs.changes.recv() => {
                let Some(change) = change else { return };
                let effect = state.take(change);
                if effect.probes {
                    outputs.probes.send_replace(state.wanted_probes().clone());
                }
                if effect.neighbours {
                    outputs.neighbours.send_replace(state.neighbours());
                }
                if effect.plan {
                    pace.mark();
                }
            }
            Some(view) = inputs.views.recv() => {
                // Whoever asked may be gone.
                let _ = view.send(state.view());
            }
            () = sleep_until(start, wake), if wake.is_some() => {}
            _ = beat.tick() => { outputs.beat.send_replace(()); }
        }
        let now = start.elapsed();
        if state.is_complete() && pace.is_due(now, state.replan_at()) {
            pace.planned(now);
            let drain_begins = state.plan(now);
            if drain_begins {
                // The withdraw counts as acknowledged by a later plan at the earliest.
                pace.mark();
            }
            outputs.desired.send_replace(state.desired());
        }
        if state.may_leave(now) {
            return;
        }
    }
}

async fn sleep_until(start: Instant, wake: Option<Duration>) {
    if let Some(wake) = wake {
        tokio::time::sleep_until((start + wake).into()).await;
    }
}

/// When to plan: pure, so that a test can be the clock.
#[derive(Debug, Default)]
struct Pace {
    changed: bool,
    planned_at: Option<Duration>,
}

impl Pace {
    /// Something changed.
    fn mark(&mut self) {
        self.changed = true;
    }

    fn planned(&mut self, now: Duration) {
        *self = Self {
            changed: false,
            planned_at: Some(now),
        };
    }

    /// When the loop must wake by itself.
    fn next(&self, replan_at: Option<Duration>) -> Option<Duration> {
        let window_end = self.planned_at.map_or(Duration::ZERO, |at| at + WINDOW);
        let change = self.changed.then_some(window_end);
        [change, replan_at].into_iter().flatten().min()
    }

    fn is_due(&self, now: Duration, replan_at: Option<Duration>) -> bool {
        self.next(replan_at).is_some_and(|at| at <= now)
    }
}

#[cfg(test)]
mod tests;
