//! `lb-lab cluster up|down|shell`: a cluster for people. `up` keeps it until Ctrl-C or `down`; `shell` opens a shell
//! beside the newest one. Nothing is left behind however it ends.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Subcommand, ValueEnum};
use lb_lab::{
    Cluster, ClusterOptions, Neighbour, Profile, Proxy, Segments, registered_clusters, search_path,
    wait_until,
};

/// What to do with clusters.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Bring up three nodes, a router and a client, and keep them until Ctrl-C
    Up {
        /// What serves ClusterIPs
        #[arg(long, value_enum, default_value_t = ProxyMode::Nftables)]
        proxy: ProxyMode,
        /// Also bring this image onto every node; may be repeated
        #[arg(long, value_name = "ARCHIVE")]
        image: Vec<PathBuf>,
        /// How many LANs the nodes are on: with two, node3 has its own behind the router
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
        lans: u8,
    },
    /// Take the newest cluster down
    Down,
    /// Open a shell beside the newest cluster: kubectl, helm, node1 to node3, client, birdc
    Shell,
}

/// Modes of kube-proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyMode {
    /// kube-proxy with nftables
    Nftables,
    /// kube-proxy with iptables
    Iptables,
    /// Nothing
    None,
}

/// How long a cluster may take to end.
const DOWN_LIMIT: Duration = Duration::from_secs(30);

/// Does what was asked for.
pub(crate) fn run(command: &ClusterCommand) -> Result<()> {
    match command {
        ClusterCommand::Up { proxy, image, lans } => up(*proxy, image, *lans),
        ClusterCommand::Down => down(),
        ClusterCommand::Shell => shell(),
    }
}

fn up(proxy: ProxyMode, images: &[PathBuf], lans: u8) -> Result<()> {
    println!("bringing up three nodes");
    let options = ClusterOptions {
        proxy: match proxy {
            ProxyMode::Nftables => Some(Proxy::Nftables),
            ProxyMode::Iptables => Some(Proxy::Iptables),
            ProxyMode::None => None,
        },
        dns: proxy != ProxyMode::None,
        profile: Profile {
            segments: match lans {
                2 => Segments::Node3Routed,
                _ => Segments::OneLan,
            },
            ..Profile::default()
        },
        ..ClusterOptions::default()
    };
    let cluster = Cluster::up(&options)?;
    for archive in images {
        cluster.import(archive)?;
    }
    let neighbours: Vec<Neighbour> = cluster.lab().nodes().map(Neighbour::of_cluster).collect();
    let _registry = cluster.start_registry()?;
    let _bird = cluster.lab().start_bird_with(&neighbours)?;
    cluster.register()?;
    println!("{}", cluster.kubectl(&["get", "nodes", "-o", "wide"])?);
    println!("logs are in {}", cluster.folder().display());
    println!("`cargo xtask cluster shell` opens a shell beside it; Ctrl-C here ends it");
    std::io::stdout().flush()?;
    wait_for_end()
}

/// Until SIGINT or SIGTERM.
fn wait_for_end() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        std::future::poll_fn(|context| {
            let ended = interrupt.poll_recv(context).is_ready();
            if ended || terminate.poll_recv(context).is_ready() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        Ok(())
    })
}

fn down() -> Result<()> {
    let Some((pid, _)) = registered_clusters()?.into_iter().next() else {
        bail!("no cluster is up");
    };
    let ended = Command::new("kill").arg(pid.to_string()).status()?;
    anyhow::ensure!(ended.success(), "process {pid} cannot be ended");
    wait_until(DOWN_LIMIT, "the cluster has ended", || {
        Ok((!fs::exists(format!("/proc/{pid}"))?).then_some(()))
    })
}

fn shell() -> Result<()> {
    let Some((_, environment)) = registered_clusters()?.into_iter().next() else {
        bail!("no cluster is up: `cargo xtask cluster up` brings one up");
    };
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "sh".into());
    let mut command = Command::new("nsenter");
    command
        .args(environment.nsenter.split(' '))
        .arg("--")
        .arg(shell)
        .env("PATH", search_path(&environment.programs))
        .env("KUBECONFIG", &environment.kubeconfig);
    Err(command.exec()).context("starting nsenter")
}
