//! One instance of the programs: an instance an uplink, all on the same maps. The slot is a constant that the
//! loader writes; every program is loaded before any map handle is given away, since instructions hold the
//! maps' file descriptors until then. The rooms are the first instance's, and shared by all: whichever entry program
//! is attached goes on in them from the moment that they are furnished.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::ProgramArray,
    programs::{ProgramError, ProgramFd, SchedClassifier, Xdp},
};
use lb_common::{
    abi::{self, MapId},
    walk::Room,
};

use crate::{Abilities, Error, Options, data_maps, object, pins};

/// Name of the egress program in the object.
const EGRESS: &str = "fairlead_egress";
/// Name of the program that tells the time.
const JIFFIES: &str = "fairlead_jiffies";

/// Which hook an instance's programs of the way in are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WayIn {
    /// XDP, of the driver or generic.
    Xdp,
    /// tc's ingress.
    Tc,
}

impl WayIn {
    /// Name of the entry program in the object.
    const fn entry(self) -> &'static str {
        match self {
            Self::Xdp => "fairlead_xdp",
            Self::Tc => "fairlead_tc",
        }
    }

    /// Name of the program array.
    const fn rooms(self) -> &'static str {
        match self {
            Self::Xdp => abi::ROOMS,
            Self::Tc => abi::TC_ROOMS,
        }
    }
}

/// Which build of the programs to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Variant {
    /// The one that is meant.
    #[default]
    Shipped,
    /// An object that a test has built.
    #[cfg(feature = "fixtures")]
    Given(&'static [u8]),
    /// No update of the transport checksum on delivery.
    #[cfg(feature = "canaries")]
    Checksum,
    /// No TTL decrement on forwarding.
    #[cfg(feature = "canaries")]
    Ttl,
    /// Wrong destination MAC on forwarding.
    #[cfg(feature = "canaries")]
    Mac,
    /// Reverse translation keyed on the pod's address alone.
    #[cfg(feature = "canaries")]
    Reverse,
}

impl Variant {
    /// The canary named by `FAIRLEAD_CANARY` in a build that has canaries; the shipped programs otherwise.
    #[must_use]
    pub fn from_environment() -> Self {
        #[cfg(feature = "canaries")]
        match std::env::var("FAIRLEAD_CANARY").as_deref() {
            Ok("checksum") => return Self::Checksum,
            Ok("ttl") => return Self::Ttl,
            Ok("mac") => return Self::Mac,
            Ok("reverse") => return Self::Reverse,
            _ => {}
        }
        Self::Shipped
    }

    /// The object in a file, which stays in memory until the process ends.
    ///
    /// # Errors
    /// The file cannot be read.
    #[cfg(feature = "fixtures")]
    pub fn from_file(path: &std::path::Path) -> std::io::Result<Self> {
        let bytes = std::fs::read(path)?;
        // Sections are read as records of up to eight bytes.
        let mut words = vec![0_u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut::<u64, u8>(&mut words)[..bytes.len()].copy_from_slice(&bytes);
        let aligned: &'static [u8] = bytemuck::cast_slice(words.leak());
        Ok(Self::Given(&aligned[..bytes.len()]))
    }

    fn object(self, abilities: Abilities, way_in: WayIn) -> &'static [u8] {
        match (self, way_in) {
            (Self::Shipped, WayIn::Xdp) if abilities.need_basic() => object::BASIC,
            (Self::Shipped, WayIn::Xdp) => object::SHIPPED,
            (Self::Shipped, WayIn::Tc) if abilities.need_basic() => object::TC_BASIC,
            (Self::Shipped, WayIn::Tc) => object::TC,
            #[cfg(feature = "fixtures")]
            (Self::Given(object), _) => object,
            #[cfg(feature = "canaries")]
            (Self::Checksum, _) => object::canary::CHECKSUM,
            #[cfg(feature = "canaries")]
            (Self::Ttl, _) => object::canary::TTL,
            #[cfg(feature = "canaries")]
            (Self::Mac, _) => object::canary::MAC,
            #[cfg(feature = "canaries")]
            (Self::Reverse, _) => object::canary::REVERSE,
        }
    }
}

/// Loaded programs with the maps they run on.
pub(crate) struct Instance {
    ebpf: Ebpf,
    way_in: WayIn,
    slot: u32,
}

impl Instance {
    /// Loads the object for a slot; maps are adopted from the pin folder, or made (and pinned there, if any).
    /// Without pins the slots would have maps of their own, so a second uplink needs a pin folder. The first instance of
    /// a way in must [furnish its rooms](Self::furnish_rooms).
    pub(crate) fn load(
        options: &Options,
        abilities: Abilities,
        slot: u32,
        way_in: WayIn,
    ) -> Result<Self, Error> {
        Self::load_on(options, abilities, slot, way_in, |_| true)
    }

