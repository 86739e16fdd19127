//! The kernel thread that does all the receiving, forwarding and sending of one link: threaded NAPI gives it a name
//! and a CPU time of its own (kernel: `Documentation/networking/napi.rst`), so that a node's work can be told from that of
//! the switch beside it on the same machine.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use fairlead_benches::measure::{pin_thread_to_cpu, prefer_thread};
use lb_lab::{Namespace, output};

/// Of a link's thread; the sender has less, so that no ring behind it fills while a thread waits for its turn.
const PRIORITY: i32 = 2;

/// The thread of one link.
pub(crate) struct NapiThread {
    pid: u32,
}

impl NapiThread {
    /// Gives a link of a namespace, on which GRO or XDP is on, a thread of its own on one CPU, before what
    /// else runs there. The thread goes with the link.
    pub(crate) fn of(namespace: &Namespace, link: &str, cpu: usize) -> Result<Self> {
        let before = all()?;
        let script =
            format!("mount -t sysfs sysfs /mnt && echo 1 > /mnt/class/net/{link}/threaded");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        output(namespace, command)
            .with_context(|| format!("making the receiving of {link} a thread"))?;
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let new: Vec<u32> = all()?.difference(&before).copied().collect();
            if let [pid] = new[..] {
                pin_thread_to_cpu(pid, cpu)
                    .and_then(|()| prefer_thread(pid, PRIORITY))
                    .with_context(|| format!("cannot keep thread {pid} on CPU {cpu}"))?;
                return Ok(Self { pid });
            }
            ensure!(
                Instant::now() < deadline,
                "{} has {} new threads, not one",
                namespace.name(),
                new.len()
            );
        }
    }

    /// CPU time that the thread has used, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> Result<u64> {
        let path = format!("/proc/{}/schedstat", self.pid);
        let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        let first = text
            .split_whitespace()
            .next()
            .context("schedstat is empty")?;
        Ok(first.parse()?)
    }
}

/// All threads of this kind.
fn all() -> Result<BTreeSet<u32>> {
    let mut threads = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(comm) if comm.starts_with("napi/") => {
                threads.insert(pid);
            }
            Ok(_) => {}
            // It ended between the two looks.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            Err(error) => return Err(error).context("looking at the processes"),
        }
    }
    Ok(threads)
}
