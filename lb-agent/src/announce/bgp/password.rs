//! Passwords and keys by which peers sign (RFC 2385, RFC 5925), from their files. The files are looked at again and
//! again; what was read stays as long as a peer names the file, so that a session does not depend on the file
//! staying there. A password never gets into a log line, and a peer that has one never gets a session without it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use lb_core::model::{Authentication, Peer};
use tokio::time::Instant;

use super::socket;

/// Longest key that the kernel takes (TCP_MD5SIG_MAXKEYLEN, include/uapi/linux/tcp.h).
pub(super) const PASSWORD_LEN_MAX: usize = 80;
/// Time from one look at the files to the next: a password that was changed there takes effect by itself.
const READ_INTERVAL: Duration = Duration::from_secs(2);
/// Why a session by TCP-AO cannot be had.
const NO_TCP_AO: &str = "this kernel has no TCP-AO (CONFIG_TCP_AO, Linux 6.7 or later), and without it nothing is \
    sent: use such a kernel, or `passwordFile`";

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

/// How segments of a session are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// TCP MD5 (RFC 2385).
    Md5(Password),
    /// TCP-AO (RFC 5925).
    Ao {
        /// The master key.
        key: Password,
        /// KeyID of what we send.
        send_id: u8,
        /// KeyID of what the peer sends.
        receive_id: u8,
        /// As the kernel's crypto API calls it.
        algorithm: &'static str,
    },
}

/// The files that peers name.
#[derive(Debug, Default)]
pub(super) struct Passwords {
    files: BTreeMap<PathBuf, Result<Password, String>>,
    read_at: Option<Instant>,
}

impl Passwords {
    /// Reads what these peers name: at once what is not known yet, and all of it every [`READ_INTERVAL`]. A file
    /// that was good and is no more does not count: sessions outlive it.
    pub(super) fn follow(&mut self, peers: &[Arc<Peer>], now: Instant) {
        let files = peers
            .iter()
            .filter_map(|peer| peer.transport.authentication.as_ref());
        let named: BTreeSet<_> = files.map(Authentication::file).collect();
        self.files.retain(|path, _| named.contains(path));
        let is_due = self.read_at.is_some_and(|at| at <= now);
        for &path in &named {
            if is_due || !self.files.contains_key(path) {
                let read = Password::read(path).map_err(|error| error.to_string());
                self.keep(path, read);
            }
        }
        let next = self.read_at.filter(|_| !is_due);
        self.read_at = (!named.is_empty()).then(|| next.unwrap_or(now + READ_INTERVAL));
    }

    fn keep(&mut self, path: &Path, read: Result<Password, String>) {
        match (self.files.get(path), read) {
            (Some(Ok(_)), Err(problem)) => {
                tracing::debug!(%problem, "a password file that was good is not; what was read stays");
            }
            (_, read) => {
                self.files.insert(path.to_owned(), read);
            }
        }
    }

    /// How a peer's sessions are signed, if they are to be; or why they cannot be.
    pub(super) fn of(&self, peer: &Peer) -> Result<Option<Signature>, String> {
        let Some(by) = &peer.transport.authentication else {
            return Ok(None);
        };
        let Some(read) = self.files.get(by.file()) else {
            return Err("its key was not read yet".to_owned());
        };
        let key = read.clone()?;
        let Authentication::Ao {
            send_id,
            receive_id,
            algorithm,
            ..
        } = by
        else {
            return Ok(Some(Signature::Md5(key)));
        };
        if !socket::knows_tcp_ao() {
            return Err(NO_TCP_AO.to_owned());
        }
        Ok(Some(Signature::Ao {
            key,
            send_id: *send_id,
            receive_id: *receive_id,
            algorithm,
        }))
    }

    /// When [`Passwords::follow`] reads the files again.
    pub(super) fn read_at(&self) -> Option<Instant> {
        self.read_at
    }
}

#[cfg(test)]
mod tests;
