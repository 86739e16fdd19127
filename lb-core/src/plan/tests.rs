mod incremental;
mod services;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use super::{announce::*, beginning::SETTLE_MAX, withdraw::WITHDRAW_MAX, *};
use crate::{
    desired::{EndpointVerdict, PortPlan},
    model::{Announce, Bgp, Endpoint, HealthCheck, Node, Protocol, Service},
    ord_map::OrdMap,
    probes::Probe,
    snapshot::{Drain, PortFeedback, Takeover},
    table,
    world::{CAPACITY, NODES, World, service},
};

const HTTP: (Protocol, u16) = (Protocol::Tcp, 80);
const HTTPS: (Protocol, u16) = (Protocol::Tcp, 443);
const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 99, 0, 1));

fn bgp() -> Arc<Bgp> {
    Arc::new(Bgp {
        asn: 65_000,
        router_id: "10.0.0.11".parse().unwrap(),
        listen_port: 17_900,
        nodes: Vec::new(),
        graceful_shutdown: Duration::from_secs(1),
        peers: Vec::new(),
    })
}

/// One announced Service of two ports on one IPv4 VIP.
fn announced_service(endpoints: &[u16]) -> Service {
    let mut service = service("web", 1, &[HTTP, HTTPS], endpoints);
    service.announce = Announce::Bgp;
    service.vips.truncate(1);
    service
        .endpoints
        .retain(|endpoint| endpoint.address.is_ipv4());
    service
}

fn world() -> World {
    let mut world = World::new(CAPACITY);
    world.snapshot.bgp = Some(bgp());
    world.set(announced_service(&[1, 2, 3]));
    world
}

impl World {
    /// The data path says that it has all of the state.
    fn applied(&mut self) {
        let generation = self.desired.generation;
        let ports = self.desired.ports().map(|plan| plan.port);
        let applied = ports.map(|port| (port, PortFeedback::Applied { generation }));
        self.snapshot.applied = applied.collect();
        self.plan();
    }

    fn fails(&mut self, port: u16) {
        let ports = self.snapshot.applied.clone();
        let failed = *ports.keys().find(|key| key.port == port).unwrap();
        let reason = "no room".to_owned();
        let applied = &mut self.snapshot.applied;
        applied.insert(failed, PortFeedback::Failed { reason });
        self.plan();
    }

    fn reason(&self) -> &VipReason {
        &self.desired.vips[&VIP].reason
    }

    /// Plans at this moment.
    fn plan_at(&mut self, now: Duration) {
        self.snapshot.now = now;
        self.desired = plan(&self.snapshot, &self.desired);
    }
}

#[test]
fn a_vip_waits_for_each_of_its_ports() {
    let mut world = world();
    assert!(matches!(world.reason(), VipReason::WaitsForDatapath(ports) if ports.len() == 2));
    let generation = world.desired.generation;
    let first = world.desired.ports().next().unwrap().port;
    world
        .snapshot
        .applied
        .insert(first, PortFeedback::Applied { generation });
    world.plan();
    assert!(matches!(world.reason(), VipReason::WaitsForDatapath(ports) if ports.len() == 1));
    world.applied();
    assert_eq!(world.reason(), &VipReason::Announced);
    assert_eq!(*world.desired.routes, BTreeSet::from([VIP]));
}

#[test]
fn an_older_generation_does_not_open_the_gate() {
    let mut world = world();
    let generation = world.desired.generation - 1;
    let ports = world.desired.ports().map(|plan| plan.port);
    world.snapshot.applied = ports
        .map(|port| (port, PortFeedback::Applied { generation }))
        .collect();
    world.plan();
    assert!(matches!(world.reason(), VipReason::WaitsForDatapath(_)));
}

fn takeover(world: &World) -> Option<Takeover> {
    world.desired.bgp.as_ref().unwrap().takeover
}

/// A world whose data path was written for an older plan than the one that counts now.
fn written_too_early() -> World {
    let mut world = world();
    let generation = world.desired.generation - 1;
    let ports = world.desired.ports().map(|plan| plan.port);
    let applied = ports.map(|port| (port, PortFeedback::Applied { generation }));
    world.snapshot.applied = applied.collect();
    world.snapshot.takeover = Some(Takeover::Preserved);
    world.plan_at(Duration::from_secs(7));
    world
}

