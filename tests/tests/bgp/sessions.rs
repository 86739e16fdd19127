//! The life of sessions with a BIRD 2 that dials the agents while they dial it: routes come and go with services, an
//! agent says goodbye, a listening port is taken, the router dies and comes back, an agent restarts and nobody notices,
//! passwords are right and wrong.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lb_lab::{
    Agent, AgentOptions, Bird, Lab, NODE_BGP_PORT, Neighbour, Pair, Profile, vip, wait_until,
};
use serde_json::Value;

const HOLD_TIME_S: u16 = 9;
/// Until something happens that takes a round trip and a plan.
const SOON: Duration = Duration::from_secs(5);
/// Until a session is up: both ends wait and dial.
const SESSION_LIMIT: Duration = Duration::from_secs(15);
/// How long an agent is away: longer than a router that keeps no routes takes to drop them.
const AWAY: Duration = Duration::from_secs(3);

#[test]
fn routes_follow_services_and_agents() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let mut bird = lab.start_bird()?;
    let mut agents = Vec::new();
    for node in 1..=3 {
        agents.push(lab.start_agent(
            node,
            &with_services(&lab, node, &[1]),
            &AgentOptions::default(),
        )?);
    }
    bird.wait_established(SESSION_LIMIT)?;
    wait_for_gateways(&lab, 1, &[1, 2, 3])?;
    for agent in &mut agents {
        agent.wait_for(SOON, "bgp", "one session, two routes", |shown| {
            session_is(shown, "Established") && shown["rows"][0]["routes_sent"] == 2
        })?;
    }
    a_service_comes_and_goes(&lab, &mut bird, &mut agents)?;
    an_agent_says_goodbye(&lab, &mut bird, &mut agents[2])?;
    a_taken_port_leaves_dialling(&lab, &mut agents[2])?;
    a_router_that_dies_is_dialled_again(&lab, &mut bird, &mut agents)
}

/// The other service's routes and every session stay as they are.
fn a_service_comes_and_goes(lab: &Lab, bird: &mut Bird, agents: &mut [Agent]) -> Result<()> {
    let sessions = since(agents)?;
    for (node, agent) in (1..).zip(agents.iter_mut()) {
        agent.edit(&with_services(lab, node, &[1, 2]))?;
    }
    wait_for_gateways(lab, 2, &[1, 2, 3])?;
    for (node, agent) in (1..).zip(agents.iter_mut()) {
        agent.edit(&with_services(lab, node, &[1]))?;
    }
    wait_for_gateways(lab, 2, &[])?;
    wait_for_gateways(lab, 1, &[1, 2, 3])?;
    ensure!(since(agents)? == sessions, "a session was begun anew");
    ensure!(bird.established_names()?.len() == 3);
    Ok(())
}

/// SIGTERM: the withdraw is acknowledged and lingered over, then the session is ended by name.
fn an_agent_says_goodbye(lab: &Lab, bird: &mut Bird, agent: &mut Agent) -> Result<()> {
    let status = agent.terminate(SOON)?;
    ensure!(status.success(), "{status}");
    wait_for_gateways(lab, 1, &[1, 2])?;
    // A Hard Reset around Administrative Shutdown (RFC 8538), which this BIRD has no name for.
    let log = bird.process().log().to_owned();
    wait_until(SOON, "BIRD was told why", || {
        let told = fs::read_to_string(&log)?.contains("node3: Received: Unknown error 6.9: 0602");
        Ok(told.then_some(()))
    })
}

fn a_taken_port_leaves_dialling(lab: &Lab, agent: &mut Agent) -> Result<()> {
    let address = SocketAddr::new(lab.node(3).addresses().v4.into(), NODE_BGP_PORT);
    let taken = lab
        .node(3)
        .namespace()
        .run(move || Ok(TcpListener::bind(address)?))?;
    agent.restart()?;
    let holder = format!("(process {})", std::process::id());
    agent.wait_for(
        SESSION_LIMIT,
        "bgp",
        "a session, and a warning that names the holder",
        |shown| {
            let warnings = shown["warnings"].to_string();
            session_is(shown, "Established")
                && warnings.contains(&holder)
                && warnings.contains("17900")
        },
    )?;
    wait_for_gateways(lab, 1, &[1, 2, 3])?;
    drop(taken);
    agent.wait_for(
        2 * SOON,
        "bgp",
        "no warning once the port is free",
        |shown| shown["warnings"].as_array().is_some_and(Vec::is_empty),
    )?;
    Ok(())
}

