use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use lb_bgp::PerFamily;
use lb_common::{flow::STATES, limits::Capacity};
use lb_core::{
    Snapshot,
    config::{Config, Origin, parse},
    keys::ClusterKeys,
    model::Remote,
    probes::Probe,
    snapshot::{DatapathFacts, Drain, Neighbours, PortFeedback, Takeover},
};

use super::{Effect, State};
use crate::{
    engine::feedback::{Applied, Feedback, Figures, PeerSession, SessionState, Timers},
    sources::Change,
};

const YAML: &str = "
node: {name: n1}
nodes:
  - {name: n1, addresses: [10.0.0.11]}
bgp:
  asn: 65000
  peers:
    - {address: 10.0.0.1, asn: 65001}
services:
  - name: default/web
    addresses: [10.99.0.1]
    ports: [{name: http, port: 80}, {name: dns, protocol: UDP, port: 53}]
    healthCheck: {tcp: {port: 8080}, interval: 1s, failures: 3}
    endpoints:
      - {address: 10.1.1.2, node: n1, ports: {http: 8080, dns: 53}}
      - {address: 10.1.1.3, node: n1, ports: {http: 8080, dns: 53}}
";

fn config(yaml: &str) -> Config {
    let origin = Origin {
        file: "test.yaml",
        host_name: "n1",
    };
    parse(yaml, origin).unwrap_or_else(|error| panic!("{error}"))
}

pub(in crate::engine) fn snapshot() -> Snapshot {
    let keys = ClusterKeys {
        seed: [1, 2],
        gue_key: [3, 4],
    };
    let facts = DatapathFacts {
        capacity: Capacity::DEFAULT,
        jiffies_per_second: 250,
        tick_shift: 8,
        timeout_ticks: [60; STATES],
    };
    Snapshot::new(&config(YAML), keys, facts)
}

/// A state whose sources have all spoken, planned once.
fn started() -> State {
    let mut state = State::new(snapshot(), &BTreeSet::new());
    state.take(Change::Links(Vec::new()));
    state.take(Change::Neighbours(Neighbours::new()));
    state.plan(Duration::ZERO);
    state
}

fn vip() -> IpAddr {
    "10.99.0.1".parse().unwrap()
}

/// The data path's report that it holds the service ports that `holds` picks.
fn applied(state: &State, holds: impl Fn(usize) -> bool) -> Feedback {
    let desired = state.desired();
    let generation = desired.generation;
    let ports = desired.ports().enumerate().map(|(index, plan)| {
        let feedback = match holds(index) {
            true => PortFeedback::Applied { generation },
            false => PortFeedback::Failed {
                reason: "no room".to_owned(),
            },
        };
        (plan.port, feedback)
    });
    Feedback::Applied(Applied {
        generation,
        ports: ports.collect(),
        takeover: Some(Takeover::New),
    })
}

fn probe(address: &str) -> Probe {
    Probe {
        address: address.parse().unwrap(),
        interval: Duration::from_secs(1),
        failures: 3,
    }
}

fn result(address: &str, succeeded: bool) -> Change {
    Change::Probed {
        probe: probe(address),
        succeeded,
    }
}

/// The gate: a VIP is announced only when each of its service ports is applied as planned.
#[test]
fn no_route_before_the_data_path_holds_every_port() {
    let mut state = started();
    assert!(
        state.desired().routes.is_empty(),
        "announced before anything is applied"
    );

    assert!(state.hear(applied(&state, |index| index == 0)));
    state.plan(Duration::from_millis(20));
    assert!(
        state.desired().routes.is_empty(),
        "announced with one port of two"
    );

    assert!(state.hear(applied(&state, |_| true)));
    state.plan(Duration::from_millis(40));
    assert!(
        state.desired().routes.contains(&vip()),
        "not announced though all is applied"
    );
}

#[test]
fn an_old_generation_opens_no_gate() {
    let mut state = started();
    let stale = applied(&state, |_| true);
    // The Service changes before the report comes.
    let edited = YAML.replace("10.1.1.3", "10.1.1.4");
    state.take(Change::Config(Arc::new(config(&edited))));
    state.plan(Duration::from_millis(20));
    state.hear(stale);
    state.plan(Duration::from_millis(40));
    assert!(state.desired().routes.is_empty());
}