#[test]
fn sessions_do_not_begin_while_a_vip_waits_for_the_data_path() {
    let mut world = written_too_early();
    assert_eq!(takeover(&world), None, "End-of-RIB would come too early");
    world.applied();
    assert_eq!(takeover(&world), Some(Takeover::Preserved));
    assert_eq!(*world.desired.routes, BTreeSet::from([VIP]));

    // One that comes later waits alone.
    let mut late = announced_service(&[1]);
    late.name = "default/late".into();
    late.vips = vec!["10.99.0.9".parse().unwrap()];
    world.set(late);
    assert_eq!(takeover(&world), Some(Takeover::Preserved));
}

#[test]
fn a_vip_that_never_settles_keeps_sessions_waiting_for_a_while() {
    let mut world = written_too_early();
    let until = Duration::from_secs(7) + SETTLE_MAX;
    assert_eq!(world.desired.replan_at, Some(until));
    world.plan_at(until);
    assert_eq!(takeover(&world), Some(Takeover::Preserved));
    assert_eq!(world.desired.replan_at, None);
}

#[test]
fn a_port_that_cannot_be_taken_keeps_no_session_waiting() {
    let mut world = world();
    world.applied();
    world.snapshot.takeover = Some(Takeover::New);
    let mut fresh = World::new(CAPACITY);
    fresh.snapshot = world.snapshot.clone();
    fresh.fails(80);
    fresh.fails(443);
    assert!(matches!(fresh.reason(), VipReason::WaitsForDatapath(ports) if ports.len() == 2));
    assert_eq!(takeover(&fresh), Some(Takeover::New));
}

#[test]
fn a_port_that_fails_later_is_reported_alone() {
    let mut world = world();
    world.applied();
    world.fails(443);
    assert_eq!(world.reason(), &VipReason::Announced);
    let failed: Vec<_> = world.desired.vips[&VIP]
        .failed
        .keys()
        .map(|port| port.port)
        .collect();
    assert_eq!(failed, [443]);
    world.fails(80);
    assert_eq!(world.reason(), &VipReason::NotInDatapath);
}

#[test]
fn a_change_of_an_announced_service_leaves_its_route() {
    let mut world = world();
    world.applied();
    world.set(announced_service(&[1, 2]));
    assert_eq!(world.reason(), &VipReason::Announced);
}

#[test]
fn a_vip_without_endpoints_is_withdrawn_and_comes_back() {
    let mut world = world();
    world.applied();
    world.set(announced_service(&[]));
    assert_eq!(world.reason(), &VipReason::NoEndpoint);
    assert!(world.desired.leaving.is_empty(), "its entries stay, empty");
    assert_eq!(world.desired.ports().count(), 2);
    world.set(announced_service(&[1]));
    world.applied();
    assert_eq!(world.reason(), &VipReason::Announced);
}

#[test]
fn nobody_announces_what_cannot_be_announced() {
    let mut world = world();
    world.applied();
    world.snapshot.bgp = None;
    world.plan();
    assert_eq!(world.reason(), &VipReason::NoSpeaker);
    world.snapshot.bgp = Some(bgp());
    let own = Node {
        addresses: vec!["fd00::11".parse().unwrap()],
        ..(*world.snapshot.nodes[0]).clone()
    };
    world.snapshot.nodes[0] = Arc::new(own);
    world.plan();
    assert_eq!(world.reason(), &VipReason::NoNextHop);
    let mut quiet = announced_service(&[1]);
    quiet.announce = Announce::Nobody;
    world.set(quiet);
    assert_eq!(world.reason(), &VipReason::NotWanted);
}

/// An announced world whose Service is gone at second 100.
fn leaving_world() -> World {
    let mut world = world();
    world.applied();
    world.snapshot.routes.held = BTreeSet::from([VIP]);
    world.snapshot.services = OrdMap::default();
    world.plan_at(Duration::from_secs(100));
    world
}

#[test]
fn entries_outlive_the_withdraw_until_it_is_acknowledged_and_a_second_more() {
    let mut world = leaving_world();
    assert!(world.desired.routes.is_empty() && world.desired.vips.is_empty());
    assert_eq!(world.desired.ports().count(), 2);
    assert_eq!(world.desired.replan_at, Some(Duration::from_secs(105)));
    world.snapshot.routes.held.clear();
    world.plan_at(Duration::from_millis(101_300));
    assert_eq!(
        world.desired.replan_at,
        Some(Duration::from_millis(102_300))
    );
    world.plan_at(Duration::from_millis(102_299));
    assert_eq!(world.desired.ports().count(), 2);
    world.plan_at(Duration::from_millis(102_300));
    assert_eq!(world.desired.ports().count(), 0);
    assert_eq!(world.desired.replan_at, None);
}

