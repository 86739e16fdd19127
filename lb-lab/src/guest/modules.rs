//! Kernel modules in the order in which they can be loaded. Debian's packages come without `modules.dep`, so what a
//! module needs is read from the module itself (`depends=` in its section `.modinfo`).

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// A module's file.
#[derive(Clone, Debug)]
pub(super) struct Module {
    /// Name with underscores.
    pub(super) name: String,
    path: PathBuf,
}

impl Module {
    /// The module, decompressed.
    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        let is_compressed = self.path.extension().is_some_and(|end| end == "xz");
        if !is_compressed {
            return fs::read(&self.path)
                .with_context(|| format!("reading {}", self.path.display()));
        }
        let output = Command::new("busybox")
            .args(["unxz", "-c"])
            .arg(&self.path)
            .stderr(Stdio::null())
            .output()
            .context("starting busybox")?;
        ensure!(
            output.status.success(),
            "cannot decompress {}",
            self.path.display()
        );
        Ok(output.stdout)
    }
}

/// `wanted` and all that they need; what is built into the kernel, or no longer exists there, is left out.
pub(super) fn in_order(folder: &Path, wanted: &[&str]) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    if !wanted.is_empty() {
        find(folder, &mut files)?;
    }
    let mut ordered = Vec::new();
    for name in wanted {
        add(&files, &name.replace('-', "_"), &mut ordered)?;
    }
    Ok(ordered)
}

fn add(files: &BTreeMap<String, PathBuf>, name: &str, ordered: &mut Vec<Module>) -> Result<()> {
    let Some(path) = files.get(name) else {
        return Ok(());
    };
    if ordered.iter().any(|have| have.name == name) {
        return Ok(());
    }
    let module = Module {
        name: name.to_owned(),
        path: path.clone(),
    };
    for needed in depends(&module.bytes()?) {
        add(files, &needed, ordered)?;
    }
    ordered.push(module);
    Ok(())
}

/// What `.modinfo` says: `depends=NAME,NAME`, ended by a zero.
pub(super) fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Vec::new();
    };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next();
    let text = String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
    text.split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

fn find(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            find(&path, files)?;
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some((name, "ko" | "ko.xz")) = name.split_once('.') {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}
