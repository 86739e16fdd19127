use std::{
    cell::RefCell, collections::BTreeSet, ops::RangeInclusive, rc::Rc, sync::Arc, time::Duration,
};

use lb_common::{
    abi::MapId,
    counter::ServiceCounters,
    flow::STATES,
    image::{Image, MapWrite, Memory},
    limits::Capacity,
    service::ServiceCold,
    source::TrieRange,
    verdict::{VERDICTS, Verdict},
};
use lb_core::{
    DesiredState, Snapshot,
    config::{Origin, parse},
    keys::ClusterKeys,
    model::Mac,
    plan,
    snapshot::{DatapathFacts, Link, Neighbours, PortFeedback, Takeover},
};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Executor, Inputs, Maps, follow};
use crate::{
    apply::reading::{Observe, Reading},
    engine::feedback::{Applied, Feedback},
    failure::chain,
};

const CAPACITY: Capacity = Capacity {
    services: 64,
    row_units: 64,
    endpoints: 256,
    ..Capacity::DEFAULT
};

const YAML: &str = "
nodes:
  - {name: n1, addresses: [10.0.0.11]}
services:
  - name: default/web
    addresses: [10.99.0.1]
    ports: [{name: http, port: 80}]
    endpoints:
      - {address: 10.1.1.2, node: n1, ports: {http: 8080}}
      - {address: 10.1.1.3, node: n1, ports: {http: 8080}}
  - name: default/dns
    addresses: [10.99.0.2]
    ports: [{name: dns, protocol: UDP, port: 53}]
    endpoints:
      - {address: 10.1.1.4, node: n1, ports: {dns: 53}}
";

/// Maps that can be told to fail, and that outlive the executor as pins do.
#[derive(Clone, Debug)]
struct Fake(Rc<RefCell<Kernel>>);

#[derive(Debug)]
struct Kernel {
    image: Image,
    writes: usize,
    stamps: usize,
    attached: Vec<String>,
    kept: bool,
    write_fails: bool,
    attach_fails: bool,
    uplink_was_away: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("the kernel says no")]
struct No;

impl Fake {
    fn new() -> Self {
        Self(Rc::new(RefCell::new(Kernel {
            image: Image::empty(CAPACITY),
            writes: 0,
            stamps: 0,
            attached: Vec::new(),
            kept: false,
            write_fails: false,
            attach_fails: false,
            uplink_was_away: false,
        })))
    }
}

impl Maps for Fake {
    type Error = No;

    fn adopted(&self) -> bool {
        self.0.borrow().kept
    }

    fn apply(&mut self, writes: &[MapWrite]) -> Result<(), No> {
        let mut kernel = self.0.borrow_mut();
        if kernel.write_fails {
            return Err(No);
        }
        kernel.image.apply(writes);
        kernel.writes += writes.len();
        Ok(())
    }

    fn attach(&mut self, links: &[Link]) -> Result<(), No> {
        let mut kernel = self.0.borrow_mut();
        if kernel.attach_fails {
            return Err(No);
        }
        kernel.attached = links.iter().map(|link| link.name.to_string()).collect();
        Ok(())
    }

    fn attached(&self) -> Vec<lb_datapath::Attached> {
        Vec::new()
    }

    fn keep(&mut self) {
        self.0.borrow_mut().kept = true;
    }

    fn observer(&self) -> Box<dyn Observe> {
        Box::new(Counted)
    }

    fn are_on(&self, _links: &[Link]) -> bool {
        !self.0.borrow().uplink_was_away
    }

    fn return_to_xdp(&mut self, _links: &[Link]) -> Result<(), No> {
        Ok(())
    }

    fn stamp(&self, _limit: Option<Duration>) -> Result<(), No> {
        self.0.borrow_mut().stamps += 1;
        Ok(())
    }
}

impl Memory for Fake {
    fn capacity(&self) -> Capacity {
        self.0.borrow().image.capacity()
    }

    fn word(&self, map: MapId, at: usize) -> u64 {
        self.0.borrow().image.words(map)[at]
    }

    fn ranges_of(&self, services: RangeInclusive<u16>) -> Vec<TrieRange> {
        self.0.borrow().image.ranges_of(services)
    }

    fn range_count(&self) -> usize {
        self.0.borrow().image.ranges().len()
    }
}

/// What the fake has counted.
struct Counted;

impl Observe for Counted {
    /// Each service's packets are ten times its id plus one.
    fn service_counters(&self) -> Vec<ServiceCounters> {
        let of = |id: u64| ServiceCounters {
            packets: id * 10 + 1,
            ..ServiceCounters::default()
        };
        (0..u64::from(CAPACITY.services)).map(of).collect()
    }