    /// Loads the object for a slot beside a pinned data path: on its maps of the image, with all others and rooms of its
    /// own.
    pub(crate) fn load_beside(
        options: &Options,
        abilities: Abilities,
        slot: u32,
    ) -> Result<Self, Error> {
        let of_the_image = |name: &str| {
            name == abi::SOURCE_TRIE || MapId::ALL.iter().any(|part| part.name() == name)
        };
        let mut instance = Self::load_on(options, abilities, slot, WayIn::Xdp, of_the_image)?;
        instance.furnish_rooms()?;
        Ok(instance)
    }

    /// Nothing but the program that tells the time, with the object's maps as small as it has them.
    pub(crate) fn clock() -> Result<Self, Error> {
        let way_in = WayIn::Xdp;
        let mut loader = EbpfLoader::new();
        let mut ebpf = loader.load(Variant::Shipped.object(Abilities::probe(), way_in))?;
        load_on_hook(&mut ebpf, way_in, JIFFIES)?;
        Ok(Self {
            ebpf,
            way_in,
            slot: 0,
        })
    }

    /// Whether it is the one for a slot and a hook.
    pub(crate) fn is_for(&self, slot: u32, way_in: WayIn) -> bool {
        self.slot == slot && self.way_in == way_in
    }

    /// The hook that its programs of the way in are for.
    pub(crate) fn way_in(&self) -> WayIn {
        self.way_in
    }

    fn load_on(
        options: &Options,
        abilities: Abilities,
        slot: u32,
        way_in: WayIn,
        is_pinned: impl Fn(&str) -> bool,
    ) -> Result<Self, Error> {
        let folder = options.pin_dir.as_deref().map(pins::versioned);
        if folder.is_none() && slot != 0 {
            return Err(Error::TooManyUplinks {
                interface: format!("slot {slot}"),
                most: 1,
            });
        }
        let cpus = cpus()?;
        let sizes: Vec<(&str, u32)> = MapId::ALL
            .iter()
            .filter(|part| part.holder() == **part)
            .map(|map| (map.name(), options.capacity.elements(*map)))
            .chain(data_maps(&options.capacity, cpus).map(|(name, elements, _)| (name, elements)))
            .collect();
        let mut loader = EbpfLoader::new();
        loader.override_global("UPLINK_SLOT", &slot, true);
        loader.verifier_log_level(VerifierLogLevel::STATS);
        for (name, elements) in &sizes {
            loader.map_max_entries(name, *elements);
        }
        loader.map_max_entries(abi::SOURCE_TRIE, options.capacity.source_ranges);
        if let Some(folder) = &folder {
            let sized = sizes.iter().map(|(name, _)| *name);
            let names = sized.chain([way_in.rooms(), abi::SWAP_LOCK, abi::SOURCE_TRIE]);
            for name in names.filter(|name| is_pinned(name)) {
                loader.map_pin_path(name, pins::map(folder, name));
            }
        }
        let mut ebpf = loader.load(options.variant.object(abilities, way_in))?;
        load_on_hook(&mut ebpf, way_in, way_in.entry())?;
        load_on_hook(&mut ebpf, way_in, JIFFIES)?;
        let egress: &mut SchedClassifier = program(&mut ebpf, EGRESS)?;
        egress.load().map_err(|error| refused(EGRESS, &error))?;
        Ok(Self { ebpf, way_in, slot })
    }

