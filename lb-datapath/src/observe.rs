//! What the data path counted and holds, for `show` and metrics; and the maps themselves, also with no agent
//! running.

use std::{collections::BTreeMap, os::fd::AsFd as _, path::Path, sync::Arc};

use lb_common::{
    Address,
    abi::{self, MapId},
    config::Config,
    counter::{Beat, Sampled, ServiceCounters, VerdictCounters},
    endpoint::Endpoint,
    flow::{FLOWS_PER_LINE, Flow, Meta, STATES, State},
    limits::Capacity,
    node::Node,
    verdict::{VERDICTS, Verdict},
};

use crate::{Error, memory::Arenas, pins, sys};

/// A pinned map as `show maps` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapRow {
    /// Name in the pin folder.
    pub name: String,
    /// The kernel's id, for `bpftool map dump id`.
    pub id: u32,
    /// Elements.
    pub elements: u32,
    /// Bytes of one element.
    pub element_bytes: u32,
    /// Whether the definition is the one that this version makes.
    pub is_ours: bool,
}

/// Reads what the programs count: loads from mapped memory, which no program notices.
#[derive(Clone)]
pub struct Observer {
    arenas: Arc<Arenas>,
    capacity: Capacity,
}

impl Observer {
    pub(crate) fn new(arenas: Arc<Arenas>, capacity: Capacity) -> Self {
        Self { arenas, capacity }
    }

    /// Counters of each service id, all CPUs added up.
    #[must_use]
    pub fn service_counters(&self) -> Vec<ServiceCounters> {
        service_counters(&self.arenas, self.capacity)
    }

    /// Packets by verdict, all CPUs added up.
    #[must_use]
    pub fn verdicts(&self) -> [u64; VERDICTS] {
        verdicts(&self.arenas, self.capacity)
    }

    /// Packets that rows have led to each endpoint, by address and port, and to each node, by the address that GUE for it goes to;
    /// sampled ([`lb_common::counter::SAMPLED_OF`]).
    #[must_use]
    pub fn samples(&self) -> Samples {
        samples(&self.arenas)
    }

    /// Flows alive, by service id, as of the agent's last sign of life.
    #[must_use]
    pub fn active_flows(&self) -> Vec<u32> {
        active_flows(&self.arenas, self.capacity)
    }
}

/// Sampled packets, as the maps name their owners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// By an endpoint's address and port.
    pub endpoints: BTreeMap<(Address, u16), u64>,
    /// By a node's outer address.
    pub nodes: BTreeMap<Address, u64>,
}

fn samples(arenas: &Arenas) -> Samples {
    let mut samples = Samples::default();
    let slots = &arenas.image[MapId::Endpoints as usize];
    for slot in 0..slots.elements::<Endpoint>() {
        let sampled: Sampled = arenas.endpoint_packets.element(slot);
        let endpoint: Endpoint = slots.element(slot);
        if sampled.whose == Sampled::of_endpoint(&endpoint.address, endpoint.port) {
            let key = (endpoint.address, endpoint.port);
            *samples.endpoints.entry(key).or_default() += sampled.packets;
        }
    }
    let nodes = &arenas.image[MapId::Nodes as usize];
    for index in 0..nodes.elements::<Node>() {
        let sampled: Sampled = arenas.node_packets.element(index);
        let node: Node = nodes.element(index);
        if sampled.whose == Sampled::of_node(node.id) {
            let (_, destination) = node.outer_addresses();
            *samples.nodes.entry(destination).or_default() += sampled.packets;
        }
    }
    samples
}

/// The maps pinned below the folder, by name.
///
/// # Errors
/// The folder cannot be read.
pub fn show_maps(pin_dir: &Path) -> Result<Vec<MapRow>, Error> {
    let folder = pins::versioned(pin_dir);
    let mut rows = Vec::new();
    for name in pins::map_names(&folder)? {
        let path = pins::map(&folder, &name);
        let definition = sys::open_pin(&path)
            .and_then(|fd| sys::map_definition(fd.as_fd()))
            .map_err(|source| Error::kernel("read a pinned map's definition", source))?;
        rows.push(MapRow {
            id: definition.id,
            elements: definition.elements,
            element_bytes: definition.value_bytes,
            is_ours: expected_bytes(&name) == Some(definition.value_bytes as usize),
            name,
        });
    }
    Ok(rows)
}

