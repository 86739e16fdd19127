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

fn pool(name: &str, ranges: &[&str]) -> Pool {
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
        announcement: "settings".into(),
        has_finalizer: false,
        status: PoolStatus::default(),
    }
}

fn service(name: &str, created: u64) -> Service {
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
    world.0.announcer = Announcer::Agents {
        peers: 1,
        established: 1,
    };
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
