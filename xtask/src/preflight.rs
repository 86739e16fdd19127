//! Before anything is built: can this machine do it, and what is missing? A machine that cannot is told
//! why in one sentence. All that is missing is listed at once with size and reason, then installed, each
//! step said aloud; where everything is there, nothing happens.

mod debian;
mod host;
mod rust;
mod version;

use std::fmt;

use crate::failure::CannotRunHere;
use crate::privilege;

/// What the machine is about to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compiling; needs no root and no kernel feature.
    Build,
    /// Loading BPF programs and building labs.
    Run,
}

/// Whether missing things are installed or the commands that install them are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Install {
    Yes,
    PrintCommands,
}

/// Makes the machine ready for `purpose`, or says why it cannot be.
pub(crate) fn prepare(purpose: Purpose, install: Install) -> anyhow::Result<()> {
    println!("xtask: preflight");
    host::check_disk()?;
    if purpose == Purpose::Run {
        host::check_kernel()?;
        privilege::ensure()?;
    }
    let missing = missing(purpose)?;
    if missing.is_empty() {
        return Ok(());
    }
    println!("xtask: missing on this machine:");
    missing.iter().for_each(|item| println!("  {item}"));
    if install == Install::PrintCommands {
        println!("xtask: these commands install it:");
        missing
            .iter()
            .for_each(|item| println!("  {}", item.source.command()));
        return Err(CannotRunHere(
            "not everything is installed, and --no-install was given".into(),
        )
        .into());
    }
    missing.iter().try_for_each(|item| item.source.install())
}

/// Something to install: its name, what it costs, why it is needed.
struct Missing {
    name: String,
    cost: &'static str,
    reason: &'static str,
    source: Source,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<14} {:<28} {}", self.name, self.cost, self.reason)
    }
}

/// Where a missing thing comes from.
enum Source {
    Debian(debian::Package),
    Component(rust::Component),
    BpfLinker,
}

impl Source {
    fn command(&self) -> String {
        match self {
            Self::Debian(package) => package.command(),
            Self::Component(component) => component.command(),
            Self::BpfLinker => rust::linker_command(),
        }
    }

    fn install(&self) -> anyhow::Result<()> {
        println!("xtask: installing: {}", self.command());
        match self {
            Self::Debian(package) => package.install(),
            Self::Component(component) => component.install(),
            Self::BpfLinker => rust::install_linker(),
        }
    }
}

fn missing(purpose: Purpose) -> anyhow::Result<Vec<Missing>> {
    let mut missing = rust::missing()?;
    if purpose == Purpose::Run {
        missing.extend(debian::missing()?);
    }
    Ok(missing)
}
