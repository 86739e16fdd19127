//! etcd, the API server's database. It writes no page to a disk: its data lies in the namespace's tmpfs. A saved state is
//! a copy of that folder, taken while etcd is away, because SIGKILL leaves its files consistent and its API needs a client.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::wait::wait_until;

/// A running etcd.
pub(super) struct Etcd {
    namespace: Arc<Namespace>,
    binary: PathBuf,
    folder: PathBuf,
    clients: SocketAddr,
    peers: SocketAddr,
    process: Option<Process>,
    saved: usize,
}

/// A state of the API server's database.
#[derive(Debug)]
pub struct Saved {
    /// In the namespace's tmpfs.
    copy: String,
}

const DATA: &str = "/run/etcd";
const START_LIMIT: Duration = Duration::from_secs(20);
const CONNECT_LIMIT: Duration = Duration::from_millis(200);

impl Etcd {
    pub(super) fn start(binary: &Path, namespace: &Arc<Namespace>, logs: &Path) -> Result<Self> {
        let [clients, peers] = super::free_ports(namespace)?;
        let mut etcd = Self {
            namespace: Arc::clone(namespace),
            binary: binary.to_owned(),
            folder: logs.to_owned(),
            clients,
            peers,
            process: None,
            saved: 0,
        };
        etcd.launch()?;
        Ok(etcd)
    }

    /// Where the API server finds it.
    pub(super) fn address(&self) -> SocketAddr {
        self.clients
    }

    /// Copies the data; etcd is away meanwhile.
    pub(super) fn save(&mut self) -> Result<Saved> {
        self.saved += 1;
        let copy = format!("{DATA}-{}", self.saved);
        self.process = None;
        self.copy(DATA, &copy)?;
        self.launch()?;
        Ok(Saved { copy })
    }

    /// Goes on from a saved state.
    pub(super) fn roll_back(&mut self, saved: &Saved) -> Result<()> {
        self.process = None;
        self.namespace
            .run(|| fs::remove_dir_all(DATA).context("removing the data"))?;
        self.copy(&saved.copy, DATA)?;
        self.launch()
    }

    fn copy(&self, from: &str, to: &str) -> Result<()> {
        let mut copy = Command::new("cp");
        copy.args(["-a", from, to]);
        output(&self.namespace, copy).map(drop)
    }

    fn launch(&mut self) -> Result<()> {
        let (clients, peers) = (self.clients, self.peers);
        let mut command = Command::new(&self.binary);
        command
            .args(["--data-dir", DATA, "--unsafe-no-fsync", "--log-level=warn"])
            .arg(format!("--listen-client-urls=http://{clients}"))
            .arg(format!("--advertise-client-urls=http://{clients}"))
            .arg(format!("--listen-peer-urls=http://{peers}"))
            .arg(format!("--initial-advertise-peer-urls=http://{peers}"))
            .arg(format!("--initial-cluster=default=http://{peers}"));
        let process = Process::start(&self.namespace, "etcd", command, &self.folder)?;
        let process = self.process.insert(process);
        let reached = wait_until(START_LIMIT, "etcd listens", || {
            self.namespace
                .run(|| Ok(TcpStream::connect_timeout(&clients, CONNECT_LIMIT).map(drop)?))
                .map(Some)
        });
        reached.map_err(|error| process.failure(&error))
    }
}
