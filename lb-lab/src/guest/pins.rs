//! The file `kernels.txt`: which kernels there are, and exactly which packages they are made of.

use anyhow::{Context, Result, bail};

use crate::debian::Package;

const FILE: &str = include_str!("kernels.txt");

/// A pinned kernel of Debian.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Major and minor number, as `5.10`.
    pub name: String,
    /// What it is made of.
    pub(super) packages: Vec<Package>,
}

impl Kernel {
    /// The kernel of that name.
    ///
    /// # Errors
    /// None has it.
    pub fn named(name: &str) -> Result<Self> {
        let found = Self::all()?.into_iter().find(|kernel| kernel.name == name);
        found.with_context(|| format!("kernels.txt has no {name}"))
    }

    /// All of them, in the file's order: oldest first.
    ///
    /// # Errors
    /// The file is not understood.
    pub fn all() -> Result<Vec<Self>> {
        parse(FILE)
    }
}

pub(super) fn parse(text: &str) -> Result<Vec<Kernel>> {
    let mut kernels: Vec<Kernel> = Vec::new();
    let lines = text.lines().map(str::trim);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kernel, suite, name, version, sha256] = words[..] else {
            bail!("not five words: {line}");
        };
        if sha256.len() != 64 || !sha256.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("not a SHA-256: {line}");
        }
        let package = Package {
            suite: suite.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            sha256: sha256.to_ascii_lowercase(),
        };
        match kernels.iter_mut().find(|have| have.name == kernel) {
            Some(have) => have.packages.push(package),
            None => kernels.push(Kernel {
                name: kernel.to_owned(),
                packages: vec![package],
            }),
        }
    }
    Ok(kernels)
}
