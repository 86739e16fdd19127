//! Every intermediate state is looked at: stores are carried out word by word, and packets, caught between any
//! two of their loads, must find what was there before the change or what is there after it.

mod pieces;
mod reader;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lb_common::{
    abi::MapId,
    image::{Image, MapWrite},
    limits::Capacity,
};
use proptest::prelude::*;

use super::*;
use crate::{
    desired::PortPlan,
    model::{Mac, Prefix, Protocol, Service, TrafficPolicy},
    table::{self, Rows},
    world::{CAPACITY, World, service},
};
use reader::{Answer, NEW, Reader, STRANGER, client};

const PORTS: [(Protocol, u16); 3] = [
    (Protocol::Tcp, 80),
    (Protocol::Udp, 80),
    (Protocol::Tcp, 443),
];
const VIPS: u8 = 4;

type Flow = (ServicePort, u64);

/// What is right for a flow at one moment.
struct Answers {
    /// The answer itself.
    whole: Answer,
    /// Where its look-ups end that do not mind source ranges, by the node-local view and by the cluster's.
    places: [Answer; 2],
}

/// The maps, the packets in the programs, and all answers that were right lately.
struct Kernel {
    image: Image,
    packets: Vec<(Reader, usize)>,
    /// Answers of every flow at each moment between two changes.
    history: Vec<BTreeMap<Flow, Answers>>,
    stores: usize,
}

fn universe() -> impl Iterator<Item = ServicePort> {
    (1..=VIPS).flat_map(|vip| {
        let vips = service("x", vip, &[], &[]).vips;
        vips.into_iter().flat_map(|vip| {
            PORTS.map(|(protocol, port)| ServicePort {
                vip,
                protocol,
                port,
            })
        })
    })
}

/// Hashes of the flows that are followed; rows of the first words and of the last.
const HASHES: [u64; 8] = [
    0,
    5,
    1027,
    2048 + 17,
    16_383,
    5 | NEW,
    (2048 + 17) | NEW | STRANGER,
    16_383 | STRANGER,
];

impl Kernel {
    fn new(capacity: Capacity) -> Self {
        let image = Image::empty(capacity);
        let history = vec![answers(&image)];
        Self {
            image,
            packets: Vec::new(),
            history,
            stores: 0,
        }
    }

    /// Carries writes out word by word, at most `limit` of them (an agent that is killed). Says whether all were.
    fn apply(&mut self, writes: &[MapWrite], limit: usize) -> bool {
        let mut left = limit;
        // Until the change is through, the answers after it are not known: take them from a copy.
        let mut after = self.image.clone();
        after.apply(writes);
        self.history.push(answers(&after));
        for write in writes {
            let MapWrite::Store { map, word, values } = write else {
                match write {
                    MapWrite::Grace => self.grace(),
                    change_of_the_trie => {
                        self.image.apply(std::slice::from_ref(change_of_the_trie))
                    }
                }
                continue;
            };
            for (offset, &value) in values.iter().enumerate() {
                if left == 0 {
                    // What the next agent finds: old answers of some flows, new ones of others.
                    self.history.push(answers(&self.image));
                    return false;
                }
                left -= 1;
                self.store(*map, word + offset, value);
            }
        }
        true
    }

    fn store(&mut self, map: MapId, word: usize, value: u64) {
        let values = vec![value];
        self.image.apply(&[MapWrite::Store { map, word, values }]);
        self.stores += 1;
        self.arrive();
        self.go_on();
    }

    /// Packets of a few flows enter, each stops after another number of loads.
    fn arrive(&mut self) {
        let now = self.history.len() - 1;
        let flows = universe().flat_map(|port| HASHES.map(|hash| (port, hash)));
        for (index, (port, hash)) in flows.enumerate() {
            if (index + self.stores).is_multiple_of(29) {
                let mut reader = Reader::new(port, hash);
                let loads = (index / 7 + self.stores / 3) % 6;
                let early = (0..loads).find_map(|_| reader.step(&self.image));
                match early {
                    Some(answer) => self.judge(&reader, now, answer),
                    None => self.packets.push((reader, now)),
                }
            }
        }
    }

