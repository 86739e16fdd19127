//! Packages of Debian and Ubuntu that labs and people use. Installing one never starts or enables a daemon
//! on the host: `debian/install.sh` denies it by policy-rc.d while apt runs.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::failure::CannotRunHere;
use crate::preflight::{Item, Purpose};
use crate::{privilege, workspace};

/// What labs and people use, and nothing else.
const PACKAGES: [Package; 9] = [
    Package {
        debian: "bird2",
        ubuntu: "bird2",
        program: "bird",
        daemon: Some("bird"),
        cost: "2 MB",
        reason: "the real BGP router of the labs",
    },
    Package {
        debian: "frr",
        ubuntu: "frr",
        program: "vtysh",
        daemon: Some("frr"),
        cost: "20 MB",
        reason: "another router that the agents' BGP is tested with",
    },
    Package {
        debian: "gobgpd",
        ubuntu: "gobgpd",
        program: "gobgpd",
        daemon: Some("gobgpd"),
        cost: "31 MB",
        reason: "another router that the agents' BGP is tested with",
    },
    Package {
        debian: "exabgp",
        ubuntu: "exabgp",
        program: "exabgp",
        daemon: Some("exabgp"),
        cost: "3 MB",
        reason: "a decoder that the agents' BGP is tested with",
    },
    Package {
        debian: "nftables",
        ubuntu: "nftables",
        program: "nft",
        daemon: None,
        cost: "1 MB",
        reason: "firewall rules of the hostile node",
    },
    Package {
        debian: "iptables",
        ubuntu: "iptables",
        program: "iptables-nft-restore",
        daemon: None,
        cost: "2 MB",
        reason: "kube-proxy's other kind of rules, to be compared with",
    },
    Package {
        debian: "iproute2",
        ubuntu: "iproute2",
        program: "ip",
        daemon: None,
        cost: "4 MB",
        reason: "looking into a lab's namespaces",
    },
    Package {
        debian: "ethtool",
        ubuntu: "ethtool",
        program: "ethtool",
        daemon: None,
        cost: "1 MB",
        reason: "offloads of a lab's interfaces",
    },
    Package {
        debian: "bpftool",
        ubuntu: "linux-tools-common",
        program: "bpftool",
        daemon: None,
        cost: "3 MB",
        reason: "reading the pinned maps, for people",
    },
];

/// What the guests of the kernels tier take besides.
const GUEST_PACKAGES: [Package; 2] = [
    Package {
        debian: "qemu-system-x86",
        ubuntu: "qemu-system-x86",
        program: "qemu-system-x86_64",
        daemon: None,
        cost: "130 MB with libraries",
        reason: "guests with other kernels",
    },
    Package {
        debian: "busybox-static",
        ubuntu: "busybox-static",
        program: "busybox",
        daemon: None,
        cost: "2 MB",
        reason: "what runs in such a guest",
    },
];

/// What C code of the image's program is compiled with.
const MUSL: Package = Package {
    debian: "musl-tools",
    ubuntu: "musl-tools",
    program: "musl-gcc",
    daemon: None,
    cost: "1 MB",
    reason: "the static program of the image",
};

/// What builds the programs of the cluster tier, where they are not built yet. An older one fetches a newer one.
const GO: Package = Package {
    debian: "golang-go",
    ubuntu: "golang-go",
    program: "go",
    daemon: None,
    cost: "310 MB, and 5 GB of build cache",
    reason: "building Kubernetes and Helm, for tests",
};

const INSTALL_SCRIPT: &str = include_str!("debian/install.sh");

/// One package, known to be there by the program it brings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    debian: &'static str,
    ubuntu: &'static str,
    program: &'static str,
    /// The service that the package would start and enable.
    daemon: Option<&'static str>,
    cost: &'static str,
    reason: &'static str,
}

/// The packages for a purpose whose program is not found.
pub(crate) fn missing(purpose: Purpose) -> anyhow::Result<Vec<Package>> {
    let is_absent = |package: &Package| workspace::find_program(package.program).is_none();
    let guests = (purpose == Purpose::Test).then_some(GUEST_PACKAGES);
    let go = (purpose == Purpose::Test && !has_kubernetes()).then_some(GO);
    let wanted = PACKAGES.into_iter().chain(guests.into_iter().flatten());
    let musl = (purpose == Purpose::Test).then_some(MUSL);
    let wanted = wanted.chain(go).chain(musl);
    let absent: Vec<Package> = wanted.filter(is_absent).collect();
    if !absent.is_empty() && workspace::find_program("apt-get").is_none() {
        let programs: Vec<&str> = absent.iter().map(|package| package.program).collect();
        let programs = programs.join(", ");
        return Err(CannotRunHere(format!(
            "there is no apt-get here: install {programs} yourself"
        ))
        .into());
    }
    Ok(absent)
}

/// Whether a program of each module in `tests/kubernetes` is at hand; of which version is seen when it is used.
fn has_kubernetes() -> bool {
    let folders = std::fs::read_dir(workspace::cache_dir().join("k8s"));
    let folders: Vec<_> = folders.into_iter().flatten().flatten().collect();
    let is_built = |name: &str| {
        folders
            .iter()
            .any(|folder| folder.path().join(name).exists())
    };
    let has_api_server =
        std::env::var_os("KUBEBUILDER_ASSETS").is_some() || is_built("kube-apiserver");
    has_api_server && ["kubelet", "coredns", "helm"].into_iter().all(is_built)
}

/// What a person would type.
pub(crate) fn command(packages: &[Package]) -> String {
    let names: Vec<&str> = packages.iter().map(Package::name).collect();
    format!(
        "sudo apt-get install --no-install-recommends {}",
        names.join(" ")
    )
}

/// Installs them as root; the script says what is left alone.
pub(crate) fn install(packages: &[Package]) -> anyhow::Result<()> {
    let daemons: Vec<&str> = packages
        .iter()
        .filter_map(|package| package.daemon)
        .collect();
    let daemons = daemons.join(" ");
    let shell = workspace::find_program("sh").context("there is no sh")?;
    let mut script = privilege::raised(&shell, &[("DAEMONS", OsStr::new(&daemons))]);
    script
        .args(["-c", INSTALL_SCRIPT, "install.sh"])
        .args(packages.iter().map(Package::name));
    let status = script.status().context("cannot start sh as root")?;
    ensure!(
        status.success(),
        "the packages could not be installed ({status}), see above"
    );
    Ok(())
}

impl Package {
    /// How it is listed.
    pub(crate) fn item(&self) -> Item {
        Item {
            name: self.name(),
            cost: self.cost,
            reason: self.reason,
        }
    }

    fn name(&self) -> &'static str {
        if is_ubuntu(Path::new("/etc/os-release")) {
            self.ubuntu
        } else {
            self.debian
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
