//! `check`: says what is wrong with configuration files, each with line and caret, without touching anything.
//! Of a file that is for this host it also says what of the host stands in the way; that is advice, and
//! changes no exit code: the file is sound.

use std::sync::Arc;

use lb_core::config::Config;

use crate::{
    cli::CheckArgs,
    configuration::{self, Loaded},
    failure::{Failure, chain},
    hostcheck::{self, Needs},
    uplinks,
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
                let (nodes, services) = (config.nodes.len(), config.services.len());
                println!(
                    "{}: sound; nodes: {nodes}, services: {services}",
                    file.display()
                );
                check_host(&config);
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

/// What stands in the way on this host, if the file is for it: it names uplinks, and they are here.
fn check_host(config: &Config) {
    if config.uplinks.is_empty() && config.node.as_ref() != configuration::host_name() {
        return;
    }
    let uplinks = match uplinks::choose(&config.uplinks) {
        Ok(uplinks) => uplinks,
        Err(error) => {
            println!("this host is not looked at: {error}");
            return;
        }
    };
    if let Err(error) = uplinks::check_layer2(config.layer2.as_deref(), &uplinks) {
        println!("this host: {error}");
    }
    let uplinks: Vec<_> = uplinks.into_iter().map(Arc::from).collect();
    for sentence in hostcheck::check(&Needs::of(config, &uplinks)) {
        println!("this host: {sentence}");
    }
}
