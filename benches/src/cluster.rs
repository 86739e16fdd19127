//! A cluster of any number of services, planned and written by the product's own code into a real data path
//! that is attached nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, bail};
use lb_common::{image::Image, limits::Capacity};
use lb_core::{
    DesiredState, Snapshot,
    config::Config,
    image::{ImageOutcome, Placements},
    keys::ClusterKeys,
    model::{Announce, Bgp, Endpoint, Mac, Node, Port, Prefix, Protocol, Service, TrafficPolicy},
    snapshot::{DatapathFacts, Link, Neighbour},
};
use lb_datapath::{Datapath, Options};

/// MAC of the node under test.
pub const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// MAC of the router that packets come from and GUE goes to: a VRRP router's (RFC 9568), which shares no bit of the
/// node-MAC filter with the nodes here. About one in five would, with fifty nodes on the link.
pub const ROUTER_MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 1];
/// The port that every service has.
pub const PORT: u16 = 80;

const OWN: &str = "node001";

/// What to fill a data path with.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Services, each with a VIP of its own, counted up from [`vip`].
    pub services: u32,
    /// Endpoints of each, spread over the other nodes.
    pub endpoints: u32,
    /// Other nodes.
    pub nodes: u32,
    /// Whether they are on-link.
    pub on_link: bool,
    /// Family of VIPs and pods.
    pub v6: bool,
    /// Whether the node under test has its share of the endpoints and announces the VIPs.
    pub serves: bool,
    /// Ranges of clients that each may be dialled from; the last one holds the clients of the benches. 0: anybody.
    pub source_ranges: u32,
    /// Whether clients keep their endpoint.
    pub affinity: bool,
}

impl Shape {
    /// A data path with room for it.
    #[must_use]
    pub fn capacity(&self) -> Capacity {
        // Extents have room for one endpoint more than there are.
        let extent = (self.endpoints + 1).next_power_of_two().max(4);
        Capacity {
            services: (self.services * 2 + 16).next_power_of_two(),
            row_units: self.services + 16,
            endpoints: self.services * extent + 64,
            ..Capacity::DEFAULT
        }
    }
}

/// VIP number `index`.
#[must_use]
pub fn vip(v6: bool, index: u32) -> IpAddr {
    if v6 {
        IpAddr::from([0xfd99, 0, 0, 0, 0, 0, (index >> 16) as u16, index as u16])
    } else {
        IpAddr::from((0x0a63_0000_u32 + index).to_be_bytes())
    }
}

/// A data path that holds all of it.
///
/// # Errors
/// It does not load, or does not fit.
pub fn fill(shape: Shape) -> Result<Datapath> {
    fill_with(shape, shape.capacity())
}

/// As [`fill`], with other sizes.
///
/// # Errors
/// As [`fill`].
pub fn fill_with(shape: Shape, capacity: Capacity) -> Result<Datapath> {
    let mut datapath = Datapath::open(&Options::unpinned(capacity))?;
    let facts = datapath.facts();
    let facts = DatapathFacts {
        capacity: facts.capacity,
        jiffies_per_second: facts.jiffies_per_second,
        tick_shift: facts.tick_shift,
        timeout_ticks: facts.timeout_ticks,
    };
    let snapshot = snapshot(shape, facts)?;
    let desired = lb_core::plan(&snapshot, &DesiredState::default());
    let outcome = placed(
        &desired,
        &snapshot,
        &datapath.image(),
        Placements::default(),
    )?;
    datapath.apply(&outcome.writes)?;
    Ok(datapath)
}

/// The writes that bring `image` to `desired`.
///
/// # Errors
/// Something does not fit.
pub fn placed(
    desired: &DesiredState,
    snapshot: &Snapshot,
    image: &Image,
    placements: Placements,
) -> Result<ImageOutcome> {
    let outcome = lb_core::image(desired, &snapshot.neighbours, image, placements);
    if let Some((what, reason)) = outcome.unplaced.first_key_value() {
        bail!(
            "{} things do not fit, the first is {what:?}: {reason}",
            outcome.unplaced.len()
        );
    }
    Ok(outcome)
}

