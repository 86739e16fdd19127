//! A lab with one routing daemon and three agents, on which steps are taken one after another: each changes what one
//! session is and looks at the daemon until it says so. A step that the daemon cannot take is listed with the reason.

use std::{
    fs,
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_lab::{
    Agent, AgentOptions, Lab, NODE_ASN, NODE_BGP_PORT, Neighbour, Pair, Profile, ROUTER_ASN,
    ReceivedRoute, Router, vip, wait_until,
};

/// Until something happens that takes a round trip and a plan.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Until a session is up again: both ends wait and dial.
pub(crate) const SESSION_LIMIT: Duration = Duration::from_secs(15);
/// What an agent logs when it has read its file again.
const EDITED: &str = "was edited and is in force";
/// What an agent logs when a session is established.
const UP: &str = "BGP session is up";
/// As `/proc/net/tcp` writes it.
const TCP_ESTABLISHED: &str = "01";
/// What a step may take at the most.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// One end of a session: what a node's file says about itself and about the router.
#[derive(Clone, Debug)]
pub(crate) struct Speaker {
    /// The node, numbered from 1.
    pub(crate) node: u8,
    /// `bgp.asn`.
    pub(crate) asn: u32,
    /// Where it finds the router, as `address: 10.0.0.1`.
    pub(crate) router: String,
    /// Further fields of `bgp`, a line each.
    pub(crate) global: String,
    /// Further fields of the peer: `, passive: true`.
    pub(crate) peer: String,
    /// Numbers of the services that it announces.
    pub(crate) services: Vec<u8>,
    /// Further fields of every service, a line each.
    pub(crate) service: String,
}

/// The lab, its daemon, and the agents.
pub(crate) struct Cells {
    // Agents and daemon before the lab that they run in.
    pub(crate) agents: Vec<Agent>,
    pub(crate) router: Box<dyn Router>,
    pub(crate) lab: Lab,
    /// Both ends of each session: the router's and the node's.
    pub(crate) ends: Vec<(Neighbour, Speaker)>,
    cannot: &'static [(&'static str, &'static str)],
}

impl Cells {
    /// Starts the daemon and an agent on each node with plain sessions; `cannot` names the steps that the daemon cannot
    /// take, with the reasons.
    pub(crate) fn start(
        daemon: impl FnOnce(&Lab, &[Neighbour]) -> Result<Box<dyn Router>>,
        cannot: &'static [(&'static str, &'static str)],
    ) -> Result<Self> {
        let lab = Lab::build(&Profile::default())?;
        let ends = vec![plain(&lab, 1), internal(&lab, 2), over_ipv6(&lab, 3)];
        let neighbours: Vec<_> = ends
            .iter()
            .map(|(neighbour, _)| neighbour.clone())
            .collect();
        let router = daemon(&lab, &neighbours)?;
        let mut agents = Vec::new();
        for (_, speaker) in &ends {
            let yaml = speaker.yaml(&lab);
            agents.push(lab.start_agent(speaker.node, &yaml, &AgentOptions::default())?);
        }
        let mut cells = Self {
            agents,
            router,
            lab,
            ends,
            cannot,
        };
        cells.wait_sessions(&[1, 2, 3])?;
        Ok(cells)
    }

    /// Takes a step and says how long it took.
    pub(crate) fn step(
        &mut self,
        name: &str,
        step: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let daemon = self.router.name();
        if let Some((_, reason)) = self.cannot.iter().find(|(cannot, _)| *cannot == name) {
            println!("{daemon}: {name}: cannot: {reason}");
            return Ok(());
        }
        let begun = Instant::now();
        step(self).with_context(|| format!("{daemon}: {name}"))?;
        let took = begun.elapsed();
        println!("{daemon}: {name}: {:.1} s", took.as_secs_f32());
        ensure!(took < STEP_LIMIT, "{daemon}: {name} took {took:?}");
        Ok(())
    }

    /// Changes what an agent's file says, and waits until the agent follows it.
    pub(crate) fn edit(&mut self, node: u8, change: impl FnOnce(&mut Speaker)) -> Result<()> {
        let place = usize::from(node) - 1;
        let before = self.ends[place].1.yaml(&self.lab);
        change(&mut self.ends[place].1);
        let yaml = self.ends[place].1.yaml(&self.lab);
        if yaml == before {
            return Ok(());
        }
        let seen = self.logged(node, EDITED)?;
        self.agents[place].edit(&yaml)?;
        wait_until(SOON, "the agent has read its file", || {
            Ok((self.logged(node, EDITED)? > seen).then_some(()))
        })
    }

    /// How often an agent has logged these words.
    pub(crate) fn logged(&mut self, node: u8, words: &str) -> Result<usize> {
        let text = fs::read_to_string(self.agent(node).process().log())?;
        Ok(text.matches(words).count())
    }

    /// Changes both ends of a node's session and waits until it has begun anew and the node's routes are there.
    pub(crate) fn renew(
        &mut self,
        node: u8,
        change: impl FnOnce(&mut Neighbour, &mut Speaker),
    ) -> Result<()> {
        self.renew_with_paths(node, change)?;
        self.wait_route(node, 1, "in the new session", |_| true)
    }

    /// As [`Cells::renew`], of a node whose routes have several paths.
    pub(crate) fn renew_with_paths(
        &mut self,
        node: u8,
        change: impl FnOnce(&mut Neighbour, &mut Speaker),
    ) -> Result<()> {
        let up = self.end(node, change)?;
        self.wait_up(node, up)
    }

    /// Waits until a node's session has been up more often than this, and all sessions are.
    pub(crate) fn wait_up(&mut self, node: u8, up: usize) -> Result<()> {
        wait_until(SESSION_LIMIT, "the session is up again", || {
            Ok((self.logged(node, UP)? > up).then_some(()))
        })?;
        self.wait_sessions(&[1, 2, 3])
    }

    /// Waits until the router has paths of a neighbour by exactly these next hops.
    pub(crate) fn wait_paths(
        &mut self,
        neighbour: IpAddr,
        prefix: (IpAddr, u8),
        expected: &[IpAddr],
    ) -> Result<()> {
        let what = format!("paths by {expected:?}");
        let check = |routes: &[ReceivedRoute]| {
            let mut hops: Vec<_> = routes.iter().filter_map(|route| route.next_hop).collect();
            hops.sort();
            hops == expected
        };
        self.router
            .wait_routes(SESSION_LIMIT, (neighbour, prefix), &what, check)
            .map(drop)
    }

    /// Changes both ends of a node's session, which ends it, and says how often it has been up.
    pub(crate) fn end(
        &mut self,
        node: u8,
        change: impl FnOnce(&mut Neighbour, &mut Speaker),
    ) -> Result<usize> {
        let place = usize::from(node) - 1;
        let mut neighbour = self.ends[place].0.clone();
        let named = neighbour.hold_time_s;
        self.edit(node, |speaker| change(&mut neighbour, speaker))?;
        // Every router begins a session anew for another hold time, if for nothing else.
        if neighbour.hold_time_s == named {
            neighbour.hold_time_s = if named == 9 { 12 } else { 9 };
        }
        self.ends[place].0 = neighbour;
        let ends = self.ends.iter();
        let neighbours: Vec<_> = ends.map(|(neighbour, _)| neighbour.clone()).collect();
        let up = self.logged(node, UP)?;
        self.router.configure(&neighbours)?;
        Ok(up)
    }

    /// A connection between the router and a node over IPv4 is the only one.
    pub(crate) fn one_connection(&self, node: u8) -> Result<()> {
        let read = || Ok(fs::read_to_string("/proc/thread-self/net/tcp")?);
        let table = self.lab.router_namespace().run(read)?;
        let address = self.lab.node(node).addresses().v4.octets();
        let remote = format!("{:08X}:", u32::from_le_bytes(address));
        let fields = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let rows = table.lines().map(fields);
        let up = rows
            .filter(|row| row.get(2).is_some_and(|to| to.starts_with(&remote)))
            .filter(|row| row.get(3).is_some_and(|state| state == TCP_ESTABLISHED));
        let count = up.count();
        ensure!(count == 1, "{count} connections with node{node}: {table}");
        Ok(())
    }

    /// The address by which the router knows a node.
    pub(crate) fn address(&self, node: u8) -> IpAddr {
        self.ends[usize::from(node) - 1].0.address
    }

    /// A node's agent.
    pub(crate) fn agent(&mut self, node: u8) -> &mut Agent {
        &mut self.agents[usize::from(node) - 1]
    }

    /// Waits until the router has sessions with exactly these nodes.
    pub(crate) fn wait_sessions(&mut self, nodes: &[u8]) -> Result<()> {
        let addresses: Vec<_> = nodes.iter().map(|&node| self.address(node)).collect();
        self.router.wait_established(SESSION_LIMIT, &addresses)
    }

    /// Waits until the router has one route of a node to the service's VIP of each family, and both pass `check`.
    pub(crate) fn wait_route(
        &mut self,
        node: u8,
        service: u8,
        what: &str,
        check: impl Fn(&ReceivedRoute) -> bool,
    ) -> Result<()> {
        let neighbour = self.address(node);
        let own = self.lab.node(node).addresses();
        for prefix in prefixes(service) {
            let is_whole = |route: &ReceivedRoute| {
                route.next_hop == Some(own.like(prefix.0)) && !route.stale && check(route)
            };
            self.router.wait_routes(
                SESSION_LIMIT,
                (neighbour, prefix),
                what,
                |routes| matches!(routes, [route] if is_whole(route)),
            )?;
        }
        Ok(())
    }

    /// Waits until the router has no route of a node to the service's VIPs.
    pub(crate) fn wait_gone(&mut self, node: u8, service: u8) -> Result<()> {
        let neighbour = self.address(node);
        for prefix in prefixes(service) {
            self.router
                .wait_routes(SOON, (neighbour, prefix), "gone", <[_]>::is_empty)?;
        }
        Ok(())
    }

    /// When each agent's session came to its state.
    pub(crate) fn since(&self) -> Result<Vec<serde_json::Value>> {
        let since = |agent: &Agent| Ok(agent.show("bgp")?["rows"][0]["since"].clone());
        self.agents.iter().map(since).collect()
    }
}

impl Speaker {
    fn yaml(&self, lab: &Lab) -> String {
        let Self {
            node,
            asn,
            router,
            global,
            peer,
            ..
        } = self;
        let bgp = format!(
            "  asn: {asn}
  listenPort: {NODE_BGP_PORT}
{global}  peers:
    - {{{router}, asn: {ROUTER_ASN}, holdTime: 9s, connectRetry: 1s{peer}}}
"
        );
        let services: String = self
            .services
            .iter()
            .map(|&number| lab.web_service(&format!("web{number}"), number) + &self.service)
            .collect();
        let services = if services.is_empty() {
            "  []\n".to_owned()
        } else {
            services
        };
        lab.agent_configuration_with(*node, &bgp, &services)
    }
}

/// External, both families over IPv4.
fn plain(lab: &Lab, node: u8) -> (Neighbour, Speaker) {
    let speaker = Speaker {
        node,
        asn: NODE_ASN,
        router: format!("address: {}", lab.node(node).router().v4),
        global: String::new(),
        peer: String::new(),
        services: vec![1],
        service: String::new(),
    };
    (Neighbour::of(lab.node(node)), speaker)
}

/// In the router's own AS, with the shortest hold time.
fn internal(lab: &Lab, node: u8) -> (Neighbour, Speaker) {
    let (neighbour, speaker) = plain(lab, node);
    let neighbour = Neighbour {
        asn: ROUTER_ASN,
        hold_time_s: 3,
        ..neighbour
    };
    let speaker = Speaker {
        asn: ROUTER_ASN,
        ..speaker
    };
    (neighbour, speaker)
}

/// Both families over IPv6, from an AS number of four octets (RFC 6793).
fn over_ipv6(lab: &Lab, node: u8) -> (Neighbour, Speaker) {
    let (neighbour, speaker) = plain(lab, node);
    let neighbour = Neighbour {
        address: lab.node(node).addresses().v6.into(),
        asn: LARGE_ASN,
        ..neighbour
    };
    let speaker = Speaker {
        asn: LARGE_ASN,
        router: format!("address: \"{}\"", lab.node(node).router().v6),
        ..speaker
    };
    (neighbour, speaker)
}

/// A private AS number that needs four octets (RFC 6996).
pub(crate) const LARGE_ASN: u32 = 4_200_000_003;

/// The host routes to a service's VIPs.
pub(crate) fn prefixes(service: u8) -> [(IpAddr, u8); 2] {
    let Pair { v4, v6 } = vip(service);
    [(v4.into(), 32), (v6.into(), 128)]
}
