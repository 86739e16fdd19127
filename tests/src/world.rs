//! A small cluster in YAML, planned and written into a real, unattached data path: the ground of the fixtures.
//! Each service port of the VIPs has its endpoint on one known node, so that a test knows where a packet must go.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};
use lb_common::limits::Capacity;
use lb_core::{
    DesiredState, Snapshot,
    config::{self, Origin},
    image::Placements,
    keys::ClusterKeys,
    model::{Mac, ServicePort},
    snapshot::{DatapathFacts, Link, Neighbour},
};
use lb_datapath::{Mode, Options};

use crate::loaded::Loaded;

/// The cluster: `node2` is on-link, `node3` behind a router, `node4` too and with IPv6 only, `node5` is unresolved.
pub const CLUSTER: &str = include_str!("cluster.yaml");

/// Services whose endpoint is not simply that of the flow's row.
pub const SERVICES: &str = include_str!("services.yaml");

/// `XDP_DROP` (`enum xdp_action`, linux/bpf.h).
pub const XDP_DROP: u32 = 1;
/// `XDP_PASS`.
pub const XDP_PASS: u32 = 2;
/// `XDP_TX`.
pub const XDP_TX: u32 = 3;

/// `XDP_REDIRECT`.
pub const XDP_REDIRECT: u32 = 4;

/// Where the programs of the way in run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// In XDP.
    Xdp,
    /// At tc's ingress.
    Tc,
}

impl Hook {
    /// A data path of this size there, gone with the process.
    #[must_use]
    pub fn options(self, capacity: Capacity) -> Options {
        Options {
            mode: match self {
                Self::Xdp => Mode::Auto,
                Self::Tc => Mode::Tc,
            },
            ..Options::unpinned(capacity)
        }
    }
}

/// MAC of `eth0` of every node, by its number.
#[must_use]
pub fn node_mac(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number]
}

/// MAC of the router, the next hop to what is not on-link.
pub const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

/// Where a tag is, behind the MACs, and its length.
const TAG_AT: usize = 12;
const TAG_BYTES: usize = 4;
/// An Ethernet header.
const UNTAGGED_BYTES: usize = 14;

/// What the cluster's keys come from.
pub const SECRET: &[u8] = b"0123456789abcdef";

/// Small, so that a data path is made in no time.
pub const CAPACITY: Capacity = Capacity {
    services: 64,
    row_units: 64,
    endpoints: 256,
    established_flows: 4096,
    embryonic_flows: 8192,
    source_ranges: 1024,
    affinities: 1024,
};

/// A data path as one node of the cluster has it.
pub struct World {
    /// The real thing.
    pub datapath: Loaded,
    /// Where its programs of the way in run.
    pub hook: Hook,
    /// What it was filled from.
    pub desired: DesiredState,
    /// What the sources say.
    pub snapshot: Snapshot,
    placements: Placements,
}

impl World {
    /// The data path of `node{number}`.
    ///
    /// # Errors
    /// The object does not load, or the YAML is not understood.
    pub fn new(number: u8) -> Result<Self> {
        Self::with(number, CLUSTER, &Options::unpinned(CAPACITY))
    }

    /// As [`World::new`] with another YAML and other options.
    ///
    /// # Errors
    /// As [`World::new`].
    pub fn with(number: u8, yaml: &str, options: &Options) -> Result<Self> {
        let datapath = Loaded::open(options)?;
        let host_name = format!("node{number}");
        let config = config::parse(
            yaml,
            Origin {
                file: "cluster.yaml",
                host_name: &host_name,
            },
        )
        .map_err(|error| anyhow::anyhow!("{error}"))?;
        let keys = ClusterKeys::from_secret(SECRET)?;
        let facts = datapath.facts();
        let facts = DatapathFacts {
            capacity: facts.capacity,
            jiffies_per_second: facts.jiffies_per_second,
            tick_shift: facts.tick_shift,
            timeout_ticks: facts.timeout_ticks,
        };
        let mut snapshot = Snapshot::new(&config, keys, facts);
        snapshot.links = vec![link(number)];
        snapshot.neighbours = (1..=5)
            .filter(|other| *other != number)
            .map(|other| way(number, other))
            .collect();
        let desired = DesiredState::default();
        let mut world = Self {
            datapath,
            hook: match options.mode {
                Mode::Tc => Hook::Tc,
                _ => Hook::Xdp,
            },
            desired,
            snapshot,
            placements: Placements::default(),
        };
        world.apply()?;
        Ok(world)
    }

