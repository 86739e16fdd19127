//! A plan that skips what did not change says what a plan says that looks at everything: after each of a random sequence
//! of changes, with the same previous state.

use super::*;
use crate::{
    model::{Dataplane, Layer2, NextHopMode, Peer, Prefix, Remote, TrafficPolicy},
    plan::services::Changed,
    snapshot::RouteFacts,
};

/// More than Services: whatever else a plan follows from.
#[derive(Clone, Debug)]
enum Step {
    Edit(Edit),
    Local(usize),
    /// The data path reports all ports but these.
    Report(Vec<usize>),
    Refuse(usize),
    Hold(bool),
    Drain(bool),
    Layer2(u8),
    Uplinks,
    Speaker,
    Pools(bool),
    Wait,
}

fn changes() -> impl Strategy<Value = Vec<Step>> {
    let edit = edits().prop_map(|mut edits| Step::Edit(edits.remove(0)));
    let change = prop_oneof![
        8 => edit,
        2 => (0..4_usize).prop_map(Step::Local),
        4 => prop::collection::vec(0..8_usize, 0..3).prop_map(Step::Report),
        2 => (0..8_usize).prop_map(Step::Refuse),
        1 => any::<bool>().prop_map(Step::Hold),
        1 => any::<bool>().prop_map(Step::Drain),
        2 => (0..8_u8).prop_map(Step::Layer2),
        1 => Just(Step::Uplinks),
        1 => Just(Step::Speaker),
        1 => any::<bool>().prop_map(Step::Pools),
        2 => Just(Step::Wait),
    ];
    prop::collection::vec(change, 1..24)
}

fn change(world: &mut World, all_nodes: &[Arc<Node>], step: Step) {
    let snapshot = &mut world.snapshot;
    match step {
        Step::Edit(edit) => super::edit(world, all_nodes, edit),
        Step::Local(index) => {
            let service = snapshot.services.values().nth(index).cloned();
            if let Some(mut service) = service {
                Arc::make_mut(&mut service).traffic_policy = TrafficPolicy::Local;
                snapshot.set_service(service);
            }
        }
        Step::Report(missing) => {
            let ports = world.desired.ports().enumerate();
            let ports = ports.filter(|(index, _)| !missing.contains(index));
            let applied = ports.map(|(_, plan)| {
                let generation = plan.generation;
                (plan.port, PortFeedback::Applied { generation })
            });
            snapshot.applied = applied.collect();
        }
        Step::Refuse(index) => {
            let port = snapshot.applied.keys().nth(index).copied();
            let reason = "no room".to_owned();
            let refused = port.map(|port| (port, PortFeedback::Failed { reason }));
            snapshot.applied.extend(refused);
        }
        Step::Hold(hold) => {
            let held = world.desired.routes.iter().filter(|_| hold);
            snapshot.routes = RouteFacts {
                sessions: [(Remote::Interface("eth0".into()), true)].into(),
                held: held.copied().collect(),
            };
        }
        Step::Drain(drain) => snapshot.drain = drain.then(Drain::default),
        Step::Layer2(owned) => {
            let owns = (1..4).filter(|bit| owned >> bit & 1 == 1);
            snapshot.layer2 = (owned > 0).then(|| {
                let owns = owns.map(|last| IpAddr::from([10, 99, 0, last]));
                Arc::new(Layer2 {
                    interfaces: Vec::new(),
                    owns: owns.collect(),
                })
            });
        }
        Step::Uplinks => match snapshot.links.pop() {
            Some(_) => {}
            None => snapshot.links = World::new(CAPACITY).snapshot.links,
        },
        Step::Speaker => {
            let peer = Peer {
                next_hop: NextHopMode::Nodes { send_max: 2 },
                ..Peer::new(Remote::Address([10, 0, 0, 1].into()), 65_001)
            };
            let speaker = Bgp {
                peers: vec![Arc::new(peer)],
                ..(*bgp()).clone()
            };
            let is_there = snapshot.bgp.take().is_some();
            snapshot.bgp = (!is_there).then(|| Arc::new(speaker));
        }
        Step::Pools(some) => {
            let pool = Prefix::containing([10, 99, 0, 0].into(), 31);
            snapshot.dataplane = Arc::new(Dataplane {
                pools: some.then_some(pool).into_iter().collect(),
                ..Dataplane::default()
            });
        }
        Step::Wait => snapshot.now += Duration::from_secs(2),
    }
}

/// The same, with nothing to tell it by.
fn strangers<T: Clone>(map: &OrdMap<Arc<str>, Arc<T>>) -> impl Iterator<Item = (Arc<str>, Arc<T>)> {
    map.iter()
        .map(|(name, item)| (name.clone(), Arc::new((**item).clone())))
}

/// What a plan remembers beyond what it compares with.
fn forgetful(state: &DesiredState) -> DesiredState {
    let known: Vec<_> = state
        .services
        .iter()
        .map(|(name, plan)| Changed {
            name: name.clone(),
            old: None,
            new: Some(plan.clone()),
        })
        .collect();
    let mut state = state.clone();
    state.peer_routes.inputs = routes::Inputs::default();
    state.memo = Memo {
        services: strangers(&state.memo.services).collect(),
        checks: checks::tally(&Arc::default(), &known),
        ..Memo::default()
    };
    state
}

/// All that a state says; who comes from where shows in the generations.
fn everything(mut state: DesiredState) -> String {
    state.memo = Memo::default();
    format!("{state:#?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_skipped_is_what_would_come_out_the_same(changes in changes()) {
        let mut world = World::new(CAPACITY);
        world.snapshot.bgp = Some(bgp());
        for name in 0..3 {
            let mut service = service(&format!("s{name}"), name + 1, &[HTTP], &[1, 2]);
            service.announce = Announce::Bgp;
            world.set(service);
        }
        world.applied();
        let all_nodes = world.snapshot.nodes.clone();
        for next in changes {
            change(&mut world, &all_nodes, next);
            world.snapshot.now += Duration::from_millis(300);
            let mut stranger = world.snapshot.clone();
            stranger.services = strangers(&world.snapshot.services).collect();
            let whole = plan(&stranger, &forgetful(&world.desired));
            world.desired = plan(&world.snapshot, &world.desired);
            let (ours, whole) = (everything(world.desired.clone()), everything(whole));
            if ours != whole {
                let differs = ours.lines().zip(whole.lines()).find(|(a, b)| a != b);
                prop_assert!(false, "skipped: {differs:?}");
            }
        }
    }
}
