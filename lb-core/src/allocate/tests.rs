use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use super::*;

/// A cluster in which every write succeeds at once.
struct World(Cluster);

impl World {
    fn new(pools: &[Pool], services: &[Service]) -> Self {
        let namespace = |name: &str, team: &str| (name.into(), labels("team", team));
        Self(Cluster {
            now: UnixTime(1000),
            epoch: 1,
            is_fresh: true,
            pools: pools
                .iter()
                .map(|pool| (Arc::clone(&pool.name), Arc::new(pool.clone())))
                .collect(),
            services: services
                .iter()
                .map(|service| (Arc::clone(&service.name), Arc::new(service.clone())))
                .collect(),
            namespaces: [namespace("a", "x"), namespace("b", "y")].into(),
            ..Cluster::default()
        })
    }

    /// Writes until there is nothing left to write.
    fn settle(&mut self) -> Allocations {
        for _ in 0..20 {
            let plan = allocate(&self.0);
            if plan.pools.is_empty() && plan.services.is_empty() {
                return plan;
            }
            for (name, plan) in plan.pools {
                let pool = self.0.pools.get_mut(&name).map(Arc::make_mut).unwrap();
                pool.has_finalizer = plan.finalizer;
                pool.status = plan.status.unwrap_or(pool.status.clone());
            }
            for (name, plan) in plan.services {
                self.write(&name, plan);
            }
        }
        panic!("does not come to rest: {:#?}", allocate(&self.0));
    }

    fn write(&mut self, name: &str, plan: ServicePlan) {
        let service = self.0.services.get_mut(name).map(Arc::make_mut).unwrap();
        if let Some(metadata) = plan.metadata {
            service.has_finalizer = metadata.finalizer;
            service.announcement = metadata.announcement;
            service.has_openelb_marks &= !metadata.finalizer;
            if !metadata.keeps_leave {
                service.leave.clear();
            }
        }
        if let Some(status) = plan.status {
            service.ingress = status.ingress;
            service.conditions = status.conditions;
        }
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut Service)) {
        edit(self.0.services.get_mut(name).map(Arc::make_mut).unwrap());
    }

    fn edit_pool(&mut self, name: &str, edit: impl FnOnce(&mut Pool)) {
        edit(self.0.pools.get_mut(name).map(Arc::make_mut).unwrap());
    }

    fn add(&mut self, service: Service) {
        let name = Arc::clone(&service.name);
        self.0.services.insert(name, Arc::new(service));
    }

    fn addresses(&self, name: &str) -> String {
        let entries = self.0.services[name].ingress.iter();
        let addresses: Vec<_> = entries.map(|entry| entry.address.to_string()).collect();
        addresses.join(" ")
    }

    fn reason(&self, name: &str, kind: &str) -> Option<&str> {
        let mut conditions = self.0.services[name].conditions.iter();
        let condition = conditions.find(|condition| condition.kind == kind)?;
        Some(&condition.reason)
    }
}

fn labels(key: &str, value: &str) -> Labels {
    Labels::from([(key.to_owned(), value.to_owned())])
}

pub(super) fn pool(name: &str, ranges: &[&str]) -> Pool {
    Pool {
        name: name.into(),
        created: UnixTime(1),
        ranges: ranges.iter().map(|text| text.parse().unwrap()).collect(),
        invalid: None,
        ignored: Vec::new(),
        protocol: PoolProtocol::Bgp,
        is_disabled: false,
        is_deleting: false,
        is_default: false,
        auto_assign: None,
        avoids_buggy: false,
        priority: 0,
        audience: Audience::default(),
        is_fenced: false,
        announcing_peers: BTreeSet::new(),
        announcing_nodes: Vec::new(),
        announcement: "settings".into(),
        has_finalizer: false,
        status: PoolStatus::default(),
    }
}

