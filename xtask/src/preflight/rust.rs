//! The Rust side: components of the pinned toolchain, which rustup does not always install by itself, and
//! bpf-linker, which cargo compiles once into the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::preflight::Item;
use crate::preflight::version::Version;
use crate::{process, workspace};

/// The version that is installed where none is found.
const LINKER_VERSION: &str = "0.10.4";
/// Older ones leave names in the type information that the kernel refuses (bpf-linker pull request 346).
const LINKER_MIN: Version = Version(0, 10, 3);

const COMPONENTS: [Component; 4] = [
    Component {
        name: "rust-src",
        file: "lib/rustlib/src/rust/library/Cargo.lock",
        reason: "core, compiled for BPF",
    },
    Component {
        name: "rustfmt",
        file: "bin/cargo-fmt",
        reason: "the format check of the tests",
    },
    Component {
        name: "clippy",
        file: "bin/cargo-clippy",
        reason: "the lints of the tests",
    },
    Component {
        name: "rust-std-x86_64-unknown-linux-musl",
        file: "lib/rustlib/x86_64-unknown-linux-musl/lib",
        reason: "the static program of the image",
    },
];

/// A rustup component, known to be there by a file in the sysroot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Component {
    name: &'static str,
    file: &'static str,
    reason: &'static str,
}

impl Component {
    /// How it is listed.
    pub(crate) fn item(&self) -> Item {
        Item {
            name: self.name,
            cost: "under 50 MB",
            reason: self.reason,
        }
    }
}

/// The components that the toolchain of this workspace lacks.
pub(crate) fn missing_components() -> anyhow::Result<Vec<Component>> {
    let mut rustc = Command::new("rustc");
    let sysroot = process::output_of(
        rustc
            .current_dir(workspace::root())
            .args(["--print", "sysroot"]),
    )?;
    let sysroot = Path::new(sysroot.trim());
    Ok(COMPONENTS
        .into_iter()
        .filter(|component| !sysroot.join(component.file).exists())
        .collect())
}

/// Adds components to the toolchain of this workspace.
pub(crate) fn component_command(components: &[Component]) -> Command {
    let mut command = Command::new("rustup");
    command
        .current_dir(workspace::root())
        .args(["component", "add"]);
    command.args(components.iter().map(|component| component.name));
    command
}

/// How the linker is listed.
pub(crate) fn linker_item() -> Item {
    Item {
        name: "bpf-linker",
        cost: "50 MB, compiled in 1 to 3 min",
        reason: "links the BPF object",
    }
}

/// Compiles the linker into the cache.
pub(crate) fn linker_command() -> Command {
    let mut command = Command::new("cargo");
    command
        .current_dir(workspace::root())
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTC_BOOTSTRAP");
    command.args(["install", "--locked", "--version", LINKER_VERSION, "--root"]);
    command.arg(tools_dir()).arg("bpf-linker");
    command
}

/// Whether a new enough linker is found, in the same places in the same order as by the build script of
/// lb-datapath.
pub(crate) fn has_linker() -> bool {
    let given = std::env::var_os("FAIRLEAD_BPF_LINKER").map(PathBuf::from);
    let cached = tools_dir().join("bin/bpf-linker");
    given
        .or_else(|| cached.exists().then_some(cached))
        .or_else(|| workspace::find_program("bpf-linker"))
        .and_then(|linker| linker_version(&linker))
        .is_some_and(|version| version >= LINKER_MIN)
}

fn linker_version(linker: &Path) -> Option<Version> {
    let output = Command::new(linker).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().find_map(Version::parse)
}

fn tools_dir() -> PathBuf {
    workspace::cache_dir().join("tools")
}
