use std::collections::BTreeSet;

use lb_core::{model::Prefix, snapshot::Neighbours};

use super::*;
use crate::{engine::state::tests::snapshot, sources::Change};

fn told(state: &mut State, update: Update) -> Effect {
    state.take(Change::Kubernetes(Box::new(update)))
}

/// A state of a node whose cluster Kubernetes tells, all other sources having spoken.
fn waiting() -> State {
    let mut snapshot = snapshot();
    snapshot.remove_service("default/web");
    let mut state = State::new(snapshot, &BTreeSet::new()).without_cluster();
    state.take(Change::Links(Vec::new()));
    state.take(Change::Neighbours(Neighbours::new()));
    state
}

fn service() -> (Arc<str>, Option<Arc<Service>>) {
    let service = snapshot().services.get("default/web").cloned();
    ("default/web".into(), service)
}

#[test]
fn nothing_is_planned_before_the_api_server_has_told_the_cluster() {
    let mut state = waiting();
    assert!(!state.is_complete());
    assert!(
        told(&mut state, Update::default()).plan,
        "an empty cluster is a cluster"
    );
    assert!(state.is_complete());
}

#[test]
fn only_what_is_new_calls_for_a_plan() {
    let mut state = waiting();
    told(&mut state, Update::default());
    let update = || Update {
        services: vec![service()],
        ..Update::default()
    };
    assert!(told(&mut state, update()).plan);
    assert!(!told(&mut state, update()).plan);
    state.plan(Duration::ZERO);
    assert_eq!(state.desired().services.len(), 1);
    let gone = Update {
        services: vec![(service().0, None)],
        ..Update::default()
    };
    assert!(told(&mut state, gone.clone()).plan);
    assert!(!told(&mut state, gone).plan);
}

#[test]
fn pools_are_those_of_the_cluster_and_of_the_node_and_a_mark_drains() {
    let mut state = waiting();
    let pool = Prefix::containing([10, 99, 0, 0].into(), 24);
    let update = Update {
        pools: Some(BTreeSet::from([pool])),
        drains: Some(true),
        alarms: Some(vec!["the API server is away".to_owned()]),
        ..Update::default()
    };
    told(&mut state, update);
    let view = state.view();
    assert!(view.snapshot.dataplane.pools.contains(&pool));
    assert!(view.snapshot.drain.is_some());
    assert_eq!(view.told.alarms.len(), 1);
    let back = Update {
        drains: Some(false),
        alarms: Some(Vec::new()),
        ..Update::default()
    };
    assert!(told(&mut state, back).plan);
    let view = state.view();
    assert!(view.snapshot.drain.is_none() && view.told.alarms.is_empty());
}
