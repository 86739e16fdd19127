//! Watches the configuration file: looks four times a second whether it is another file or was written, and tells
//! its content once it holds still. Reading it is all that happens here; what it says is `lb-core`'s to judge.
//! Looking instead of inotify, because a path may lead over symbolic links that are swapped (as Kubernetes
//! does with ConfigMaps) or over a network.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lb_core::config::Config;

use super::{Change, ChangeSender};

/// Time between two looks.
pub const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Watches until the engine is gone. `accept` says what a content means, or why it is refused.
pub async fn run<F>(mut watched: Watched, accept: F, changes: ChangeSender)
where
    F: Fn(&str) -> Result<Config, String> + Send,
{
    let mut last_error = None;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let change = match watched.look() {
            Ok(None) => continue,
            Ok(Some(content)) => accept(&content),
            Err(error) => Err(format!("cannot read {}: {error}", watched.path.display())),
        };
        let error = change.as_ref().err().cloned();
        if error.is_some() && error == last_error {
            continue;
        }
        last_error = error;
        let change = match change {
            Ok(config) => {
                tracing::info!(file = %watched.path.display(), "the configuration was edited and is in force");
                Change::Config(Arc::new(config))
            }
            Err(reason) => {
                tracing::error!(
                    "the configuration was edited and is refused, the running state stays\n{reason}"
                );
                Change::ConfigRefused(reason)
            }
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}

/// A file under watch.
#[derive(Debug)]
pub struct Watched {
    path: PathBuf,
    identity: Option<Identity>,
    told: Option<String>,
    waiting: Option<String>,
}

/// What differs after every way of editing a file: in place, by rename, by swapping a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_at: (i64, i64),
}

impl Watched {
    /// Watches a file whose content is known already.
    #[must_use]
    pub fn new(path: &Path, content: String) -> Self {
        Self {
            path: path.to_owned(),
            identity: None,
            told: Some(content),
            waiting: None,
        }
    }

    /// Looks once. The content, if it is new and was the same at two looks in a row: an editor that truncates
    /// and then writes is not caught in between.
    ///
    /// # Errors
    /// If the file is there and cannot be read. A file that is away for a moment is no error.
    pub fn look(&mut self) -> io::Result<Option<String>> {
        let Some(identity) = identity(&self.path)? else {
            self.identity = None;
            return Ok(None);
        };
        if self.identity == Some(identity) && self.waiting.is_none() {
            return Ok(None);
        }
        let content = fs::read_to_string(&self.path)?;
        self.identity = Some(identity);
        Ok(self.settle(content))
    }

    fn settle(&mut self, content: String) -> Option<String> {
        if self.told.as_ref() == Some(&content) {
            self.waiting = None;
            return None;
        }
        if self.waiting.as_ref() != Some(&content) {
            self.waiting = Some(content);
            return None;
        }
        self.waiting = None;
        self.told = Some(content.clone());
        Some(content)
    }
}

fn identity(path: &Path) -> io::Result<Option<Identity>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            changed_at: (metadata.ctime(), metadata.ctime_nsec()),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
