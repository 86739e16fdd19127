//! Packages of Debian and Ubuntu that labs and people use. Installing one never starts or enables a daemon
//! on the host: `debian/install.sh` denies it by policy-rc.d while apt runs.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Context;

use crate::failure::CannotRunHere;
use crate::preflight::{Missing, Source};
use crate::{privilege, process, workspace};

/// Every package that is used, and nothing else.
const PACKAGES: [Package; 5] = [
    Package {
        debian: "bird2",
        ubuntu: "bird2",
        program: "bird",
        daemon: "bird.service",
        cost: "2 MB",
        reason: "the real BGP router of the labs",
    },
    Package {
        debian: "nftables",
        ubuntu: "nftables",
        program: "nft",
        daemon: "",
        cost: "1 MB",
        reason: "firewall rules of the hostile node",
    },
    Package {
        debian: "iproute2",
        ubuntu: "iproute2",
        program: "ip",
        daemon: "",
        cost: "4 MB",
        reason: "looking into a lab's namespaces",
    },
    Package {
        debian: "ethtool",
        ubuntu: "ethtool",
        program: "ethtool",
        daemon: "",
        cost: "1 MB",
        reason: "offloads of a lab's interfaces",
    },
    Package {
        debian: "bpftool",
        ubuntu: "linux-tools-common",
        program: "bpftool",
        daemon: "",
        cost: "3 MB",
        reason: "reading the pinned maps, for people",
    },
];

const INSTALL_SCRIPT: &str = include_str!("debian/install.sh");

/// One package, known to be there by the program it brings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    debian: &'static str,
    ubuntu: &'static str,
    program: &'static str,
    /// The unit that the package would enable; empty if it has none.
    daemon: &'static str,
    cost: &'static str,
    reason: &'static str,
}

/// The packages whose program is not found.
pub(crate) fn missing() -> anyhow::Result<Vec<Missing>> {
    let absent: Vec<Package> = PACKAGES
        .into_iter()
        .filter(|package| workspace::find_program(package.program).is_none())
        .collect();
    if !absent.is_empty() && workspace::find_program("apt-get").is_none() {
        let programs: Vec<&str> = absent.iter().map(|package| package.program).collect();
        let sentence = format!(
            "this machine has no apt-get; install these programs yourself: {}",
            programs.join(", ")
        );
        return Err(CannotRunHere(sentence).into());
    }
    Ok(absent.into_iter().map(Package::into_missing).collect())
}

impl Package {
    /// What a person would type.
    pub(crate) fn command(&self) -> String {
        format!(
            "sudo apt-get install --no-install-recommends {}",
            self.name()
        )
    }

    /// Installs it as root; see the script for what is left alone.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        privilege::ensure()?;
        let shell = workspace::find_program("sh").context("there is no sh")?;
        let mut command = privilege::raised(&shell, &[("DAEMON", OsStr::new(self.daemon))]);
        command.args(["-c", INSTALL_SCRIPT, "install.sh", self.name()]);
        let installed = command
            .status()
            .with_context(|| format!("cannot start {}", process::shown(&command)))?;
        if installed.success() {
            return Ok(());
        }
        Err(CannotRunHere(format!(
            "package {} could not be installed, see above",
            self.name()
        ))
        .into())
    }

    fn name(&self) -> &'static str {
        if is_ubuntu(Path::new("/etc/os-release")) {
            self.ubuntu
        } else {
            self.debian
        }
    }

    fn into_missing(self) -> Missing {
        Missing {
            name: self.name().to_owned(),
            cost: self.cost,
            reason: self.reason,
            source: Source::Debian(self),
        }
    }
}

/// os-release(5): `ID=ubuntu`, or a derivative that names it in `ID_LIKE`.
fn is_ubuntu(os_release: &Path) -> bool {
    let text = std::fs::read_to_string(os_release).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .any(|(key, value)| matches!(key, "ID" | "ID_LIKE") && value.contains("ubuntu"))
}

#[cfg(test)]
mod tests;
