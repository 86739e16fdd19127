use std::{collections::BTreeSet, sync::Arc, time::Duration};

use lb_core::{DesiredState, snapshot::Neighbours};
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    Inputs, Outputs, Pace, WINDOW,
    feedback::Feedback,
    run,
    state::{self, State, View},
};
use crate::sources::Change;

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn the_first_change_is_planned_at_once() {
    let mut pace = Pace::default();
    assert!(!pace.is_due(at(5), None), "nothing changed");
    pace.mark();
    assert!(pace.is_due(at(5), None));
}

#[test]
fn a_burst_is_one_plan_a_window() {
    let mut pace = Pace::default();
    let mut plans = Vec::new();
    for millisecond in 0..100 {
        pace.mark();
        if pace.is_due(at(millisecond), None) {
            pace.planned(at(millisecond));
            plans.push(millisecond);
        }
    }
    assert_eq!(plans, [0, 20, 40, 60, 80]);
}

#[test]
fn the_loop_wakes_for_the_plans_own_timer_and_for_a_waiting_change() {
    let mut pace = Pace::default();
    pace.planned(at(100));
    assert_eq!(pace.next(None), None);
    assert_eq!(pace.next(Some(at(5000))), Some(at(5000)));
    pace.mark();
    assert_eq!(pace.next(Some(at(5000))), Some(at(100) + WINDOW));
    assert_eq!(pace.next(Some(at(110))), Some(at(110)));
}

/// The other ends of an engine's channels.
struct Ends {
    changes: mpsc::Sender<Change>,
    views: mpsc::Sender<oneshot::Sender<View>>,
    desired: watch::Receiver<Arc<DesiredState>>,
    _feedback: mpsc::UnboundedSender<Feedback>,
}

fn engine() -> (Ends, impl Future<Output = ()>) {
    let (changes, changes_heard) = mpsc::channel(8);
    let (_feedback, feedback_heard) = mpsc::unbounded_channel();
    let (views, views_asked) = mpsc::channel(1);
    let (desired_sender, desired) = watch::channel(Arc::default());
    let inputs = Inputs {
        changes: changes_heard,
        feedback: feedback_heard,
        views: views_asked,
    };
    let outputs = Outputs {
        desired: desired_sender,
        neighbours: watch::channel(Arc::default()).0,
        probes: watch::channel(BTreeSet::new()).0,
        beat: watch::channel(()).0,
    };
    let state = State::new(state::tests::snapshot(), &BTreeSet::new());
    (
        Ends {
            changes,
            views,
            desired,
            _feedback,
        },
        run(state, inputs, outputs),
    )
}

#[tokio::test]
async fn the_loop_plans_once_all_have_spoken_and_ends_when_drained() {
    let (mut ends, running) = engine();
    let running = tokio::spawn(running);
    ends.changes.send(Change::Links(Vec::new())).await.unwrap();
    let (ask, answer) = oneshot::channel();
    ends.views.send(ask).await.unwrap();
    assert_eq!(
        answer.await.unwrap().desired.generation,
        0,
        "planned on half a snapshot"
    );

    ends.changes
        .send(Change::Neighbours(Neighbours::new()))
        .await
        .unwrap();
    ends.desired.changed().await.unwrap();
    assert_eq!(ends.desired.borrow_and_update().generation, 1);

    ends.changes.send(Change::Leave).await.unwrap();
    let drained = tokio::time::timeout(Duration::from_secs(10), running).await;
    drained.expect("the drain never ends").unwrap();
    while ends.desired.changed().await.is_ok() {}
    assert!(
        ends.desired.borrow().drain.is_some(),
        "executors saw the drain before the end"
    );
}
