//! A cluster that tests edit: three nodes, Services over a small universe of VIPs and ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use lb_common::limits::Capacity;

use crate::{
    DesiredState, Snapshot,
    config::Config,
    keys::ClusterKeys,
    model::{Announce, Endpoint, Mac, Node, Port, Protocol, Service, TrafficPolicy},
    plan,
    snapshot::{DatapathFacts, Link, Neighbour, Neighbours},
};

pub(crate) const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// Small, so that arenas run full.
pub(crate) const CAPACITY: Capacity = Capacity {
    services: 24,
    row_units: 8,
    endpoints: 256,
    established_flows: 64,
    embryonic_flows: 64,
    source_ranges: 64,
    affinities: 64,
};

pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) desired: DesiredState,
}

impl World {
    pub(crate) fn new(capacity: Capacity) -> Self {
        let nodes = NODES.iter().enumerate().map(|(index, name)| {
            Arc::new(Node {
                name: (*name).into(),
                addresses: vec![
                    format!("10.0.0.{}", 11 + index).parse().unwrap(),
                    format!("fd00::{}", 11 + index).parse().unwrap(),
                ],
                labels: BTreeMap::new(),
                unfit: None,
            })
        });
        let config = Config {
            node: NODES[0].into(),
            uplinks: Vec::new(),
            uplink_mode: crate::model::UplinkMode::Auto,
            key_file: None,
            nodes: nodes.collect(),
            bgp: None,
            layer2: None,
            dataplane: Arc::default(),
            capacity,
            services: Vec::new(),
        };
        let facts = DatapathFacts {
            capacity,
            jiffies_per_second: 250,
            tick_shift: 8,
            timeout_ticks: [10; 16],
        };
        let keys = ClusterKeys::from_secret(b"a secret of the tests").unwrap();
        let mut snapshot = Snapshot::new(&config, keys, facts);
        snapshot.links = vec![Link {
            slot: 0,
            name: "eth0".into(),
            ifindex: 2,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu_bytes: 1500,
            addresses: vec!["10.0.0.11".parse().unwrap()],
            subnets: Vec::new(),
        }];
        snapshot.neighbours = neighbours();
        let desired = DesiredState::default();
        let mut world = Self { snapshot, desired };
        world.plan();
        world
    }

    pub(crate) fn plan(&mut self) {
        self.snapshot.now += Duration::from_secs(1);
        self.desired = plan(&self.snapshot, &self.desired);
    }

    /// Adds or replaces a Service; one without a VIP is removed.
    pub(crate) fn set(&mut self, service: Service) {
        if service.vips.is_empty() {
            self.snapshot.remove_service(&service.name);
        } else {
            self.snapshot.set_service(Arc::new(service));
        }
        self.plan();
    }
}

fn neighbours() -> Neighbours {
    let way = |last: u8| Neighbour {
        mac: Some(Mac([2, 0, 0, 0, 0, last])),
        uplink: 0,
        on_link: last == 2,
        outer_source: "10.0.0.11".parse().unwrap(),
        outer_destination: IpAddr::from([10, 0, 0, 10 + last]),
        mtu_bytes: 1500,
    };
    [(NODES[1].into(), way(2)), (NODES[2].into(), way(3))].into()
}

/// A Service on VIPs of both families; endpoints are numbers from which address and node follow.
pub(crate) fn service(
    name: &str,
    vip: u8,
    ports: &[(Protocol, u16)],
    endpoints: &[u16],
) -> Service {
    let ports = ports.iter().map(|&(protocol, port)| Port {
        name: format!("{}-{port}", protocol.to_string().to_lowercase()).into(),
        protocol,
        port,
    });
    let ports: Vec<_> = ports.collect();
    let endpoint = |address: IpAddr, number: u16| Endpoint {
        address,
        node: Some(NODES[usize::from(number) % NODES.len()].into()),
        ports: Arc::new(
            ports
                .iter()
                .map(|port| (port.name.clone(), 8000 + port.port))
                .collect(),
        ),
        ready: true,
        serving: true,
        terminating: false,
        elsewhere: false,
        weight: 1,
    };
    let endpoints = endpoints.iter().flat_map(|&number| {
        let [high, low] = number.to_be_bytes();
        [
            endpoint(IpAddr::from([10, 1, high, low]), number),
            endpoint(IpAddr::from([0xfd01, 0, 0, 0, 0, 0, 0, number]), number),
        ]
    });
    Service {
        name: name.into(),
        vips: vec![
            IpAddr::from([10, 99, 0, vip]),
            IpAddr::from([0xfd99, 0, 0, 0, 0, 0, 0, vip.into()]),
        ],
        announce: Announce::Nobody,
        traffic_policy: TrafficPolicy::Cluster,
        affinity: None,
        new_flows_per_second: None,
        returns_by_ingress: false,
        source_ranges: BTreeSet::new(),
        bgp: Arc::default(),
        endpoints: endpoints.collect(),
        health_check: None,
        taken: BTreeSet::new(),
        ports,
    }
}