#[test]
fn nothing_is_planned_before_every_source_has_spoken() {
    let mut state = State::new(snapshot(), &BTreeSet::new());
    assert!(!state.is_complete());
    state.take(Change::Links(Vec::new()));
    assert!(!state.is_complete());
    let effect = state.take(Change::Neighbours(Neighbours::new()));
    assert!(state.is_complete());
    assert_eq!(
        effect,
        Effect {
            plan: true,
            probes: false,
            neighbours: true
        }
    );
}

#[test]
fn a_new_way_to_a_node_is_no_new_plan() {
    let mut state = started();
    let effect = state.take(Change::Neighbours(Neighbours::new()));
    assert_eq!(
        effect,
        Effect {
            plan: false,
            probes: false,
            neighbours: true
        }
    );
}

#[test]
fn a_refused_file_is_told_and_changes_nothing() {
    let mut state = started();
    let before = state.desired();
    assert_eq!(
        state.take(Change::ConfigRefused("line 3".to_owned())),
        Effect::default()
    );
    assert!(Arc::ptr_eq(&before, &state.desired()));
    assert_eq!(state.view().told.config_refused.as_deref(), Some("line 3"));
    state.take(Change::Config(Arc::new(config(YAML))));
    assert_eq!(
        state.view().told.config_refused,
        None,
        "a good file clears the message"
    );
}

#[test]
fn probes_are_damped_and_only_what_changes_calls_for_a_plan() {
    let mut state = started();
    let plans: Vec<_> = [true, false, false, false, false, true]
        .into_iter()
        .map(|succeeded| state.take(result("10.1.1.2:8080", succeeded)).plan)
        .collect();
    assert_eq!(plans, [false, false, false, true, false, true]);
    assert!(
        !state.take(result("10.7.7.7:80", false)).plan,
        "nobody asked for it"
    );
}

#[test]
fn what_the_data_path_did_without_stays_out_until_it_answers() {
    let found_down = BTreeSet::from([probe("10.1.1.3:8080")]);
    let mut state = State::new(snapshot(), &found_down);
    state.take(Change::Links(Vec::new()));
    state.take(Change::Neighbours(Neighbours::new()));
    state.plan(Duration::ZERO);
    let targets = |state: &State| {
        let desired = state.desired();
        desired
            .ports()
            .map(|plan| plan.targets.len())
            .collect::<Vec<_>>()
    };
    assert_eq!(targets(&state), [1, 1]);
    assert!(state.take(result("10.1.1.3:8080", true)).plan);
    state.plan(Duration::from_millis(20));
    assert_eq!(targets(&state), [2, 2]);
}

#[test]
fn leaving_waits_for_the_peers_and_the_linger() {
    let mut state = started();
    state.hear(applied(&state, |_| true));
    state.plan(Duration::from_millis(20));
    state.hear(Feedback::Held(BTreeSet::from([vip()])));

    assert!(state.take(Change::Leave).plan);
    assert!(state.plan(Duration::from_secs(1)), "the drain begins");
    assert!(state.desired().routes.is_empty());
    assert!(!state.plan(Duration::from_secs(2)), "it began before");
    assert!(
        !state.may_leave(Duration::from_secs(2)),
        "the peer still holds the route"
    );

    state.hear(Feedback::Held(BTreeSet::new()));
    state.plan(Duration::from_secs(3));
    assert!(
        !state.may_leave(Duration::from_millis(3999)),
        "withdrawLinger is not over"
    );
    assert!(state.may_leave(Duration::from_secs(4)));
    assert_eq!(state.desired().ports().count(), 2, "the data path stays");
}

#[test]
fn a_peer_that_never_acknowledges_holds_up_nothing_for_long() {
    let mut state = started();
    state.hear(Feedback::Held(BTreeSet::from([vip()])));
    state.take(Change::Leave);
    state.plan(Duration::from_secs(1));
    assert!(!state.may_leave(Duration::from_millis(5999)));
    assert!(state.may_leave(Duration::from_secs(6)));
}

