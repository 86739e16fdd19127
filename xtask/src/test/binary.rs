//! The test binaries of the workspace: which there are (cargo says), what tier each belongs to, whether it
//! needs root, and how it is run.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;
use serde_json::Value;

use crate::{privilege, process, workspace};

/// Packages whose tests open BPF objects or network namespaces.
const NEED_ROOT: [&str; 3] = ["fairlead-tests", "lb-datapath", "lb-lab"];
/// Packages whose tests build labs.
const LAB_PACKAGES: [&str; 2] = ["fairlead-tests", "lb-lab"];
/// Binaries of the lab packages that run the real program on fixtures and build no lab.
const FIXTURE_BINARIES: [&str; 4] = ["fixtures", "flood", "mutants", "reference"];
/// The binaries of the lab packages that talk to a real API server, without nodes and with them.
const CLUSTER_BINARIES: [&str; 2] = ["kube", "cluster"];
/// The binary of the lab packages that boots other kernels.
const KERNELS_BINARY: &str = "kernels";
/// Labs mostly wait, so more of them run at once than there are cores.
const LABS_AT_ONCE: &str = "6";
/// A guest keeps one core busy.
const GUESTS_AT_ONCE: &str = "2";
/// A cluster that comes up keeps all cores busy.
const CLUSTERS_AT_ONCE: &str = "1";

/// Which budget a test belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// Pure crates, simulations, fixtures.
    Unit,
    /// Namespaces with real peers and sockets.
    Lab,
    /// A real API server.
    Cluster,
    /// The data path on other kernels, in guests.
    Kernels,
}

impl fmt::Display for Tier {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unit => "unit",
            Self::Lab => "lab",
            Self::Cluster => "cluster",
            Self::Kernels => "kernels",
        })
    }
}

/// Which of a binary's tests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Share {
    /// Those that are always run.
    Usual,
    /// Those that take long, ignored by libtest unless asked for.
    Soak,
}

/// A built test binary.
#[derive(Debug)]
pub(crate) struct TestBinary {
    /// `package` for the tests inside a library, otherwise `package::target`.
    pub(crate) name: String,
    pub(crate) tier: Tier,
    package: String,
    target: String,
    package_dir: PathBuf,
    executable: PathBuf,
}

/// Builds the tests of every package and lists their binaries.
pub(crate) fn build_all() -> anyhow::Result<Vec<TestBinary>> {
    let mut command = workspace::cargo();
    command.args([
        "test",
        "--workspace",
        "--no-run",
        "--quiet",
        "--message-format=json-render-diagnostics",
    ]);
    let messages = process::output_of(&mut command)?;
    let mut binaries = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).context("cargo's message is no JSON")?;
        binaries.extend(TestBinary::from_message(&message));
    }
    binaries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(binaries)
}

impl TestBinary {
    /// The binary that a `compiler-artifact` message of cargo describes, if it is a test.
    pub(crate) fn from_message(message: &Value) -> Option<Self> {
        let executable = message["executable"].as_str()?;
        if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
            return None;
        }
        let package_dir = PathBuf::from(message["manifest_path"].as_str()?)
            .parent()?
            .to_owned();
        let package = package_of(message["package_id"].as_str()?)?;
        let target = message["target"]["name"].as_str()?;
        let is_library = message["target"]["kind"]
            .as_array()?
            .iter()
            .any(|kind| kind == "lib");
        let name = if is_library {
            package.clone()
        } else {
            format!("{package}::{target}")
        };
        Some(Self {
            name,
            tier: tier_of(&package, target),
            package,
            target: target.to_owned(),
            package_dir,
            executable: executable.into(),
        })
    }

    /// True for the package's or the target's name, or both.
    pub(crate) fn is_named(&self, word: &str) -> bool {
        [&self.name, &self.package, &self.target]
            .iter()
            .any(|name| *name == word)
    }

    /// The command that runs the tests of a share whose name contains `filter`.
    pub(crate) fn command(&self, share: Share, filter: Option<&str>) -> Command {
        let artifacts = workspace::artifacts_dir();
        let target_dir = workspace::target_dir();
        let environment: [(&str, &OsStr); 6] = [
            ("CARGO_MANIFEST_DIR", self.package_dir.as_os_str()),
            ("CARGO_TARGET_DIR", target_dir.as_os_str()),
            ("FAIRLEAD_ARTIFACTS", artifacts.as_os_str()),
            ("INSTA_WORKSPACE_ROOT", workspace::root().as_os_str()),
            // A test writes nothing into the sources.
            ("INSTA_UPDATE", OsStr::new("no")),
            // libtest prints the time of each test only where unstable options are allowed.
            ("RUSTC_BOOTSTRAP", OsStr::new("1")),
        ];
        let mut command = if NEED_ROOT.contains(&self.package.as_str()) {
            privilege::raised(&self.executable, &environment)
        } else {
            let mut command = Command::new(&self.executable);
            command.envs(environment);
            command
        };
        command
            .current_dir(&self.package_dir)
            .args(["-Z", "unstable-options", "--report-time"]);
        match self.tier {
            Tier::Unit => {}
            Tier::Cluster if self.target == "cluster" => {
                command.args(["--test-threads", CLUSTERS_AT_ONCE]);
            }
            Tier::Lab | Tier::Cluster => {
                command.args(["--test-threads", LABS_AT_ONCE]);
            }
            Tier::Kernels => {
                command.args(["--test-threads", GUESTS_AT_ONCE]);
            }
        }
        if share == Share::Soak {
            command.args(["--ignored", "--show-output"]);
        }
        command.args(filter);
        command
    }
}

fn tier_of(package: &str, target: &str) -> Tier {
    if !LAB_PACKAGES.contains(&package) || FIXTURE_BINARIES.contains(&target) {
        Tier::Unit
    } else if target == KERNELS_BINARY {
        Tier::Kernels
    } else if CLUSTER_BINARIES.contains(&target) {
        Tier::Cluster
    } else {
        Tier::Lab
    }
}

/// `lb-core` of `path+file:///x/lb-core#0.1.0` or of `path+file:///x/y#lb-core@0.1.0`
/// (cargo reference, Package ID Specifications).
fn package_of(id: &str) -> Option<String> {
    let (url, fragment) = id.split_once('#')?;
    let name = match fragment.split_once('@') {
        Some((name, _version)) => name,
        None => url.rsplit('/').next()?,
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
