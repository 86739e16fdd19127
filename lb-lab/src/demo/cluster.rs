//! What the demo shows: a lab whose node 3 is behind the router, a BIRD, three agents, and one service over all pods.
//! It starts them and waits for what they have to reach; what is shown of it, and why, is the steps' business.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Error, Result, anyhow, bail};
use lb_lab::topology::{NODES, PODS_PER_NODE};
use lb_lab::{Agent, AgentOptions, Bird, Lab, Profile, Segments, VIP_PORT, vip, wait_until};
use serde_json::Value;

/// The parts of the demo.
pub(crate) struct Cluster {
    // Processes before the lab that they run in.
    bird: Option<Bird>,
    /// Node 1's first.
    agents: Vec<Agent>,
    lab: Lab,
}

/// The least that RFC 4271 allows besides 0: the router notices a dead node after so many seconds.
const HOLD_TIME_S: u16 = 3;
const SERVICE_NUMBER: u8 = 1;

impl Cluster {
    /// The network and the pods; nothing else runs yet.
    pub(crate) fn build() -> Result<Self> {
        let lab = Lab::build(&Profile {
            segments: Segments::Node3Routed,
            ..Profile::default()
        })?;
        Ok(Self {
            bird: None,
            agents: Vec::new(),
            lab,
        })
    }

    /// The lab.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The folder of the logs.
    pub(crate) fn folder(&self) -> PathBuf {
        self.lab.folder().to_owned()
    }

