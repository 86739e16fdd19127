//! `check`: says what is wrong with configuration files, each with line and caret, without touching anything.

use crate::{
    cli::CheckArgs,
    configuration::{self, Loaded},
    failure::{Failure, chain},
};

/// Runs the command.
///
/// # Errors
/// If a file is refused; all of them are looked at first.
pub fn check(args: &CheckArgs) -> Result<(), Failure> {
    let mut refused = 0;
    for file in &args.files {
        match configuration::load(file) {
            Ok(Loaded { config, .. }) => {
                println!(
                    "{}: sound; {} nodes, {} services",
                    file.display(),
                    config.nodes.len(),
                    config.services.len()
                );
            }
            Err(error) => {
                refused += 1;
                eprintln!("{}", chain(&error));
            }
        }
    }
    match refused {
        0 => Ok(()),
        _ => Err(Failure::Failed(format!(
            "{refused} of {} files refused",
            args.files.len()
        ))),
    }
}
