//! The cgroups that a cluster's nodes keep their pods below: one folder a cluster in every hierarchy, named after the
//! process that made it. The kernel would keep them for ever, so a shell that outlives this process, however that ends,
//! removes them when their last process is gone.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};

/// The folders of one cluster; dropping it removes them.
pub(super) struct Cgroups {
    folders: Vec<PathBuf>,
    name: String,
    janitor: Child,
}

/// Reads until nobody holds the other end any more, then removes folders from the leaves up; a cgroup's files are the
/// kernel's and go with it. Processes that were killed a moment ago still count for a little while.
const JANITOR: &str = "cat; for round in $(seq 100); do
    find \"$@\" -depth -type d -exec rmdir {} + 2> /dev/null
    for folder in \"$@\"; do [ -d \"$folder\" ] && sleep 0.1 && continue 2; done
    exit
done";

impl Cgroups {
    /// Makes the folders.
    pub(super) fn make() -> Result<Self> {
        static CLUSTERS: AtomicUsize = AtomicUsize::new(0);
        let number = CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("fairlead-cluster-{}-{number}", process::id());
        let folders: Vec<PathBuf> = hierarchies()?.iter().map(|one| one.join(&name)).collect();
        let mut janitor = Command::new("sh");
        janitor.args(["-c", JANITOR, "sh"]).args(&folders);
        janitor.stdin(Stdio::piped()).process_group(0);
        let cgroups = Self {
            janitor: janitor.spawn().context("starting sh")?,
            folders,
            name,
        };
        cgroups
            .folders
            .iter()
            .try_for_each(|folder| make_folder(folder))?;
        Ok(cgroups)
    }

    /// A node's folder, as kubelet's `cgroupRoot` names it: made here, for it takes only one that is there.
    pub(super) fn of_node(&self, node: &str) -> Result<String> {
        for folder in &self.folders {
            make_folder(&folder.join(node))?;
        }
        Ok(format!("/{}/{node}", self.name))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        // What it could not remove is still used by somebody, and there is nobody to tell.
        let _ = self.janitor.wait();
    }
}

/// cpuset(7): without processors and memory nodes no process can be put into a folder.
fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("making {}", folder.display()))?;
    let above = folder.parent().context("a cgroup has one above it")?;
    for list in ["cpuset.cpus", "cpuset.mems"] {
        if above.join(list).exists() && folder.join(list).exists() {
            fs::write(folder.join(list), fs::read(above.join(list))?)?;
        }
    }
    Ok(())
}

/// Where each hierarchy is mounted on the host, as proc(5) lists it: those of version 1, or the one of version 2.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading the mounts")?;
    let of_kind = |kind: &str| -> Vec<PathBuf> {
        let fields = mounts.lines().map(|line| line.split(' ').collect());
        let found = fields.filter(|fields: &Vec<&str>| fields.get(2) == Some(&kind));
        found.map(|fields| PathBuf::from(fields[1])).collect()
    };
    let version_1 = of_kind("cgroup");
    Ok(if version_1.is_empty() {
        of_kind("cgroup2")
    } else {
        version_1
    })
}
