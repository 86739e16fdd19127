//! The driver of `benches/packet` (feature `bench`): a program of its own object that makes packets under one
//! repeated test run and calls the program under test, or the floor, as its tail. The same packets can be sent
//! out of an interface as live frames, for `benches/forward`. Only what those benches need.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, ProgramArray},
    programs::{ProgramFd, SchedClassifier, Xdp, XdpMode},
};

use crate::{Datapath, Error, object, sys};

/// What the driver makes; the layout is that of `bench_driver.rs`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Orders {
    /// Flows to choose from; 0: every packet is a new one; 1: always the same.
    pub flows: u64,
    /// Destinations to choose from, counted up from the template's.
    pub destinations: u64,
    /// Length of the frame without an outer header.
    pub frame_bytes: u64,
    /// State of the random numbers; not zero.
    pub random: u64,
    /// Packets made.
    pub count: u64,
    /// 1: destinations are random words instead.
    pub random_destinations: u64,
    /// [`Driver::send`]: interface that the frames leave by, in the namespace of the calling thread.
    pub egress_ifindex: u64,
    /// What [`Subject::Memory`] came to.
    pub seen: u64,
}

// SAFETY: plain integers without padding.
unsafe impl aya::Pod for Orders {}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Template([u8; 128]);

// SAFETY: plain bytes.
unsafe impl aya::Pod for Template {}

/// What the driver hands its packets to.
#[derive(Clone, Copy)]
pub enum Subject<'a> {
    /// Exchanges the MACs and transmits.
    Floor,
    /// The floor with a look at as many lines, of tables as large, as a packet of a random flow to one of 400 services takes.
    Memory,
    /// The shipped programs.
    Datapath(&'a Datapath),
}

/// The loaded driver.
pub struct Driver {
    ebpf: Ebpf,
}

impl Driver {
    /// Loads driver and floor.
    ///
    /// # Errors
    /// As [`Datapath::open`].
    pub fn load() -> Result<Self, Error> {
        let mut ebpf = EbpfLoader::new().load(object::BENCH_DRIVER)?;
        for name in ["bench_driver", "bench_swap", "bench_look", "bench_send"] {
            let program: &mut Xdp = xdp(&mut ebpf, name)?;
            program.load().map_err(|error| failed(name, &error))?;
        }
        for name in ["bench_leaving", "bench_next"] {
            let program: &mut SchedClassifier = egress(&mut ebpf, name)?;
            program.load().map_err(|error| failed(name, &error))?;
        }
        Ok(Self { ebpf })
    }

