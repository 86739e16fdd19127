//! Arguments of `import`, which reads another product's objects and prints a plan.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `import`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(group = clap::ArgGroup::new("from").required(true).args(["file", "kubeconfig", "in_cluster"]))]
pub struct ImportArgs {
    /// Whose objects they are
    #[arg(value_enum)]
    pub origin: ImportOrigin,
    /// A manifest, YAML or JSON, of any number of objects; `-` is the standard input; may be repeated
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
    /// Read the live cluster that this leads to; nothing is written
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub kubeconfig: Option<PathBuf>,
    /// Read the live cluster as one of its pods
    #[arg(long, conflicts_with = "file")]
    pub in_cluster: bool,
    /// The plan for people, or its objects for `kubectl apply`
    #[arg(short, long, value_enum, default_value_t = ImportOutput::Plan)]
    pub output: ImportOutput,
}

/// Whose objects are imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportOrigin {
    /// OpenELB v0.4 to v0.6, and PorterLB
    Openelb,
    /// MetalLB: its kinds since v0.13, AddressPools, or the ConfigMap before
    Metallb,
}

/// What `import` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImportOutput {
    /// What is kept, what differs, what is in the way
    Plan,
    /// Our objects
    Yaml,
}
