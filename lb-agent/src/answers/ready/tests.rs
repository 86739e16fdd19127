use std::collections::BTreeSet;

use super::*;
use crate::{answers::tests::running, engine::state::State};

#[test]
fn a_node_is_ready_with_its_data_path_and_every_list() {
    let state = running();
    assert!(unready(&state.view()).is_empty());
    assert!(cluster(&state.view()).is_listed);
    let snapshot = state.view().snapshot;
    let waiting = State::new(snapshot, &BTreeSet::new()).without_cluster();
    assert_eq!(
        unready(&waiting.view()),
        ["the API server has not listed everything yet"]
    );
    let mut snapshot = state.view().snapshot;
    snapshot.takeover = None;
    let fresh = State::new(snapshot, &BTreeSet::new());
    assert_eq!(unready(&fresh.view()), ["the data path is not written yet"]);
}
