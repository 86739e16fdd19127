//! What can go wrong between the agent and the kernel, in an operator's words.

use std::{io, path::PathBuf};

/// Each variant says whether anything that was running is changed: none loses what was attached before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program cannot be loaded.
    #[error("cannot load the BPF program {program}: {reason}")]
    Load {
        /// Its name.
        program: String,
        /// The kernel's words: the verifier's last lines, or the system call's error.
        reason: String,
    },
    /// The object cannot be read, or its maps not be made.
    #[error("cannot make the BPF maps: {0}")]
    Object(#[from] aya::EbpfError),
    /// The process may not do what it must.
    #[error(
        "the kernel refuses to {what}: run as root, or with the capabilities BPF, NET_ADMIN and PERFMON (and a \
         memory lock limit of unlimited below kernel 5.11)"
    )]
    NotPermitted {
        /// What was tried.
        what: &'static str,
    },
    /// Another XDP program is there; it is left alone.
    #[error(
        "another XDP program is attached to {interface} and stays there; `bpftool net show dev {interface}` names \
         it: detach it, or let `node.mode` be `auto` or `tc`"
    )]
    XdpTaken {
        /// The uplink.
        interface: String,
    },
    /// The program cannot be attached.
    #[error("cannot attach to {interface} ({hook}): {source}{hint}")]
    Attach {
        /// The uplink.
        interface: String,
        /// XDP, or egress.
        hook: &'static str,
        /// The kernel's error.
        source: io::Error,
        /// What to do about it, if that is known.
        hint: &'static str,
    },
    /// More uplinks than there are slots.
    #[error("{interface} is one uplink too many: at most {most} are supported")]
    TooManyUplinks {
        /// The uplink.
        interface: String,
        /// The limit.
        most: u32,
    },
    /// The folder for pins cannot be used.
    #[error("cannot use {} for pins: {reason}", path.display())]
    PinFolder {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// A system call failed that has no reason to.
    #[error("cannot {what}: {source}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
}

impl Error {
    /// A failed system call; "not permitted" gets its own words.
    pub(crate) fn kernel(what: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM) => Self::NotPermitted { what },
            _ => Self::Kernel { what, source },
        }
    }

    /// Whether this machine, or this user, can never do it: exit code 2 instead of 1.
    #[must_use]
    pub fn is_not_permitted(&self) -> bool {
        matches!(self, Self::NotPermitted { .. })
    }
}