    /// Runs the driver `repeat` times on frames made of `template` (76 bytes or more). The action of the last.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn run(
        &mut self,
        subject: Subject<'_>,
        orders: Orders,
        template: &[u8],
        repeat: u32,
    ) -> Result<u32, Error> {
        self.aim(subject)?;
        self.order(orders, template)?;
        let driver: &mut Xdp = xdp(&mut self.ebpf, "bench_driver")?;
        let driver = driver
            .fd()
            .map_err(|error| failed("bench_driver", &error))?;
        test_run(driver.as_fd(), template, repeat)
    }

    /// As [`Driver::run`], for what leaves: the floor lets the next program decide, the data path is its egress program.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn run_leaving(
        &mut self,
        subject: Subject<'_>,
        orders: Orders,
        template: &[u8],
        repeat: u32,
    ) -> Result<u32, Error> {
        let fd = match subject {
            Subject::Floor | Subject::Memory => {
                let floor: &mut SchedClassifier = egress(&mut self.ebpf, "bench_next")?;
                let fd = floor.fd().and_then(|fd| Ok(fd.try_clone()?));
                fd.map_err(|error| failed("bench_next", &error))?
            }
            Subject::Datapath(datapath) => datapath.first.egress_program_fd()?,
        };
        self.point("bench_egress", &fd)?;
        self.order(orders, template)?;
        let driver: &mut SchedClassifier = egress(&mut self.ebpf, "bench_leaving")?;
        let driver = driver
            .fd()
            .map_err(|error| failed("bench_leaving", &error))?;
        test_run(driver.as_fd(), template, repeat)
    }

    /// Attaches the sender to a link on which nothing comes in, in the namespace of the calling thread: while some link
    /// has it, the kernel's dispatcher knows it, and [`Driver::send`] need not wait for a grace period each time.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn keep_ready(&mut self, idle_link: &str) -> Result<(), Error> {
        let sender: &mut Xdp = xdp(&mut self.ebpf, "bench_send")?;
        sender
            .attach(idle_link, XdpMode::Driver)
            .map(|_| ())
            .map_err(|error| failed("bench_send", &error))
    }

    /// Sends `count` frames made of `template` out of [`Orders::egress_ifindex`], a veth whose far end has XDP or
    /// GRO on, as fast as one CPU can. What the far end has no room for is lost.
    ///
    /// # Errors
    /// The kernel refused; it takes live frames from 5.18 on.
    pub fn send(&mut self, orders: Orders, template: &[u8], count: u32) -> Result<(), Error> {
        self.order(orders, template)?;
        let sender: &mut Xdp = xdp(&mut self.ebpf, "bench_send")?;
        let sender = sender.fd().map_err(|error| failed("bench_send", &error))?;
        sys::send_live(sender.as_fd(), template, count)
            .map_err(|source| Error::kernel("send live frames", source))
    }

    fn order(&mut self, orders: Orders, template: &[u8]) -> Result<(), Error> {
        // Two bytes in, as `bench_driver.rs` wants it.
        let mut bytes = [0; 128];
        let used = template.len().min(bytes.len() - 2);
        bytes[2..2 + used].copy_from_slice(&template[..used]);
        self.set("bench_orders", orders)?;
        self.set("bench_template", Template(bytes))
    }

    fn aim(&mut self, subject: Subject<'_>) -> Result<(), Error> {
        let fd = match subject {
            Subject::Floor => self.own_program("bench_swap")?,
            Subject::Memory => self.own_program("bench_look")?,
            Subject::Datapath(datapath) => datapath.first.entry_program_fd()?,
        };
        self.point("bench_subject", &fd)
    }

    fn own_program(&mut self, name: &'static str) -> Result<ProgramFd, Error> {
        let program: &mut Xdp = xdp(&mut self.ebpf, name)?;
        let fd = program.fd().and_then(|fd| Ok(fd.try_clone()?));
        fd.map_err(|error| failed(name, &error))
    }

    fn point(&mut self, name: &'static str, fd: &ProgramFd) -> Result<(), Error> {
        let map = self.ebpf.map_mut(name).ok_or_else(|| missing(name))?;
        let mut array = ProgramArray::try_from(map).map_err(|error| failed(name, &error))?;
        array.set(0, fd, 0).map_err(|error| failed(name, &error))
    }

    fn set<T: aya::Pod>(&mut self, name: &'static str, value: T) -> Result<(), Error> {
        let map = self.ebpf.map_mut(name).ok_or_else(|| missing(name))?;
        let mut array: Array<_, T> = Array::try_from(map).map_err(|error| failed(name, &error))?;
        array.set(0, value, 0).map_err(|error| failed(name, &error))
    }
}

/// Runs a driver on frames like `template`; the action of the last.
fn test_run(driver: BorrowedFd<'_>, template: &[u8], repeat: u32) -> Result<u32, Error> {
    let mut out = vec![0; template.len() + 256];
    let run = sys::test_run(driver, template, &mut out, repeat)
        .map_err(|source| Error::kernel("run the bench driver", source))?;
    Ok(run.return_value)
}

fn xdp<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
    ebpf.program_mut(name)
        .ok_or_else(|| missing(name))?
        .try_into()
        .map_err(|_| missing(name))
}

fn egress<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut SchedClassifier, Error> {
    ebpf.program_mut(name)
        .ok_or_else(|| missing(name))?
        .try_into()
        .map_err(|_| missing(name))
}

fn missing(name: &str) -> Error {
    Error::Load {
        program: name.to_owned(),
        reason: "the bench object has no such part".to_owned(),
    }
}

fn failed(name: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Load {
        program: name.to_owned(),
        reason: error.to_string(),
    }
}