#[test]
fn a_drained_node_keeps_its_agent_until_it_is_to_leave() {
    let mut state = started();
    state.hear(applied(&state, |_| true));
    state.plan(Duration::from_millis(20));
    let drain = Drain {
        flows_wait: Duration::from_secs(60),
    };
    assert!(state.take(Change::Drain(Some(drain))).plan);
    assert!(!state.take(Change::Drain(Some(drain))).plan, "it knows");
    state.plan(Duration::from_secs(1));
    assert!(state.desired().routes.is_empty());
    assert!(!state.take(Change::Flows(2)).plan);
    assert!(state.take(Change::Flows(0)).plan, "none is left");
    state.plan(Duration::from_secs(10));
    assert!(state.desired().is_drained(Duration::from_secs(10)));
    assert!(!state.may_leave(Duration::from_secs(10)));

    assert!(state.take(Change::Drain(None)).plan);
    state.plan(Duration::from_secs(11));
    assert!(state.desired().routes.contains(&vip()));
    assert_eq!(state.view().snapshot.flows, None, "they are counted anew");

    state.take(Change::Drain(Some(drain)));
    state.plan(Duration::from_secs(12));
    state.take(Change::Leave);
    state.take(Change::Drain(None));
    state.plan(Duration::from_secs(13));
    state.plan(Duration::from_secs(14));
    assert!(
        state.may_leave(Duration::from_secs(14)),
        "who leaves waits for no flows"
    );
}

#[test]
fn sessions_come_and_go_as_their_peers_do() {
    let mut state = started();
    let session = PeerSession {
        peer: Remote::Address("10.0.0.1".parse().unwrap()),
        range: None,
        address: Some("10.0.0.1".parse().unwrap()),
        state: SessionState::Established,
        not_configured_there: false,
        not_dialled: None,
        since: SystemTime::UNIX_EPOCH,
        agreed: None,
        timers: Timers::default(),
        figures: Figures::default(),
        held_back: PerFamily::default(),
        last_error: None,
    };
    assert!(state.hear(Feedback::Session(Box::new(session.clone()))));
    let more = PeerSession {
        timers: Timers::default(),
        figures: Figures {
            routes_sent: 1,
            ..Figures::default()
        },
        ..session.clone()
    };
    assert!(
        !state.hear(Feedback::Session(Box::new(more))),
        "still established"
    );
    assert_eq!(
        state.view().told.sessions[&session.peer]
            .figures
            .routes_sent,
        1
    );
    assert_eq!(
        state.view().snapshot.routes.sessions,
        BTreeMap::from([(session.peer.clone(), true)])
    );
    state.hear(Feedback::SessionGone(session.peer));
    assert!(state.view().told.sessions.is_empty());
}

#[test]
fn leaving_for_a_restart_gives_nothing_up() {
    let mut state = started();
    state.hear(applied(&state, |_| true));
    state.plan(Duration::from_millis(20));
    let routes = state.desired().routes.clone();
    assert_eq!(*routes, BTreeSet::from([vip()]));
    state.hear(Feedback::Held(BTreeSet::from([vip()])));
    assert_eq!(state.take(Change::LeaveForRestart), Effect::default());
    assert!(state.may_leave(Duration::ZERO));
    state.plan(Duration::from_secs(1));
    assert_eq!(state.desired().routes, routes);
}

#[test]
fn leaving_a_node_that_is_out_of_service_waits_for_the_withdraw() {
    let mut state = started();
    state.hear(applied(&state, |_| true));
    state.plan(Duration::from_millis(20));
    state.hear(Feedback::Held(BTreeSet::from([vip()])));
    state.take(Change::Drain(Some(Drain::default())));
    state.plan(Duration::from_millis(40));
    state.take(Change::LeaveForRestart);
    assert!(
        !state.may_leave(Duration::from_millis(40)),
        "a peer still holds the route"
    );
    state.hear(Feedback::Held(BTreeSet::new()));
    state.plan(Duration::from_secs(10));
    assert!(state.may_leave(Duration::from_secs(10)));
}

#[test]
fn sessions_wait_until_the_data_path_was_written() {
    let mut state = started();
    let takeover = |state: &State| state.desired().bgp.as_ref().unwrap().takeover;
    assert_eq!(takeover(&state), None);
    assert!(state.hear(applied(&state, |_| true)), "there is news");
    state.plan(Duration::from_secs(2));
    assert_eq!(takeover(&state), Some(Takeover::New));
}

#[test]
fn time_outs_that_change_are_planned_for() {
    let mut state = started();
    assert!(state.take(Change::Timeouts([5; STATES])).plan);
    state.plan(Duration::from_secs(2));
    let planned = state.desired().cluster.clone().unwrap();
    assert_eq!(planned.datapath.timeout_ticks, [5; STATES]);
}
