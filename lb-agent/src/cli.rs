//! The command line. Parses the arguments, hands over to the command, and is the one place where an error
//! becomes words on standard error and a number: 0 done, 1 the thing failed, 2 cannot run here.

pub mod controller;
pub mod import;
pub mod kubernetes;

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand, ValueEnum};

use lb_common::flow::State;
use lb_core::model::Prefix;

use self::{
    controller::{ClusterArgs, ControllerArgs, ReassignArgs},
    import::ImportArgs,
    kubernetes::KubernetesArgs,
};
use crate::{commands, failure::Failure};

/// Where maps and links are pinned unless told otherwise.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/fairlead";
/// Where the agent listens for `show` unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/fairlead/agent.sock";

/// Load balancer for bare metal: one agent a node steers packets to pods by XDP and announces the VIPs.
#[derive(Debug, Parser)]
#[command(
    name = "lb-agent",
    version,
    after_help = "Exit codes: 0 done, 1 the thing failed, 2 cannot run here."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent of this node
    Run(RunArgs),
    /// Validate configuration files without touching anything; names the line of what is wrong
    Check(CheckArgs),
    /// Show what the running agent knows and does
    Show(ShowArgs),
    /// Say where a packet would go from this node, by the real programs; sends nothing, changes nothing
    #[command(after_help = TRACE_EXAMPLES)]
    Trace(TraceArgs),
    /// Say why a Service or a VIP is, or is not, served and announced by this node
    Explain(ExplainArgs),
    /// Let removals take effect that are held because the API server went back or forgot half of what it knew
    Accept(AcceptArgs),
    /// Take this node out of service, or back; forwarding goes on
    #[command(after_help = DRAIN_STEPS)]
    Drain(DrainArgs),
    /// Give addresses from Eips to Services; runs anywhere in the cluster, one of several leads
    Controller(ControllerArgs),
    /// Have a Service leave its addresses for others: the only way besides its own request
    Reassign(ReassignArgs),
    /// Say what another product's objects come to here: what is kept, what differs, what is in the way; writes nothing
    #[command(after_help = IMPORT_STEPS)]
    Import(ImportArgs),
    /// Write the definitions of our kinds to the API server, over those of an older release or of OpenELB
    Definitions(ClusterArgs),
    /// Take everything of ours off a whole cluster but its Eips, BgpConfs and BgpPeers: run it before the chart goes
    #[command(after_help = UNINSTALL_STEPS)]
    Uninstall(ClusterArgs),
    /// Take everything of ours off this node: links, programs, maps
    #[command(after_help = "Stop the agent first. VIPs are no longer served here afterwards.")]
    Cleanup(CleanupArgs),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Configuration file (YAML); watched, a good edit takes effect at once, a bad one is refused. With --kubernetes it
    /// has the sections node, cluster and dataplane, and is read at the start
    #[arg(long, value_name = "FILE", required_unless_present = "kubernetes")]
    pub config: Option<PathBuf>,
    /// Take Services, nodes and BGP from the API server of a Kubernetes cluster
    #[arg(long)]
    pub kubernetes: bool,
    /// Load, attach and pin what the file says, then leave; the data path goes on without an agent
    #[arg(long, conflicts_with = "kubernetes")]
    pub once: bool,
    /// Folder on a BPF file system below which maps and links are pinned
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pub pin_dir: PathBuf,
    /// Unix socket that `show` asks
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Answer /healthz, /readyz and /metrics here by HTTP
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub http: Option<SocketAddr>,
    /// How log lines look
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What SIGTERM and SIGINT mean
    #[arg(long, value_enum, default_value_t = OnTerm::Withdraw)]
    pub on_term: OnTerm,
    /// What only counts with `--kubernetes`.
    #[command(flatten)]
    pub cluster: KubernetesArgs,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// What SIGTERM and SIGINT mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnTerm {
    /// Withdraw every route, wait until the peers have heard, say goodbye; keep forwarding by the pins
    Withdraw,
    /// Leave for another agent: close the sessions without a word and keep forwarding by the pins;
    /// routers that know graceful restart keep the routes for 120 s
    Restart,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Configuration files (YAML)
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// What to show
    #[arg(value_enum)]
    pub what: ShowWhat,
    /// Which part of it, for `show bgp`
    #[arg(value_enum)]
    pub part: Option<ShowPart>,
    /// Output: a table for people, JSON for programs
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Unix socket of the agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Pin folder, for `show maps` and `show flows`
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pub pin_dir: PathBuf,
    /// Which flows.
    #[command(flatten)]
    pub flows: FlowArgs,
}

