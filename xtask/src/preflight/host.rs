//! What cannot be installed: the kernel, its type information, room on the disk.

use std::ffi::CString;
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::Context;

use crate::failure::CannotRunHere;
use crate::preflight::version::Version;
use crate::workspace;

/// The oldest kernel that the fixtures pass on.
const KERNEL_MIN: Version = Version(5, 10, 0);
/// The kernel's own types; the verifier matches map and program types against them.
const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";
/// Debug and release build of the workspace, with the tools and test binaries, rounded up.
const DISK_FREE_MIN_GIB: u64 = 5;

/// Fails on a kernel that cannot run the data path.
pub(crate) fn check_kernel() -> anyhow::Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")
        .context("cannot read the kernel's release")?;
    refuse(kernel_refusal(release.trim()))?;
    if Path::new(BTF_PATH).exists() {
        return Ok(());
    }
    refuse(Some(format!(
        "this kernel has no {BTF_PATH}; boot one built with CONFIG_DEBUG_INFO_BTF=y"
    )))
}

/// Fails if the target folder has no room for a build.
pub(crate) fn check_disk() -> anyhow::Result<()> {
    let target = workspace::target_dir();
    let existing = target
        .ancestors()
        .find(|dir| dir.exists())
        .unwrap_or(Path::new("/"));
    let free_gib = free_bytes(existing)? >> 30;
    let short = free_gib < DISK_FREE_MIN_GIB && !target.join("debug/lb-agent").exists();
    refuse(short.then(|| {
        format!(
            "{} has {free_gib} GiB free, a build needs {DISK_FREE_MIN_GIB} GiB",
            existing.display()
        )
    }))
}

fn kernel_refusal(release: &str) -> Option<String> {
    let Version(major, minor, _) = KERNEL_MIN;
    match Version::parse(release) {
        Some(version) if version >= KERNEL_MIN => None,
        _ => Some(format!(
            "kernel {release} is too old: Fairlead needs Linux {major}.{minor} or later"
        )),
    }
}

fn refuse(reason: Option<String>) -> anyhow::Result<()> {
    reason.map_or(Ok(()), |reason| Err(CannotRunHere(reason).into()))
}

fn free_bytes(dir: &Path) -> anyhow::Result<u64> {
    let path = CString::new(dir.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `path` ends with a zero byte and `stat` has room for the one structure that is written.
    let result = unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) };
    if result != 0 {
        return Err(std::io::Error::last_os_error())
            .with_context(|| format!("cannot stat {}", dir.display()));
    }
    // SAFETY: statvfs succeeded and filled it; zeroes are a valid value of it besides.
    let stat = unsafe { stat.assume_init() };
    Ok(stat.f_bavail * stat.f_frsize)
}

#[cfg(test)]
mod tests;
