//! A kernel of the guests as it lies unpacked in the cache: what a boot loader starts, and where its modules are.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::pins::Kernel;
use crate::debian;

/// Where a kernel lies unpacked.
pub(super) struct Unpacked {
    /// What a boot loader starts.
    pub(super) image: PathBuf,
    /// Folder that has the modules somewhere below it.
    pub(super) modules: PathBuf,
}

/// The cached kernel; fetched first if it is not there.
pub(super) fn unpacked(kernel: &Kernel) -> Result<Unpacked> {
    let folder = debian::unpacked("kernels", &kernel.name, &kernel.packages)?;
    Ok(Unpacked {
        image: image(&folder)?,
        modules: folder,
    })
}

/// `/boot/vmlinuz-VERSION`, later `/usr/lib/modules/VERSION/vmlinuz`.
fn image(folder: &Path) -> Result<PathBuf> {
    let versions = fs::read_dir(folder.join("usr/lib/modules"));
    let beside_modules = versions
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("vmlinuz")));
    let in_boot = fs::read_dir(folder.join("boot")).into_iter().flatten();
    let in_boot = in_boot.filter_map(|entry| Some(entry.ok()?.path()));
    let is_image = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("vmlinuz") && path.is_file()
    };
    let found = beside_modules.chain(in_boot).find(is_image);
    found.with_context(|| format!("no kernel image below {}", folder.display()))
}
