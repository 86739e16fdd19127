//! What users do: they create, edit and delete Services and pools, with and without regard for finalizers.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use lb_core::allocate::{
    AddressRange, Audience, Family, Ingress, LabelSelector, Labels, Pool, PoolProtocol, PoolStatus,
    PortKey, PortProtocol, Request, Service, Sharing, UnixTime,
};

use crate::{random::Random, store::Store};

/// Services, by how they share: a Service of the same name always shares in the same way.
const SERVICES: [&str; 10] = [
    "a/one", "a/two", "b/three", "b/four", "a/key-1", "a/key-2", "b/key-3", "a/all-1", "b/all-2",
    "a/here",
];
const POOLS: [&str; 4] = ["p1", "p2", "p3", "p4"];
const RANGES: [&str; 7] = [
    "10.0.0.0-10.0.0.3",
    "10.0.0.2-10.0.0.6",
    "10.0.1.254-10.0.2.1",
    "10.0.0.1",
    "fd00::/126",
    "fd00::3-fd00::5",
    "10.0.3.0/30",
];
const ADDRESSES: [&str; 6] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.1.255",
    "fd00::3",
    "192.0.2.1",
];

pub(crate) fn act(store: &mut Store, random: &mut Random) {
    let name: Arc<str> = (*random.pick(&SERVICES)).into();
    let pool: Arc<str> = (*random.pick(&POOLS)).into();
    match random.below(100) {
        0..=29 if store.services.get(&name).is_none() => {
            let service = new_service(store, random, name);
            store.put_service(service);
        }
        0..=69 => edit_service(store, random, &name),
        70..=81 => store.delete_service(&name, random.chance(8)),
        82..=89 if store.pools.get(&pool).is_none() => {
            let pool = new_pool(store.now, random, pool);
            store.put_pool(pool);
        }
        82..=95 => edit_pool(store, random, &pool),
        _ => store.delete_pool(&pool, false),
    }
}

pub(crate) fn sharing_of(name: &str) -> Sharing {
    match name {
        _ if name.contains("key") => Sharing::Key("k".to_owned()),
        _ if name.contains("all") => Sharing::Always,
        _ if name.contains("here") => Sharing::SameNamespace,
        _ => Sharing::Exclusive,
    }
}

pub(crate) fn new_service(store: &Store, random: &mut Random, name: Arc<str>) -> Service {
    let sharing = sharing_of(&name);
    Service {
        created: store.now,
        labels: Labels::from([("tier".to_owned(), "web".to_owned())]),
        is_wanted: random.chance(90),
        deleted: None,
        request: request(random),
        ignored: Vec::new(),
        families: families(random),
        requires_all_families: random.chance(20),
        ports: ports(random),
        is_local: false,
        sharing,
        leave: BTreeSet::new(),
        ingress: Vec::new(),
        has_hostnames: false,
        has_finalizer: false,
        has_openelb_marks: false,
        announcement: None,
        conditions: Vec::new(),
        name,
    }
}

fn edit_service(store: &mut Store, random: &mut Random, name: &str) {
    let Some(service) = store.services.get(name) else {
        return;
    };
    let mut service = Service::clone(service);
    match random.below(8) {
        0 | 1 => service.request = request(random),
        2 => service.ports = ports(random),
        3 => service.families = families(random),
        4 => {
            let shown = service.ingress.iter().map(|entry| entry.address);
            service.leave = shown.collect();
        }
        5 => service.request = Ok(Request::default()),
        _ => {
            service.is_wanted = !service.is_wanted;
            let is_other_type = random.chance(60);
            if !service.is_wanted && is_other_type {
                // The API server empties the status of what is no LoadBalancer.
                service.ingress.clear();
            }
        }
    }
    store.put_service(service);
}

fn request(random: &mut Random) -> Result<Request, String> {
    let mut request = Request::default();
    match random.below(10) {
        0..=2 => request.addresses.push(address(random)),
        3 => request.pool = Some((*random.pick(&POOLS)).into()),
        4 => return Err("two addresses of one family".to_owned()),
        5 => request.protocol = Some(PoolProtocol::Layer2),
        _ => {}
    }
    Ok(request)
}

