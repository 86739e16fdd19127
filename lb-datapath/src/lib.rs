//! The only crate that talks to the BPF side of the kernel: loads the object, pins maps and links below one
//! versioned folder, carries out the writes of an image by plain stores into mapped memory, and reads what the
//! programs counted. It decides nothing and knows no Services: in go [`lb_common::image::MapWrite`]s, out come
//! the image as the kernel holds it and counters. All `unsafe` is in `sys`.

mod abilities;
mod attach;
#[cfg(feature = "bench")]
pub mod bench;
#[cfg(feature = "fixtures")]
mod clear;
mod clsact;
mod error;
mod facts;
mod flow_table;
mod load;
mod memory;
mod mode;
mod object;
mod observe;
mod pins;
#[cfg(any(feature = "bench", feature = "fixtures"))]
mod reader;
mod sys;
mod testrun;
pub mod trace;
mod trie;

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub use abilities::Abilities;
pub use error::Error;
pub use facts::{Facts, timeout_ticks};
pub use flow_table::{FlowTable, LiveFlow};
use lb_common::{
    abi::{MapId, data},
    counter::{Beat, Sampled, ServiceCounters},
    flow::{Flow, IndexLine},
    image::{Image, MapWrite},
    limits::{Capacity, INTERFACES_MAX, NODES_MAX},
    verdict::VERDICTS,
};
pub use load::Variant;
use load::{Instance, WayIn};
pub use mode::{Attached, EgressHook, IngressHook, Mode};

pub use observe::{MapRow, Observer, Samples, show_maps};
pub use pins::cleanup;
#[cfg(any(feature = "bench", feature = "fixtures"))]
pub use reader::{EndpointReader, MapReader};
pub use testrun::Outcome;

/// How a data path is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Folder on a bpffs below which everything is pinned; `None` pins nothing, for tests and benches.
    pub pin_dir: Option<PathBuf>,
    /// Sizes of the maps.
    pub capacity: Capacity,
    /// Which build of the programs.
    pub variant: Variant,
    /// Where the ingress program shall run.
    pub mode: Mode,
}

impl Options {
    /// The shipped programs, pinned below `pin_dir`.
    #[must_use]
    pub fn pinned(pin_dir: impl Into<PathBuf>) -> Self {
        Self {
            pin_dir: Some(pin_dir.into()),
            capacity: Capacity::DEFAULT,
            variant: Variant::from_environment(),
            mode: Mode::Auto,
        }
    }

    /// The shipped programs, gone with the process.
    #[must_use]
    pub fn unpinned(capacity: Capacity) -> Self {
        Self {
            pin_dir: None,
            capacity,
            variant: Variant::Shipped,
            mode: Mode::Auto,
        }
    }
}

/// An interface that the programs are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Index in `interfaces`, a constant of the attached instance; below [`INTERFACES_MAX`].
    pub slot: u32,
    /// The interface's name, for pins and messages.
    pub name: String,
    /// The kernel's index.
    pub ifindex: u32,
}

/// One set of maps, and the programs that run on them.
pub struct Datapath {
    options: Options,
    abilities: Abilities,
    attached: Vec<Attached>,
    adopted: bool,
    notes: Vec<String>,
    first: Instance,
    more: Vec<Instance>,
    arenas: Arc<memory::Arenas>,
    trie: trie::SourceTrie,
    grace: sys::GraceBarrier,
    facts: Facts,
    /// Rooms of maps that could not be adopted: the programs attached until ours replace them still go on there, and the
    /// kernel empties a program array when nobody holds it any more.
    replaced_rooms: Vec<OwnedFd>,
}

