//! Passwords of peers for TCP MD5 signatures (RFC 2385), from their files. A file is read once and kept as long as
//! a peer names it, so that a session does not depend on the file staying there; one that cannot be used is tried
//! again. A password never gets into a log line, and a peer that has one never gets a session without it.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use lb_core::model::Peer;
use tokio::time::Instant;

/// Longest key that the kernel takes (TCP_MD5SIG_MAXKEYLEN, include/uapi/linux/tcp.h).
pub(super) const PASSWORD_LEN_MAX: usize = 80;
/// Time between two attempts to read a file that cannot be used.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// A secret that both ends of a session share.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Password(Vec<u8>);

/// Why a file is no password.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It cannot be read.
    #[error("cannot read the password file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// It has nothing but a line end.
    #[error("the password file {} is empty", .0.display())]
    Empty(PathBuf),
    /// The kernel takes no such key.
    #[error(
        "the password in {} has {len} bytes; TCP MD5 takes at most {PASSWORD_LEN_MAX}", path.display()
    )]
    TooLong {
        /// The file.
        path: PathBuf,
        /// Length without the line end.
        len: usize,
    },
}

impl Password {
    /// The first line of a file, without its end.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let mut bytes = fs::read(path).map_err(|source| Error::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let line_len = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        bytes.truncate(line_len.unwrap_or(bytes.len()));
        match bytes.len() {
            0 => Err(Error::Empty(path.to_owned())),
            1..=PASSWORD_LEN_MAX => Ok(Self(bytes)),
            len => Err(Error::TooLong {
                path: path.to_owned(),
                len,
            }),
        }
    }

    /// From 1 to [`PASSWORD_LEN_MAX`] bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// The files that peers name.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    files: BTreeMap<PathBuf, Result<Password, String>>,
    retry_at: Option<Instant>,
}

impl Passwords {
    /// Reads what these peers name and is not known yet, and forgets the rest.
    pub(super) fn follow(&mut self, peers: &[Peer], now: Instant) {
        let named = |path: &Path| {
            peers
                .iter()
                .any(|p| p.password_file.as_deref() == Some(path))
        };
        let is_due = self.retry_at.is_some_and(|at| at <= now);
        self.files
            .retain(|path, read| named(path) && (read.is_ok() || !is_due));
        for path in peers.iter().filter_map(|peer| peer.password_file.as_ref()) {
            if !self.files.contains_key(path) {
                let read = Password::read(path).map_err(|error| error.to_string());
                self.files.insert(path.clone(), read);
            }
        }
        let has_problem = self.files.values().any(Result::is_err);
        let next = self.retry_at.filter(|_| !is_due);
        self.retry_at = has_problem.then(|| next.unwrap_or(now + RETRY_INTERVAL));
    }

    /// A peer's password, if it is to have one; or why it cannot.
    pub(super) fn of(&self, peer: &Peer) -> Result<Option<&Password>, &str> {
        let file = peer
            .password_file
            .as_ref()
            .and_then(|path| self.files.get(path));
        match file {
            None => Ok(None),
            Some(Ok(password)) => Ok(Some(password)),
            Some(Err(problem)) => Err(problem),
        }
    }

    /// When [`Passwords::follow`] reads a file again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}

#[cfg(test)]
mod tests;