#[test]
fn a_withdraw_that_nobody_acknowledges_takes_five_seconds() {
    let mut world = leaving_world();
    world.plan_at(Duration::from_millis(104_999));
    assert_eq!(world.desired.ports().count(), 2);
    world.plan_at(Duration::from_secs(105));
    assert_eq!(world.desired.ports().count(), 0);
    let mut world = leaving_world();
    world.snapshot.routes.held.clear();
    world.plan_at(Duration::from_millis(104_500));
    assert_eq!(
        world.desired.replan_at,
        Some(Duration::from_secs(105)),
        "five at the most"
    );
}

#[test]
fn a_service_that_comes_back_stops_leaving_and_passes_the_gate_again() {
    let mut world = leaving_world();
    world.set(announced_service(&[1, 2, 3]));
    assert!(world.desired.leaving.is_empty());
    assert!(matches!(world.reason(), VipReason::WaitsForDatapath(_)));
    world.applied();
    assert_eq!(world.reason(), &VipReason::Announced);
}

#[test]
fn what_was_never_announced_goes_at_once() {
    let mut world = world();
    world.snapshot.services = OrdMap::default();
    world.plan();
    assert_eq!(world.desired.ports().count(), 0);
}

#[test]
fn a_vip_that_another_service_shares_stays() {
    let mut world = world();
    let mut other = announced_service(&[4]);
    other.name = "other".into();
    for port in &mut other.ports {
        port.port += 8000;
    }
    world.set(other);
    world.applied();
    world.snapshot.remove_service("web");
    world.plan();
    assert_eq!(world.reason(), &VipReason::Announced);
    assert!(world.desired.leaving.is_empty());
    assert_eq!(world.desired.ports().count(), 2);
}

#[test]
fn a_leaving_node_withdraws_all_and_keeps_forwarding() {
    let mut world = world();
    world.applied();
    world.snapshot.routes.held = BTreeSet::from([VIP]);
    world.snapshot.drain = Some(Drain::default());
    world.plan_at(Duration::from_secs(100));
    assert_eq!(world.reason(), &VipReason::Draining);
    assert_eq!(world.desired.ports().count(), 2);
    assert!(!world.desired.is_drained(Duration::from_secs(104)));
    world.snapshot.routes.held.clear();
    world.plan_at(Duration::from_secs(101));
    assert_eq!(world.desired.replan_at, Some(Duration::from_secs(102)));
    assert!(world.desired.is_drained(Duration::from_secs(102)));
}

#[test]
fn what_did_not_change_keeps_its_plan() {
    let mut world = world();
    world.set(service("other", 2, &[HTTP], &[5, 6]));
    let before = world.desired.clone();
    world.set(announced_service(&[1, 2]));
    let same = |name: &str| Arc::ptr_eq(&before.services[name], &world.desired.services[name]);
    assert!(same("other") && !same("web"));
    assert_eq!(world.desired.generation, before.generation + 1);
    let before = world.desired.clone();
    world.plan();
    assert_eq!(
        world.desired.generation, before.generation,
        "nothing new for the data path"
    );
    assert!(Arc::ptr_eq(&before.routes, &world.desired.routes));
    assert!(Arc::ptr_eq(
        before.cluster.as_ref().unwrap(),
        world.desired.cluster.as_ref().unwrap()
    ));
}

#[test]
fn an_unused_endpoint_leaves_the_ports_as_they_are() {
    let mut world = world();
    let before: Vec<_> = world.desired.ports().cloned().collect();
    let mut service = announced_service(&[1, 2, 3, 4]);
    service.endpoints[3].ready = false;
    world.set(service);
    assert!(
        world
            .desired
            .ports()
            .zip(&before)
            .all(|(a, b)| Arc::ptr_eq(a, b))
    );
    let verdicts = world.desired.services["web"]
        .reasons
        .iter()
        .map(|reason| reason.verdict);
    assert_eq!(
        verdicts.filter(|v| *v == EndpointVerdict::NotReady).count(),
        2
    );
}

#[test]
fn an_endpoint_that_moves_to_another_node_keeps_its_rows() {
    let mut world = world();
    let before = world.desired.ports().next().unwrap().clone();
    let mut service = announced_service(&[1, 2, 3]);
    service.endpoints[0].node = Some(NODES[0].into());
    world.set(service);
    let after = world.desired.ports().next().unwrap();
    let rows = |plan: &PortPlan| table::rows(&world.snapshot.keys.seed, &plan.targets);
    assert_eq!(rows(&before), rows(after));
    assert_ne!(before.targets, after.targets);
}