pub(super) fn service(name: &str, created: u64) -> Service {
    Service {
        name: name.into(),
        created: UnixTime(created),
        labels: Labels::new(),
        is_wanted: true,
        deleted: None,
        request: Ok(Request::default()),
        ignored: Vec::new(),
        families: vec![Family::Ipv4],
        requires_all_families: false,
        ports: BTreeSet::from(["TCP/80".parse().unwrap()]),
        is_local: false,
        sharing: Sharing::Exclusive,
        leave: BTreeSet::new(),
        ingress: Vec::new(),
        has_hostnames: false,
        has_finalizer: false,
        has_openelb_marks: false,
        announcement: None,
        conditions: Vec::new(),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_order_of_pools_is_audience_then_default_then_priority() {
    let mut bound = pool("bound", &["10.0.1.0"]);
    bound.audience.namespaces.insert("a".to_owned());
    let mut first = pool("z-first", &["10.0.2.0"]);
    first.audience.namespace_selectors.push(LabelSelector {
        labels: labels("team", "x"),
        expressions: Vec::new(),
    });
    first.priority = -1;
    let mut default = pool("default", &["10.0.3.0"]);
    default.is_default = true;
    let plain = pool("plain", &["10.0.4.0"]);
    let mut open = pool("open", &["10.0.5.0"]);
    open.auto_assign = Some(true);
    let services: Vec<_> = (1..=6).map(|n| service(&format!("a/s{n}"), n)).collect();
    let mut world = World::new(&[bound, first, default, plain, open], &services);
    world.settle();
    let given: Vec<_> = (1..=6)
        .map(|n| world.addresses(&format!("a/s{n}")))
        .collect();
    // Beside a default pool, one that is made for nobody gives nothing unasked.
    assert_eq!(
        given,
        ["10.0.2.0", "10.0.1.0", "10.0.3.0", "10.0.5.0", "", ""]
    );
    assert_eq!(world.reason("a/s5", PROVISIONING), Some("PoolExhausted"));
}

#[test]
fn without_a_default_every_pool_gives() {
    let mut world = World::new(&[pool("p", &["10.0.0.0/30"])], &[service("a/s", 1)]);
    world.settle();
    assert_eq!(world.addresses("a/s"), "10.0.0.0");
}

#[test]
fn a_fence_also_refuses_those_that_ask() {
    let mut fenced = pool("p", &["10.0.0.1"]);
    fenced.audience.namespaces.insert("a".to_owned());
    let mut stranger = service("b/s", 1);
    stranger.request = Ok(Request {
        addresses: vec![address("10.0.0.1")],
        ..Request::default()
    });
    let mut world = World::new(&[fenced], &[stranger]);
    world.settle();
    assert_eq!(world.addresses("b/s"), "10.0.0.1");
    world.edit_pool("p", |pool| pool.is_fenced = true);
    world.settle();
    assert_eq!(world.addresses("b/s"), "10.0.0.1", "what it has stays");
    world.0.services.remove("b/s");
    world.add(service("b/t", 2));
    world.edit("b/t", |service| {
        service.request = Ok(Request {
            pool: Some("p".into()),
            ..Request::default()
        });
    });
    world.settle();
    assert_eq!(world.reason("b/t", PROVISIONING), Some("PoolFenced"));
}

#[test]
fn what_belongs_to_the_cluster_or_irritates_clients_is_passed_over() {
    let mut careful = pool("p", &["10.0.0.254-10.0.3.0"]);
    careful.avoids_buggy = true;
    let mut world = World::new(&[careful], &[service("a/s", 1), service("a/t", 2)]);
    let pods = crate::model::Prefix::containing(address("10.0.1.0"), 24);
    world.0.refused.prefixes.push((pods, "of pods".into()));
    world.settle();
    assert_eq!(world.addresses("a/s"), "10.0.0.254");
    assert_eq!(world.addresses("a/t"), "10.0.2.1");
}

#[test]
fn a_whole_ipv6_network_is_a_pool() {
    let mut v6 = service("a/s", 1);
    v6.families = vec![Family::Ipv6];
    let mut world = World::new(&[pool("p", &["fd00::/64"])], &[v6]);
    world.settle();
    assert_eq!(world.addresses("a/s"), "fd00::");
    assert_eq!(world.0.pools["p"].status.usage.pool_size, i64::MAX as u64);
}

#[test]
fn a_second_family_comes_when_it_can() {
    let mut prefers = service("a/prefers", 1);
    prefers.families = vec![Family::Ipv4, Family::Ipv6];
    let mut requires = prefers.clone();
    requires.name = "a/requires".into();
    requires.requires_all_families = true;
    let mut world = World::new(&[pool("p", &["10.0.0.0/24"])], &[prefers, requires]);
    world.settle();
    assert_eq!(world.addresses("a/prefers"), "10.0.0.0");
    assert_eq!(world.addresses("a/requires"), "");
    assert_eq!(
        world.reason("a/requires", PROVISIONING),
        Some("FamilyMismatch")
    );
    world.edit_pool("p", |pool| pool.ranges.push("fd00::/120".parse().unwrap()));
    world.settle();
    assert_eq!(world.addresses("a/prefers"), "10.0.0.0 fd00::");
    assert_eq!(world.addresses("a/requires"), "10.0.0.1 fd00::1");
}

#[test]
fn a_released_address_rests_but_not_for_its_own_name() {
    let one = pool("p", &["10.0.0.1"]);
    let mut world = World::new(&[one], &[service("a/s", 1)]);
    world.settle();
    world.edit("a/s", |service| service.deleted = Some(UnixTime(1000)));
    assert_eq!(world.settle().replan_at, Some(UnixTime(1010)));
    world.0.now = UnixTime(1010);
    world.settle();
    assert!(!world.0.services["a/s"].has_finalizer);
    world.0.services.remove("a/s");
    world.add(service("b/other", 2));
    assert_eq!(world.settle().replan_at, Some(UnixTime(1070)));
    assert_eq!(world.reason("b/other", PROVISIONING), Some("PoolExhausted"));
    world.add(service("a/s", 3));
    world.settle();
    assert_eq!(world.addresses("a/s"), "10.0.0.1");
}

#[test]
fn layer_2_keeps_and_gives_addresses_that_nobody_announces() {
    let mut lan = pool("p", &["10.0.0.1"]);
    lan.protocol = PoolProtocol::Layer2;
    let mut world = World::new(&[lan], &[service("a/s", 1)]);
    world.0.announcer = Announcer::Agents(Agents::default());
    world.settle();
    assert_eq!(world.addresses("a/s"), "10.0.0.1");
    assert_eq!(world.reason("a/s", SERVING), Some("NotAnnounced"));
}

#[test]
fn a_later_leader_ends_the_term_and_a_new_one_looks_first() {
    let mut world = World::new(&[pool("p", &["10.0.0.1"])], &[service("a/s", 1)]);
    world.0.is_fresh = false;
    assert!(allocate(&world.0).needs_fresh_look);
    world.0.is_fresh = true;
    world.settle();
    world.0.epoch = 0;
    assert!(allocate(&world.0).is_deposed);
}

#[test]
fn a_strangers_address_is_not_taken_over() {
    let mut given = service("a/s", 1);
    given.ingress.push(Ingress {
        address: address("203.0.113.1"),
        ports: BTreeMap::new(),
    });
    let mut world = World::new(&[pool("p", &["10.0.0.0/24"])], &[given.clone()]);
    let plan = world.settle();
    assert!(plan.untouched["a/s"].contains("203.0.113.1"));
    assert_eq!(*world.0.services["a/s"].ingress, *given.ingress);
}

#[test]
fn a_strangers_address_is_taken_over_if_an_operator_says_so() {
    let given = |name, port: &str| {
        let mut given = service(name, 1);
        given.ports = BTreeSet::from([port.parse().unwrap()]);
        given.ingress.push(Ingress {
            address: address("203.0.113.1"),
            ports: BTreeMap::new(),
        });
        given
    };
    let services = [
        given("a/s", "TCP/80"),
        given("a/t", "TCP/443"),
        given("a/u", "TCP/80"),
    ];
    let mut world = World::new(&[pool("p", &["10.0.0.0/24"])], &services);
    for name in ["a/s", "a/t"] {
        let import = Import {
            addresses: [address("203.0.113.1")].into(),
            announcement: "as imported".into(),
        };
        world.0.imports.insert(name.into(), import);
    }
    let plan = world.settle();
    assert!(plan.untouched["a/u"].contains("fairlead-import"));
    assert!(plan.untouched["a/s"].contains("a/u has the same port"));
    let taken = &world.0.services["a/t"];
    assert!(taken.has_finalizer);
    assert_eq!(taken.announcement.as_deref(), Some("as imported"));
    assert_eq!(world.addresses("a/t"), "203.0.113.1");
    assert_eq!(world.reason("a/t", OUTSIDE_POOL), Some("NotInPool"));
    // What was taken over stays, whatever becomes of the plan, until a pool has it.
    world.0.imports.clear();
    world.settle();
    assert_eq!(world.addresses("a/t"), "203.0.113.1");
    world.edit_pool("p", |pool| {
        pool.ranges.push("203.0.113.0/24".parse().unwrap())
    });
    world.settle();
    assert_eq!(world.reason("a/t", OUTSIDE_POOL), None);
    assert_eq!(world.0.services["a/t"].announcement, None);
}

#[test]
fn a_claim_that_the_api_server_has_forgotten_keeps_its_address() {
    let services = [service("a/s", 1), service("a/new", 2)];
    let mut world = World::new(&[pool("p", &["10.0.0.0/30"])], &services);
    let claim = |service: &str, text: &str| {
        let claim = Claim {
            address: address(text),
            service: service.into(),
            ports: BTreeSet::new(),
            state: ClaimState::Held,
        };
        ("p".into(), claim)
    };
    world.0.remembered = vec![claim("a/s", "10.0.0.2"), claim("a/gone", "10.0.0.0")];
    world.0.holds_orphans = true;
    world.settle();
    world.0.remembered.clear();
    assert_eq!(world.addresses("a/s"), "10.0.0.2");
    assert_eq!(
        world.addresses("a/new"),
        "10.0.0.1",
        "agents may still serve 10.0.0.0"
    );
    world.0.now = world.0.now.plus(ORPHANS);
    world.settle();
    let claims = |world: &World| world.0.pools["p"].status.claims.len();
    assert_eq!(claims(&world), 3, "nothing is freed while it is in doubt");
    world.0.holds_orphans = false;
    world.settle();
    world.0.now = world.0.now.plus(REST);
    world.settle();
    assert_eq!(claims(&world), 2);
}

#[test]
fn most_services_do_not_vanish_at_once() {
    let services: Vec<_> = (1..=3).map(|n| service(&format!("a/s{n}"), n)).collect();
    let mut world = World::new(&[pool("p", &["10.0.0.0/30"])], &services);
    world.settle();
    world.0.services.remove("a/s1");
    world.settle();
    world.0.now = world.0.now.plus(ORPHAN);
    world.settle();
    let is_live = |world: &World, service: &str| {
        let mut claims = world.0.pools["p"].status.claims.iter();
        claims.any(|claim| &*claim.service == service && claim.state.is_live())
    };
    assert!(!is_live(&world, "a/s1"), "one of three is believed");
    world.0.services.clear();
    world.settle();
    world.0.now = world.0.now.plus(ORPHAN);
    world.settle();
    assert!(is_live(&world, "a/s2") && is_live(&world, "a/s3"));
    world.0.now = world.0.now.plus(ORPHANS);
    world.settle();
    assert!(!is_live(&world, "a/s2") && !is_live(&world, "a/s3"));
}

#[test]
fn pools_say_what_of_them_is_given_to_nobody() {
    let mut first = pool("first", &["10.96.0.0-10.96.0.9"]);
    first.is_default = true;
    let mut second = pool("second", &["10.0.0.0/29", "10.0.8.0/24"]);
    second.is_default = true;
    let mut world = World::new(&[first, second], &[service("a/s", 1)]);
    let network = |text: &str, bits| crate::model::Prefix::containing(address(text), bits);
    let refused = &mut world.0.refused;
    refused
        .prefixes
        .push((network("10.96.0.0", 16), "of the ClusterIPs".into()));
    refused
        .addresses
        .insert(address("10.0.0.1"), "an address of node n1".into());
    world.settle();
    assert_eq!(world.addresses("a/s"), "10.0.0.0");
    let condition = |name: &str, kind: &str| {
        let conditions = &world.0.pools[name].status.conditions;
        let found = conditions
            .iter()
            .find(|condition| condition.kind == kind)
            .unwrap();
        (found.reason.clone(), found.message.clone())
    };
    let (reason, message) = condition("first", "Overlapping");
    assert_eq!(reason, "ClusterRange");
    assert!(
        message.starts_with("10.96.0.0/16 is of the ClusterIPs: these are given to nobody"),
        "{message}"
    );
    let (_, message) = condition("second", "Overlapping");
    assert!(
        message.starts_with("10.0.0.1 is an address of node n1: "),
        "{message}"
    );
    let (_, message) = condition("second", "SeveralDefaults");
    assert!(
        message.starts_with("first is marked as the default too"),
        "{message}"
    );
}

#[test]
fn times_are_written_as_people_read_them() {
    for (seconds, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (1_795_305_599, "2026-11-21T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
    ] {
        assert_eq!(UnixTime(seconds).to_string(), text);
    }
}
