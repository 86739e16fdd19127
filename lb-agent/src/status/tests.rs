use lb_core::snapshot::Drain;
use lb_kube::reflect::source::{SpeakerNames, Update};

use super::*;
use crate::{answers::tests::running, engine::state::State, sources::Change};

const START: SystemTime = SystemTime::UNIX_EPOCH;

fn told() -> State {
    let mut state = running();
    let remote = |text: &str| Remote::Address(text.parse().unwrap());
    let names = SpeakerNames {
        is_there: true,
        remotes: BTreeMap::from([
            ("up".to_owned(), remote("10.0.0.1")),
            ("elsewhere".to_owned(), remote("192.0.2.1")),
        ]),
    };
    let update = Update {
        speaker: Some(names),
        ..Update::default()
    };
    state.take(Change::Kubernetes(Box::new(update)));
    state
}

#[test]
fn nothing_is_said_before_the_api_server_told_of_a_speaker() {
    assert_eq!(Reporter::default().report(&running().view(), START), None);
}

#[test]
fn a_node_says_its_speaker_and_its_sessions_and_takes_back_what_it_has_not() {
    let mut reporter = Reporter::default();
    let report = reporter.report(&told().view(), START).unwrap();
    let speaker = report.speaker.unwrap();
    assert_eq!(speaker.state.as_deref(), Some("Ready"));
    assert_eq!(
        (speaker.asn, speaker.router_id.as_deref()),
        (Some(65000), Some("10.0.0.11"))
    );
    let up = report.peers["up"].clone().unwrap();
    let state = up.peer_state.unwrap();
    assert_eq!(state.session_state.as_deref(), Some("ESTABLISHED"));
    assert_eq!(state.peer_as, Some(65001));
    assert!(up.timers_state.is_some());
    assert_eq!(report.peers["elsewhere"], None);
}

#[test]
fn since_changes_with_the_state_alone() {
    let mut reporter = Reporter::default();
    let mut state = told();
    let at = |seconds| START + Duration::from_secs(seconds);
    let first = reporter.report(&state.view(), at(1)).unwrap();
    assert_eq!(reporter.report(&state.view(), at(50)).unwrap(), first);
    state.take(Change::Drain(Some(Drain::default())));
    let speaker = reporter
        .report(&state.view(), at(60))
        .unwrap()
        .speaker
        .unwrap();
    assert_eq!(speaker.state.as_deref(), Some("Draining"));
    assert_eq!(speaker.since.as_deref(), Some("1970-01-01T00:01:00Z"));
}

#[test]
fn a_node_that_may_not_announce_says_why_and_is_not_ready() {
    use lb_core::model::{Node, Unfit};
    use std::sync::Arc;
    for (unfit, state) in [
        (None, "Ready"),
        (Some(Unfit::Deleted), "Deleted"),
        (Some(Unfit::Excluded), "Excluded"),
        (Some(Unfit::NetworkUnavailable), "NetworkUnavailable"),
        (Some(Unfit::NotReady), "Ready"),
    ] {
        let mut told = told();
        let nodes = told.view().snapshot.nodes.into_iter();
        let nodes = nodes.map(|node| match &*node.name {
            "n1" => Arc::new(Node {
                unfit,
                ..(*node).clone()
            }),
            _ => node,
        });
        let update = Update {
            nodes: Some(nodes.collect()),
            ..Update::default()
        };
        told.take(Change::Kubernetes(Box::new(update)));
        told.plan(Duration::from_secs(100));
        let report = Reporter::default().report(&told.view(), START).unwrap();
        let speaker = report.speaker.unwrap();
        assert_eq!(speaker.state.as_deref(), Some(state));
        assert_eq!(speaker.reason.is_some(), state != "Ready", "{speaker:?}");
    }
}
