//! The real data paths of a whole cluster beside the reference model: every packet runs through both, and what the
//! real one makes of it must be what the model says.

use std::{collections::BTreeMap, net::IpAddr, time::Instant};

use anyhow::{Context as _, Result, bail, ensure};
use fairlead_model::{
    Action, Cluster, Endpoint, FlowState, FlowView, Model, Node, Observed, ServicePort, Tally,
    Tuple, Way, tags,
};
use lb_common::{
    counter::ServiceCounters,
    flow::{Flow, Meta, State},
    limits::Capacity,
    verdict::{VERDICTS, Verdict},
};
use lb_core::model::{Port, Protocol, Service, TrafficPolicy};
use lb_datapath::Options;

use crate::{
    case::hex,
    world::{CLUSTER, ROUTER_MAC, World, XDP_DROP, XDP_PASS, XDP_TX, node_mac, outer_address},
};

/// Nodes with a data path; the fifth is never reached.
pub const NODES: u8 = 4;

/// More services of the cluster, whose endpoint is not simply that of the flow's row.
const MORE_SERVICES: &str = include_str!("more-services.yaml");

/// So roomy that no flow is refused for want of a place.
const CAPACITY: Capacity = Capacity {
    embryonic_flows: 262_144,
    established_flows: 131_072,
    endpoints: 1024,
    row_units: 256,
    services: 128,
    ..crate::world::CAPACITY
};

/// Four nodes, and what they should do.
pub struct Reference {
    worlds: Vec<World>,
    model: Model,
    begun: Instant,
    before: Vec<[u64; VERDICTS]>,
    packets: u64,
}

impl Reference {
    /// Data paths that have seen nothing. The calling thread stays on its CPU from now on.
    ///
    /// # Errors
    /// The object does not load.
    pub fn new() -> Result<Self> {
        crate::cpu::stay()?;
        let options = Options::unpinned(CAPACITY);
        let yaml = [CLUSTER, MORE_SERVICES].concat();
        let worlds = (1..=NODES).map(|number| World::with(number, &yaml, &options));
        let worlds: Vec<World> = worlds.collect::<Result<_>>()?;
        let before = worlds
            .iter()
            .map(|world| world.datapath.verdicts())
            .collect();
        Ok(Self {
            model: Model::new(cluster(&worlds)),
            worlds,
            begun: Instant::now(),
            before,
            packets: 0,
        })
    }

