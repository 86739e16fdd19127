//! `lb-lab`: the demo, the lab that it shows, and the kernels of guests. Exit codes: 0 all steps held, 1 a step failed,
//! 2 cannot run here, 130 interrupted.

mod cluster_command;
mod demo;
mod hold;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cluster_command::ClusterCommand;
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
    /// Keep connections open until a file is there, then ask each once more
    Hold {
        /// Where to
        #[arg(long)]
        target: SocketAddr,
        /// The first of the client's ports
        #[arg(long)]
        first_port: u16,
        /// How many
        #[arg(long)]
        count: u16,
        /// The file
        #[arg(long, value_name = "FILE")]
        until: PathBuf,
    },
    /// Fetch the kernels of the guests that are not in the cache yet
    FetchKernels,
    /// Build and fetch what clusters are made of, unless it is in the cache
    BuildKubernetes,
    /// Write the agent's container image
    Image {
        /// The static program
        #[arg(long, value_name = "FILE")]
        agent: PathBuf,
        /// The archive, in OCI's layout
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Render the chart with its default values, by Helm
    RenderChart {
        /// The file to write
        #[arg(value_name = "FILE")]
        output: PathBuf,
    },
    /// A real Kubernetes cluster in namespaces
    #[command(subcommand)]
    Cluster(ClusterCommand),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Demo { keep } => demo::run(Goal::Everything { keep }),
        Command::Up => demo::run(Goal::Up),
        Command::Hold {
            target,
            first_port,
            count,
            until,
        } => done(hold::run(target, first_port, count, &until)),
        Command::FetchKernels => prepared(lb_lab::guest::fetch_kernels()),
        Command::BuildKubernetes => prepared(lb_lab::prepare_kubernetes()),
        Command::Image { agent, output } => done(image(&agent, &output)),
        Command::RenderChart { output } => done(render_chart(&output)),
        Command::Cluster(command) => done(cluster_command::run(&command)),
    }
}

fn image(agent: &Path, output: &Path) -> anyhow::Result<()> {
    let digest = lb_lab::write_agent_image(agent, output)?;
    println!("{} has {digest}", output.display());
    Ok(())
}

fn render_chart(output: &Path) -> anyhow::Result<()> {
    Ok(std::fs::write(output, lb_lab::rendered_chart()?)?)
}

fn done(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lb-lab: {error:#}");
            ExitCode::FAILURE
        }
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
