//! How far this node is on its way out of service, from the plan.

use lb_core::DesiredState;

use crate::{
    api::rows::{Answer, DrainPhase, DrainRow},
    engine::state::View,
};

/// One row.
#[must_use]
pub fn row(view: &View) -> Answer<DrainRow> {
    let wanted = view.snapshot.drain;
    let row = DrainRow {
        phase: phase(view),
        flows: view.snapshot.flows.filter(|_| wanted.is_some()),
        flows_wait_seconds: wanted.map_or(0, |drain| drain.flows_wait.as_secs()),
    };
    super::answer(view, vec![row])
}

/// What everybody who looks at this node shall know first.
pub(super) fn warning(view: &View) -> Option<String> {
    let phase = phase(view);
    let flows = match (phase, view.snapshot.flows) {
        (DrainPhase::WaitsForFlows | DrainPhase::Drained, Some(flows @ 1..)) => {
            format!(" ({flows} alive)")
        }
        _ => String::new(),
    };
    (phase != DrainPhase::InService).then(|| {
        format!("this node is being drained: {phase}{flows}; `lb-agent drain --undo` takes it back")
    })
}

fn phase(view: &View) -> DrainPhase {
    let (desired, now): (&DesiredState, _) = (&view.desired, view.snapshot.now);
    match (view.snapshot.drain, desired.drain) {
        (None, _) => DrainPhase::InService,
        (Some(_), None) => DrainPhase::Marked,
        (Some(_), Some(drain)) if drain.is_over(now) => DrainPhase::Drained,
        (Some(_), Some(drain)) if drain.withdrawal.is_over(now) => DrainPhase::WaitsForFlows,
        (Some(_), Some(_)) => DrainPhase::Withdrawing,
    }
}