    fn verdicts(&self) -> [u64; VERDICTS] {
        let mut packets = [0; VERDICTS];
        packets[Verdict::TooBig as usize] = 5;
        packets
    }

    fn active_flows(&self) -> Vec<u32> {
        (0..CAPACITY.services).collect()
    }

    fn samples(&self) -> lb_datapath::Samples {
        lb_datapath::Samples::default()
    }
}

fn link(name: &str, ifindex: u32) -> Link {
    Link {
        slot: 0,
        name: name.into(),
        ifindex,
        mac: Mac([2, 0, 0, 0, 0, 1]),
        mtu_bytes: 1500,
        addresses: Vec::new(),
        subnets: Vec::new(),
    }
}

/// The plan of a file, after `previous`.
fn planned(yaml: &str, previous: &DesiredState) -> Arc<DesiredState> {
    let origin = Origin {
        file: "test.yaml",
        host_name: "n1",
    };
    let config = parse(yaml, origin).unwrap_or_else(|error| panic!("{error}"));
    let keys = ClusterKeys {
        seed: [1, 2],
        gue_key: [3, 4],
    };
    let facts = DatapathFacts {
        capacity: CAPACITY,
        jiffies_per_second: 250,
        tick_shift: 8,
        timeout_ticks: [60; STATES],
    };
    let mut snapshot = Snapshot::new(&config, keys, facts);
    snapshot.links = vec![link("eth0", 7)];
    if let Some(before) = previous.services.values().next() {
        let known = previous
            .services
            .values()
            .map(|plan| Arc::clone(&plan.service));
        assert!(known.count() > 0, "{before:?}");
        snapshot.services = previous
            .services
            .iter()
            .map(|(name, plan)| (Arc::clone(name), Arc::clone(&plan.service)))
            .collect();
        snapshot.set_config(&config);
    }
    Arc::new(plan(&snapshot, previous))
}

fn first_plan() -> Arc<DesiredState> {
    planned(YAML, &DesiredState::default())
}

fn is_applied(applied: &Applied, vip: &str) -> bool {
    let (_, feedback) = applied
        .ports
        .iter()
        .find(|(port, _)| port.vip.to_string() == vip)
        .unwrap_or_else(|| panic!("nothing said of {vip}: {applied:?}"));
    matches!(feedback, PortFeedback::Applied { .. })
}

#[test]
fn what_is_reported_is_in_the_maps_and_attached() {
    let fake = Fake::new();
    let mut executor = Executor::new(fake.clone());
    let desired = first_plan();
    let (applied, result) = executor.apply(&desired, &Neighbours::new());
    result.unwrap();
    assert_eq!(applied.generation, desired.generation);
    assert!(is_applied(&applied, "10.99.0.1") && is_applied(&applied, "10.99.0.2"));
    let kernel = fake.0.borrow();
    assert!(kernel.kept);
    assert_eq!(kernel.attached, ["eth0"]);
    let cold = (0..CAPACITY.services as usize)
        .map(|id| kernel.image.element::<ServiceCold>(MapId::ServiceCold, id));
    assert_eq!(
        cold.filter(|cold| cold.family == 4 && cold.port != 0)
            .count(),
        2
    );
}

#[test]
fn a_restart_writes_nothing_if_nothing_changed() {
    let fake = Fake::new();
    Executor::new(fake.clone())
        .apply(&first_plan(), &Neighbours::new())
        .1
        .unwrap();
    let before = fake.0.borrow().writes;
    assert!(before > 0);
    let (applied, result) = Executor::new(fake.clone()).apply(&first_plan(), &Neighbours::new());
    result.unwrap();
    assert!(is_applied(&applied, "10.99.0.1"));
    assert_eq!(fake.0.borrow().writes, before);
}

#[test]
fn counters_are_found_by_service_port_after_a_restart_too() {
    let fake = Fake::new();
    let mut first = Executor::new(fake.clone());
    first.apply(&first_plan(), &Neighbours::new()).1.unwrap();
    let counters = first.reading().take();
    assert_eq!(counters.verdicts, [(Verdict::TooBig, 5)]);
    assert_eq!(counters.services.len(), 2);
    let distinct: BTreeSet<_> = counters
        .services
        .values()
        .map(|counters| counters.packets)
        .collect();
    assert_eq!(distinct.len(), 2);
    let mut second = Executor::new(fake);
    second.apply(&first_plan(), &Neighbours::new()).1.unwrap();
    assert_eq!(second.reading().take(), counters);
}