fn address(random: &mut Random) -> IpAddr {
    random.pick(&ADDRESSES).parse().unwrap()
}

fn families(random: &mut Random) -> Vec<Family> {
    let (v4, v6) = (Family::Ipv4, Family::Ipv6);
    random
        .pick(&[vec![v4], vec![v4], vec![v6], vec![v4, v6], vec![v6, v4]])
        .clone()
}

fn ports(random: &mut Random) -> BTreeSet<PortKey> {
    let port = |protocol, port| PortKey { protocol, port };
    let (tcp, udp) = (PortProtocol::Tcp, PortProtocol::Udp);
    let all = [
        port(tcp, 80),
        port(tcp, 443),
        port(udp, 53),
        port(tcp, 53),
        port(udp, 443),
    ];
    let count = 1 + random.below(2);
    (0..count).map(|_| *random.pick(&all)).collect()
}

pub(crate) fn new_pool(now: UnixTime, random: &mut Random, name: Arc<str>) -> Pool {
    let mut pool = Pool {
        created: now,
        ranges: Vec::new(),
        invalid: None,
        ignored: Vec::new(),
        protocol: *random.pick(&[PoolProtocol::Bgp, PoolProtocol::Bgp, PoolProtocol::Layer2]),
        is_disabled: false,
        is_deleting: false,
        is_default: random.chance(20),
        auto_assign: *random.pick(&[None, None, Some(true), Some(false)]),
        avoids_buggy: random.chance(30),
        priority: random.below(3) as i64,
        audience: Audience::default(),
        is_fenced: random.chance(20),
        announcing_peers: BTreeSet::new(),
        announcing_nodes: Vec::new(),
        announcement: format!("as {name}").into(),
        has_finalizer: false,
        status: PoolStatus::default(),
        name,
    };
    set_ranges(&mut pool, random);
    if random.chance(30) {
        pool.audience.namespaces.insert("a".to_owned());
    } else if random.chance(30) {
        let labels = Labels::from([("team".to_owned(), "y".to_owned())]);
        pool.audience.namespace_selectors.push(LabelSelector {
            labels,
            expressions: Vec::new(),
        });
    }
    pool
}

fn set_ranges(pool: &mut Pool, random: &mut Random) {
    let count = 1 + random.below(2);
    let range = |_| random.pick(&RANGES).parse::<AddressRange>().unwrap();
    pool.ranges = (0..count).map(range).collect();
}

fn edit_pool(store: &mut Store, random: &mut Random, name: &str) {
    let Some(pool) = store.pools.get(name) else {
        return;
    };
    let mut pool = Pool::clone(pool);
    match random.below(4) {
        0 => set_ranges(&mut pool, random),
        1 => pool.is_disabled = !pool.is_disabled,
        2 => pool.invalid = random.chance(50).then(|| "no range at all".to_owned()),
        _ => pool.is_fenced = !pool.is_fenced,
    }
    store.put_pool(pool);
}

/// What OpenELB left behind: a pool that says who has what, and Services that show it, two of them the same address.
pub(crate) fn leave_by_openelb(store: &mut Store, random: &mut Random) {
    let mut pool = new_pool(store.now, random, "p1".into());
    pool.audience = Audience::default();
    pool.ranges = vec!["10.0.0.0-10.0.0.3".parse().unwrap()];
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    for name in ["a/all-1", "b/all-2", "a/one"] {
        let mut service = new_service(store, random, name.into());
        service.is_wanted = true;
        service.families = vec![Family::Ipv4];
        service.request = Ok(Request::default());
        let address = if name == "a/one" {
            "10.0.0.3".parse().unwrap()
        } else {
            address
        };
        let shows = random.chance(80);
        if shows {
            service.ingress.push(Ingress {
                address,
                ports: [].into(),
            });
        }
        service.has_openelb_marks = random.chance(80);
        let holders = pool.status.usage.used.entry(address).or_default();
        holders.push(Arc::clone(&service.name));
        store.put_service(service);
    }
    store.put_pool(pool);
}
