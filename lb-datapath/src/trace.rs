//! Where a packet would go, by the real programs: a private instance of them, on the pinned maps that the agent writes
//! and on copies of those that the programs write. So nothing of the running data path changes, not even a counter, and
//! no program has a branch for being asked. In goes a frame, out comes what became of it.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use lb_common::{
    abi::{MapId, data},
    counter::ServiceCounters,
    flow::{Flow, Meta, State},
    interface::Interface,
    limits::{Capacity, INTERFACES_MAX},
    node::Node,
    service::ServiceCold,
    verdict::Verdict,
};

use crate::{
    Abilities, Error, Options, Outcome, Variant, data_maps,
    load::{self, Instance},
    memory::{Arena, Arenas},
    observe, pins, sys, testrun,
};

/// Which way the packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It comes in on the uplink.
    Ingress,
    /// It leaves by the uplink.
    Egress,
}

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The program's action, and the frame afterwards.
    pub outcome: Outcome,
    /// What was counted, by number; nothing for a packet that is none of ours.
    pub verdicts: Vec<Verdict>,
    /// The service port that it was counted for.
    pub service: Option<ServiceCold>,
    /// The record of the flow that it made here.
    pub new_flow: Option<Flow>,
}

/// A private instance of the programs beside a pinned data path.
pub struct Tracer {
    instance: Instance,
    arenas: Arenas,
    capacity: Capacity,
}

/// The uplinks of a pinned data path, with their slots.
///
/// # Errors
/// Nothing, or nothing of this version, is pinned there.
pub fn uplinks(pin_dir: &Path) -> Result<Vec<(u32, Interface)>, Error> {
    let map = pinned_part(&pins::versioned(pin_dir), MapId::Interfaces)?;
    let all = (0..INTERFACES_MAX).map(|slot| (slot, map.element::<Interface>(slot as usize)));
    Ok(all.filter(|(_, uplink)| uplink.ifindex != 0).collect())
}

impl Tracer {
    /// Loads the programs as they are on the uplink of a slot, and copies what they have written so far.
    ///
    /// # Errors
    /// Nothing, or nothing of this version, is pinned there, or the kernel refused.
    pub fn open(pin_dir: &Path, slot: u32) -> Result<Self, Error> {
        sys::raise_memlock_limit();
        let folder = pins::versioned(pin_dir);
        let capacity = pins::capacity(&folder).ok_or_else(|| nothing_pinned(pin_dir))?;
        let options = Options {
            pin_dir: Some(pin_dir.to_path_buf()),
            capacity,
            variant: Variant::from_environment(),
            mode: crate::Mode::Auto,
        };
        let instance = Instance::load_beside(&options, Abilities::probe(), slot)?;
        let arenas = Arenas::map(&instance, &capacity)?;
        for (name, elements, bytes) in data_maps(&capacity, load::cpus()?) {
            if name == data::COUNTERS || name == data::VERDICTS {
                continue;
            }
            let copy = Arena::map(&instance, name, elements, bytes)?;
            copy.store(
                0,
                &pinned(&pins::map(&folder, name), elements, bytes)?.words(),
            );
        }
        Ok(Self {
            instance,
            arenas,
            capacity,
        })
    }

    /// Runs the program on a frame, from its Ethernet header on. Flows that it makes are known to the next run of this
    /// tracer, and to nobody else.
    ///
    /// # Errors
    /// The kernel refused the run.
    pub fn run(&self, frame: &[u8], direction: Direction) -> Result<Trace, Error> {
        let (counted, verdicts) = (self.counted(), self.verdicts());
        let alive = self.alive();
        let outcome = match direction {
            Direction::Ingress => testrun::ingress(&self.instance, frame)?,
            Direction::Egress => testrun::egress(&self.instance, frame)?,
        };
        let after = self.verdicts();
        let grown = |verdict: &&Verdict| after[**verdict as usize] != verdicts[**verdict as usize];
        Ok(Trace {
            outcome,
            verdicts: Verdict::ALL.iter().filter(grown).copied().collect(),
            service: self.service(&counted),
            new_flow: self.new_flow(&alive),
        })
    }

    /// The row of the node that frames with this destination MAC, or GUE to this address (as the map holds it), go to.
    #[must_use]
    pub fn node(&self, wanted: impl Fn(&Node) -> bool) -> Option<Node> {
        let nodes = &self.arenas.image[MapId::Nodes as usize];
        (0..nodes.elements::<Node>())
            .map(|index| nodes.element::<Node>(index))
            .find(|node| node.flags & Node::PRESENT != 0 && wanted(node))
    }

    fn counted(&self) -> Vec<ServiceCounters> {
        observe::service_counters(&self.arenas, self.capacity)
    }

    fn verdicts(&self) -> [u64; lb_common::verdict::VERDICTS] {
        observe::verdicts(&self.arenas, self.capacity)
    }

    fn service(&self, before: &[ServiceCounters]) -> Option<ServiceCold> {
        let counted = self.counted();
        let id = counted
            .iter()
            .zip(before)
            .position(|(now, then)| now != then)?;
        Some(self.arenas.image[MapId::ServiceCold as usize].element(id))
    }

    /// Numbers of the flows that there are.
    fn alive(&self) -> Vec<bool> {
        let places = self.arenas.flow_index.elements::<u64>();
        (0..places).map(|number| self.is_alive(number)).collect()
    }

    fn is_alive(&self, number: usize) -> bool {
        Meta(self.arenas.flow_index.element(number)).state() > State::Claimed as u32
    }

    /// A place that was free, or another flow's, and has a flow now.
    fn new_flow(&self, alive: &[bool]) -> Option<Flow> {
        let number = (0..alive.len()).find(|&number| !alive[number] && self.is_alive(number))?;
        Some(self.arenas.flows.element(number))
    }
}

/// A part of the pinned image that has one size whatever the capacity.
pub(crate) fn pinned_part(folder: &Path, part: MapId) -> Result<Arena, Error> {
    let holder = part.holder();
    let capacity = Capacity::DEFAULT;
    let path = pins::map(folder, holder.name());
    let fd = open_array(&path, capacity.elements(holder), holder.value_bytes())?;
    Arena::of_image(fd.as_fd(), part, &capacity)
}

/// A pinned array, if it has this definition.
pub(crate) fn pinned(path: &Path, elements: u32, element_bytes: usize) -> Result<Arena, Error> {
    let fd = open_array(path, elements, element_bytes)?;
    Arena::of(fd.as_fd(), elements, element_bytes)
}

fn open_array(path: &Path, elements: u32, element_bytes: usize) -> Result<OwnedFd, Error> {
    if !pins::is_array(path, elements, element_bytes) {
        return Err(nothing_pinned(path));
    }
    sys::open_pin(path).map_err(|source| Error::kernel("open a pinned map", source))
}

/// Says so.
pub(crate) fn nothing_pinned(path: &Path) -> Error {
    Error::PinFolder {
        path: path.to_path_buf(),
        reason: "no data path of this version is pinned there; start one with `lb-agent run`, or name its folder with \
                 --pin-dir"
            .to_owned(),
    }
}
