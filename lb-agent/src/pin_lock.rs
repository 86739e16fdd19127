//! One agent a pin folder. Two that write the same maps would undo each other's work word by word, so the
//! folder is locked (flock(2)) while an agent lives; the kernel lets go when it dies, however it dies.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// The lock; let go when dropped.
#[derive(Debug)]
pub struct PinLock {
    _folder: File,
}

/// Why the folder cannot be had. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An agent has it.
    #[error(
        "an agent runs here with the pins below {}; stop it first, or name another folder with --pin-dir",
        .0.display()
    )]
    Taken(PathBuf),
    /// The kernel refuses.
    #[error("cannot lock {}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}

impl PinLock {
    /// Locks a folder that exists.
    ///
    /// # Errors
    /// If an agent has it.
    pub fn take(pin_dir: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io {
            path: pin_dir.to_owned(),
            source,
        };
        let folder = File::open(pin_dir).map_err(io)?;
        match folder.try_lock() {
            Ok(()) => Ok(Self { _folder: folder }),
            Err(TryLockError::WouldBlock) => Err(Error::Taken(pin_dir.to_owned())),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

#[cfg(test)]
mod tests;
