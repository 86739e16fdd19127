//! The front of everything a developer does: `cargo xtask COMMAND`. It checks the machine, installs what
//! is missing, builds, and runs the other binaries of this workspace as processes. It links none of
//! them and keeps its own dependencies few, so that its first line appears within seconds of a cold
//! start. Exit codes: 0 done, 1 the thing failed, 2 cannot run here (said in one sentence).

mod binaries;
mod cli;
mod failure;
mod preflight;
mod privilege;
mod process;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    let matches = cli::command().get_matches();
    match cli::run(&matches) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
