//! The configuration file as this host reads it: its text, what it means here, and which of its settings
//! cannot change under a running agent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lb_core::{
    config::{self, Config, Origin},
    keys::ClusterKeys,
};

/// Why a file is not used. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// It says something that cannot be.
    #[error(transparent)]
    Refused(#[from] config::ConfigError),
    /// The key is too short.
    #[error("cluster.keyFile {}", path.display())]
    Key {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        source: lb_core::keys::SecretTooShort,
    },
    /// It changes what only a restart can change.
    #[error(
        "{field} cannot change while the agent runs: put it back, or restart the agent (the data path stays)"
    )]
    NeedsRestart {
        /// The setting.
        field: &'static str,
    },
}

/// A file's text and what it means.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The text.
    pub text: String,
    /// What it means.
    pub config: Config,
}

/// Reads and understands a file.
///
/// # Errors
/// With line and caret, if it is refused.
pub fn load(path: &Path) -> Result<Loaded, Error> {
    let text = read(path)?;
    let config = understand(path, &text)?;
    Ok(Loaded { text, config })
}

/// Reads the settings of a node whose cluster Kubernetes tells; without a file, all are defaults.
///
/// # Errors
/// With line and caret, if the file is refused.
pub fn load_settings(path: Option<&Path>) -> Result<Config, Error> {
    let text = path.map(read).transpose()?.unwrap_or_default();
    let file = path.map_or_else(String::new, |path| path.display().to_string());
    let host_name = host_name();
    let origin = Origin {
        file: &file,
        host_name: &host_name,
    };
    Ok(config::parse_settings(&text, origin)?)
}

/// What a text means on this host.
///
/// # Errors
/// With line and caret, if it is refused.
pub fn understand(path: &Path, text: &str) -> Result<Config, Error> {
    let file = path.display().to_string();
    let host_name = host_name();
    let origin = Origin {
        file: &file,
        host_name: &host_name,
    };
    Ok(config::parse(text, origin)?)
}

/// What an edited text means to an agent that runs with `running`.
///
/// # Errors
/// As [`understand`], and if it changes what a running agent cannot.
pub fn understand_edit(path: &Path, text: &str, running: &Config) -> Result<Config, Error> {
    let config = understand(path, text)?;
    let changed = [
        ("node.name", config.node != running.node),
        ("node.uplinks", config.uplinks != running.uplinks),
        ("node.mode", config.uplink_mode != running.uplink_mode),
        ("cluster.keyFile", config.key_file != running.key_file),
        (
            "dataplane.servicePorts, .endpoints and .flows",
            config.capacity != running.capacity,
        ),
    ];
    match changed.into_iter().find(|(_, changed)| *changed) {
        Some((field, _)) => Err(Error::NeedsRestart { field }),
        None => Ok(config),
    }
}

/// The cluster's keys, if the file names where they come from.
///
/// # Errors
/// If the key file cannot be read, or is no key.
pub fn keys(config: &Config) -> Result<Option<ClusterKeys>, Error> {
    let Some(path) = &config.key_file else {
        return Ok(None);
    };
    let unreadable = |source| Error::Unreadable {
        path: path.clone(),
        source,
    };
    let secret = fs::read(path).map_err(unreadable)?;
    let keys = ClusterKeys::from_secret(&secret);
    keys.map(Some).map_err(|source| Error::Key {
        path: path.clone(),
        source,
    })
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The host's name, empty if the kernel does not tell.
#[must_use]
pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    name.unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests;
