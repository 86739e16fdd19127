//! The command line: which sub-commands there are and which module serves each. No work is done here.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};

use crate::test;

/// The whole command line, for `--help` and for parsing.
pub(crate) fn command() -> Command {
    Command::new("cargo xtask")
        .about("Builds, tests and shows Fairlead")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("test")
                .about("Runs tidy, fmt, clippy and the tests")
                .arg(
                    Arg::new("selection")
                        .value_name("TIER|FILTER")
                        .help("`unit`, `lab`, a test binary, or a part of a test's name"),
                ),
        )
}

/// Runs the sub-command that was given.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    match matches.subcommand() {
        Some(("test", given)) => {
            test::run(given.get_one::<String>("selection").map(String::as_str))
        }
        _ => unreachable!("clap requires one of the sub-commands above"),
    }
}