/// Arguments of `show flows`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Which flows (show flows)")]
pub struct FlowArgs {
    /// Of this client, or of clients in this network
    #[arg(long, value_name = "ADDRESS[/BITS]", value_parser = network)]
    pub client: Option<Prefix>,
    /// To this VIP
    #[arg(long, value_name = "ADDRESS")]
    pub vip: Option<IpAddr>,
    /// To this service port
    #[arg(long, value_name = "NUMBER")]
    pub port: Option<u16>,
    /// Of this protocol
    #[arg(long, value_enum)]
    pub protocol: Option<FlowProtocol>,
    /// Served by this pod
    #[arg(long, value_name = "ADDRESS")]
    pub endpoint: Option<IpAddr>,
    /// In this state
    #[arg(long, value_parser = flow_state, value_name = "STATE")]
    pub state: Option<State>,
    /// Rows at the most; all are counted [default: 100]
    #[arg(long, value_name = "ROWS")]
    pub limit: Option<usize>,
}

/// Protocol of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FlowProtocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// What `show` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShowWhat {
    /// Service ports: endpoints, whether applied and announced, packets, and why not
    Services,
    /// Endpoints: on which node, ready, healthy
    Endpoints,
    /// Nodes: how packets get there
    Nodes,
    /// Uplinks: in which mode the programs run there
    Uplinks,
    /// BGP sessions
    Bgp,
    /// Flows whose pods are on this node; needs no running agent
    Flows,
    /// Pinned BPF maps; needs no running agent
    Maps,
}

/// What `show bgp` shows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShowPart {
    /// What each peer is told, with which attributes, and why not
    Routes,
    /// Segments that the kernel dropped: wrong passwords, too far away
    Tcp,
}

/// How `show` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

const TRACE_EXAMPLES: &str = "Examples:
  lb-agent trace --from 198.51.100.2 --to 10.99.0.1:80
  lb-agent trace --from [2001:db8::2]:40000 --to [fd99::1]:53 --protocol udp --payload 1400
  tcpdump -i eth0 -s 0 -c 1 -w /tmp/one.pcap; lb-agent trace --pcap /tmp/one.pcap";

/// Arguments of `trace`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["to", "frame", "pcap"]))]
pub struct TraceArgs {
    /// The client: an address, or address and port
    #[arg(long, value_name = "ADDRESS[:PORT]", requires = "to", value_parser = client_end)]
    pub from: Option<SocketAddr>,
    /// What it dials: an address, or address and port
    #[arg(long, value_name = "ADDRESS[:PORT]", requires = "from", value_parser = vip_end)]
    pub to: Option<SocketAddr>,
    /// What is above IP; `icmp` is an echo request
    #[arg(long, value_enum, default_value_t = TraceProtocol::Tcp)]
    pub protocol: TraceProtocol,
    /// Flags of the TCP segment
    #[arg(long, value_enum, value_delimiter = ',', default_value = "syn")]
    pub flags: Vec<TcpFlag>,
    /// TTL or hop limit
    #[arg(long, value_name = "HOPS", default_value_t = 64)]
    pub ttl: u8,
    /// Bytes of payload
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=9000))]
    pub payload: u16,
    /// Who hands the frame to the uplink; the default is no node's
    #[arg(long, value_name = "MAC", default_value = "00:00:5e:00:01:01", value_parser = mac)]
    pub source_mac: [u8; 6],
    /// A whole frame in hexadecimal, from its destination MAC on
    #[arg(long, value_name = "HEX")]
    pub frame: Option<String>,
    /// A capture of the uplink, as `tcpdump -w` writes it
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Which packet of the capture, counted from one
    #[arg(long, value_name = "NUMBER", default_value_t = 1, requires = "pcap")]
    pub packet: usize,
    /// The uplink; the first one unless named
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
    /// Whether it comes in by the uplink or leaves by it
    #[arg(long, value_enum, default_value_t = TraceDirection::Ingress)]
    pub direction: TraceDirection,
    /// Output: lines for people, JSON for programs
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Unix socket of the agent, for names; needs no running agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
    /// Pin folder of the data path
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pub pin_dir: PathBuf,
}

/// What is above IP in a traced packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TraceProtocol {
    /// A TCP segment
    Tcp,
    /// A UDP datagram
    Udp,
    /// An echo request
    Icmp,
}

/// A flag of a TCP segment; the number is its bit (RFC 9293 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TcpFlag {
    /// No more data
    Fin = 1,
    /// Opens a connection
    Syn = 2,
    /// Ends it at once
    Rst = 4,
    /// Acknowledges
    Ack = 16,
}

