//! How a failure ends the process: exit code 2 for a machine that cannot run the command, 1 for
//! everything else, with the whole chain of causes printed once.

use std::fmt;
use std::process::ExitCode;

/// This machine lacks something that the command needs; the text says in one sentence what, and what
/// to do about it.
#[derive(Debug)]
pub(crate) struct CannotRunHere(pub(crate) String);

impl fmt::Display for CannotRunHere {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for CannotRunHere {}

/// Prints the error with its causes and gives the exit code that belongs to it.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("xtask: {error:#}");
    if error.is::<CannotRunHere>() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}
