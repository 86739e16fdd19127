//! Before anything is built: can this machine do it, and what is missing? A machine that cannot is told
//! why in one sentence. All that is missing is listed at once with size and reason, then installed, each
//! step said aloud; where everything is there, nothing happens.

mod debian;
mod host;
mod rust;
mod version;

use std::fmt;

use crate::failure::CannotRunHere;
use crate::{privilege, process};

/// What the machine is about to be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Compiling; needs no root and no kernel feature.
    Build,
    /// Loading BPF programs and building labs.
    Run,
    /// That, and booting other kernels in guests.
    Test,
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
    if purpose != Purpose::Build {
        host::check_kernel()?;
        privilege::ensure()?;
    }
    let missing = missing(purpose)?;
    if missing.is_empty() {
        return Ok(());
    }
    println!("xtask: missing on this machine:");
    missing
        .iter()
        .flat_map(Step::items)
        .for_each(|item| println!("  {item}"));
    if install == Install::PrintCommands {
        println!("xtask: these commands install it:");
        missing
            .iter()
            .for_each(|step| println!("  {}", step.command()));
        return Err(CannotRunHere(
            "not everything is installed, and --no-install was given".into(),
        )
        .into());
    }
    missing.iter().try_for_each(Step::install)
}

/// One command that installs some of what is missing.
enum Step {
    Packages(Vec<debian::Package>),
    Components(Vec<rust::Component>),
    Linker,
}

/// Something to install: its name, what it costs, why it is needed.
struct Item {
    name: &'static str,
    cost: &'static str,
    reason: &'static str,
}

impl fmt::Display for Item {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:<14} {:<30} {}", self.name, self.cost, self.reason)
    }
}

impl Step {
    fn items(&self) -> Vec<Item> {
        match self {
            Self::Packages(packages) => packages.iter().map(debian::Package::item).collect(),
            Self::Components(components) => components.iter().map(rust::Component::item).collect(),
            Self::Linker => vec![rust::linker_item()],
        }
    }

    fn command(&self) -> String {
        match self {
            Self::Packages(packages) => debian::command(packages),
            Self::Components(components) => process::shown(&rust::component_command(components)),
            Self::Linker => process::shown(&rust::linker_command()),
        }
    }

    fn install(&self) -> anyhow::Result<()> {
        println!("xtask: installing: {}", self.command());
        match self {
            Self::Packages(packages) => debian::install(packages),
            Self::Components(components) => process::run(&mut rust::component_command(components)),
            Self::Linker => process::run(&mut rust::linker_command()),
        }
        .map_err(|error| CannotRunHere(format!("{error:#}")).into())
    }
}

fn missing(purpose: Purpose) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    if purpose != Purpose::Build {
        steps.push(Step::Packages(debian::missing(purpose)?));
    }
    steps.push(Step::Components(rust::missing_components()?));
    if !rust::has_linker() {
        steps.push(Step::Linker);
    }
    steps.retain(|step| !step.items().is_empty());
    Ok(steps)
}