/// Endpoints by (ready, serving, terminating), and which of them are used.
#[test]
fn endpoints_are_chosen_as_kubernetes_does() {
    let ready = (true, true, false);
    let not_ready = (false, false, false);
    let started = (false, true, false);
    let terminating = (false, true, true);
    let gone = (false, false, true);
    for (conditions, used) in [
        (vec![ready, not_ready, terminating, gone], vec![0]),
        (vec![not_ready, terminating, gone, terminating], vec![1, 3]),
        (vec![not_ready, started, gone], vec![]),
        // publishNotReadyAddresses: what says ready is ready.
        (vec![(true, false, true)], vec![0]),
    ] {
        let mut world = world();
        let mut service = announced_service(&[0, 1, 2, 3][..conditions.len()]);
        for (endpoint, (ready, serving, terminating)) in
            service.endpoints.iter_mut().zip(&conditions)
        {
            (endpoint.ready, endpoint.serving) = (*ready, *serving);
            endpoint.terminating = *terminating;
        }
        let expected: Vec<_> = used
            .iter()
            .map(|&index: &usize| service.endpoints[index].address)
            .collect();
        world.set(service);
        let chosen: Vec<_> = world
            .desired
            .ports()
            .next()
            .unwrap()
            .targets
            .iter()
            .map(|t| t.address)
            .collect();
        assert_eq!(chosen, expected, "{conditions:?}");
    }
}

#[test]
fn endpoints_that_fail_their_health_check_are_out_even_if_all_do() {
    let mut world = world();
    let mut service = announced_service(&[1, 2, 3]);
    let check = HealthCheck {
        tcp_port: 8080,
        interval: Duration::from_secs(1),
        failures: 3,
    };
    service.health_check = Some(check);
    world.set(service.clone());
    world.applied();
    world
        .snapshot
        .down
        .insert(Probe::of(&check, &service.endpoints[0]));
    world.plan();
    assert_eq!(world.desired.ports().next().unwrap().targets.len(), 2);
    assert_eq!(
        world.desired.services["web"].local.len(),
        2,
        "replies of its flows are still translated"
    );
    world.snapshot.down = crate::probes::wanted(world.snapshot.services.values());
    world.plan();
    assert_eq!(world.reason(), &VipReason::NoEndpoint);
    // A terminating endpoint does not stand in for one whose health check fails, unless it passes its own.
    service.endpoints[2].ready = false;
    service.endpoints[2].terminating = true;
    world
        .snapshot
        .down
        .remove(&Probe::of(&check, &service.endpoints[2]));
    world.set(service);
    assert_eq!(world.desired.ports().next().unwrap().targets.len(), 1);
}

#[test]
fn an_endpoint_counts_for_the_ports_that_it_serves() {
    let mut world = world();
    let mut service = announced_service(&[1, 2]);
    Arc::make_mut(&mut service.endpoints[0].ports).remove("tcp-443");
    service.endpoints[1].node = Some("elsewhere".into());
    world.set(service);
    let verdicts: Vec<_> = world.desired.services["web"]
        .reasons
        .iter()
        .map(|reason| (reason.port.1, reason.verdict))
        .collect();
    assert_eq!(
        verdicts,
        [
            (80, EndpointVerdict::Used),
            (80, EndpointVerdict::UnknownNode),
            (443, EndpointVerdict::NoSuchPort),
            (443, EndpointVerdict::UsedByKernel),
        ]
    );
}

#[test]
fn a_node_keeps_its_index_and_a_new_one_does_not_get_one_just_freed() {
    let mut world = world();
    let before = world.desired.cluster.clone().unwrap().view.indices.clone();
    let gone = world.snapshot.nodes.remove(1);
    world.snapshot.nodes.push(Arc::new(Node {
        name: "node4".into(),
        addresses: vec!["10.0.0.14".parse().unwrap()],
        labels: BTreeMap::new(),
        unfit: None,
    }));
    world.plan();
    let after = &world.desired.cluster.as_ref().unwrap().view.indices;
    assert_eq!(
        (after["node1"], after["node3"]),
        (before["node1"], before["node3"])
    );
    assert!(
        !after.contains_key(&gone.name) && !before.values().any(|index| *index == after["node4"])
    );
}

/// What a plan says, without when it was said and which index a node has here.
type Said = (
    BTreeMap<String, Vec<(IpAddr, u16, Vec<(IpAddr, u16)>)>>,
    BTreeMap<IpAddr, VipReason>,
    Vec<IpAddr>,
);

