//! A guest of QEMU with a kernel of its own, for what the host's kernel is too new for or lacks: one init script in a
//! RAM disk made on the spot, no disk, no network, a serial console. Emulated (TCG), so it runs wherever QEMU does and
//! says nothing about speed. Kernels come from Debian's archive, pinned in `guest/kernels.txt`; see [`Kernel`].

mod initramfs;
mod kernel_image;
mod modules;
mod pins;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use initramfs::Initramfs;
pub use pins::Kernel;

use crate::{Namespace, Process, lab, wait_until};

/// What a guest is made of.
#[derive(Clone, Debug)]
pub struct Guest {
    /// The kernel it boots.
    pub kernel: Kernel,
    /// Programs of the host, each with the path that it has in the guest; their libraries come along.
    pub programs: Vec<(PathBuf, &'static str)>,
    /// Kernel modules to load before the script, without those that they need.
    pub modules: Vec<&'static str>,
    /// What busybox's shell runs as root; its exit status is the guest's.
    pub script: String,
    /// Memory, MiB.
    pub memory_mib: u32,
}

/// How a guest ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The script's exit status; `None` if the guest ended without one, as in a panic.
    pub status: Option<i32>,
    /// All that the console said.
    pub console: String,
    /// Where the console is kept.
    pub log: PathBuf,
}

/// Marks the line with the script's exit status.
const STATUS: &str = "guest-status:";

impl Guest {
    /// Boots it, runs the script and waits for the end.
    ///
    /// # Errors
    /// The kernel cannot be fetched, QEMU cannot be started, or the guest runs for longer than `limit`; the error has
    /// the console's last lines.
    pub fn run(&self, limit: Duration) -> Result<Ended> {
        let folder = lab::make_folder(&format!("guest-{}", self.kernel.name))?;
        let unpacked = kernel_image::unpacked(&self.kernel)?;
        let ram_disk = folder.join("initramfs");
        self.initramfs(&unpacked)?.write(&ram_disk)?;
        let namespace = Namespace::new("guest")?;
        let mut process = Process::start(
            &namespace,
            "console",
            self.qemu(&unpacked.image, &ram_disk),
            &folder,
        )?;
        let ended = wait_until(limit, "the end of the guest", || process.ended());
        ended.map_err(|error| process.failure(&error))?;
        fs::remove_file(&ram_disk)?;
        let console = String::from_utf8_lossy(&fs::read(process.log())?).into_owned();
        Ok(Ended {
            status: status(&console),
            console,
            log: process.log().to_owned(),
        })
    }

    /// `-cx16`: with cmpxchg16b emulated, a 6.12 guest of QEMU 7.2 once crashed in the kernel's allocator.
    fn qemu(&self, image: &Path, ram_disk: &Path) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-machine",
            "q35",
            "-accel",
            "tcg",
            "-cpu",
            "max,-cx16,-la57",
        ])
        .args(["-smp", "1", "-m", &self.memory_mib.to_string()])
        .args(["-nographic", "-no-reboot", "-nic", "none"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(ram_disk)
        .args(["-append", COMMAND_LINE]);
        qemu
    }

    fn initramfs(&self, unpacked: &kernel_image::Unpacked) -> Result<Initramfs> {
        let mut files = Initramfs::default();
        files.add_program(&find_program("busybox")?, "bin/busybox")?;
        for (host, path) in &self.programs {
            files.add_program(host, path.trim_start_matches('/'))?;
        }
        let mut loads = String::new();
        for module in modules::in_order(&unpacked.modules, &self.modules)? {
            let path = format!("modules/{}.ko", module.name);
            loads.push_str(&format!("insmod /{path}\n"));
            files.add_file(&path, module.bytes()?, false);
        }
        let init = INIT.replace("MODULES\n", &loads);
        files.add_file("init", init.into_bytes(), true);
        files.add_file("script", self.script.clone().into_bytes(), true);
        Ok(files)
    }
}

/// `no_timer_check`: where the host is busy, the timer of an emulated machine is late, and the kernel would take it for
/// broken and panic.
const COMMAND_LINE: &str = "console=ttyS0 panic=-1 no_timer_check mitigations=off quiet loglevel=4";

const INIT: &str = r#"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /etc /usr/bin /usr/sbin /sbin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs tmp /tmp
/bin/busybox mount -t tmpfs run /run
/bin/busybox mount -t bpf bpf /sys/fs/bpf
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
ip link set lo up
MODULES
sh /script
echo "guest-status: $?"
poweroff -f
"#;

fn status(console: &str) -> Option<i32> {
    let line = console
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix(STATUS))?;
    line.trim().parse().ok()
}

/// A program on the search path, or where Debian has those of administrators.
///
/// # Errors
/// There is none.
pub fn find_program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    found.with_context(|| format!("there is no {name}: `cargo xtask setup` installs it"))
}

/// Fetches every pinned kernel that is not in the cache yet.
///
/// # Errors
/// The archive cannot be reached, or has another file under that name.
pub fn fetch_kernels() -> Result<()> {
    for kernel in Kernel::all()? {
        kernel_image::unpacked(&kernel)?;
    }
    Ok(())
}

impl Ended {
    /// The last lines of the console, for messages.
    #[must_use]
    pub fn tail(&self, lines: usize) -> String {
        let all: Vec<&str> = self.console.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Fails unless the script ended with 0.
    ///
    /// # Errors
    /// It did not; with the console's last lines.
    pub fn succeeded(&self) -> Result<()> {
        ensure!(
            self.status == Some(0),
            "the guest ended with {:?}; the console ({}) ends with:\n{}",
            self.status,
            self.log.display(),
            self.tail(40)
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests;