    /// One in three of the packets under way makes its next load.
    fn go_on(&mut self) {
        let mut packets = std::mem::take(&mut self.packets);
        let turn = self.stores % 3;
        let mut index = 0;
        packets.retain_mut(|(reader, since)| {
            index += 1;
            let answer = if index % 3 == turn {
                reader.step(&self.image)
            } else {
                None
            };
            answer
                .inspect(|&answer| self.judge(reader, *since, answer))
                .is_none()
        });
        // Enough of them: the oldest have to leave.
        let surplus = packets.len().saturating_sub(64);
        for (reader, since) in packets.drain(..surplus) {
            self.judge(&reader, since, reader.finish(&self.image));
        }
        self.packets = packets;
    }

    /// All packets leave the programs.
    fn grace(&mut self) {
        for (reader, since) in std::mem::take(&mut self.packets) {
            self.judge(&reader, since, reader.finish(&self.image));
        }
    }

    /// Right is what was the answer before the change in which the packet came, or after any change since. A
    /// client that may connect in one of these states may go where it would have gone in another.
    fn judge(&self, reader: &Reader, since: usize, answer: Answer) {
        let flow = (reader.port, reader.flow_hash);
        let states = &self.history[since.saturating_sub(1)..];
        let states: Vec<_> = states.iter().map(|answers| &answers[&flow]).collect();
        let right: BTreeSet<_> = states.iter().map(|state| state.whole).collect();
        let places: BTreeSet<_> = states.iter().flat_map(|state| state.places).collect();
        let may_connect = right.iter().any(|answer| *answer != Answer::Refused);
        assert!(
            right.contains(&answer) || may_connect && places.contains(&answer),
            "{flow:?} got {answer:?}, not one of {right:?} nor {places:?}"
        );
    }
}

fn answers(image: &Image) -> BTreeMap<Flow, Answers> {
    let flows = universe().flat_map(|port| HASHES.map(|hash| (port, hash)));
    let of = |(port, hash)| {
        let place = |hash| Reader::new(port, hash).admitted().finish(image);
        Answers {
            whole: Reader::new(port, hash).finish(image),
            places: [place(hash), place(hash & !NEW)],
        }
    };
    flows.map(|flow| (flow, of(flow))).collect()
}

/// A plan with its tables: the cluster's and, if there is one, this node's.
struct Planned<'a> {
    plan: &'a PortPlan,
    rows: Rows,
    local: Option<Rows>,
}

impl<'a> Planned<'a> {
    fn of(world: &World, plan: &'a PortPlan) -> Self {
        let seed = &world.snapshot.keys.seed;
        Self {
            plan,
            rows: table::rows(seed, &plan.targets),
            local: plan.local.as_ref().map(|local| table::rows(seed, local)),
        }
    }
}

/// What a plan says of a flow.
fn planned(planned: &Planned<'_>, hash: u64) -> Answer {
    let plan = planned.plan;
    let client = client(hash, plan.port.vip);
    let ranges = plan.source_ranges.as_ref();
    if ranges.is_some_and(|ranges| !ranges.iter().any(|range| range.contains(client))) {
        return Answer::Refused;
    }
    let local = plan.local.as_ref().zip(planned.local.as_ref());
    let (targets, rows) = match local.filter(|_| hash & NEW != 0) {
        Some(local) => local,
        None if plan.by_kernel => return Answer::ByKernel,
        None if plan.targets.is_empty() => return Answer::NoEndpoint,
        None => (&plan.targets, &planned.rows),
    };
    let count = rows.shape().rows() as usize;
    let row = hash as usize & count.saturating_sub(1);
    let endpoint = encode::endpoint(&targets[rows.place(row)]);
    Answer::Endpoint(endpoint.address, endpoint.port, endpoint.node)
}

/// What the plan says of a flow; what is not placed is not asked for.
fn assert_as_planned(world: &World, image: &Image, unplaced: &BTreeMap<Unplaced, NoRoom>) {
    let vips: BTreeSet<_> = world.desired.ports().map(|plan| plan.port.vip).collect();
    let plans: BTreeMap<_, _> = world
        .desired
        .ports()
        .map(|plan| (plan.port, Planned::of(world, plan)))
        .collect();
    for ((port, hash), Answers { whole: answer, .. }) in answers(image) {
        let is_unplaced = unplaced.contains_key(&Unplaced::Port(port))
            || unplaced.contains_key(&Unplaced::Vip(port.vip));
        let expected = match plans.get(&port) {
            _ if is_unplaced => continue,
            None if vips.contains(&port.vip) => Answer::NoSuchPort,
            None => Answer::NotOurs,
            Some(plan) => planned(plan, hash),
        };
        assert_eq!(answer, expected, "{port} {hash}");
    }
}

