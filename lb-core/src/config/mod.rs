//! The YAML file that configures a standalone agent. Its words are those of Kubernetes and of the CRDs, the
//! full schema is known, and what this version does not support is refused by field and line, never ignored:
//! a setting that is silently without effect is worse than none. Text in, model out; the agent reads the file.

mod affinity;
mod bgp;
mod capacity;
mod dataplane;
mod duration;
mod error;
mod layer2;
mod names;
mod prefix;
mod schema;
mod services;
mod supported;
mod validate;

use std::{path::PathBuf, sync::Arc};

pub use error::{ConfigError, Problem};
use lb_common::limits::Capacity;

use crate::model::{Bgp, Dataplane, Layer2, Node, Service, UplinkMode};

/// A file that was understood and found consistent.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Name of this node.
    pub node: Arc<str>,
    /// Names of the uplinks; empty: the interface of the default route.
    pub uplinks: Vec<String>,
    /// Where on an uplink packets are taken.
    pub uplink_mode: UplinkMode,
    /// File with the cluster's secret; `None`: there is one node, which may make its own.
    pub key_file: Option<PathBuf>,
    /// All nodes, this one included.
    pub nodes: Vec<Arc<Node>>,
    /// The BGP speaker.
    pub bgp: Option<Arc<Bgp>>,
    /// Announcing on layer 2.
    pub layer2: Option<Arc<Layer2>>,
    /// What the data path does besides forwarding.
    pub dataplane: Arc<Dataplane>,
    /// How large the data path's maps are.
    pub capacity: Capacity,
    /// The Services.
    pub services: Vec<Arc<Service>>,
}

/// Where a text comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The file's name, for errors.
    pub file: &'a str,
    /// The host's name: this node's, unless the file says otherwise.
    pub host_name: &'a str,
}

/// Understands a file.
///
/// # Errors
/// With every problem found, each with line, column and what to do about it.
pub fn parse(text: &str, origin: Origin<'_>) -> Result<Config, ConfigError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let file: schema::File = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ConfigError::syntax(text, origin.file, &error))?;
    let mut problems = Vec::new();
    supported::refuse_unsupported(&file, &mut problems);
    let config = validate::validate(&file, origin.host_name, &mut problems);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(ConfigError::new(text, origin.file, problems)),
    }
}

/// Understands the settings of a node whose cluster is told by Kubernetes: the sections `node`, `cluster` and
/// `dataplane`, each as in a whole file, and nothing else.
///
/// # Errors
/// As [`parse`].
pub fn parse_settings(text: &str, origin: Origin<'_>) -> Result<Config, ConfigError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let settings: schema::Settings = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| ConfigError::syntax(text, origin.file, &error))?;
    let mut problems = Vec::new();
    let config = validate::settings(&settings, origin.host_name, &mut problems);
    match problems.is_empty() {
        true => Ok(config),
        false => Err(ConfigError::new(text, origin.file, problems)),
    }
}

#[cfg(test)]
mod tests;
