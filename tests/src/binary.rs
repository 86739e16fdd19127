//! Test binaries that run other test binaries: in a guest, or on another build of the data path.

use std::{env, fs, path::PathBuf, time::SystemTime};

use anyhow::{Context as _, Result};

/// The newest build of a test binary of this package; cargo puts all of them into the folder of this one.
///
/// # Errors
/// It is not built.
pub fn test_binary(name: &str) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let folder = own.parent().context("this binary lies in no folder")?;
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_name().unwrap_or_default().to_string_lossy();
        let is_it = stem
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|hash| !hash.contains('.'));
        if is_it {
            newest = newest.max(Some((fs::metadata(&path)?.modified()?, path)));
        }
    }
    let (_, path) = newest.with_context(|| {
        format!("{name} is not built: `cargo test -p fairlead-tests --test {name} --no-run`")
    })?;
    Ok(path)
}