    /// Packets so far.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// How often each outcome was met.
    #[must_use]
    pub fn taken(&self) -> &BTreeMap<Vec<&'static str>, u64> {
        self.model.taken()
    }

    /// A frame comes in at a node (from 1).
    ///
    /// # Errors
    /// The model says otherwise; the text has the frame in hex.
    pub fn receive(&mut self, node: u8, frame: &[u8]) -> Result<Observed> {
        let outcome = self.world(node).datapath.run_ingress(frame);
        let outcome = outcome.with_context(|| hex(frame))?;
        let action = match outcome.action {
            XDP_DROP => Action::Drop,
            XDP_PASS => Action::Pass,
            XDP_TX => Action::Transmit,
            other => bail!("node{node}: XDP action {other} for {}", hex(frame)),
        };
        let observed = self.observed(node, action, outcome.frame);
        let now = self.begun.elapsed();
        let judged = self
            .model
            .ingress(usize::from(node) - 1, now, frame, &observed);
        judged.map_err(|why| anyhow::anyhow!("node{node}, in  {}\n{why}", hex(frame)))?;
        Ok(observed)
    }

    /// A frame leaves a node.
    ///
    /// # Errors
    /// As [`Reference::receive`].
    pub fn send(&mut self, node: u8, frame: &[u8]) -> Result<Observed> {
        let outcome = self.world(node).datapath.run_egress(frame);
        let outcome = outcome.with_context(|| hex(frame))?;
        let observed = self.observed(node, Action::Pass, outcome.frame);
        let now = self.begun.elapsed();
        let judged = self
            .model
            .egress(usize::from(node) - 1, now, frame, &observed);
        judged.map_err(|why| anyhow::anyhow!("node{node}, out {}\n{why}", hex(frame)))?;
        Ok(observed)
    }

    fn world(&self, node: u8) -> &World {
        &self.worlds[usize::from(node) - 1]
    }

    fn observed(&mut self, node: u8, action: Action, frame: Vec<u8>) -> Observed {
        self.packets += 1;
        let after = self.world(node).datapath.verdicts();
        let before = std::mem::replace(&mut self.before[usize::from(node) - 1], after);
        let mut counted = Vec::new();
        for verdict in Verdict::ALL {
            let number = *verdict as usize;
            for _ in before[number]..after[number] {
                counted.push(verdict.label());
            }
        }
        counted.sort_unstable();
        Observed {
            action,
            frame,
            counted,
        }
    }

    /// Every flow of every node must be one of the model's, in the same state, and the other way round.
    ///
    /// # Errors
    /// Those that differ.
    pub fn compare_flows(&self) -> Result<()> {
        let now = self.begun.elapsed();
        for (index, world) in self.worlds.iter().enumerate() {
            let mut wanted = BTreeMap::new();
            for (view, must) in self.model.flows(index, now) {
                wanted.insert(view.tuple, (view, must));
            }
            let flows = world.datapath.flows();
            let newest = flows.iter().map(|(meta, _)| meta.tick()).max().unwrap_or(0);
            for (meta, flow) in &flows {
                let have = view(meta, flow);
                match wanted.remove(&have.tuple) {
                    Some((view, _)) if same(&view, &have) => {}
                    Some((view, _)) => bail!("node{}: {have:?}, not {view:?}", index + 1),
                    None if is_old(meta, newest, world) => {}
                    None => bail!("node{}: {have:?}, unknown to the model", index + 1),
                }
            }
            let missing = wanted.values().find(|(_, must)| *must);
            ensure!(missing.is_none(), "node{}: lacks {missing:?}", index + 1);
        }
        Ok(())
    }

    /// What every node has counted for each service port must be what the model counts.
    ///
    /// # Errors
    /// The first that differs.
    pub fn compare_counters(&self) -> Result<()> {
        for (index, world) in self.worlds.iter().enumerate() {
            let counted = world.datapath.service_counters();
            for port in world.ports() {
                let key = (port.vip, port.port, port.protocol == Protocol::Udp);
                let line = world.service_id(port).map(|id| counted[usize::from(id)]);
                let have = tally(&line.unwrap_or_default());
                let wanted = self.model.counted(index, &key);
                ensure!(
                    wanted.has(have),
                    "node{}, {port}: counted {have:?}, not {wanted:?}",
                    index + 1
                );
            }
        }
        Ok(())
    }

    /// The node that a transmitted frame goes to, and the frame as it arrives there; `None`: a client's.
    #[must_use]
    pub fn next(&self, frame: &[u8]) -> Option<(u8, Vec<u8>)> {
        for node in 1..=NODES {
            if frame[..6] == node_mac(node) {
                return Some((node, frame.to_vec()));
            }
        }
        let (bare, _) = tags::taken_off(frame);
        let destination = match bare.get(12)? {
            8 => IpAddr::from(<[u8; 4]>::try_from(bare.get(30..34)?).ok()?),
            _ => IpAddr::from(<[u8; 16]>::try_from(bare.get(38..54)?).ok()?),
        };
        let is_its = |node: &u8| {
            [false, true]
                .map(|v6| outer_address(*node, v6))
                .contains(&destination)
        };
        let node = (1..=NODES).find(is_its)?;
        Some((node, [&node_mac(node), &ROUTER_MAC, &frame[12..]].concat()))
    }
}

fn tally(line: &ServiceCounters) -> Tally {
    Tally {
        packets: line.packets,
        bytes: line.bytes,
        forwarded_direct: line.forwarded_direct,
        forwarded_gue: line.forwarded_gue,
        dropped: line.dropped,
        new_flows: line.new_flows,
        reply_packets: line.reply_packets,
        reply_bytes: line.reply_bytes,
    }
}

/// Flows are listed whatever their age; the model forgets a second or two earlier or later.
fn is_old(meta: &Meta, newest: u32, world: &World) -> bool {
    let timeouts = world.datapath.facts().timeout_ticks;
    newest.wrapping_sub(meta.tick()) + 3 >= u32::from(timeouts[meta.state() as usize & 15])
}

fn same(a: &FlowView, b: &FlowView) -> bool {
    // The pod's node is not in the record.
    let pod = |view: &FlowView| (view.endpoint.address, view.endpoint.port);
    a.tuple == b.tuple && a.state == b.state && pod(a) == pod(b)
}