impl Datapath {
    /// Adopts the maps pinned below the folder if their definitions are ours, or makes new ones; attaches nothing.
    ///
    /// # Errors
    /// The kernel lacks something, the capabilities do not suffice, or the folder is not on a bpffs. Nothing that
    /// was pinned and is usable is lost.
    pub fn open(options: &Options) -> Result<Self, Error> {
        sys::raise_memlock_limit();
        let mut notes = Vec::new();
        let mut adopted = false;
        let mut replaced_rooms = Vec::new();
        if let Some(folder) = &options.pin_dir {
            let pins = pins::prepare(folder, &options.capacity, &mut notes)?;
            adopted = pins.adopted;
            replaced_rooms = pins.replaced_rooms;
        }
        let abilities = Abilities::probe();
        let way_in = match options.mode {
            Mode::Tc => WayIn::Tc,
            _ => WayIn::Xdp,
        };
        let mut first = Instance::load(options, abilities, 0, way_in)?;
        first.furnish_rooms()?;
        let arenas = Arc::new(memory::Arenas::map(&first, &options.capacity)?);
        let trie = trie::SourceTrie::of(&first)?;
        let grace = sys::GraceBarrier::new()
            .map_err(|source| Error::kernel("make the grace barrier", source))?;
        let facts = facts::gather(&first, options.capacity)?;
        Ok(Self {
            options: options.clone(),
            abilities,
            attached: Vec::new(),
            adopted,
            notes,
            first,
            more: Vec::new(),
            arenas,
            trie,
            grace,
            facts,
            replaced_rooms,
        })
    }

