use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use lb_bgp::{Family, HeldBack, PerFamily};
use lb_common::{counter::ServiceCounters, flow::STATES, limits::Capacity, verdict::Verdict};
use lb_core::{
    Snapshot,
    config::{Origin, parse},
    keys::ClusterKeys,
    model::{Mac, Remote},
    snapshot::{DatapathFacts, Link, Neighbour, Neighbours, PortFeedback, Takeover},
};

use super::{Counters, bgp, endpoints, nodes, services, verdicts};
use crate::{
    api::rows::{Answer, Health, Mode, ServiceRow},
    engine::{
        feedback::{Agreed, Applied, Feedback, Figures, PeerSession, SessionState, Timers},
        state::{State, View},
    },
    sources::Change,
};

const YAML: &str = "
node: {name: n1}
cluster: {keyFile: /etc/fairlead/key}
nodes:
  - {name: n1, addresses: [10.0.0.11]}
  - {name: n2, addresses: [10.0.0.12]}
  - {name: n3, addresses: [10.0.1.13]}
  - {name: n4, addresses: [10.0.2.14]}
bgp:
  asn: 65000
  peers:
    - {address: 10.0.0.1, asn: 65001}
    - {address: 10.0.0.2, asn: 65002}
services:
  - name: default/web
    addresses: [10.99.0.1]
    ports: [{name: http, port: 80}, {name: other, port: 90}]
    healthCheck: {tcp: {port: 8080}, interval: 1s, failures: 1}
    endpoints:
      - {address: 10.1.1.2, node: n1, ports: {http: 8080}}
      - {address: 10.1.2.2, node: n2, ports: {http: 8080}}
      - {address: 10.1.3.2, node: n3, ports: {other: 9090}}
  - name: default/idle
    addresses: [10.99.0.2]
    ports: [{name: http, port: 80}]
";

fn uplink() -> Link {
    Link {
        slot: 0,
        name: "eth0".into(),
        ifindex: 2,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        mtu_bytes: 1500,
        addresses: Vec::new(),
        subnets: Vec::new(),
    }
}

fn way(node: &str, mac: Option<Mac>, on_link: bool) -> (Arc<str>, Neighbour) {
    let way = Neighbour {
        mac,
        uplink: 0,
        on_link,
        outer_source: "10.0.0.11".parse().unwrap(),
        outer_destination: "10.0.0.12".parse().unwrap(),
        mtu_bytes: 1500,
    };
    (node.into(), way)
}

/// An agent that has planned and applied, with one session of two, and one endpoint down.
pub(crate) fn running() -> State {
    let origin = Origin {
        file: "test.yaml",
        host_name: "n1",
    };
    let config = parse(YAML, origin).unwrap_or_else(|error| panic!("{error}"));
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
    let mut state = State::new(Snapshot::new(&config, keys, facts), &BTreeSet::new());
    state.take(Change::Links(vec![uplink()]));
    let ways = [
        way("n2", Some(Mac([2, 0, 0, 0, 0, 2])), true),
        way("n3", None, false),
    ];
    state.take(Change::Neighbours(Neighbours::from(ways)));
    for probe in state.wanted_probes().clone() {
        let succeeded = probe.address.to_string() != "10.1.2.2:8080";
        state.take(Change::Probed { probe, succeeded });
    }
    state.plan(Duration::ZERO);
    let desired = state.desired();
    let generation = desired.generation;
    let ports = desired
        .ports()
        .map(|plan| (plan.port, PortFeedback::Applied { generation }));
    state.hear(Feedback::Applied(Applied {
        generation,
        ports: ports.collect(),
        takeover: Some(Takeover::New),
    }));
    state.hear(Feedback::Session(Box::new(session())));
    state.plan(Duration::from_millis(20));
    state
}

pub(super) fn session() -> PeerSession {
    PeerSession {
        peer: Remote::Address("10.0.0.1".parse().unwrap()),
        range: None,
        address: Some("10.0.0.1".parse().unwrap()),
        state: SessionState::Established,
        not_configured_there: false,
        not_dialled: None,
        since: SystemTime::UNIX_EPOCH + Duration::from_secs(1000),
        agreed: Some(Agreed {
            hold_time: Duration::from_secs(9),
            restart_time: Duration::from_secs(120),
            ..Agreed::default()
        }),
        timers: Timers::default(),
        figures: Figures {
            routes_sent: 1,
            ..Figures::default()
        },
        held_back: PerFamily::default(),
        last_error: None,
    }
}

fn view() -> View {
    running().view()
}

/// The row of port 80 of `default/web`.
fn web(answer: &Answer<ServiceRow>) -> &ServiceRow {
    let mut rows = answer.rows.iter();
    let is_web = |row: &&ServiceRow| row.service == "default/web" && row.port == 80;
    rows.find(is_web).unwrap()
}

