//! A real BIRD 2 in the router's namespace, with its own control socket. Its configuration is PorterLB's from its
//! manual, in BIRD 2's syntax: a kernel protocol per family with `merge paths on`, and one BGP protocol per neighbour
//! with both families and `add paths on`. It is asked by `birdc`, and its effect is read from the kernel's routes.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::lab::Lab;
use crate::namespace::Namespace;
use crate::process::{Process, output};
use crate::topology::Pair;
use crate::wait::wait_until;

/// A neighbour of BIRD.
#[derive(Clone, Debug)]
pub struct BirdPeer {
    /// The protocol's name in BIRD.
    pub name: String,
    /// The neighbour's address.
    pub address: std::net::Ipv4Addr,
    /// BIRD's own addresses on that segment: the session's source, and the IPv6 next hop.
    pub source: Pair,
    /// More lines inside the protocol, such as `bfd on;`.
    pub options: String,
}

/// A running BIRD.
pub struct Bird {
    namespace: Arc<Namespace>,
    config: PathBuf,
    process: Process,
    peers: Vec<String>,
}

/// The router's AS number.
pub const ROUTER_ASN: u32 = 65_001;
/// The nodes' AS number.
pub const NODE_ASN: u32 = 65_000;
/// The port on which the nodes listen, PorterLB's.
pub const NODE_BGP_PORT: u16 = 17_900;
/// BIRD's hold time towards agents, in seconds.
const HOLD_TIME_S: u16 = 9;
const SOCKET: &str = "/run/bird.ctl";

impl Lab {
    /// Starts BIRD on the router with one protocol for each node, named like the node.
    pub fn start_bird(&self) -> Result<Bird> {
        let peer = |node: crate::Node<'_>| BirdPeer {
            name: node.name(),
            address: node.addresses().v4,
            source: node.router(),
            options: String::new(),
        };
        let peers: Vec<BirdPeer> = self.nodes().map(peer).collect();
        self.start_bird_with(&peers)
    }

    /// Starts BIRD on the router with these neighbours.
    pub fn start_bird_with(&self, peers: &[BirdPeer]) -> Result<Bird> {
        let config = self.folder().join("bird.conf");
        fs::write(&config, configuration(peers)?)?;
        let namespace = Arc::clone(self.router_namespace());
        let mut command = Command::new("bird");
        command
            .arg("-f")
            .arg("-c")
            .arg(&config)
            .args(["-s", SOCKET]);
        let process = Process::start(&namespace, "bird", command, self.folder())
            .context("BIRD 2 is needed (Debian package bird2)")?;
        let mut bird = Bird {
            namespace,
            config,
            process,
            peers: peers.iter().map(|peer| peer.name.clone()).collect(),
        };
        bird.wait("BIRD's control socket", START_LIMIT, |bird| {
            Ok(bird.query("show status").is_ok().then_some(()))
        })?;
        Ok(bird)
    }
}

impl Bird {
    /// The answer of `birdc` to a command.
    pub fn query(&self, command: &str) -> Result<String> {
        let mut birdc = Command::new("birdc");
        birdc.args(["-s", SOCKET]).args(command.split(' '));
        output(&self.namespace, birdc)
    }

    /// The names of the protocols whose sessions are established.
    pub fn established(&self) -> Result<Vec<String>> {
        let answer = self.query("show protocols")?;
        let established = answer
            .lines()
            .filter(|line| line.trim_end().ends_with("Established"));
        let name = |line: &str| line.split_whitespace().next().map(str::to_owned);
        Ok(established.filter_map(name).collect())
    }

    /// The names of all protocols that are neighbours.
    pub fn peers(&self) -> &[String] {
        &self.peers
    }

    /// Waits until all sessions are established.
    pub fn wait_established(&mut self, limit: Duration) -> Result<()> {
        let expected = self.peers.len();
        self.wait("BGP sessions established", limit, |bird| {
            let up = bird.established()?;
            if up.len() < expected {
                bail!("established: {up:?} of {:?}", bird.peers);
            }
            Ok(Some(()))
        })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its configuration file; after a change, `configure` makes BIRD read it.
    pub fn config(&self) -> &PathBuf {
        &self.config
    }

    /// The command with which a person opens BIRD's command line.
    pub fn birdc_command(&self) -> String {
        format!(
            "nsenter {} birdc -s {SOCKET}",
            self.namespace.nsenter_arguments()
        )
    }

    fn wait<T>(
        &mut self,
        what: &str,
        limit: Duration,
        check: impl Fn(&Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let seen = wait_until(limit, what, || match self.process.ended()? {
            Some(status) => Ok(Some(Err(anyhow!("BIRD has ended: {status}")))),
            None => Ok(check(self)?.map(Ok)),
        });
        seen.flatten().map_err(|error| self.process.failure(&error))
    }
}

const START_LIMIT: Duration = Duration::from_secs(5);

/// BIRD's configuration. Its BGP connects to nodes too: both ends dial, and the collision is theirs to resolve.
fn configuration(peers: &[BirdPeer]) -> Result<String> {
    let mut text = String::from(
        "router id 198.51.100.1;
log stderr all;

protocol device { scan time 1; }

protocol kernel kernel4 {
    scan time 60;
    ipv4 { import none; export all; };
    merge paths on;
}

protocol kernel kernel6 {
    scan time 60;
    ipv6 { import none; export all; };
    merge paths on;
}
",
    );
    for peer in peers {
        let BirdPeer {
            name,
            address,
            source,
            options,
        } = peer;
        write!(
            text,
            "
protocol bgp {name} {{
    local {source_v4} as {ROUTER_ASN};
    neighbor {address} port {NODE_BGP_PORT} as {NODE_ASN};
    hold time {HOLD_TIME_S};
    connect delay time 1;
    connect retry time 2;
    error wait time 1, 2;
    {options}
    ipv4 {{ import all; export all; add paths on; }};
    ipv6 {{ import all; export all; add paths on; next hop address {source_v6}; }};
}}
",
            source_v4 = source.v4,
            source_v6 = source.v6,
        )?;
    }
    Ok(text)
}
