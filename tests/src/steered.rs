//! A lab whose three agents serve `default/web` from all six pods, with static routes in the router's place of BGP: the
//! ground of every test of steering. It knows the agents as an operator does, by their files and their answers.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use lb_lab::{Agent, AgentOptions, Lab, Profile, VIP_PORT, vip, wait_until};
use serde_json::Value;

/// How long agents may take to bring about what a file says. Three that start at once on a busy machine load forty programs each.
pub const SOON: Duration = Duration::from_secs(30);
/// How long an answer may take in a lab that works.
pub const ANSWER: Duration = Duration::from_secs(6);
/// How long silence is listened to.
pub const SILENCE: Duration = Duration::from_millis(300);

/// A lab and its agents.
pub struct Steered {
    /// The agents, node 1's first; before the lab, so that they end first.
    pub agents: Vec<Agent>,
    /// The lab.
    pub lab: Lab,
}

impl Steered {
    /// Builds the lab and starts the agents; when this returns, requests are steered.
    ///
    /// # Errors
    /// The lab cannot be built, or an agent does not apply what its file says.
    pub fn start(profile: &Profile) -> Result<Self> {
        Self::start_with(profile, &AgentOptions::default())
    }

    /// As [`Steered::start`], with nodes whose firewalls, masquerading and reverse path filters are as unfriendly as the
    /// field's, and whose operators have done what the agent advises.
    ///
    /// # Errors
    /// As [`Steered::start`].
    pub fn start_hostile(profile: &Profile) -> Result<Self> {
        let lab = Lab::build(&Profile {
            hostile: true,
            ..*profile
        })?;
        // Before agents look, so that no health check fails at first.
        for node in lab.nodes() {
            node.accept_forwarding()?;
        }
        Self::start_in(lab, &AgentOptions::default())
    }

    /// As [`Steered::start`] with other options for the agents.
    ///
    /// # Errors
    /// As [`Steered::start`].
    pub fn start_with(profile: &Profile, options: &AgentOptions) -> Result<Self> {
        Self::start_in(Lab::build(profile)?, options)
    }

    /// As [`Steered::start_with`], in a lab that is there.
    ///
    /// # Errors
    /// As [`Steered::start`].
    pub fn start_in(lab: Lab, options: &AgentOptions) -> Result<Self> {
        let services = lab.web_service("web", 1);
        let start = |node| lab.start_agent(node, &configuration(&lab, node, &services), options);
        let agents = (1..=3).map(start).collect::<Result<_>>()?;
        let mut steered = Self { agents, lab };
        steered.wait_applied(4)?;
        steered.wait_resolved()?;
        for address in vip(1).both() {
            steered.enter_by(address, &[1, 2, 3])?;
        }
        Ok(steered)
    }

    /// The VIPs of `default/web` with its port.
    #[must_use]
    pub fn targets() -> [SocketAddr; 2] {
        vip(1).both().map(|address| (address, VIP_PORT).into())
    }

    /// The agent of a node, numbered from 1.
    #[must_use]
    pub fn agent(&mut self, node: u8) -> &mut Agent {
        &mut self.agents[usize::from(node) - 1]
    }

    /// From now on the router sends what is for `address` to these nodes.
    ///
    /// # Errors
    /// The kernel refuses the route.
    pub fn enter_by(&self, address: IpAddr, nodes: &[u8]) -> Result<()> {
        let prefix_len = if address.is_ipv4() { 32 } else { 128 };
        self.lab.route_by_nodes((address, prefix_len), nodes)
    }

