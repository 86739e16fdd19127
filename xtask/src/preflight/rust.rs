//! The Rust side: components of the pinned toolchain, which rustup does not always install by itself, and
//! bpf-linker, which cargo compiles once into the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::CannotRunHere;
use crate::preflight::version::Version;
use crate::preflight::{Missing, Source};
use crate::{process, workspace};

/// The version that is installed where none is found.
const LINKER_VERSION: &str = "0.10.4";
/// Older ones leave names in the type information that the kernel refuses (bpf-linker pull request 346).
const LINKER_MIN: Version = Version(0, 10, 3);

const COMPONENTS: [Component; 3] = [
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
];

/// A rustup component, known to be there by a file in the sysroot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Component {
    name: &'static str,
    file: &'static str,
    reason: &'static str,
}

impl Component {
    /// What a person would type.
    pub(crate) fn command(&self) -> String {
        format!("rustup component add {}", self.name)
    }

    /// Adds it to the toolchain that builds this workspace.
    pub(crate) fn install(&self) -> anyhow::Result<()> {
        process::run(Command::new("rustup").current_dir(workspace::root()).args([
            "component",
            "add",
            self.name,
        ]))
        .map_err(|error| {
            CannotRunHere(format!(
                "{error:#}; Fairlead is built with rustup's toolchain"
            ))
            .into()
        })
    }
}

/// The components and the linker, as far as they are missing.
pub(crate) fn missing() -> anyhow::Result<Vec<Missing>> {
    let asked = process::output_of(
        Command::new("rustc")
            .current_dir(workspace::root())
            .args(["--print", "sysroot"]),
    )?;
    let sysroot = Path::new(asked.trim());
    let mut missing: Vec<Missing> = COMPONENTS
        .into_iter()
        .filter(|component| !sysroot.join(component.file).exists())
        .map(|component| Missing {
            name: component.name.to_owned(),
            cost: "under 50 MB",
            reason: component.reason,
            source: Source::Component(component),
        })
        .collect();
    if !has_linker() {
        missing.push(Missing {
            name: format!("bpf-linker {LINKER_VERSION}"),
            cost: "200 MB, compiled in 2 minutes",
            reason: "links the BPF object",
            source: Source::BpfLinker,
        });
    }
    Ok(missing)
}

/// What a person would type.
pub(crate) fn linker_command() -> String {
    process::shown(&linker_install())
}

/// Compiles bpf-linker into the cache.
pub(crate) fn install_linker() -> anyhow::Result<()> {
    process::run(&mut linker_install())
}

fn linker_install() -> Command {
    let mut command = Command::new("cargo");
    command
        .current_dir(workspace::root())
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTC_BOOTSTRAP");
    command.args(["install", "--locked", "--version", LINKER_VERSION, "--root"]);
    command.arg(tools_dir()).arg("bpf-linker");
    command
}

/// The same places in the same order as the build script of lb-datapath.
fn has_linker() -> bool {
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