    /// Plans what the sources say now and writes it.
    ///
    /// # Errors
    /// The kernel refused a write, or something did not fit.
    pub fn apply(&mut self) -> Result<usize> {
        self.snapshot.now += Duration::from_secs(1);
        self.desired = lb_core::plan(&self.snapshot, &self.desired);
        let image = self.datapath.image();
        let placements = std::mem::take(&mut self.placements);
        let outcome = lb_core::image(&self.desired, &self.snapshot.neighbours, &image, placements);
        anyhow::ensure!(
            outcome.unplaced.is_empty(),
            "no room: {:?}",
            outcome.unplaced
        );
        self.datapath.apply(&outcome.writes)?;
        self.placements = outcome.placements;
        Ok(outcome.writes.len())
    }

    /// The service ports that it serves.
    pub fn ports(&self) -> impl Iterator<Item = ServicePort> {
        self.desired.ports().map(|plan| plan.port)
    }

    /// Where a service port is counted.
    #[must_use]
    pub fn service_id(&self, port: ServicePort) -> Option<u16> {
        self.placements.id(port)
    }

    /// Counter of a verdict.
    #[must_use]
    pub fn count(&self, verdict: lb_common::verdict::Verdict) -> u64 {
        self.datapath.verdicts()[verdict as usize]
    }

    /// Runs the ingress program on a frame that a router sends to this node.
    ///
    /// # Errors
    /// The kernel refused the run.
    pub fn receive(&self, frame: &[u8]) -> Result<(u32, Vec<u8>)> {
        let is_tagged = self.hook == Hook::Tc
            && frame.len() >= UNTAGGED_BYTES + TAG_BYTES
            && matches!(frame[TAG_AT..TAG_AT + 2], [0x81, 0] | [0x88, 0xa8]);
        // The kernel has taken the outermost tag off before tc, and puts it on again.
        let (tag, untagged) = if is_tagged {
            let (macs, rest) = frame.split_at(TAG_AT);
            let (tag, rest) = rest.split_at(TAG_BYTES);
            (tag, [macs, rest].concat())
        } else {
            (&[][..], frame.to_vec())
        };
        let outcome = self.datapath.run_ingress(&untagged).context("ingress")?;
        let (macs, rest) = outcome.frame.split_at(TAG_AT);
        Ok((outcome.action, [macs, tag, rest].concat()))
    }

    /// Runs the egress program on a packet that leaves.
    ///
    /// # Errors
    /// The kernel refused the run.
    pub fn send(&self, frame: &[u8]) -> Result<Vec<u8>> {
        Ok(self.datapath.run_egress(frame).context("egress")?.frame)
    }
}

/// A node's own address, that GUE goes to.
#[must_use]
pub fn outer_address(number: u8, by_v6: bool) -> IpAddr {
    if by_v6 { v6(number) } else { v4(number) }
}

fn link(number: u8) -> Link {
    Link {
        slot: 0,
        name: "eth0".into(),
        ifindex: 2,
        mac: Mac(node_mac(number)),
        mtu_bytes: 1500,
        addresses: vec![v4(number), v6(number)],
        subnets: Vec::new(),
    }
}

fn way(own: u8, other: u8) -> (std::sync::Arc<str>, Neighbour) {
    let on_link = segment(own) == segment(other);
    let resolved = other != 5;
    let mac = if on_link { node_mac(other) } else { ROUTER_MAC };
    let by_v6 = own == 4 || other == 4;
    let neighbour = Neighbour {
        mac: resolved.then_some(Mac(mac)),
        uplink: 0,
        on_link,
        outer_source: if by_v6 { v6(own) } else { v4(own) },
        outer_destination: if by_v6 { v6(other) } else { v4(other) },
        mtu_bytes: 1500,
    };
    (format!("node{other}").into(), neighbour)
}

fn segment(number: u8) -> u8 {
    match number {
        3 => 1,
        4 => 2,
        _ => 0,
    }
}

fn v4(number: u8) -> IpAddr {
    IpAddr::from([10, 0, segment(number), 10 + number])
}

fn v6(number: u8) -> IpAddr {
    let host = u16::from(number) + 0x10;
    IpAddr::from([0xfd00, u16::from(segment(number)), 0, 0, 0, 0, 0, host])
}