    /// Gives all agents other services.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn edit(&self, services: &str) -> Result<()> {
        for (node, agent) in (1..).zip(&self.agents) {
            agent.edit(&configuration(&self.lab, node, services))?;
        }
        Ok(())
    }

    /// Waits until every agent has this many service ports, all as planned.
    ///
    /// # Errors
    /// An agent has not within [`SOON`].
    pub fn wait_applied(&mut self, service_ports: usize) -> Result<()> {
        self.wait_for("services", "services are applied", |rows| {
            rows.len() == service_ports && rows.iter().all(|row| row["applied"] == true)
        })
    }

    /// Waits until every service port gives new connections to this many endpoints, on every node, and the data path
    /// knows.
    ///
    /// # Errors
    /// One does not within [`SOON`].
    pub fn wait_used(&mut self, endpoints: u64) -> Result<()> {
        let what = format!("{endpoints} endpoints are used");
        self.wait_for("services", &what, |rows| {
            let is_so = |row: &Value| row["endpoints_used"] == endpoints && row["applied"] == true;
            rows.iter().all(is_so)
        })
    }

    /// Waits until this holds for the rows of what every agent shows.
    ///
    /// # Errors
    /// It does not within [`SOON`].
    pub fn wait_for(
        &mut self,
        topic: &str,
        what: &str,
        check: impl Fn(&[Value]) -> bool,
    ) -> Result<()> {
        for agent in &mut self.agents {
            agent.wait_for(SOON, topic, what, |shown| {
                shown["rows"].as_array().is_some_and(|rows| check(rows))
            })?;
        }
        Ok(())
    }

    /// Packets by verdict on a node.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn verdicts(&self, node: u8) -> Result<BTreeMap<String, u64>> {
        let socket = AgentOptions::default().socket;
        let answer = self
            .lab
            .node(node)
            .namespace()
            .run(|| ask(&socket, "/v1/verdicts"))?;
        let rows = answer["rows"].as_array().context("no rows")?;
        let pair = |row: &Value| {
            Some((
                row["verdict"].as_str()?.to_owned(),
                row["packets"].as_u64()?,
            ))
        };
        Ok(rows.iter().filter_map(pair).collect())
    }

    /// Packets with one verdict on a node.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn verdict(&self, node: u8, label: &str) -> Result<u64> {
        Ok(self.verdicts(node)?.get(label).copied().unwrap_or(0))
    }

    /// Packets by verdict on all nodes together.
    ///
    /// # Errors
    /// An agent does not answer.
    pub fn all_verdicts(&self) -> Result<BTreeMap<String, u64>> {
        let mut sum = BTreeMap::new();
        for node in 1..=3 {
            for (verdict, packets) in self.verdicts(node)? {
                *sum.entry(verdict).or_default() += packets;
            }
        }
        Ok(sum)
    }

    /// Waits until the packets with one verdict on a node are this many, and no more.
    ///
    /// # Errors
    /// They are not within [`ANSWER`].
    pub fn wait_verdict(&self, node: u8, label: &str, packets: u64) -> Result<()> {
        let what = format!("{packets} packets {label} on node{node}");
        wait_until(ANSWER, &what, || {
            let seen = self.verdict(node, label)?;
            anyhow::ensure!(seen == packets, "{seen}");
            Ok(Some(()))
        })
    }

    /// Waits until every agent has a MAC for each way to another node.
    ///
    /// # Errors
    /// One has not within [`SOON`].
    pub fn wait_resolved(&mut self) -> Result<()> {
        self.wait_for("nodes", "the ways to the nodes are resolved", |rows| {
            rows.len() == 3
                && rows
                    .iter()
                    .all(|row| row["mode"] == "own" || row["mac"].is_string())
        })
    }
}

/// The number of the node that a pod is on, by the pod's name.
///
/// # Errors
/// The name is none of a lab's pod.
pub fn node_of(pod: &str) -> Result<u8> {
    let number = pod
        .strip_prefix("pod")
        .and_then(|rest| rest.split('-').next());
    number
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{pod} is no pod of the lab"))
}

/// A build of the agent whose data path can be told to make a mistake.
///
/// # Errors
/// There is none.
pub fn canary_binary() -> Result<PathBuf> {
    let beside = lb_lab::agent_binary()?.with_file_name("lb-agent-canary");
    let binary = std::env::var_os("FAIRLEAD_CANARY_AGENT").map_or(beside, PathBuf::from);
    anyhow::ensure!(
        binary.is_file(),
        "no agent with canaries at {}: build lb-agent with the feature `canaries` and put it there, or name it with \
         FAIRLEAD_CANARY_AGENT",
        binary.display()
    );
    Ok(binary)
}

fn configuration(lab: &Lab, node: u8, services: &str) -> String {
    const HOLD_TIME_S: u16 = 9;
    lab.agent_configuration(node, HOLD_TIME_S, services)
}

/// What the agent with this socket answers to a path of its API.
///
/// # Errors
/// It does not answer, or not in JSON.
pub fn ask(socket: &Path, path: &str) -> Result<Value> {
    let mut stream = UnixStream::connect(socket).context("asking the agent")?;
    stream.set_read_timeout(Some(SOON))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").context("no answer")?.1;
    serde_json::from_str(body).with_context(|| format!("reading {answer}"))
}
