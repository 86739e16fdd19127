//! `lb-lab`: the demo, and the lab that it shows. Exit codes: 0 all steps held, 1 a step failed, 2 cannot run here,
//! 130 interrupted.

mod demo;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::demo::Goal;

/// Labs of network namespaces: a client, a BGP router, three nodes, six pods.
#[derive(Debug, Parser)]
#[command(name = "lb-lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the whole path, step by step: sessions, requests, a node cut off, an agent killed
    Demo {
        /// Leave the lab up at the end and print how to look around
        #[arg(long)]
        keep: bool,
    },
    /// Bring the demo's lab up and keep it until Ctrl-C
    Up,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo { keep } => demo::run(Goal::Everything { keep }),
        Command::Up => demo::run(Goal::Up),
    }
}
