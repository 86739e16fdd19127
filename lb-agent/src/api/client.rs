//! Asks the agent, or tells it: one HTTP/1.0 request over its Unix socket, the answer read to its end (RFC 1945: the server
//! closes). Enough for a peer that is always our own server on this machine, and blocking, as a command is.

use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::de::DeserializeOwned;

/// The most that an agent may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no answer. Nothing was changed by asking.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error(
        "no agent runs here: nobody listens on {}; start one with `lb-agent run`, or name its socket with --socket",
        .0.display()
    )]
    NoAgent(PathBuf),
    /// The socket belongs to somebody else.
    #[error("no right to ask the agent: {} is its owner's alone; use the same user, or sudo", .0.display())]
    NotAllowed(PathBuf),
    /// The agent is there and does not answer.
    #[error("the agent on {} does not answer", path.display())]
    Io {
        /// Its socket.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// The agent answers with an error.
    #[error("the agent answers {path} with: {status}")]
    Status {
        /// What was asked.
        path: String,
        /// The status line.
        status: String,
    },
    /// The agent is of another version.
    #[error(
        "the agent's answer is not understood ({0}); agent and command are of different versions"
    )]
    Format(String),
}

/// The rows of `/v1/...`, decoded.
pub fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, Error> {
    let body = request(socket, "GET", path)?;
    serde_json::from_slice(&body).map_err(|error| Error::Format(error.to_string()))
}

/// Has the agent do what `path` says.
pub fn put(socket: &Path, path: &str) -> Result<(), Error> {
    request(socket, "PUT", path).map(drop)
}

/// Has the agent undo what `path` says.
pub fn delete(socket: &Path, path: &str) -> Result<(), Error> {
    request(socket, "DELETE", path).map(drop)
}

/// Whether somebody listens on the socket.
#[must_use]
pub fn is_alive(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

fn request(socket: &Path, method: &str, path: &str) -> Result<Vec<u8>, Error> {
    let io = |source| Error::Io {
        path: socket.to_owned(),
        source,
    };
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Error::NoAgent(socket.to_owned()),
        ErrorKind::PermissionDenied => Error::NotAllowed(socket.to_owned()),
        _ => io(error),
    })?;
    stream.set_read_timeout(Some(TIMEOUT)).map_err(io)?;
    write!(stream, "{method} {path} HTTP/1.0\r\n\r\n").map_err(io)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(io)?;
    body(path, &answer).map(<[u8]>::to_vec)
}

/// The body of a whole answer whose status is 200.
fn body<'a>(path: &str, answer: &'a [u8]) -> Result<&'a [u8], Error> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end else {
        return Err(Error::Format("no end of the header".to_owned()));
    };
    let header = String::from_utf8_lossy(&answer[..end]);
    let status = header.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(Error::Status {
            path: path.to_owned(),
            status: status.to_owned(),
        });
    }
    Ok(&answer[end + 4..])
}