fn view(meta: &Meta, flow: &Flow) -> FlowView {
    let address = |words: &[u32; 4]| -> IpAddr {
        let octets: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        if flow.family == 4 {
            IpAddr::from(<[u8; 4]>::try_from(&octets[..4]).expect("four"))
        } else {
            IpAddr::from(<[u8; 16]>::try_from(&octets[..]).expect("sixteen"))
        }
    };
    FlowView {
        tuple: Tuple {
            client: address(&flow.client),
            client_port: u16::from_be(flow.client_port),
            vip: address(&flow.vip),
            vip_port: u16::from_be(flow.vip_port),
            udp: flow.protocol == 17,
        },
        endpoint: Endpoint {
            address: address(&flow.endpoint),
            port: u16::from_be(flow.endpoint_port),
            node: 0,
        },
        state: state(meta.state()),
    }
}

fn state(number: u32) -> FlowState {
    let states = [
        (State::SynReceived, FlowState::SynReceived),
        (State::Adopted, FlowState::Adopted),
        (State::Unreplied, FlowState::Unreplied),
        (State::Established, FlowState::Established),
        (State::Closing, FlowState::Closing),
        (State::Reset, FlowState::Reset),
        (State::Stream, FlowState::Stream),
    ];
    let found = states.iter().find(|(state, _)| *state as u32 == number);
    found.map_or_else(|| panic!("no state {number}"), |(_, state)| *state)
}

/// What the model is told: the configuration and the kernel's tables.
fn cluster(worlds: &[World]) -> Cluster {
    let first = &worlds[0].snapshot;
    let number = |name: &str| first.nodes.iter().position(|node| *node.name == *name);
    let nodes = (1..=5).map(|own: u8| {
        let snapshot = worlds
            .get(usize::from(own) - 1)
            .map(|world| &world.snapshot);
        let way = |name: &str| {
            let way = snapshot?.neighbours.get(name)?;
            Some(Way {
                mac: way.mac.map(|mac| mac.0),
                on_link: way.on_link,
                outer_source: way.outer_source,
                outer_destination: way.outer_destination,
                mtu_bytes: way.mtu_bytes,
            })
        };
        Node {
            mac: node_mac(own),
            addresses: first.nodes[usize::from(own) - 1].addresses.clone(),
            ways: first.nodes.iter().map(|node| way(&node.name)).collect(),
            owned: worlds
                .get(usize::from(own) - 1)
                .map(|world| world.desired.owned.keys().copied().collect())
                .unwrap_or_default(),
            // 1,500 less the largest outer header, which is IPv6's.
            inner_mtu_bytes: 1436,
        }
    });
    let of_services = first.services.values().flat_map(|service| {
        let dialled = service
            .vips
            .iter()
            .flat_map(|vip| service.ports.iter().map(move |port| (*vip, port)));
        dialled.map(|(vip, port)| service_port(service, vip, port, &number))
    });
    let ports = of_services.collect();
    Cluster {
        nodes: nodes.collect(),
        ports,
        gue_port: 6080,
    }
}

fn service_port(
    service: &Service,
    vip: IpAddr,
    port: &Port,
    number: &impl Fn(&str) -> Option<usize>,
) -> ServicePort {
    let pods = service
        .endpoints
        .iter()
        .filter(|one| one.address.is_ipv4() == vip.is_ipv4());
    let endpoints: Vec<Endpoint> = pods
        .clone()
        .filter_map(|one| {
            Some(Endpoint {
                address: one.address,
                port: *one.ports.get(&port.name)?,
                node: number(one.node.as_ref()?)?,
            })
        })
        .collect();
    let on = |node: usize| {
        endpoints
            .iter()
            .filter(|one| one.node == node)
            .copied()
            .collect()
    };
    ServicePort {
        vip,
        port: port.port,
        udp: port.protocol == Protocol::Udp,
        local: match service.traffic_policy {
            TrafficPolicy::Cluster => Vec::new(),
            TrafficPolicy::Local => (0..NODES.into()).map(on).collect(),
        },
        ranges: service
            .source_ranges
            .iter()
            .map(|range| (range.address(), range.bits()))
            .collect(),
        by_client: service.affinity.is_some(),
        outside: pods.clone().any(|one| one.node.is_none()),
        endpoints,
    }
}

/// Long enough for any test that prints it.
#[must_use]
pub fn shown(taken: &BTreeMap<Vec<&'static str>, u64>) -> String {
    let rows = taken
        .iter()
        .map(|(verdicts, times)| format!("{times:8}  {}", verdicts.join(" + ")));
    rows.collect::<Vec<_>>().join("\n")
}
