//! The mark of a node that is out of service: a file beside the agent's socket, so that an agent that is started again
//! stays out of service until somebody takes the mark off. It is on a file system that a reboot empties (`/run`): a
//! node that comes back from one is in service.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::Duration,
};

use lb_core::snapshot::Drain;

/// Waited for flows if the mark does not say it: one made by hand.
const FLOWS_WAIT_DEFAULT: Duration = Duration::from_secs(60);

/// Where the mark is, if there is one.
#[derive(Clone, Debug)]
pub struct DrainMark(PathBuf);

impl DrainMark {
    /// The mark of the agent that answers on this socket.
    #[must_use]
    pub fn beside(socket: &Path) -> Self {
        Self(socket.with_extension("drain"))
    }

    /// What the mark says; `None`: the node is in service.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn read(&self) -> io::Result<Option<Drain>> {
        let text = match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text?,
        };
        let seconds = text.trim().parse().map(Duration::from_secs);
        let flows_wait = seconds.unwrap_or(FLOWS_WAIT_DEFAULT);
        Ok(Some(Drain { flows_wait }))
    }

    /// Sets the mark, or takes it off.
    ///
    /// # Errors
    /// The file cannot be written or removed.
    pub fn set(&self, drain: Option<Drain>) -> io::Result<()> {
        match drain {
            Some(drain) => fs::write(&self.0, format!("{}\n", drain.flows_wait.as_secs())),
            None => match fs::remove_file(&self.0) {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                removed => removed,
            },
        }
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests;
