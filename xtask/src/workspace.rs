//! Where things are: the workspace's root, its target folder, its cache, and cargo itself.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the workspace this program was built from.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace's root")
}

/// Downloaded tools and, in CI, build output: `~/.cache/fairlead`.
pub(crate) fn cache_dir() -> PathBuf {
    let home = env::var_os("HOME").unwrap_or_else(|| "/root".into());
    Path::new(&home).join(".cache/fairlead")
}

/// Build output: `$CARGO_TARGET_DIR`, in CI the warm cache, otherwise `target` of the workspace.
pub(crate) fn target_dir() -> PathBuf {
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR") {
        return root().join(dir);
    }
    if in_ci() {
        cache_dir().join("target")
    } else {
        root().join("target")
    }
}

/// Where tests leave logs and captures; git ignores it.
pub(crate) fn artifacts_dir() -> PathBuf {
    root().join("artifacts")
}

/// CI says so with `CI=true`; a skipped test is an error there.
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true" || value == "1")
}

/// Cargo, in the workspace's root and with its target folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target_dir());
    // What the cargo that runs us says of this package. Build scripts of others watch these names (ring's does), and
    // would be run again, with all that depends on them, each time cargo is called by hand and by us in turn.
    for (name, _) in env::vars_os() {
        let is_of_package = |prefix: &str| name.to_string_lossy().starts_with(prefix);
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .into_iter()
            .any(is_of_package)
        {
            command.env_remove(&name);
        }
    }
    command
}

/// `PATH` with the folders of administrators' programs, which Debian leaves out for normal users.
pub(crate) fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/local/sbin:/usr/sbin:/sbin");
    path
}

/// The first program of that name on the search path.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    env::split_paths(&search_path())
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}
