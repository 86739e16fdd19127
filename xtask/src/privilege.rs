//! Root only for the steps that need it: builds run as the user, the step that touches network
//! namespaces and BPF is raised by sudo. The environment that the step relies on is handed over word by
//! word, because sudo clears it.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::failure::CannotRunHere;
use crate::workspace;

/// What a raised child keeps of this process's environment.
const KEPT: [&str; 11] = [
    "HOME",
    "TERM",
    "CI",
    "NO_COLOR",
    "RUST_BACKTRACE",
    "RUST_LOG",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "PROPTEST_CASES",
    "KUBEBUILDER_ASSETS",
];

/// Fails unless this process is root or sudo will make it so; asks for the password at most once, here.
pub(crate) fn ensure() -> anyhow::Result<()> {
    if is_root() {
        return Ok(());
    }
    let asked = Command::new("sudo")
        .args(["-v", "-p", "sudo password for %u (for labs and BPF): "])
        .status();
    match asked {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => {
            Err(CannotRunHere("this needs root, and sudo refused; run it as root".into()).into())
        }
        Err(_) => Err(CannotRunHere(
            "this needs root, and there is no sudo; run it as root".into(),
        )
        .into()),
    }
}

/// True if sudo is not needed.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, changes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// `program` as root, with `environment` on top of what is always kept.
pub(crate) fn raised(program: &Path, environment: &[(&str, &OsStr)]) -> Command {
    if is_root() {
        let mut command = Command::new(program);
        command
            .env("PATH", workspace::search_path())
            .envs(environment.iter().copied());
        return command;
    }
    let mut command = Command::new("sudo");
    command
        .args(["--", "env"])
        .arg(assignment("PATH", &workspace::search_path()));
    for name in KEPT {
        if let Some(value) = env::var_os(name) {
            command.arg(assignment(name, &value));
        }
    }
    for (name, value) in environment {
        command.arg(assignment(name, value));
    }
    command.arg(program);
    command
}

fn assignment(name: &str, value: &OsStr) -> std::ffi::OsString {
    let mut word = std::ffi::OsString::from(name);
    word.push("=");
    word.push(value);
    word
}
