//! `lb-lab`: the demo, the lab that it shows, and the kernels of guests. Exit codes: 0 all steps held, 1 a step failed,
//! 2 cannot run here, 130 interrupted.

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
    /// Fetch the kernels of the guests that are not in the cache yet
    FetchKernels,
    /// Build the Kubernetes API server that tests use, unless it is in the cache
    BuildKubernetes,
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo { keep } => demo::run(Goal::Everything { keep }),
        Command::Up => demo::run(Goal::Up),
        Command::FetchKernels => prepared(lb_lab::guest::fetch_kernels()),
        Command::BuildKubernetes => prepared(lb_lab::prepare_kubernetes()),
    }
}

fn prepared(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lb-lab: {error:#}");
            ExitCode::from(2)
        }
    }
}