    /// Whether the maps were there already.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.adopted
    }

    /// What an operator should know about how the data path was opened, one sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What this kernel can do.
    #[must_use]
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// What planning must know about this data path and its kernel.
    #[must_use]
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// A copy of the maps; to read a little of them takes none ([`lb_common::image::Memory`]).
    #[must_use]
    pub fn image(&self) -> Image {
        let maps = MapId::ALL.map(|map| self.arenas.image[map as usize].words());
        Image::recovered(self.options.capacity, maps, self.trie.ranges().clone())
            .unwrap_or_else(|| unreachable!("the maps were made, or verified, with this capacity"))
    }

    /// Carries out writes in their order. Blocks for each grace period (some milliseconds).
    ///
    /// # Errors
    /// The kernel refused the grace barrier or a range of the trie; what was stored before it is in force.
    pub fn apply(&mut self, writes: &[MapWrite]) -> Result<(), Error> {
        for write in writes {
            match write {
                MapWrite::Store { map, word, values } => {
                    self.arenas.image[*map as usize].store(*word, values)
                }
                MapWrite::AddRange(range) => self.trie.add(range)?,
                MapWrite::RemoveRange(range) => self.trie.remove(range)?,
                MapWrite::Grace => {
                    self.grace
                        .wait()
                        .map_err(|source| Error::kernel("wait for an RCU grace period", source))?;
                }
            }
        }
        Ok(())
    }

    /// Attaches the programs to the uplinks, or replaces those that an earlier agent left there without a gap.
    ///
    /// # Errors
    /// The first uplink that cannot be attached to; those before it stay attached.
    pub fn attach(&mut self, uplinks: &[Uplink]) -> Result<(), Error> {
        for uplink in uplinks {
            if uplink.slot >= INTERFACES_MAX {
                return Err(Error::TooManyUplinks {
                    interface: uplink.name.clone(),
                    most: INTERFACES_MAX,
                });
            }
            let attached = self.attach_to(uplink)?;
            self.attached.retain(|have| have.interface != uplink.name);
            self.attached.push(attached);
        }
        self.replaced_rooms.clear();
        Ok(())
    }

    /// Leaves tc's ingress for XDP on the uplinks where somebody else's program was in the way and is gone; their names.
    ///
    /// # Errors
    /// As [`Datapath::attach`]; the programs stay where they are.
    pub fn return_to_xdp(&mut self, uplinks: &[Uplink]) -> Result<Vec<String>, Error> {
        let mut returned = Vec::new();
        if self.options.mode != Mode::Auto {
            return Ok(returned);
        }
        for uplink in uplinks {
            let is_at_tc =
                |have: &Attached| have.interface == uplink.name && have.ingress == IngressHook::Tc;
            let Some(place) = self.attached.iter().position(is_at_tc) else {
                continue;
            };
            match self.attach_to_xdp(uplink) {
                Err(Error::XdpTaken { .. }) => {}
                Err(error) => return Err(error),
                Ok((ingress, refusal)) => {
                    let have = &mut self.attached[place];
                    (have.ingress, have.refusal) = (ingress, refusal);
                    returned.push(uplink.name.clone());
                }
            }
        }
        Ok(returned)
    }

    /// The uplinks with the programs on them, in the order in which they were attached to.
    #[must_use]
    pub fn attached(&self) -> &[Attached] {
        &self.attached
    }

    /// Takes the programs off uplinks that are no longer named.
    ///
    /// # Errors
    /// A pin cannot be removed.
    pub fn detach_others(&mut self, uplinks: &[Uplink]) -> Result<Vec<String>, Error> {
        self.attached
            .retain(|have| uplinks.iter().any(|uplink| uplink.name == have.interface));
        match &self.options.pin_dir {
            Some(folder) => pins::remove_other_links(folder, uplinks),
            None => Ok(Vec::new()),
        }
    }

    /// Who can be asked what was counted, from any thread, while maps are written.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer::new(Arc::clone(&self.arenas), self.options.capacity)
    }

    /// As [`Observer::service_counters`].
    #[must_use]
    pub fn service_counters(&self) -> Vec<ServiceCounters> {
        self.observer().service_counters()
    }

    /// As [`Observer::verdicts`].
    #[must_use]
    pub fn verdicts(&self) -> [u64; VERDICTS] {
        self.observer().verdicts()
    }

    /// As [`Observer::active_flows`].
    #[must_use]
    pub fn active_flows(&self) -> Vec<u32> {
        self.observer().active_flows()
    }

    /// Flows as the owner's table has them, whatever their age: index word and record.
    #[must_use]
    pub fn flows(&self) -> Vec<(lb_common::flow::Meta, Flow)> {
        observe::flows(&self.arenas)
    }

    /// Leaves the agent's sign of life. `limit`: how long it counts; `None`: for ever.
    ///
    /// # Errors
    /// The kernel's clock cannot be read.
    pub fn stamp(&self, limit: Option<Duration>) -> Result<(), Error> {
        let stamped_at = match limit {
            Some(_) => facts::jiffies(&self.first)?,
            None => Beat::NO_LIMIT,
        };
        let limit = limit.map_or(0, |limit| limit.as_secs() * self.facts.jiffies_per_second);
        self.arenas.beat.store(0, &[stamped_at, limit]);
        Ok(())
    }

    /// Runs the entry program of slot 0 on a frame, by `BPF_PROG_TEST_RUN`; nothing leaves the machine.
    ///
    /// # Errors
    /// The kernel refused the run.
    pub fn run_ingress(&self, frame: &[u8]) -> Result<Outcome, Error> {
        testrun::ingress(&self.first, frame)
    }

    /// Runs the egress program on a packet, as [`Datapath::run_ingress`].
    ///
    /// # Errors
    /// The kernel refused the run.
    pub fn run_egress(&self, frame: &[u8]) -> Result<Outcome, Error> {
        testrun::egress(&self.first, frame)
    }

    /// Makes the maps as they were when they were made; the agent has no such thing.
    ///
    /// # Errors
    /// The kernel refused to let a map be read or written.
    #[cfg(feature = "fixtures")]
    pub fn clear(&mut self) -> Result<(), Error> {
        clear::clear(&self.first)
    }

    /// Makes every flow older, as if none had seen a packet for so many ticks: the clock of tests that stop the real one.
    #[cfg(feature = "fixtures")]
    pub fn age_flows(&self, ticks: u32) {
        observe::age_flows(&self.arenas, ticks);
    }

    /// Instructions that the verifier walked, by program.
    #[must_use]
    pub fn verified_instructions(&self) -> Vec<(String, u32)> {
        self.first.verified_instructions()
    }

    fn attach_to(&mut self, uplink: &Uplink) -> Result<Attached, Error> {
        let (ingress, refusal) = match self.options.mode {
            Mode::Tc => {
                self.attach_to_tc(uplink)?;
                attach::leave_xdp(uplink, self.options.pin_dir.as_deref());
                (IngressHook::Tc, None)
            }
            mode => match self.attach_to_xdp(uplink) {
                Err(Error::XdpTaken { interface }) if mode == Mode::Auto => {
                    self.attach_to_tc(uplink)?;
                    let why = format!(
                        "another XDP program has the hook and keeps it; `bpftool net show dev {interface}` names it"
                    );
                    (IngressHook::Tc, Some(why))
                }
                attached => attached?,
            },
        };
        let (abilities, folder) = (self.abilities, self.options.pin_dir.clone());
        let instance = self.instance(uplink.slot, self.first.way_in())?;
        Ok(Attached {
            interface: uplink.name.clone(),
            ingress,
            refusal,
            egress: attach::egress(instance, uplink, abilities, folder.as_deref())?,
        })
    }

    /// A packet that both hooks see on the way from one to the other is steered by XDP, and passes tc.
    fn attach_to_xdp(&mut self, uplink: &Uplink) -> Result<(IngressHook, Option<String>), Error> {
        let (mode, folder) = (self.options.mode, self.options.pin_dir.clone());
        let instance = self.instance(uplink.slot, WayIn::Xdp)?;
        let attached = attach::xdp(instance, uplink, mode, folder.as_deref())?;
        attach::leave_tc(uplink, folder.as_deref())?;
        Ok(attached)
    }

    fn attach_to_tc(&mut self, uplink: &Uplink) -> Result<(), Error> {
        let (abilities, folder) = (self.abilities, self.options.pin_dir.clone());
        let instance = self.instance(uplink.slot, WayIn::Tc)?;
        attach::tc(instance, uplink, abilities, folder.as_deref())
    }

    /// The instance for a slot and a hook, loaded when it is first asked for.
    fn instance(&mut self, slot: u32, way_in: WayIn) -> Result<&mut Instance, Error> {
        if self.first.is_for(slot, way_in) {
            return Ok(&mut self.first);
        }
        if let Some(at) = self.more.iter().position(|have| have.is_for(slot, way_in)) {
            return Ok(&mut self.more[at]);
        }
        let mut instance = Instance::load(&self.options, self.abilities, slot, way_in)?;
        let has_rooms =
            self.first.way_in() == way_in || self.more.iter().any(|have| have.way_in() == way_in);
        if !has_rooms {
            instance.furnish_rooms()?;
        }
        self.more.push(instance);
        Ok(self
            .more
            .last_mut()
            .unwrap_or_else(|| unreachable!("just pushed")))
    }
}

