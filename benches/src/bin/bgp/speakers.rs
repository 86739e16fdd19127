//! The speakers that are compared, each on node 1, with the same routes and the same peers: host routes from 10.96.0.0 on.

use std::{
    fmt::Write as _,
    fs,
    net::{IpAddr, Ipv4Addr},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use lb_lab::{Agent, AgentOptions, Bird, Lab, Process, UPLINK};

use crate::scene::{ASN, PORT, SOURCE, SOURCE_ASN, SOURCE_PORT};

/// Who announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fairlead,
    Bird,
    GoBgp,
}

/// What the routes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Routes {
    /// All the same: they share messages.
    Alike,
    /// Each with a MED of its own: a message each.
    Distinct,
}

/// A running speaker.
pub(crate) enum Speaker {
    Fairlead(Agent, Routes),
    Bird(Bird),
    GoBgp(Process),
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fairlead => "fairlead",
            Self::Bird => "bird",
            Self::GoBgp => "gobgp",
        }
    }
}

impl Routes {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alike => "alike",
            Self::Distinct => "distinct",
        }
    }
}

impl Routes {
    /// How many. An agent's file may have a quarter of a million values, and a service with a MED has 27.
    pub(crate) fn count(self) -> u32 {
        match self {
            Self::Alike => crate::MANY,
            Self::Distinct => crate::MANY / 2,
        }
    }
}

/// The address of a VIP.
pub(crate) fn vip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::from_be_bytes([10, 96, 0, 0]) + number)
}

impl Speaker {
    pub(crate) fn start(
        lab: &Lab,
        kind: Kind,
        routes: Routes,
        count: u32,
        peers: &[IpAddr],
    ) -> Result<Self> {
        match kind {
            Kind::Fairlead => {
                let yaml = agent(lab, routes, count, peers);
                let agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
                Ok(Self::Fairlead(agent, routes))
            }
            Kind::Bird => {
                let namespace = Arc::clone(lab.node(1).namespace());
                let text = bird(lab, routes, count, peers)?;
                Ok(Self::Bird(lab.start_bird_from(&namespace, "bird", &text)?))
            }
            Kind::GoBgp => {
                let config = lab.folder().join("gobgpd.toml");
                fs::write(&config, gobgp(lab, peers)?)?;
                let mut command = Command::new("gobgpd");
                command.arg("-f").arg(&config);
                command.args(["-p", "--pprof-disable", "--api-hosts", "127.0.0.1:50051"]);
                let process =
                    Process::start(lab.node(1).namespace(), "gobgpd", command, lab.folder())?;
                Ok(Self::GoBgp(process))
            }
        }
    }

    /// Another number of VIPs, for an agent.
    pub(crate) fn edit(&self, lab: &Lab, count: u32, peers: &[IpAddr]) -> Result<()> {
        match self {
            Self::Fairlead(agent, routes) => agent.edit(&self::agent(lab, *routes, count, peers)),
            _ => bail!("only an agent's file is edited"),
        }
    }

    /// `VmRSS` of proc(5).
    pub(crate) fn resident_kib(mut self) -> Result<f64> {
        let pid = match &mut self {
            Self::Fairlead(agent, _) => agent.pid(),
            Self::Bird(bird) => bird.process().pid(),
            Self::GoBgp(process) => process.pid(),
        };
        let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        Ok(number.context("no VmRSS")?.parse()?)
    }
}

fn agent(lab: &Lab, routes: Routes, count: u32, peers: &[IpAddr]) -> String {
    let own = lab.node(1).addresses().v4;
    let peers: String = peers
        .iter()
        .map(|peer| {
            format!("    - {{address: {peer}, asn: {ASN}, port: {PORT}, connectRetry: 1s}}\n")
        })
        .collect();
    let service = |number: u32| {
        let bgp = match routes {
            Routes::Alike => String::new(),
            Routes::Distinct => format!("    bgp: {{med: {number}}}\n"),
        };
        format!(
            "  - name: default/s{number}
    addresses: [{}]
    ports: [{{name: http, port: 80}}]
{bgp}    endpoints:
      - {{address: 10.1.1.2, node: node1, ports: {{http: 8080}}}}
",
            vip(number)
        )
    };
    let services: String = (0..count).map(service).collect();
    format!(
        "node: {{name: node1, uplinks: [{UPLINK}]}}
dataplane: {{servicePorts: 20480}}
nodes:
  - {{name: node1, addresses: [{own}]}}
bgp:
  asn: 65000
  listenPort: 17900
  peers:
{peers}services:
{services}"
    )
}

fn bird(lab: &Lab, routes: Routes, count: u32, peers: &[IpAddr]) -> Result<String> {
    let own = lab.node(1).addresses().v4;
    let mut text = format!(
        "router id {own};
log stderr {{ error, fatal }};
protocol device {{ scan time 10; }}
protocol static {{
    ipv4;
"
    );
    for number in 0..count {
        let med = match routes {
            Routes::Alike => String::new(),
            Routes::Distinct => format!(" {{ bgp_med = {number}; }}"),
        };
        writeln!(text, "    route {}/32 blackhole{med};", vip(number))?;
    }
    text += "}\n";
    for (number, peer) in peers.iter().enumerate() {
        write!(
            text,
            "protocol bgp peer{number} {{
    local {own} as 65000;
    neighbor {peer} port {PORT} as {ASN};
    connect delay time 1;
    connect retry time 1;
    error wait time 1, 1;
    ipv4 {{ import none; export all; next hop self; }};
}}
"
        )?;
    }
    Ok(text)
}

fn gobgp(lab: &Lab, peers: &[IpAddr]) -> Result<String> {
    let own = lab.node(1).addresses().v4;
    let mut text = format!(
        "[global.config]
as = 65000
router-id = \"{own}\"
port = -1
"
    );
    let source = (IpAddr::V4(SOURCE), SOURCE_ASN, SOURCE_PORT);
    let peers = peers.iter().map(|peer| (*peer, ASN, PORT));
    for (peer, asn, port) in peers.chain([source]) {
        write!(
            text,
            "
[[neighbors]]
[neighbors.config]
neighbor-address = \"{peer}\"
peer-as = {asn}
[neighbors.transport.config]
remote-port = {port}
local-address = \"{own}\"
[neighbors.timers.config]
connect-retry = 1
idle-hold-time-after-reset = 1
[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = \"ipv4-unicast\"
"
        )?;
    }
    Ok(text)
}
