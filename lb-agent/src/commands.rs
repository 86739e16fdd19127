//! One file a command: what `lb-agent COMMAND` does, from its arguments to what it prints.

pub mod accept;
pub mod check;
pub mod cleanup;
pub mod cluster;
pub mod controller;
pub mod drain;
pub mod explain;
pub mod import;
pub mod run;
pub mod show;
pub mod trace;

use std::io::{self, ErrorKind, Write};

use crate::failure::Failure;

/// Prints to standard output. Whoever reads may stop early, as `head` does.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::from_error(&error)),
        _ => Ok(()),
    }
}