/// All that the sources would know of it.
///
/// # Errors
/// None in practice: the secret is long enough.
pub fn snapshot(shape: Shape, facts: DatapathFacts) -> Result<Snapshot> {
    let nodes: Vec<Arc<Node>> = (1..=shape.nodes + 1).map(node).collect();
    let speaker = Bgp {
        nodes: Vec::new(),
        graceful_shutdown: std::time::Duration::from_secs(1),
        asn: 65_000,
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        listen_port: 179,
        peers: Vec::new(),
    };
    let config = Config {
        node: OWN.into(),
        uplinks: vec!["eth0".to_owned()],
        uplink_mode: lb_core::model::UplinkMode::Auto,
        key_file: None,
        nodes,
        layer2: None,
        dataplane: Arc::default(),
        bgp: shape.serves.then(|| Arc::new(speaker)),
        capacity: shape.capacity(),
        services: (0..shape.services)
            .map(|index| service(shape, index))
            .collect(),
    };
    let keys = ClusterKeys::from_secret(b"a secret for measurements")?;
    let mut snapshot = Snapshot::new(&config, keys, facts);
    snapshot.now = Duration::from_secs(1);
    snapshot.links = vec![Link {
        slot: 0,
        name: "eth0".into(),
        ifindex: 2,
        mac: Mac(OWN_MAC),
        mtu_bytes: 1500,
        addresses: vec![node_address(1)],
        subnets: Vec::new(),
    }];
    snapshot.neighbours = (2..=shape.nodes + 1)
        .map(|other| way(shape, other))
        .collect();
    Ok(snapshot)
}

/// So many ranges, of which 100.64.0.0/10 (RFC 6598) holds the benches' clients.
fn source_ranges(count: u32) -> BTreeSet<Prefix> {
    let others = (0..count.saturating_sub(1)).map(|number| {
        let [_, high, middle, low] = (number << 4).to_be_bytes();
        Prefix::new(IpAddr::from([high + 11, middle, low, 0]), 28)
    });
    let clients = Prefix::new(IpAddr::from([100, 64, 0, 0]), 10);
    let all = others.chain((count > 0).then_some(clients));
    all.flatten().collect()
}

fn node(number: u32) -> Arc<Node> {
    Arc::new(Node {
        name: format!("node{number:03}").into(),
        addresses: vec![node_address(number)],
        labels: BTreeMap::new(),
        unfit: None,
    })
}

fn node_address(number: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000_u32 + number).to_be_bytes())
}

fn way(shape: Shape, other: u32) -> (Arc<str>, Neighbour) {
    let [_, _, high, low] = other.to_be_bytes();
    let mac = if shape.on_link {
        [2, 0, 0, 1, high, low]
    } else {
        ROUTER_MAC
    };
    let neighbour = Neighbour {
        mac: Some(Mac(mac)),
        uplink: 0,
        on_link: shape.on_link,
        outer_source: node_address(1),
        outer_destination: node_address(other),
        mtu_bytes: 1500,
    };
    (format!("node{other:03}").into(), neighbour)
}

fn service(shape: Shape, index: u32) -> Arc<Service> {
    let endpoint = |place: u32| {
        let number = index * shape.endpoints + place;
        let address = if shape.v6 {
            IpAddr::from([0xfd01, 0, 0, 0, 0, 0, (number >> 16) as u16, number as u16])
        } else {
            IpAddr::from((0x6440_0000_u32 + number).to_be_bytes())
        };
        Endpoint {
            address,
            node: match shape.serves {
                true => Some(format!("node{:03}", 1 + place % (shape.nodes + 1)).into()),
                false => Some(format!("node{:03}", 2 + place % shape.nodes).into()),
            },
            ports: Arc::new(BTreeMap::from([("web".into(), 8080)])),
            ready: true,
            serving: true,
            terminating: false,
            elsewhere: false,
            weight: 1,
        }
    };
    Arc::new(Service {
        name: format!("bench/{index:05}").into(),
        vips: vec![vip(shape.v6, index)],
        announce: match shape.serves {
            true => Announce::Bgp,
            false => Announce::Nobody,
        },
        bgp: Arc::default(),
        ports: vec![Port {
            name: "web".into(),
            protocol: Protocol::Tcp,
            port: PORT,
        }],
        traffic_policy: TrafficPolicy::Cluster,
        affinity: shape.affinity.then_some(Duration::from_secs(10_800)),
        new_flows_per_second: None,
        returns_by_ingress: false,
        source_ranges: source_ranges(shape.source_ranges),
        health_check: None,
        taken: BTreeSet::new(),
        endpoints: (0..shape.endpoints).map(endpoint).collect(),
    })
}