fn a_router_that_dies_is_dialled_again(
    lab: &Lab,
    bird: &mut Bird,
    agents: &mut [Agent],
) -> Result<()> {
    bird.process().kill()?;
    for agent in agents.iter_mut() {
        agent.wait_for(SESSION_LIMIT, "bgp", "no session", |shown| {
            !session_is(shown, "Established") && shown["rows"][0]["last_error"].is_string()
        })?;
    }
    let mut bird = lab.start_bird()?;
    bird.wait_established(2 * SESSION_LIMIT)?;
    wait_for_gateways(lab, 1, &[1, 2, 3])
}

fn with_services(lab: &Lab, node: u8, numbers: &[u8]) -> String {
    let services: String = numbers
        .iter()
        .map(|&number| lab.web_service(&format!("web{number}"), number))
        .collect();
    lab.agent_configuration(node, HOLD_TIME_S, &services)
}

/// An agent that is killed, or that leaves for a restart, and the next one: the router's routes stay all the while.
#[test]
fn a_restart_of_the_agent_leaves_the_routers_routes() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let mut bird = lab.start_bird()?;
    let options = AgentOptions {
        arguments: vec!["--on-term=restart".to_owned()],
        ..AgentOptions::default()
    };
    let yaml = with_services(&lab, 1, &[1, 2]);
    let mut agent = lab.start_agent(1, &yaml, &options)?;
    is_known_by_all(&lab, &mut agent)?;

    let mut watch = RouteWatch::default();
    agent.process().kill()?;
    watch.for_at_least(&lab, AWAY)?;
    agent.restart()?;
    watch.until_forgotten(&lab, &mut bird, &mut agent)?;
    watch.nothing_changed("killed")?;

    let status = agent.terminate(SOON)?;
    ensure!(status.success(), "{status}");
    watch.for_at_least(&lab, AWAY)?;
    agent.restart()?;
    watch.until_forgotten(&lab, &mut bird, &mut agent)?;
    watch.nothing_changed("left for a restart")?;

    // What went away meanwhile does not come back. The rest was forwarded all the while, and the router is told so: it
    // would drop its route at the OPEN and have it back with the UPDATE, which no look is quick enough to see.
    agent.process().kill()?;
    watch.for_at_least(&lab, AWAY)?;
    agent.edit(&with_services(&lab, 1, &[1]))?;
    agent.restart()?;
    wait_for_gateways(&lab, 2, &[])?;
    wait_for_gateways(&lab, 1, &[1])?;
    let known = bird.query("show protocols all node1")?;
    ensure!(known.contains("AF preserved: ipv4 ipv6"), "{known}");
    Ok(())
}

/// The control: a router that keeps nothing loses its routes with the session, and the watch sees it.
#[test]
fn without_graceful_restart_the_routes_go() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let mut bird = lab.start_bird_with(&[Neighbour {
        options: "graceful restart off;".to_owned(),
        ..Neighbour::of(lab.node(1))
    }])?;
    let yaml = with_services(&lab, 1, &[1, 2]);
    let mut agent = lab.start_agent(1, &yaml, &AgentOptions::default())?;
    bird.wait_established(SESSION_LIMIT)?;
    wait_for_gateways(&lab, 1, &[1])?;
    let mut watch = RouteWatch::default();
    agent.process().kill()?;
    watch.for_at_least(&lab, AWAY)?;
    ensure!(
        watch.nothing_changed("killed").is_err(),
        "the routes stayed, or nobody looked"
    );
    Ok(())
}

/// TCP MD5: the right password brings a session about, a wrong one and none do not, whoever dials; a file that cannot
/// be read is told with its path, and the session comes up once it can be.
#[test]
fn only_the_right_password_makes_a_session() -> Result<()> {
    let lab = Lab::build(&Profile::default())?;
    let peers: Vec<_> = lab
        .nodes()
        .map(|node| Neighbour {
            password: Some("right".to_owned()),
            ..Neighbour::of(node)
        })
        .collect();
    let bird = lab.start_bird_with(&peers)?;
    let file = |name: &str| lab.folder().join(name);
    fs::write(file("right"), "right\n")?;
    fs::write(file("wrong"), "wrong\n")?;
    let start = |node: u8, password: Option<&str>| {
        let mut yaml = with_services(&lab, node, &[1]);
        if let Some(name) = password {
            let with = format!("nextHop: self, passwordFile: {}", file(name).display());
            yaml = yaml.replacen("nextHop: self", &with, 1);
        }
        lab.start_agent(node, &yaml, &AgentOptions::default())
    };
    let mut agents = [
        start(1, Some("right"))?,
        start(2, Some("wrong"))?,
        start(3, None)?,
    ];
    agents[0].wait_for(SESSION_LIMIT, "bgp", "a signed session", |shown| {
        session_is(shown, "Established") && shown["rows"][0]["signed"] == "MD5"
    })?;
    wait_for_gateways(&lab, 1, &[1])?;
    agents[1].wait_for(SESSION_LIMIT, "bgp", "a hint at the password", |shown| {
        !session_is(shown, "Established")
            && shown["rows"][0]["last_error"]
                .as_str()
                .is_some_and(|error| error.contains("is the password the same at both ends?"))
    })?;
    agents[2].wait_for(SESSION_LIMIT, "bgp", "no session", |shown| {
        !session_is(shown, "Established") && shown["rows"][0]["signed"].is_null()
    })?;
    ensure!(bird.established_names()? == [lab.node(1).name()]);
    drop(agents);

    let mut agent = start(2, Some("late"))?;
    let path = file("late").display().to_string();
    agent.wait_for(SOON, "bgp", "why there is no session", |shown| {
        shown["rows"][0]["last_error"]
            .as_str()
            .is_some_and(|error| error.contains(&path))
    })?;
    fs::write(&path, "right")?;
    agent.wait_for(2 * SESSION_LIMIT, "bgp", "a session", |shown| {
        session_is(shown, "Established")
    })?;
    Ok(())
}

