//! Programs built from one of the Go modules in `tests/kubernetes`, and kept below `~/.cache/fairlead/k8s` in a folder
//! named after the module and the version of what it builds. Tests find them there and build nothing; `lb-lab
//! build-kubernetes` builds what is missing, as the user, so that the cache stays the user's.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::apiserver::go;

const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kubernetes");
const KUBERNETES: &str = "k8s.io/kubernetes";

/// A module, and what is built from it.
pub(crate) struct GoModule {
    /// Its folder.
    pub(crate) name: &'static str,
    /// The text of its `go.mod`.
    pub(crate) requirements: &'static str,
    /// The module that it requires and whose version counts.
    pub(crate) versioned: &'static str,
    /// The packages of the programs; a program is called like the last word of its package.
    pub(crate) packages: &'static [&'static str],
    /// How long building takes on two cores.
    pub(crate) takes: &'static str,
}

impl GoModule {
    /// Where a program is, once it is built.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder()?.join(name);
        path.is_file().then_some(path).with_context(|| {
            format!(
                "{name} is not built: run `cargo xtask test cluster` or `lb-lab build-kubernetes`"
            )
        })
    }

    /// Builds all programs if one is missing, and says so.
    pub(crate) fn prepare(&self) -> Result<()> {
        let cache = cache_folder();
        fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
        // One at a time; the second finds what the first has built.
        let lock = File::create(cache.join("lock"))?;
        lock.lock()?;
        let mut names = self.packages.iter().map(|package| name_of(package));
        if names.all(|name| self.program(name).is_ok()) {
            return Ok(());
        }
        let version = version(self.requirements, self.versioned)?;
        println!("building {} {version} ({})", self.name, self.takes);
        let fresh = cache.join(format!("fresh-{}", self.name));
        let folder = self.folder()?;
        for old in [&fresh, &folder] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
        }
        fs::create_dir_all(&fresh)?;
        let packages: Vec<String> = self.packages.iter().map(|&name| name.to_owned()).collect();
        let stamp = if self.versioned == KUBERNETES {
            stamp(version)?
        } else {
            String::new()
        };
        build(&go::find(&cache)?, self.name, &packages, &stamp, &fresh)?;
        fs::rename(&fresh, &folder).with_context(|| format!("making {}", folder.display()))
    }

    fn folder(&self) -> Result<PathBuf> {
        let version = version(self.requirements, self.versioned)?;
        Ok(cache_folder().join(format!("{version}-{}", self.name)))
    }
}

fn name_of(package: &str) -> &str {
    package.rsplit('/').next().unwrap_or(package)
}

/// `go build` in one of the modules; more than one program goes into a folder.
pub(crate) fn build(
    go: &Path,
    module: &str,
    packages: &[String],
    stamp: &str,
    output: &Path,
) -> Result<()> {
    let status = Command::new(go)
        .env("CGO_ENABLED", "0")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-buildvcs=false -mod=readonly -trimpath")
        .args(["build", "-ldflags", &format!("-s -w {stamp}"), "-o"])
        .arg(output)
        .args(packages)
        .current_dir(Path::new(MODULES).join(module))
        .status()
        .context("starting go")?;
    ensure!(
        status.success(),
        "go build of {packages:?} failed: {status}"
    );
    Ok(())
}

/// Without these words the programs of Kubernetes would call themselves v0.0.0.
pub(crate) fn stamp(version: &str) -> Result<String> {
    let numbers: Vec<&str> = version.trim_start_matches('v').split('.').collect();
    let [major, minor, _] = numbers[..] else {
        bail!("\"{version}\" is not a version of Kubernetes");
    };
    let place = "k8s.io/component-base/version";
    Ok(format!(
        "-X {place}.gitVersion={version} -X {place}.gitMajor={major} -X {place}.gitMinor={minor}"
    ))
}

/// Where all that is built from Go modules is kept.
pub(crate) fn cache_folder() -> PathBuf {
    let home = env::var_os("HOME").unwrap_or_else(|| "/root".into());
    Path::new(&home).join(".cache/fairlead/k8s")
}

/// The version of a module that a `go.mod` requires.
pub(crate) fn version<'a>(go_mod: &'a str, module: &str) -> Result<&'a str> {
    let mut lines = go_mod
        .lines()
        .map(|line| line.trim().trim_start_matches("require "));
    let found = lines.find_map(|line| line.strip_prefix(module)?.strip_prefix(' '));
    let word = found.and_then(|rest| rest.split_whitespace().next());
    word.ok_or_else(|| anyhow!("go.mod does not require {module}"))
}