fn said(state: &DesiredState) -> Said {
    let seed = state.cluster.as_ref().unwrap().view.seed;
    let ports = state.ports().map(|plan| {
        let owner = |place: usize| (plan.targets[place].address, plan.targets[place].port);
        let targets = plan.targets.iter();
        let mut owners: Vec<_> = targets
            .map(|target| (target.address, target.port))
            .collect();
        let rows = table::rows(&seed, &plan.targets);
        owners.extend(rows.places().map(owner));
        (
            plan.service.to_string(),
            (plan.port.vip, plan.port.port, owners),
        )
    });
    let mut services: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (service, port) in ports {
        services.entry(service).or_default().push(port);
    }
    services.values_mut().for_each(|ports| ports.sort());
    let vips = state
        .vips
        .iter()
        .map(|(&vip, plan)| (vip, plan.reason.clone()));
    (
        services,
        vips.collect(),
        state.routes.iter().copied().collect(),
    )
}

#[derive(Clone, Debug)]
enum Edit {
    Set(Service),
    Fail(usize),
    Recover,
    Node(usize),
    Shuffle,
}

fn edit(world: &mut World, all_nodes: &[Arc<Node>], edit: Edit) {
    let snapshot = &mut world.snapshot;
    match edit {
        Edit::Set(service) if service.vips.is_empty() => {
            snapshot.remove_service(&service.name);
        }
        Edit::Set(service) => _ = snapshot.set_service(Arc::new(service)),
        Edit::Fail(index) => {
            let wanted = crate::probes::wanted(snapshot.services.values());
            snapshot.down.extend(wanted.into_iter().nth(index));
        }
        Edit::Recover => snapshot.down.clear(),
        Edit::Node(index) => {
            let before = snapshot.nodes.len();
            snapshot
                .nodes
                .retain(|node| node.name != all_nodes[index].name);
            if snapshot.nodes.len() == before {
                snapshot.nodes.push(all_nodes[index].clone());
            }
        }
        // Sources list things in any order.
        Edit::Shuffle => {
            snapshot.nodes.reverse();
            for service in snapshot.services.clone().values() {
                let mut turned = (**service).clone();
                turned.endpoints.reverse();
                snapshot.set_service(Arc::new(turned));
            }
        }
    }
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let numbers = proptest::sample::subsequence((0..9).collect::<Vec<u16>>(), 0..7);
    let ports = proptest::sample::subsequence(vec![HTTP, HTTPS], 0..=2);
    let condition = proptest::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 9);
    let set = (0u8..4, 1u8..4, ports, numbers, condition, any::<bool>());
    let set = set.prop_map(|(name, vip, ports, numbers, conditions, announced)| {
        let mut service = service(&format!("s{name}"), vip, &ports, &numbers);
        service.announce = if announced {
            Announce::Bgp
        } else {
            Announce::Nobody
        };
        service.health_check = announced.then_some(HealthCheck {
            tcp_port: 8080,
            interval: Duration::from_secs(1),
            failures: 1,
        });
        let mark =
            |(endpoint, (ready, serving, terminating)): (&mut Endpoint, &(bool, bool, bool))| {
                (endpoint.ready, endpoint.serving, endpoint.terminating) =
                    (*ready, *serving, *terminating);
            };
        service.endpoints.iter_mut().zip(&conditions).for_each(mark);
        if ports.is_empty() {
            service.vips.clear();
        }
        Edit::Set(service)
    });
    let edit = prop_oneof![
        6 => set,
        2 => (0usize..20).prop_map(Edit::Fail),
        1 => Just(Edit::Recover),
        1 => (1usize..3).prop_map(Edit::Node),
        1 => Just(Edit::Shuffle),
    ];
    proptest::collection::vec(edit, 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn planned_step_by_step_is_planned_from_scratch(edits in edits()) {
        let mut world = World::new(CAPACITY);
        world.snapshot.bgp = Some(bgp());
        let all_nodes = world.snapshot.nodes.clone();
        for edit in edits {
            super::tests::edit(&mut world, &all_nodes, edit);
            world.plan();
            world.applied();
        }
        // Withdraws come to their end, and both hear the same of the data path.
        world.snapshot.now += WITHDRAW_MAX;
        world.plan();
        let applied = world.desired.ports().map(|plan| {
            (plan.port, PortFeedback::Applied { generation: u64::MAX })
        });
        world.snapshot.applied = applied.collect();
        world.plan();
        let scratch = plan(&world.snapshot, &DesiredState::default());
        prop_assert_eq!(said(&world.desired), said(&scratch));
    }
}
