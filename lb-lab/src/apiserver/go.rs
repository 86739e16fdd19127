//! A Go toolchain that is new enough: the one on `PATH`, or one that an older `go` fetches as a module, checked by Go's
//! checksum database. `GOTOOLCHAIN` would do the latter by itself, but only from Go 1.21 on, and Debian 12 has 1.19.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// What the modules' `go` lines ask for.
const OLDEST: (u32, u32) = (1, 25);
/// What is fetched where there is only an older one.
const FETCHED: &str = "1.26.0";

/// The program `go`, of a version that can build what is needed.
pub(crate) fn find(cache: &Path) -> Result<PathBuf> {
    let own = PathBuf::from("go");
    match version(&own) {
        Some(found) if found >= OLDEST => Ok(own),
        Some(_) => fetch(&own, cache),
        None => bail!(
            "building Kubernetes needs Go: install golang-go, or set KUBEBUILDER_ASSETS to a folder with etcd, \
             kube-apiserver and kubectl"
        ),
    }
}

/// `go version go1.26.8 linux/amd64`
fn version(go: &Path) -> Option<(u32, u32)> {
    let output = Command::new(go)
        .env("GOTOOLCHAIN", "local")
        .arg("version")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    parse(&text)
}

fn parse(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text
        .split_whitespace()
        .nth(2)?
        .strip_prefix("go")?
        .split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn fetch(go: &Path, cache: &Path) -> Result<PathBuf> {
    let name = format!("v0.0.1-go{FETCHED}.linux-{}", architecture()?);
    let modules = cache.join("toolchain");
    let root = modules.join(format!("golang.org/toolchain@{name}"));
    let program = root.join("bin/go");
    if version(&program).is_some() {
        return Ok(program);
    }
    println!(
        "fetching Go {FETCHED}, because the one here is older than {}.{}",
        OLDEST.0, OLDEST.1
    );
    let status = Command::new(go)
        .env("GOMODCACHE", &modules)
        .env("GOFLAGS", "-modcacherw")
        .args(["mod", "download", &format!("golang.org/toolchain@{name}")])
        .current_dir("/")
        .status()
        .context("starting go")?;
    ensure!(
        status.success(),
        "go could not fetch Go {FETCHED}: {status}"
    );
    // Modules are unpacked without the right to execute.
    for folder in ["bin", "pkg/tool"] {
        make_executable(&root.join(folder))?;
    }
    Ok(program)
}

fn make_executable(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            make_executable(&path)?;
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

/// As Go names it.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => bail!("Kubernetes is not built on {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_says_of_itself() {
        assert_eq!(parse("go version go1.26.8 linux/amd64\n"), Some((1, 26)));
        assert_eq!(parse("go version go1.19 linux/amd64\n"), Some((1, 19)));
        assert_eq!(parse("go: not found"), None);
    }
}