#[test]
fn a_service_says_how_many_serve_it_and_who_is_told() {
    let view = view();
    let port = view.desired.services["default/web"].ports[0].port;
    let counted = ServiceCounters {
        packets: 12,
        dropped: 3,
        ..ServiceCounters::default()
    };
    let counters = Counters {
        samples: lb_datapath::Samples::default(),
        attached: vec![],
        services: BTreeMap::from([(port, counted)]),
        active_flows: BTreeMap::from([(port, 4)]),
        verdicts: vec![(Verdict::TooBig, 3)],
    };
    let answer = services(&view, &counters);
    assert_eq!((answer.node.as_str(), answer.warnings.len()), ("n1", 0));
    let web = web(&answer);
    assert_eq!((web.endpoints_used, web.endpoints_known), (1, 3));
    assert_eq!((web.applied, web.packets, web.dropped), (true, 12, 3));
    assert_eq!(web.announced_to, ["10.0.0.1"]);
    assert!(web.reasons.is_empty(), "{web:?}");
    let verdicts = verdicts(&view, &counters);
    assert_eq!(
        (verdicts.rows[0].verdict.as_str(), verdicts.rows[0].packets),
        ("too-big", 3)
    );
}

#[test]
fn a_service_without_endpoints_says_so_once() {
    let answer = services(&view(), &Counters::default());
    let idle = answer
        .rows
        .iter()
        .find(|row| row.service == "default/idle")
        .unwrap();
    assert!(idle.announced_to.is_empty());
    assert_eq!(idle.reasons.len(), 1, "{:?}", idle.reasons);
    assert!(
        idle.reasons[0].starts_with("not announced"),
        "{:?}",
        idle.reasons
    );
}

#[test]
fn without_a_session_an_announced_vip_says_that_nobody_hears() {
    let mut state = running();
    state.hear(Feedback::SessionGone(session().peer));
    let answer = services(&state.view(), &Counters::default());
    let web = web(&answer);
    assert_eq!(web.reasons, ["no BGP session is established"]);
}

#[test]
fn a_session_without_the_vips_family_does_not_count() {
    let mut state = running();
    let not_ipv4 = |family| (family == Family::Ipv4Unicast).then_some(HeldBack::NotNegotiated);
    state.hear(Feedback::Session(Box::new(PeerSession {
        held_back: PerFamily::from_fn(not_ipv4),
        ..session()
    })));
    let answer = services(&state.view(), &Counters::default());
    let web = web(&answer);
    assert!(web.announced_to.is_empty(), "{web:?}");
    assert_eq!(
        web.reasons,
        ["BGP session with 10.0.0.1: the peer did not offer this family; enable it there"]
    );
}

#[test]
fn endpoints_tell_their_health_and_the_plans_reason() {
    let answer = endpoints(&view(), &Counters::default());
    let of = |address: &str| {
        answer
            .rows
            .iter()
            .find(|row| row.address.to_string() == address && row.port == "http")
            .unwrap()
    };
    assert_eq!(
        (of("10.1.1.2").health, of("10.1.1.2").used),
        (Health::Up, true)
    );
    let down = of("10.1.2.2");
    assert_eq!(
        (down.health, down.used, down.node.as_str()),
        (Health::Down, false, "n2")
    );
    assert!(
        down.health_since.is_some() && down.reason.contains("health check"),
        "{down:?}"
    );
    let other = of("10.1.3.2");
    assert_eq!((other.target_port, other.port.as_str()), (None, "http"));
}

#[test]
fn nodes_tell_the_way_that_packets_take() {
    let answer = nodes(&view(), &Counters::default());
    let modes: Vec<_> = answer
        .rows
        .iter()
        .map(|row| (row.node.as_str(), row.mode))
        .collect();
    let expected = [
        ("n1", Mode::Own),
        ("n2", Mode::Direct),
        ("n3", Mode::Gue),
        ("n4", Mode::Unreachable),
    ];
    assert_eq!(modes, expected);
    assert_eq!(answer.rows[1].mac.as_deref(), Some("02:00:00:00:00:02"));
    assert_eq!(answer.rows[1].interface.as_deref(), Some("eth0"));
    assert_eq!(answer.rows[2].mac, None);
}

#[test]
fn every_configured_peer_has_a_row_and_trouble_stands_beside() {
    let mut state = running();
    let problem = Some("bird holds the port".to_owned());
    state.hear(Feedback::Listening {
        port: 17900,
        problem,
    });
    state.take(Change::ConfigRefused("line 3".to_owned()));
    let answer = bgp::sessions(&state.view());
    let states: Vec<_> = answer.rows.iter().map(|row| (row.asn, row.state)).collect();
    assert_eq!(
        states,
        [(65001, Some(SessionState::Established)), (65002, None)]
    );
    assert_eq!(
        (answer.rows[0].since, answer.rows[0].hold_time_seconds),
        (Some(1000), Some(9))
    );
    assert_eq!(answer.warnings.len(), 2);
    assert!(
        answer.warnings[0].ends_with("line 3"),
        "{:?}",
        answer.warnings
    );
}