fn assert_settled(world: &World, kernel: &Kernel, placements: &Placements) {
    assert_eq!(recover(&kernel.image).entries(), placements.entries());
    for known in [placements.clone(), Placements::default()] {
        let again = image(
            &world.desired,
            &world.snapshot.neighbours,
            &kernel.image,
            known,
        );
        assert_eq!(again.writes, [], "nothing changed");
    }
}

/// An edit of the cluster.
#[derive(Clone, Debug)]
enum Edit {
    Service(Service),
    /// The agent is killed after so many stores of the next change.
    Kill(usize),
    /// The agent forgets its placements.
    Restart,
    /// A node leaves, or comes back.
    Node(usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let some_of =
        |all: u16, count| proptest::sample::subsequence((0..all).collect::<Vec<_>>(), count);
    let endpoints = prop_oneof![
        8 => some_of(12, 0..8),
        1 => some_of(40, 0..40),
        1 => some_of(300, 250..262),
    ];
    let ports = proptest::sample::subsequence(PORTS.to_vec(), 0..=2);
    let of_service = (0u8..6, 1..=VIPS, ports, endpoints, any::<u8>()).prop_map(
        |(name, vip, ports, endpoints, variety)| {
            let mut service = service(&format!("s{name}"), vip, &ports, &endpoints);
            vary(&mut service, variety);
            if ports.is_empty() {
                service.vips.clear();
            }
            Edit::Service(service)
        },
    );
    let edit = prop_oneof![
        20 => of_service,
        2 => (0usize..800).prop_map(Edit::Kill),
        1 => Just(Edit::Restart),
        1 => (1usize..3).prop_map(Edit::Node),
    ];
    proptest::collection::vec(edit, 1..14)
}

/// Policy, affinity, terminating endpoints, endpoints outside, and ranges, each in some of all Services.
fn vary(service: &mut Service, variety: u8) {
    if variety & 1 != 0 {
        service.traffic_policy = TrafficPolicy::Local;
    }
    service.affinity = (variety & 2 != 0).then_some(Duration::from_secs(60));
    for (number, endpoint) in service.endpoints.iter_mut().enumerate() {
        let is_terminating = variety & 4 != 0 && number % 3 == 0;
        (endpoint.ready, endpoint.terminating) = (!is_terminating, is_terminating);
        if variety & 8 != 0 {
            endpoint.node = None;
        }
    }
    let friends = ["198.51.100.0/24", "2001:db8:1::/48"];
    let all = ["0.0.0.0/0", "::/0"];
    let ranges: &[&str] = match variety >> 4 {
        0..6 => &[],
        6..9 => &friends,
        9 => &friends[..1],
        10 | 11 => &all,
        _ => &[],
    };
    let range = |text: &&str| {
        let (address, bits) = text.split_once('/').unwrap();
        Prefix::new(address.parse().unwrap(), bits.parse().unwrap()).unwrap()
    };
    service.source_ranges = ranges.iter().map(range).collect();
    if variety >> 4 >= 12 {
        // More than stand beside the service; in half of the cases the friend is among them.
        let first = if variety >> 4 >= 14 { 95 } else { 101 };
        let many = (first..first + 9u8).flat_map(|third| {
            let third_v6 = u16::from(third).wrapping_sub(99);
            [
                Prefix::new(IpAddr::from([198, 51, third, 0]), 24).unwrap(),
                Prefix::new(IpAddr::from([0x2001, 0xdb8, third_v6, 0, 0, 0, 0, 0]), 48).unwrap(),
            ]
        });
        service.source_ranges = many.collect();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_packet_gets_the_old_answer_or_the_new_one(edits in edits()) {
        let mut world = World::new(CAPACITY);
        let all_nodes = world.snapshot.nodes.clone();
        let mut kernel = Kernel::new(CAPACITY);
        let mut placements = Placements::default();
        let mut limit = usize::MAX;
        for edit in edits {
            match edit {
                Edit::Service(service) => world.set(service),
                Edit::Kill(stores) => { limit = stores; continue }
                Edit::Restart => placements = Placements::default(),
                Edit::Node(index) => {
                    let node = &all_nodes[index];
                    let before = world.snapshot.nodes.len();
                    world.snapshot.nodes.retain(|item| item.name != node.name);
                    if world.snapshot.nodes.len() == before {
                        world.snapshot.nodes.push(node.clone());
                    }
                    world.plan();
                }
            }
            pieces::assert_same(&world, &kernel.image, &placements);
            let outcome = image(&world.desired, &world.snapshot.neighbours, &kernel.image, placements);
            if !kernel.apply(&outcome.writes, limit) {
                // A new agent takes over what the dead one left, after a while.
                kernel.grace();
                let outcome =
                    image(&world.desired, &world.snapshot.neighbours, &kernel.image, Placements::default());
                kernel.apply(&outcome.writes, usize::MAX);
                placements = outcome.placements;
                assert_as_planned(&world, &kernel.image, &outcome.unplaced);
            } else {
                placements = outcome.placements;
                assert_as_planned(&world, &kernel.image, &outcome.unplaced);
            }
            limit = usize::MAX;
            assert_settled(&world, &kernel, &placements);
        }
    }
}

/// A world with one Service, in the maps.
fn settled(endpoints: &[u16]) -> (World, Image, Placements) {
    let mut world = World::new(CAPACITY);
    world.set(service("web", 1, &PORTS[..1], endpoints));
    let mut maps = Image::empty(CAPACITY);
    let outcome = image(
        &world.desired,
        &world.snapshot.neighbours,
        &maps,
        Placements::default(),
    );
    assert_eq!(outcome.unplaced, BTreeMap::new());
    maps.apply(&outcome.writes);
    (world, maps, outcome.placements)
}

fn maps_written(writes: &[MapWrite]) -> BTreeSet<MapId> {
    let map = |write: &MapWrite| match write {
        MapWrite::Store { map, .. } => Some(*map),
        _ => None,
    };
    writes.iter().filter_map(map).collect()
}

#[test]
fn a_new_mac_rewrites_the_nodes_row_and_what_recognises_it() {
    let (mut world, maps, placements) = settled(&[1, 2, 3]);
    world.snapshot.neighbours.get_mut("node2").unwrap().mac = Some(Mac([2, 0, 0, 0, 0, 99]));
    let outcome = image(
        &world.desired,
        &world.snapshot.neighbours,
        &maps,
        placements,
    );
    let written = maps_written(&outcome.writes);
    assert_eq!(
        written,
        [MapId::Nodes, MapId::NodeMacs, MapId::Interfaces].into()
    );
    let row_words: usize = outcome
        .writes
        .iter()
        .map(|write| match write {
            MapWrite::Store {
                map: MapId::Nodes,
                values,
                ..
            } => values.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(row_words, 1, "a packet sees the old MAC or the new one");
    assert!(!outcome.writes.contains(&MapWrite::Grace));

    // The gateway of a node behind a router is no node.
    let (_, maps, placements) = settled(&[1, 2, 3]);
    world.snapshot.neighbours.get_mut("node2").unwrap().mac = Some(Mac([2, 0, 0, 0, 0, 2]));
    world.snapshot.neighbours.get_mut("node3").unwrap().mac = Some(Mac([2, 0, 0, 0, 0, 99]));
    let outcome = image(
        &world.desired,
        &world.snapshot.neighbours,
        &maps,
        placements,
    );
    assert_eq!(maps_written(&outcome.writes), [MapId::Nodes].into());
}

#[test]
fn one_endpoint_more_moves_few_words_and_no_one_elses() {
    let (mut world, maps, placements) = settled(&[1, 2, 3, 4, 5]);
    world.set(service("web", 1, &PORTS[..1], &[1, 2, 3, 4, 5, 6]));
    let outcome = image(
        &world.desired,
        &world.snapshot.neighbours,
        &maps,
        placements.clone(),
    );
    assert_eq!(
        outcome.placements.entries(),
        placements.entries(),
        "nothing moved"
    );
    let stores = outcome
        .writes
        .iter()
        .filter(|write| !matches!(write, MapWrite::Grace));
    let words: usize = stores
        .map(|write| match write {
            MapWrite::Store { values, .. } => values.len(),
            _ => 0,
        })
        .sum();
    assert!(words < 2 * 2 * 512, "{words} words for two tables");
}

#[test]
fn a_slot_is_reused_only_after_a_grace() {
    let (mut world, mut maps, mut placements) = settled(&[1, 2, 3, 4, 5]);
    for number in 6..40 {
        let members: Vec<u16> = (number - 4..=number).collect();
        world.set(service("web", 1, &PORTS[..1], &members));
        let outcome = image(
            &world.desired,
            &world.snapshot.neighbours,
            &maps,
            placements,
        );
        let is_clear = |write: &MapWrite| matches!(write, MapWrite::Store { map: MapId::Endpoints, values, .. } if values == &[0]);
        let clear = outcome
            .writes
            .iter()
            .position(is_clear)
            .expect("the old one is cleared");
        let grace = outcome
            .writes
            .iter()
            .position(|write| *write == MapWrite::Grace);
        assert!(grace.is_some_and(|grace| grace < clear));
        maps.apply(&outcome.writes);
        placements = outcome.placements;
    }
}

#[test]
fn a_full_arena_leaves_the_new_service_out_and_says_so() {
    let mut world = World::new(CAPACITY);
    for number in 0..3 {
        world.set(service(
            &format!("s{number}"),
            number + 1,
            &PORTS,
            &[1, 2, 3],
        ));
    }
    let mut maps = Image::empty(CAPACITY);
    let outcome = image(
        &world.desired,
        &world.snapshot.neighbours,
        &maps,
        Placements::default(),
    );
    // Nine ports of two families want a unit each, and there are eight.
    assert_eq!(outcome.unplaced.len(), 10);
    assert!(outcome.unplaced.values().all(|why| *why == NoRoom::Rows(1)));
    let feedback = outcome.feedback();
    let failed = feedback
        .values()
        .filter(|f| matches!(f, PortFeedback::Failed { .. }));
    assert_eq!((feedback.len(), failed.count()), (18, 10));
    maps.apply(&outcome.writes);
    // Room that is given back is handed out in the same call.
    let mut gone = service("s0", 1, &[], &[]);
    gone.vips.clear();
    world.set(gone);
    let outcome = image(
        &world.desired,
        &world.snapshot.neighbours,
        &maps,
        outcome.placements,
    );
    maps.apply(&outcome.writes);
    assert_as_planned(&world, &maps, &outcome.unplaced);
    assert_eq!(outcome.unplaced.len(), 4);
}

#[test]
fn a_pair_of_full_buckets_makes_the_spare_copy_current() {
    let capacity = Capacity {
        services: 16,
        ..CAPACITY
    };
    let mut world = World::new(capacity);
    let mut kernel = Kernel::new(capacity);
    world.set(service("web", 1, &PORTS[..1], &[1]));
    let first = image(
        &world.desired,
        &world.snapshot.neighbours,
        &kernel.image,
        Placements::default(),
    );
    kernel.apply(&first.writes, usize::MAX);
    let head = entries::head(&Draft::new(&kernel.image));
    // Ports whose keys all want the first two buckets, which hold eight.
    let vip = world.snapshot.services.values().next().unwrap().vips[0];
    let crowded = (1000..).filter(|&port| {
        let protocol = Protocol::Tcp;
        let key = encode::key(
            0,
            &Entry::Port(ServicePort {
                vip,
                protocol,
                port,
            }),
        );
        let (a, b) = head.buckets(key);
        a - head.base() < 2 && b - head.base() < 2
    });
    let ports: Vec<_> = crowded.take(9).map(|port| (Protocol::Tcp, port)).collect();
    let mut crowd = service("crowd", 1, &ports, &[1]);
    crowd.vips.truncate(1);
    crowd
        .endpoints
        .retain(|endpoint| endpoint.address.is_ipv4());
    world.set(crowd);
    let outcome = image(
        &world.desired,
        &world.snapshot.neighbours,
        &kernel.image,
        first.placements,
    );
    kernel.apply(&outcome.writes, usize::MAX);
    let flipped = entries::head(&Draft::new(&kernel.image));
    assert_ne!((flipped.base(), flipped.seed()), (head.base(), head.seed()));
    assert_eq!(outcome.unplaced, BTreeMap::new());
    assert_as_planned(&world, &kernel.image, &outcome.unplaced);
    assert_settled(&world, &kernel, &outcome.placements);
}

#[test]
fn another_key_starts_from_nothing() {
    let (mut world, mut maps, placements) = settled(&[1, 2, 3]);
    world.snapshot.keys =
        crate::keys::ClusterKeys::from_secret(b"another secret of the tests").unwrap();
    world.plan();
    let outcome = image(
        &world.desired,
        &world.snapshot.neighbours,
        &maps,
        placements,
    );
    maps.apply(&outcome.writes);
    assert_as_planned(&world, &maps, &outcome.unplaced);
    let fresh = image(
        &world.desired,
        &world.snapshot.neighbours,
        &maps,
        Placements::default(),
    );
    assert_eq!(fresh.writes, []);
}