/// The folder below `pin_dir` that this version's pins are in.
#[must_use]
pub fn versioned(pin_dir: &Path) -> PathBuf {
    pins::versioned(pin_dir)
}

/// Number of elements of each map that the data path writes itself, in [`data`]'s names.
pub(crate) fn data_maps(capacity: &Capacity, cpus: u32) -> [(&'static str, u32, usize); 14] {
    [
        (
            data::ENDPOINT_PACKETS,
            capacity.endpoints,
            size_of::<Sampled>(),
        ),
        (data::NODE_PACKETS, NODES_MAX, size_of::<Sampled>()),
        (
            data::FLOW_INDEX,
            capacity.flows() / lb_common::flow::FLOWS_PER_LINE,
            size_of::<IndexLine>(),
        ),
        (data::FLOWS, capacity.flows(), size_of::<Flow>()),
        (
            data::FLOW_REVERSE,
            capacity.reverse_lines(),
            size_of::<lb_common::flow::ReverseLine>(),
        ),
        (
            data::NEW_FLOWS,
            lb_common::flow_limit::PREFIX_WINDOWS + capacity.services,
            size_of::<u64>(),
        ),
        (
            data::REPLY_FRAGMENTS,
            lb_common::reply_fragment::LINES,
            size_of::<lb_common::reply_fragment::FragmentLine>(),
        ),
        (
            data::COUNTERS,
            cpus * capacity.services,
            size_of::<ServiceCounters>(),
        ),
        (
            data::VERDICTS,
            cpus,
            size_of::<lb_common::counter::VerdictCounters>(),
        ),
        (
            data::ANSWERS,
            cpus,
            size_of::<lb_common::counter::AnswerBuckets>(),
        ),
        (
            data::AFFINITY,
            capacity.affinity_lines(),
            size_of::<lb_common::affinity::AffinityLine>(),
        ),
        (data::BEAT, 1, size_of::<Beat>()),
        (
            data::FRAGMENTS,
            lb_common::fragment::FRAGMENT_LINES,
            size_of::<lb_common::fragment::FragmentLine>(),
        ),
        (data::WALKS, cpus, size_of::<lb_common::walk::Walk>()),
    ]
}