fn expected_bytes(name: &str) -> Option<usize> {
    if name == abi::ROOMS || name == abi::SWAP_LOCK {
        return Some(size_of::<u32>());
    }
    let image = MapId::ALL
        .iter()
        .find(|part| part.holder() == **part && part.name() == name)
        .map(|map| map.value_bytes());
    image.or_else(|| {
        let data = crate::data_maps(&Capacity::DEFAULT, 1);
        data.iter()
            .find(|(have, ..)| *have == name)
            .map(|(_, _, bytes)| *bytes)
    })
}

pub(crate) fn service_counters(arenas: &Arenas, capacity: Capacity) -> Vec<ServiceCounters> {
    let stride = capacity.services as usize;
    let cpus = arenas.counters.elements::<ServiceCounters>() / stride;
    let mut sums = vec![ServiceCounters::default(); stride];
    for cpu in 0..cpus {
        for (id, sum) in sums.iter_mut().enumerate() {
            let line: ServiceCounters = arenas.counters.element(cpu * stride + id);
            sum.packets += line.packets;
            sum.bytes += line.bytes;
            sum.forwarded_direct += line.forwarded_direct;
            sum.dropped += line.dropped;
            sum.new_flows += line.new_flows;
            sum.reply_packets += line.reply_packets;
            sum.reply_bytes += line.reply_bytes;
            sum.forwarded_gue += line.forwarded_gue;
        }
    }
    sums
}

pub(crate) fn verdicts(arenas: &Arenas, capacity: Capacity) -> [u64; VERDICTS] {
    let mut sums = [0; VERDICTS];
    for cpu in 0..arenas.verdicts.elements::<VerdictCounters>() {
        let line: VerdictCounters = arenas.verdicts.element(cpu);
        for (sum, count) in sums.iter_mut().zip(line.packets) {
            *sum += count;
        }
    }
    for line in service_counters(arenas, capacity) {
        sums[Verdict::ForwardedGue as usize] += line.forwarded_gue;
        sums[Verdict::ForwardedDirect as usize] += line.forwarded_direct;
    }
    sums
}

#[cfg(feature = "fixtures")]
pub(crate) fn age_flows(arenas: &Arenas, ticks: u32) {
    for number in 0..arenas.flow_index.elements::<u64>() {
        let word: u64 = arenas.flow_index.element(number);
        let tick = Meta(word).tick().wrapping_sub(ticks);
        let aged = word & u64::from(u32::MAX) | u64::from(tick) << 32;
        if Meta(word).state() != State::Free as u32 {
            arenas.flow_index.store(number, &[aged]);
        }
    }
}

/// The sign of life is at most some seconds old; without one, nothing counts as timed out.
pub(crate) fn active_flows(arenas: &Arenas, capacity: Capacity) -> Vec<u32> {
    let config: Config = arenas.image[MapId::Config as usize].element(0);
    let stamped_at = arenas.beat.element::<Beat>(0).stamped_at;
    let is_known = stamped_at != 0 && stamped_at != Beat::NO_LIMIT;
    let now_tick = is_known.then_some((stamped_at >> config.tick_shift) as u32);
    let is_alive = |meta: Meta| {
        let timeout = i32::from(config.timeout_ticks[meta.state() as usize % STATES]);
        let age = now_tick.map_or(0, |now| now.wrapping_sub(meta.tick()).cast_signed());
        meta.state() > State::Claimed as u32 && age <= timeout
    };
    let mut active = vec![0; capacity.services as usize];
    for number in 0..arenas.flow_index.elements::<u64>() {
        if is_alive(Meta(arenas.flow_index.element(number))) {
            let word: u64 = arenas.flows.element(number * FLOW_WORDS + SERVICE_AT / 8);
            let service = (word >> (SERVICE_AT % 8 * 8)) as u16;
            if let Some(active) = active.get_mut(usize::from(service)) {
                *active += 1;
            }
        }
    }
    active
}

/// Words of a flow's record, and the byte at which its service id starts. Little endian, as the programs are.
const FLOW_WORDS: usize = size_of::<Flow>() / 8;
const SERVICE_AT: usize = std::mem::offset_of!(Flow, service);

pub(crate) fn flows(arenas: &Arenas) -> Vec<(Meta, Flow)> {
    let places = arenas.flow_index.elements::<u64>();
    (0..places)
        .map(|number| (Meta(arenas.flow_index.element(number)), number))
        .filter(|(meta, _)| meta.state() > State::Claimed as u32)
        .map(|(meta, number)| (meta, arenas.flows.element(number)))
        .collect()
}

const _: () = assert!(FLOWS_PER_LINE as usize * 8 == size_of::<lb_common::flow::IndexLine>());