    /// Loads the programs of all rooms, then puts each in its place: one store a room, so that a packet finds the
    /// earlier program or this one, never none.
    pub(crate) fn furnish_rooms(&mut self) -> Result<(), Error> {
        for room in Room::ALL {
            load_on_hook(&mut self.ebpf, self.way_in, room.program())?;
        }
        let programs = Room::ALL
            .iter()
            .map(|room| Ok((*room as u32, self.program_fd(room.program())?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let name = self.way_in.rooms();
        let refused = |reason: String| Error::Load {
            program: name.to_owned(),
            reason,
        };
        let map = self.ebpf.map_mut(name);
        let map = map.ok_or_else(|| refused("the object has no such map".to_owned()))?;
        let mut rooms = ProgramArray::try_from(map).map_err(|error| refused(error.to_string()))?;
        for (place, program) in &programs {
            rooms
                .set(*place, program, 0)
                .map_err(|error| refused(error.to_string()))?;
        }
        Ok(())
    }

    /// The entry program, of XDP.
    pub(crate) fn xdp(&mut self) -> Result<&mut Xdp, Error> {
        program(&mut self.ebpf, WayIn::Xdp.entry())
    }

    /// The entry program, of tc's ingress.
    pub(crate) fn tc(&mut self) -> Result<&mut SchedClassifier, Error> {
        program(&mut self.ebpf, WayIn::Tc.entry())
    }

    /// The egress program.
    pub(crate) fn egress(&mut self) -> Result<&mut SchedClassifier, Error> {
        program(&mut self.ebpf, EGRESS)
    }

    /// The entry program's descriptor.
    pub(crate) fn entry_fd(&self) -> Result<BorrowedFd<'_>, Error> {
        self.fd(self.way_in.entry())
    }

    /// The entry program's descriptor, for a program array.
    #[cfg(feature = "bench")]
    pub(crate) fn entry_program_fd(&self) -> Result<ProgramFd, Error> {
        self.program_fd(self.way_in.entry())
    }

    /// The egress program's descriptor, for a program array.
    #[cfg(feature = "bench")]
    pub(crate) fn egress_program_fd(&self) -> Result<ProgramFd, Error> {
        self.program_fd(EGRESS)
    }

    /// A program's descriptor, for a program array.
    fn program_fd(&self, name: &str) -> Result<ProgramFd, Error> {
        let failed = |reason: String| Error::Load {
            program: name.to_owned(),
            reason,
        };
        let fd = match self.ebpf.program(name) {
            Some(aya::programs::Program::Xdp(program)) => program.fd(),
            Some(aya::programs::Program::SchedClassifier(program)) => program.fd(),
            _ => return Err(failed("it is not loaded".to_owned())),
        };
        fd.and_then(|fd| Ok(fd.try_clone()?))
            .map_err(|error| failed(error.to_string()))
    }

    /// The egress program's descriptor.
    pub(crate) fn egress_fd(&self) -> Result<BorrowedFd<'_>, Error> {
        self.fd(EGRESS)
    }

    /// The descriptor of the program that tells the time.
    pub(crate) fn jiffies_fd(&self) -> Result<BorrowedFd<'_>, Error> {
        self.fd(JIFFIES)
    }

    /// A map's descriptor, independent of this instance.
    pub(crate) fn map_fd(&self, name: &str) -> Result<OwnedFd, Error> {
        let missing = || Error::Load {
            program: name.to_owned(),
            reason: "the object has no such map".to_owned(),
        };
        let map = self.ebpf.map(name).ok_or_else(missing)?;
        let (aya::maps::Map::Array(data) | aya::maps::Map::LpmTrie(data)) = map else {
            return Err(missing());
        };
        data.fd()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| Error::kernel("duplicate a map's descriptor", source))
    }

    /// Every map with its name.
    #[cfg(feature = "fixtures")]
    pub(crate) fn maps(&self) -> impl Iterator<Item = (&str, &aya::maps::Map)> {
        self.ebpf.maps()
    }

    /// Instructions that the verifier walked, by program.
    pub(crate) fn verified_instructions(&self) -> Vec<(String, u32)> {
        let walked =
            |program: &aya::programs::Program| program.info().ok()?.verified_instruction_count();
        self.ebpf
            .programs()
            .filter_map(|(name, program)| Some((name.to_owned(), walked(program)?)))
            .collect()
    }

    fn fd(&self, name: &str) -> Result<BorrowedFd<'_>, Error> {
        let fd = match self.ebpf.program(name) {
            Some(aya::programs::Program::Xdp(program)) => program.fd().ok(),
            Some(aya::programs::Program::SchedClassifier(program)) => program.fd().ok(),
            _ => None,
        };
        fd.map(|fd| fd.as_fd()).ok_or_else(|| Error::Load {
            program: name.to_owned(),
            reason: "it is not loaded".to_owned(),
        })
    }
}

/// CPUs that the kernel may ever run, the stride of per-CPU arrays.
pub(crate) fn cpus() -> Result<u32, Error> {
    aya::util::nr_cpus()
        .map(|cpus| cpus as u32)
        .map_err(|(_, source)| Error::kernel("count the possible CPUs", source))
}

fn load_on_hook(ebpf: &mut Ebpf, way_in: WayIn, name: &'static str) -> Result<(), Error> {
    let loaded = match way_in {
        WayIn::Xdp => program::<Xdp>(ebpf, name)?.load(),
        WayIn::Tc => program::<SchedClassifier>(ebpf, name)?.load(),
    };
    loaded.map_err(|error| refused(name, &error))
}

fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let missing = || Error::Load {
        program: name.to_owned(),
        reason: "the object has no such program".to_owned(),
    };
    ebpf.program_mut(name)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|_| missing())
}

/// The verifier's log runs to thousands of lines: its last ones say what it did not like.
fn refused(name: &str, error: &ProgramError) -> Error {
    const LINES: usize = 12;
    if let ProgramError::LoadError {
        io_error,
        verifier_log,
    } = error
    {
        if io_error.raw_os_error() == Some(libc::EPERM)
            && verifier_log.to_string().trim().is_empty()
        {
            return Error::NotPermitted {
                what: "load BPF programs",
            };
        }
        let log = verifier_log.to_string();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LINES)..].join("\n");
        return Error::Load {
            program: name.to_owned(),
            reason: format!("{io_error}\n{tail}"),
        };
    }
    Error::Load {
        program: name.to_owned(),
        reason: error.to_string(),
    }
}