/// Which way a traced packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TraceDirection {
    /// In by the uplink
    Ingress,
    /// Out by the uplink
    Egress,
}

fn client_end(text: &str) -> Result<SocketAddr, String> {
    commands::trace::end(text, 40_000)
}

fn vip_end(text: &str) -> Result<SocketAddr, String> {
    commands::trace::end(text, 80)
}

/// An address is the network of itself.
fn network(text: &str) -> Result<Prefix, String> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok()),
        None => (text, None),
    };
    let address: Option<IpAddr> = address.parse().ok();
    let prefix = address.and_then(|address| match (bits, text.contains('/')) {
        (Some(bits), _) => Prefix::new(address, bits),
        (None, false) => Some(Prefix::host(address)),
        (None, true) => None,
    });
    prefix.ok_or_else(|| format!("{text} is no address, and no network such as 10.0.0.0/24"))
}

fn flow_state(text: &str) -> Result<State, String> {
    let alive = || {
        State::ALL
            .into_iter()
            .filter(|state| *state > State::Claimed)
    };
    alive().find(|state| state.label() == text).ok_or_else(|| {
        let labels: Vec<_> = alive().map(State::label).collect();
        format!("{text} is none of {}", labels.join(", "))
    })
}

fn mac(text: &str) -> Result<[u8; 6], String> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| format!("{text} is no MAC, such as 02:00:00:00:00:01"))
}

const IMPORT_STEPS: &str = "Examples:
  kubectl get ipaddresspools,bgppeers,svc -A -o json | lb-agent import metallb -f -
  lb-agent import metallb --kubeconfig ~/.kube/config
  lb-agent import openelb --kubeconfig ~/.kube/config -o yaml | kubectl apply -f -";

const UNINSTALL_STEPS: &str = "The controller goes first; then every node withdraws its routes, its agent ends, and a pod removes
links, programs and maps; finalizers come off Services and Eips. Services keep the addresses in their status. A node
that is away is named: run `lb-agent cleanup` there, or reboot it.";

const DRAIN_STEPS: &str = "Routes are marked (GRACEFUL_SHUTDOWN) for bgp.gracefulShutdownTime, then withdrawn; when the
routers have acknowledged and the flows of this node's pods are over, or --flows-wait is, the BGP sessions
end with a Hard Reset. It lasts until --undo or a reboot, over restarts of the agent.";

/// Arguments of `drain`.
#[derive(Debug, Args)]
pub struct DrainArgs {
    /// The node; must be that of the agent that is asked
    #[arg(value_name = "NODE")]
    pub node: Option<String>,
    /// Return when the node is out of service
    #[arg(long, conflicts_with = "undo")]
    pub wait: bool,
    /// Take it back into service
    #[arg(long)]
    pub undo: bool,
    /// How long, from now on, flows of this node's pods are waited for
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        conflicts_with = "undo"
    )]
    pub flows_wait: u64,
    /// Unix socket of the agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A Service as namespace/name, or a VIP
    #[arg(value_name = "SERVICE|VIP")]
    pub subject: String,
    /// Output: lines for people, JSON for programs
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
    /// Unix socket of the agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// Arguments of `accept`.
#[derive(Debug, Args)]
pub struct AcceptArgs {
    /// Unix socket of the agent
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

/// Arguments of `cleanup`.
#[derive(Debug, Args)]
pub struct CleanupArgs {
    /// Pin folder to empty
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PIN_DIR)]
    pub pin_dir: PathBuf,
    /// How to reach the API server, to take out what this node says of itself there [default: as a pod of the cluster]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of this Node [default: the environment's NODE_NAME, else the host's name]
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
}

/// Parses the process's arguments, runs the command and reports.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way as well, and are no failures.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 1 } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Run(args) => commands::run::run(&args),
        Command::Check(args) => commands::check::check(&args),
        Command::Show(args) => commands::show::show(&args),
        Command::Trace(args) => commands::trace::trace(&args),
        Command::Explain(args) => commands::explain::explain(&args),
        Command::Accept(args) => commands::accept::accept(&args),
        Command::Drain(args) => commands::drain::drain(&args),
        Command::Controller(args) => commands::controller::controller(&args),
        Command::Reassign(args) => commands::controller::reassign(&args),
        Command::Import(args) => commands::import::import(&args),
        Command::Definitions(args) => commands::cluster::definitions(&args),
        Command::Uninstall(args) => commands::cluster::uninstall(&args),
        Command::Cleanup(args) => commands::cleanup::cleanup(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("lb-agent: {failure}");
    failure.exit_code()
}

#[cfg(test)]
mod tests;