/// One node announces, the router has its routes.
fn is_known_by_all(lab: &Lab, agent: &mut Agent) -> Result<()> {
    agent.wait_for(SESSION_LIMIT, "bgp", "a session", |shown| {
        session_is(shown, "Established") && shown["rows"][0]["routes_sent"] == 4
    })?;
    wait_for_gateways(lab, 1, &[1])?;
    wait_for_gateways(lab, 2, &[1])
}

/// The router's gateways to both VIPs, looked at over and over.
#[derive(Default)]
struct RouteWatch {
    looks: usize,
    /// What was seen that should not be: at which look, which VIP, and its gateways.
    changes: Vec<String>,
}

impl RouteWatch {
    fn look(&mut self, lab: &Lab) -> Result<()> {
        self.looks += 1;
        for number in [1, 2] {
            let Pair { v4, v6 } = vip(number);
            for prefix in [(v4.into(), 32), (v6.into(), 128)] {
                let gateways = lab.router_gateways(prefix)?;
                if gateways != [lab.node(1).addresses().like(prefix.0)] {
                    let change = format!("look {}: {} by {gateways:?}", self.looks, prefix.0);
                    self.changes.push(change);
                }
            }
        }
        Ok(())
    }

    fn for_at_least(&mut self, lab: &Lab, duration: Duration) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < duration {
            self.look(lab)?;
        }
        Ok(())
    }

    /// Until the new session is up and the router is past its last stale route.
    fn until_forgotten(&mut self, lab: &Lab, bird: &mut Bird, agent: &mut Agent) -> Result<()> {
        let begin = Instant::now();
        loop {
            self.look(lab)?;
            let told = agent
                .show("bgp")
                .is_ok_and(|shown| shown["rows"][0]["routes_sent"] == 4);
            if told && bird.established_names()?.contains(&lab.node(1).name()) {
                break;
            }
            ensure!(begin.elapsed() < 2 * SESSION_LIMIT, "no session again");
        }
        self.for_at_least(lab, Duration::from_secs(2))
    }

    fn nothing_changed(&self, what: &str) -> Result<()> {
        ensure!(self.looks > 20, "only {} looks", self.looks);
        let first = self.changes.iter().take(8).collect::<Vec<_>>();
        ensure!(first.is_empty(), "{what}: {first:?}");
        println!("{what}: {} looks, no change", self.looks);
        Ok(())
    }
}

/// Waits until the router's kernel sends a VIP of both families to exactly these nodes.
fn wait_for_gateways(lab: &Lab, vip_number: u8, nodes: &[u8]) -> Result<()> {
    let Pair { v4, v6 } = vip(vip_number);
    for prefix in [(v4.into(), 32), (v6.into(), 128)] {
        let mut expected: Vec<_> = nodes
            .iter()
            .map(|&node| lab.node(node).addresses().like(prefix.0))
            .collect();
        expected.sort();
        let what = format!("route to {} by nodes {nodes:?}", prefix.0);
        wait_until(SOON, &what, || {
            let gateways = lab.router_gateways(prefix)?;
            ensure!(gateways == expected, "{gateways:?}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}

fn session_is(shown: &Value, state: &str) -> bool {
    shown["rows"]
        .as_array()
        .is_some_and(|rows| rows.len() == 1 && rows[0]["state"] == state)
}

/// Since when each agent's session is in its state.
fn since(agents: &[Agent]) -> Result<Vec<Value>> {
    agents
        .iter()
        .map(|agent| Ok(agent.show("bgp")?["rows"][0]["since"].clone()))
        .collect()
}
