//! What `cargo metadata` says of every package: who it is, what it may be used for, what it needs.

use anyhow::Context;
use serde_json::Value;

use crate::{process, workspace};

/// Every package of the dependency graph.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone)]
pub(super) struct Package {
    pub(super) name: String,
    /// Part of this workspace.
    pub(super) ours: bool,
    /// An SPDX expression, if it has one.
    pub(super) license: Option<String>,
    /// The registry it comes from; none for a path.
    pub(super) source: Option<String>,
    /// Names of direct dependencies of every kind: normal, build, dev.
    pub(super) dependencies: Vec<String>,
}

impl Metadata {
    pub(super) fn load() -> anyhow::Result<Self> {
        let mut command = workspace::cargo();
        let text =
            process::output_of(command.args(["metadata", "--format-version=1", "--locked"]))?;
        Self::parse(&serde_json::from_str(&text).context("cargo metadata printed no JSON")?)
    }

    fn parse(value: &Value) -> anyhow::Result<Self> {
        let members = value["workspace_members"]
            .as_array()
            .context("cargo metadata names no members")?;
        let packages = value["packages"]
            .as_array()
            .context("cargo metadata names no packages")?;
        let packages = packages
            .iter()
            .map(|package| Package::parse(package, members))
            .collect();
        Ok(Self { packages })
    }

    /// The packages of this workspace.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.ours)
    }
}

impl Package {
    fn parse(package: &Value, members: &[Value]) -> Self {
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        Self {
            name: text("name").unwrap_or_default(),
            ours: members.contains(&package["id"]),
            license: text("license"),
            source: text("source"),
            dependencies: dependencies
                .filter_map(|needed| needed["name"].as_str().map(str::to_owned))
                .collect(),
        }
    }
}