    /// Where a process of the lab logs.
    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.lab.folder().join(format!("{process}.log"))
    }

    /// Starts BIRD and the agents.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.bird = Some(self.lab.start_bird()?);
        let services = self.lab.web_service("web", SERVICE_NUMBER);
        for node in 1..=3 {
            let yaml = self.lab.agent_configuration(node, HOLD_TIME_S, &services);
            self.agents.push(
                self.lab
                    .start_agent(node, &yaml, &AgentOptions::default())?,
            );
        }
        Ok(())
    }

    /// Waits until BIRD has a session with every node; the error has the end of the log of a node's agent that has none.
    pub(crate) fn wait_sessions(&mut self, limit: Duration) -> Result<()> {
        let up = self.wait_agents_established(limit);
        up.map_err(|(node, error)| self.agent(node).process().failure(&error))
    }

    fn wait_agents_established(&mut self, limit: Duration) -> Result<(), (u8, Error)> {
        let mut missing = 1;
        let up = wait_until(limit, "BGP sessions with all three nodes", || {
            for node in 1..=NODES {
                if let Some(status) = self.agent(node).process().ended()? {
                    missing = node;
                    return Ok(Some(Err(anyhow!(
                        "the agent of node{node} has ended: {status}"
                    ))));
                }
            }
            let established = self.bird()?.established_names()?;
            let without = (1..=NODES).find(|&node| !established.contains(&lb_lab::node_name(node)));
            let Some(node) = without else {
                return Ok(Some(Ok(())));
            };
            missing = node;
            bail!("BIRD has none with node{node}")
        });
        up.flatten().map_err(|error| (missing, error))
    }

    /// The VIPs, as host routes.
    pub(crate) fn vips() -> [(IpAddr, u8); 2] {
        let vip = vip(SERVICE_NUMBER);
        [(vip.v4.into(), 32), (vip.v6.into(), 128)]
    }

    /// Where a client connects to.
    pub(crate) fn target(vip: IpAddr) -> std::net::SocketAddr {
        (vip, VIP_PORT).into()
    }

    /// An agent, by its node's number.
    pub(crate) fn agent(&mut self, node: u8) -> &mut Agent {
        &mut self.agents[usize::from(node) - 1]
    }

    /// BIRD.
    pub(crate) fn bird(&mut self) -> Result<&mut Bird> {
        match &mut self.bird {
            Some(bird) => Ok(bird),
            None => bail!("BIRD has not been started"),
        }
    }

    /// Waits until the router routes a VIP over exactly these nodes; the error has the end of an agent's log.
    pub(crate) fn wait_route(
        &mut self,
        vip: (IpAddr, u8),
        nodes: &[u8],
        limit: Duration,
    ) -> Result<Vec<IpAddr>> {
        let node_addresses = nodes
            .iter()
            .map(|&node| self.lab.node(node).addresses().like(vip.0));
        let mut expected: Vec<IpAddr> = node_addresses.collect();
        expected.sort();
        let what = format!(
            "the router's route to {}/{} over {expected:?}",
            vip.0, vip.1
        );
        let reached = wait_until(limit, &what, || {
            let gateways = self.lab.router_gateways(vip)?;
            if gateways == expected {
                return Ok(Some(gateways));
            }
            bail!("{gateways:?}")
        });
        reached.map_err(|error| self.agent(nodes[0]).process().failure(&error))
    }

    /// Waits until an agent sees exactly the pods of the nodes `down` as failed, and its data path has no use for them.
    pub(crate) fn wait_health(&mut self, observer: u8, down: &[u8], limit: Duration) -> Result<()> {
        let down: Vec<String> = down.iter().map(|&node| lb_lab::node_name(node)).collect();
        let what = format!("health checks: exactly the pods of {down:?} are down");
        let agent = self.agent(observer);
        agent.wait_for(limit, "endpoints", &what, |shown| {
            let rows = shown["rows"].as_array().map_or(&[][..], Vec::as_slice);
            let expected = |row: &Value| {
                let is_down = row["health"] == "down";
                is_down == down.iter().any(|node| row["node"] == node.as_str())
            };
            !rows.is_empty() && rows.iter().all(expected)
        })?;
        let healthy = (usize::from(NODES) - down.len()) * usize::from(PODS_PER_NODE);
        let what = format!("data path with {healthy} endpoints");
        agent.wait_for(limit, "services", &what, |shown| {
            let rows = shown["rows"].as_array().map_or(&[][..], Vec::as_slice);
            let applied = |row: &Value| row["applied"] == true && row["endpoints_used"] == healthy;
            !rows.is_empty() && rows.iter().all(applied)
        })?;
        Ok(())
    }

    /// Which way an agent sends to the other nodes: `(node, way)`, as `show nodes` says it.
    pub(crate) fn ways(&mut self, from: u8) -> Result<Vec<(String, String)>> {
        let shown = self.agent(from).show("nodes")?;
        let rows = shown["rows"].as_array().map_or(&[][..], Vec::as_slice);
        let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
        let others = rows.iter().filter(|row| row["mode"] != "own");
        Ok(others
            .map(|row| (text(&row["node"]), text(&row["mode"])))
            .collect())
    }

    /// Commands with which a person looks around, each with what it shows.
    pub(crate) fn commands(&self) -> Result<Vec<(String, String)>> {
        let mut commands = Vec::new();
        if let Some(agent) = self.agents.first() {
            for topic in ["services", "endpoints", "nodes", "bgp", "maps"] {
                let what = format!("{topic}, as node1's agent sees them");
                commands.push((what, agent.show_command(topic)?));
            }
        }
        commands.extend(self.map_commands()?);
        commands.extend(self.bird.iter().flat_map(bird_commands));
        let enter = self.lab.client_namespace().nsenter_arguments();
        commands.extend(Self::vips().map(|(vip, _)| {
            let url = format!("http://{}/", Self::target(vip));
            let command = format!("nsenter {enter} curl -sS '{url}'");
            (format!("a request from the client to {vip}"), command)
        }));
        Ok(commands)
    }

    fn map_commands(&self) -> Result<Vec<(String, String)>> {
        let node = self.lab.node(1).namespace();
        let enter = node.nsenter_arguments();
        let folders = node.run(map_folders)?;
        let commands = folders.iter().flat_map(|folder| {
            MAPS.map(|(map, what, filter)| {
                let path = folder.join(map);
                let path = path.display();
                let command = format!("nsenter {enter} bpftool map dump pinned {path}{filter}");
                (what.to_owned(), command)
            })
        });
        Ok(commands.collect())
    }
}

fn bird_commands(bird: &Bird) -> [(String, String); 2] {
    let birdc = bird.birdc_command();
    [
        ("the router's BGP sessions", "show protocols"),
        ("the router's routes to the VIPs", "show route"),
    ]
    .map(|(what, command)| (what.to_owned(), format!("{birdc} {command}")))
}

/// The pinned maps worth a look, what they hold, and what to do with a dump that is long.
const MAPS: [(&str, &str, &str); 3] = [
    (
        "config",
        "what has a fixed size: settings, uplinks, ways to the nodes",
        " | head -n 70",
    ),
    (
        "endpoints",
        "the pods in the data path; most places are free",
        " | head -n 70",
    ),
    ("verdicts", "what became of packets, on each CPU", ""),
];

/// The folders of the pinned maps, one a version of their layout.
fn map_folders() -> Result<Vec<PathBuf>> {
    let versions = fs::read_dir(AgentOptions::default().pin_dir)?;
    let folder = |version: std::io::Result<fs::DirEntry>| Ok(version?.path().join("maps"));
    versions.map(folder).collect()
}