#[test]
fn a_write_that_fails_takes_down_only_what_it_was_for() {
    let fake = Fake::new();
    let mut executor = Executor::new(fake.clone());
    let first = first_plan();
    executor.apply(&first, &Neighbours::new()).1.unwrap();
    let second = planned(&YAML.replace("10.1.1.3", "10.1.1.9"), &first);
    fake.0.borrow_mut().write_fails = true;
    let (applied, result) = executor.apply(&second, &Neighbours::new());
    assert!(result.is_err());
    assert!(
        !is_applied(&applied, "10.99.0.1"),
        "it changed and was not written"
    );
    assert!(is_applied(&applied, "10.99.0.2"), "nothing of it changed");
    fake.0.borrow_mut().write_fails = false;
    let (applied, result) = executor.apply(&second, &Neighbours::new());
    result.unwrap();
    assert!(is_applied(&applied, "10.99.0.1"));
}

/// The other ends of an executor's inputs.
struct Engine {
    desired: watch::Sender<Arc<DesiredState>>,
    beat: watch::Sender<()>,
    _ways: watch::Sender<Arc<Neighbours>>,
    _asked: mpsc::Sender<oneshot::Sender<Reading>>,
}

fn engine(first: Arc<DesiredState>) -> (Engine, Inputs) {
    let (desired, desired_seen) = watch::channel(Arc::default());
    desired.send_replace(first);
    let (beat, beat_seen) = watch::channel(());
    let (ways, neighbours) = watch::channel(Arc::default());
    let (asked, counters) = mpsc::channel(1);
    let engine = Engine {
        desired,
        beat,
        _ways: ways,
        _asked: asked,
    };
    (
        engine,
        Inputs {
            desired: desired_seen,
            neighbours,
            beat: beat_seen,
            counters,
        },
    )
}

async fn heard(feedback: &mut mpsc::UnboundedReceiver<Feedback>) -> Applied {
    match feedback.recv().await {
        Some(Feedback::Applied(applied)) => applied,
        other => panic!("nothing applied: {other:?}"),
    }
}

#[tokio::test]
async fn a_first_attempt_that_fails_is_the_end() {
    let fake = Fake::new();
    fake.0.borrow_mut().attach_fails = true;
    let (_engine, inputs) = engine(first_plan());
    let (feedback, mut reported) = mpsc::unbounded_channel();
    let ended = follow(&mut Executor::new(fake.clone()), inputs, feedback).await;
    let sentence = chain(&ended.unwrap_err());
    assert_eq!(
        sentence,
        "the programs cannot be attached: the kernel says no"
    );
    assert!(!fake.0.borrow().kept, "nothing worked, so nothing is kept");
    assert_eq!(reported.recv().await, None, "nothing may be announced");
}

#[tokio::test]
async fn a_later_failure_is_reported_and_tried_again_while_the_engine_lives() {
    let fake = Fake::new();
    let first = first_plan();
    let (engine, inputs) = engine(Arc::clone(&first));
    let (feedback, mut reported) = mpsc::unbounded_channel();
    let mut executor = Executor::new(fake.clone());
    let script = async {
        assert!(is_applied(&heard(&mut reported).await, "10.99.0.1"));
        fake.0.borrow_mut().write_fails = true;
        engine
            .desired
            .send_replace(planned(&YAML.replace("10.1.1.3", "10.1.1.9"), &first));
        assert!(!is_applied(&heard(&mut reported).await, "10.99.0.1"));
        fake.0.borrow_mut().write_fails = false;
        engine.beat.send_replace(());
        assert!(is_applied(&heard(&mut reported).await, "10.99.0.1"));
        assert_eq!(fake.0.borrow().stamps, 1);
        drop(engine);
    };
    let (ended, ()) = tokio::join!(follow(&mut executor, inputs, feedback), script);
    ended.unwrap();
}

#[test]
fn tells_how_the_data_path_came_to_it() {
    let fake = Fake::new();
    let plan = first_plan();
    let mut first = Executor::new(fake.clone());
    let took =
        |executor: &mut Executor<Fake>, plan| executor.apply(plan, &Neighbours::new()).0.takeover;
    assert_eq!(took(&mut first, &plan), Some(Takeover::New));

    let mut second = Executor::new(fake.clone());
    assert_eq!(took(&mut second, &plan), Some(Takeover::Preserved));
    let edited = planned(&YAML.replace("10.1.1.3", "10.1.1.9"), &plan);
    let told = took(&mut second, &edited);
    assert_eq!(
        told,
        Some(Takeover::Preserved),
        "only the first write counts"
    );

    let mut third = Executor::new(fake.clone());
    let told = took(&mut third, &plan);
    assert_eq!(told, Some(Takeover::Preserved), "what changed meanwhile");

    fake.0.borrow_mut().uplink_was_away = true;
    let mut third = Executor::new(fake.clone());
    assert_eq!(took(&mut third, &plan), Some(Takeover::Interrupted));

    fake.0.borrow_mut().write_fails = true;
    let mut fourth = Executor::new(fake);
    assert_eq!(took(&mut fourth, &edited), None, "nothing is known");
}
