//! Anonymous namespaces, held by file descriptors and nothing else: no name under `/run`, no `ip` process. The kernel
//! takes them away with the last descriptor, so a killed lab leaves nothing behind. A namespace never moves the calling
//! thread: [`Namespace::run`] works on a thread of its own, and children enter in `pre_exec`. A node's namespace also
//! has mounts of its own: `/sys` shows its own links, `/run` and the bpffs at `/sys/fs/bpf` are empty and die with it.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};

use crate::process::Spawner;

/// A network namespace, with or without a mount namespace, under a name for people.
pub struct Namespace {
    name: String,
    net: OwnedFd,
    mounts: Option<OwnedFd>,
    machine: Option<MachineParts>,
}

/// What a namespace has besides if it is a machine of its own, with process numbers from 1.
#[derive(Clone)]
struct MachineParts {
    /// Host name, and semaphores and the like.
    uts_and_ipc: Arc<[OwnedFd; 2]>,
    /// Starts the machine's processes: its children have the machine's process numbers.
    spawner: Arc<Spawner>,
}

impl Namespace {
    /// A network namespace that shares the caller's mounts.
    pub fn new(name: &str) -> Result<Self> {
        Self::create(name, Network::Own, false)
    }

    /// A network namespace with its own `/sys`, an empty `/run` and an empty bpffs at `/sys/fs/bpf`.
    pub fn with_mounts(name: &str) -> Result<Self> {
        Self::create(name, Network::Own, true)
    }

    /// The caller's network, with an empty `/run` whose files go with the last handle.
    pub fn on_host(name: &str) -> Result<Self> {
        Self::create(name, Network::Callers, true)
    }

    /// Makes a machine of its own out of a network: mounts, host name and process numbers are its own. `boot` is its
    /// process 1, whose end is the end of all its processes. Starting it is the caller's, with what this returns first:
    /// a place that has the new process numbers and nothing else; [`Self::booted`] makes the machine of it.
    pub(crate) fn before_boot(&self) -> io::Result<Self> {
        let spawner = Spawner::start(|| {
            // Without it the boot process is not number 1, and says so.
            let _ = unshare(libc::CLONE_NEWPID);
        });
        let mut place = self.try_clone()?;
        let own =
            |kind| Ok::<OwnedFd, io::Error>(File::open(format!("/proc/self/ns/{kind}"))?.into());
        place.machine = Some(MachineParts {
            uts_and_ipc: Arc::new([own("uts")?, own("ipc")?]),
            spawner: Arc::new(spawner),
        });
        Ok(place)
    }

    /// The machine whose process 1 has this number on the outside and has made its namespaces.
    pub(crate) fn booted(&self, process: u32) -> io::Result<Self> {
        let of = |kind| {
            Ok::<OwnedFd, io::Error>(File::open(format!("/proc/{process}/ns/{kind}"))?.into())
        };
        let mut machine = self.try_clone()?;
        machine.mounts = Some(of("mnt")?);
        if let Some(parts) = &mut machine.machine {
            parts.uts_and_ipc = Arc::new([of("uts")?, of("ipc")?]);
        }
        Ok(machine)
    }

    /// Whoever starts this namespace's processes, if it has process numbers of its own.
    pub(crate) fn spawner(&self) -> Option<&Spawner> {
        self.machine
            .as_ref()
            .map(|machine| machine.spawner.as_ref())
    }

    /// The name that logs and messages use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The descriptor of the network namespace.
    pub fn net(&self) -> BorrowedFd<'_> {
        self.net.as_fd()
    }

    /// The descriptor of the mount namespace, if it has one.
    pub fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.mounts.as_ref().map(AsFd::as_fd)
    }

    /// Runs `work` on a thread inside the namespace and returns what it returns. Sockets made there stay in the
    /// namespace for as long as they live, wherever they are used.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                self.enter()
                    .with_context(|| format!("entering the namespace of {}", self.name))?;
                work()
            });
            worker.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// The arguments with which `nsenter` gets here, while this process lives.
    pub fn nsenter_arguments(&self) -> String {
        let pid = std::process::id();
        let net = format!("--net=/proc/{pid}/fd/{}", self.net.as_raw_fd());
        match &self.mounts {
            Some(mounts) => format!("{net} --mount=/proc/{pid}/fd/{}", mounts.as_raw_fd()),
            None => net,
        }
    }

    /// Another handle on the same namespace.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            name: self.name.clone(),
            net: self.net.try_clone()?,
            mounts: self.mounts.as_ref().map(OwnedFd::try_clone).transpose()?,
            machine: self.machine.clone(),
        })
    }

    /// Moves the calling thread or freshly forked child into the namespace; it allocates nothing, so it is safe
    /// between fork and exec. Never to be called on a thread that goes on to other work.
    pub(crate) fn enter(&self) -> io::Result<()> {
        set_namespace(self.net.as_fd(), libc::CLONE_NEWNET)?;
        if let Some(machine) = &self.machine {
            let [uts, ipc] = machine.uts_and_ipc.as_ref();
            set_namespace(uts.as_fd(), libc::CLONE_NEWUTS)?;
            set_namespace(ipc.as_fd(), libc::CLONE_NEWIPC)?;
        }
        let Some(mounts) = &self.mounts else {
            return Ok(());
        };
        // setns(2): a thread that shares its root and working directory cannot change its mounts.
        unshare(libc::CLONE_FS)?;
        set_namespace(mounts.as_fd(), libc::CLONE_NEWNS)
    }

    fn create(name: &str, network: Network, own_mounts: bool) -> Result<Self> {
        let created = thread::scope(|scope| {
            scope
                .spawn(|| unshare_here(network, own_mounts))
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic))
        });
        let (net, mounts) =
            created.with_context(|| format!("making a namespace for {name} (are you root?)"))?;
        Ok(Self {
            name: name.to_owned(),
            net,
            mounts,
            machine: None,
        })
    }
}

/// Whose network a namespace has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Own,
    Callers,
}

fn unshare_here(network: Network, own_mounts: bool) -> Result<(OwnedFd, Option<OwnedFd>)> {
    if network == Network::Own {
        unshare(libc::CLONE_NEWNET)?;
    }
    let net = File::open("/proc/thread-self/ns/net")?.into();
    if !own_mounts {
        return Ok((net, None));
    }
    unshare(libc::CLONE_NEWNS)?;
    mount(c"none", c"/", c"none", libc::MS_REC | libc::MS_PRIVATE)
        .context("making the mounts private")?;
    mount(c"tmpfs", c"/run", c"tmpfs", 0).context("mounting /run")?;
    if network == Network::Own {
        mount(c"sysfs", c"/sys", c"sysfs", 0).context("mounting /sys")?;
        mount(c"bpf", c"/sys/fs/bpf", c"bpf", 0).context("mounting /sys/fs/bpf")?;
    }
    let mounts = File::open("/proc/thread-self/ns/mnt")?.into();
    Ok((net, Some(mounts)))
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: unshare takes no pointers; it changes only the calling thread.
    succeeded(unsafe { libc::unshare(flags) })
}

fn set_namespace(namespace: BorrowedFd<'_>, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for the call; setns changes only the calling thread.
    succeeded(unsafe { libc::setns(namespace.as_raw_fd(), kind) })
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: libc::c_ulong) -> io::Result<()> {
    // SAFETY: all strings end in NUL and outlive the call; no file system here takes data.
    succeeded(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            std::ptr::null(),
        )
    })
}

fn succeeded(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests;
