//! What clients notice while agents go and come back behind a real router: nothing, by the counters at both ends of a
//! stream of datagrams, in the demo's topology. Beside each event runs a control without it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::hitless::Stream;
use lb_lab::{
    Agent, AgentOptions, Lab, NODE_ASN, Neighbour, Node, Profile, Router, Segments, VIP_PORT, vip,
    wait_until,
};

use crate::cells::SESSION_LIMIT;

const HOLD_TIME_S: u16 = 9;
/// Datagrams before and after an event: a second of them.
const MORE: u64 = 10_000;
/// How long agents are away: longer than a router that keeps no routes takes to drop them.
const AWAY: u64 = 2 * MORE;

#[test]
fn behind_bird() -> Result<()> {
    nothing_is_lost(|lab, neighbours| Ok(Box::new(lab.start_bird_with(neighbours)?)))
}

#[test]
fn behind_frr() -> Result<()> {
    nothing_is_lost(|lab, neighbours| Ok(Box::new(lab.start_frr(neighbours)?)))
}

/// It has no part in the kernel's routes, and its way of handing them to FRR's zebra ends in a panic with the version here;
/// the lab does it instead.
#[test]
fn behind_gobgp() -> Result<()> {
    nothing_is_lost(|lab, neighbours| Ok(Box::new(lab.start_gobgp(neighbours)?)))
}

fn nothing_is_lost(
    start: impl FnOnce(&Lab, &[Neighbour]) -> Result<Box<dyn Router>>,
) -> Result<()> {
    let mut served = Served::start(start)?;
    served
        .under_load(|_, _| Ok(()))
        .context("the control, without any event")?;
    served.under_load(|served, stream| {
        for agent in &mut served.agents {
            agent.process().kill()?;
        }
        // Nobody speaks BGP: the router keeps the routes, the data path goes on.
        stream.wait_sent(&served.lab, AWAY)?;
        served.wait_gateways(3)?;
        served.agents.iter_mut().try_for_each(Agent::restart)?;
        served.wait_announced()
    })?;
    // Node 1 is taken out of service and back: marked, withdrawn, and announced again.
    served.under_load(|served, stream| {
        served.agents[0].drain(&["node1", "--wait", "--flows-wait", "3"])?;
        served.wait_gateways(2)?;
        stream.wait_sent(&served.lab, MORE)?;
        served.agents[0].drain(&["--undo"])?;
        served.wait_announced()
    })?;
    // Its agent leaves for good.
    served.under_load(|served, _| {
        let status = served.agents[0].terminate(SESSION_LIMIT)?;
        ensure!(status.success(), "{status}");
        served.wait_gateways(2)
    })
}

/// Three agents that announce one service to a router, node 3 behind it.
struct Served {
    // Before the lab that they run in.
    agents: Vec<Agent>,
    router: Box<dyn Router>,
    lab: Lab,
}

impl Served {
    fn start(start: impl FnOnce(&Lab, &[Neighbour]) -> Result<Box<dyn Router>>) -> Result<Self> {
        let lab = Lab::build(&Profile {
            segments: Segments::Node3Routed,
            ..Profile::default()
        })?;
        let neighbours: Vec<_> = lab.nodes().map(Neighbour::of).collect();
        let router = start(&lab, &neighbours)?;
        let services = lab.web_service("web", 1);
        let options = AgentOptions::default();
        let agent = |node| {
            let yaml = lab.agent_configuration(node, HOLD_TIME_S, &services);
            lab.start_agent(node, &yaml, &options)
        };
        let agents = (1..=3).map(agent).collect::<Result<_>>()?;
        let mut served = Self {
            agents,
            router,
            lab,
        };
        served.wait_announced()?;
        Ok(served)
    }

    /// Something happens while datagrams flow, and none is lost.
    fn under_load(&mut self, event: impl FnOnce(&mut Self, &Stream) -> Result<()>) -> Result<()> {
        let stream = Stream::start(&self.lab, (vip(1).v4, VIP_PORT).into())?;
        stream.wait_sent(&self.lab, MORE)?;
        event(self, &stream)?;
        stream.wait_sent(&self.lab, MORE)?;
        stream.nothing_is_lost(&self.lab)
    }

    /// Waits until the router has sessions with all nodes, none of its routes is stale, and its kernel uses all of them.
    fn wait_announced(&mut self) -> Result<()> {
        let addresses: Vec<_> = self
            .lab
            .nodes()
            .map(|node| node.addresses().v4.into())
            .collect();
        self.router.wait_established(SESSION_LIMIT, &addresses)?;
        self.router
            .wait_for(SESSION_LIMIT, "fresh routes of all nodes", |router| {
                let routes = router.routes()?;
                let fresh = routes.iter().filter(|route| !route.stale);
                let fresh = fresh.filter(|route| route.as_path == [NODE_ASN]).count();
                ensure!(fresh == 2 * addresses.len(), "{routes:?}");
                Ok(Some(()))
            })?;
        self.wait_gateways(3)
    }

    /// Gives the router's kernel the next hops that GoBGP has, once they are this many.
    fn follow_gobgp(&mut self, nodes: usize) -> Result<()> {
        let prefix = (vip(1).v4.into(), 32);
        let hops = self.router.wait_for(SESSION_LIMIT, "next hops", |router| {
            let mut routes = router.routes()?;
            routes.retain(|route| route.prefix == Some(prefix));
            let hops: Vec<_> = routes.iter().filter_map(|route| route.next_hop).collect();
            ensure!(hops.len() == nodes, "{routes:?}");
            Ok(Some(hops))
        })?;
        let has = |node: &Node<'_>| hops.contains(&node.addresses().v4.into());
        let numbers: Vec<_> = self.lab.nodes().filter(has).map(Node::number).collect();
        self.lab.route_by_nodes(prefix, &numbers)
    }

    /// Waits until the router's kernel spreads over this many nodes.
    fn wait_gateways(&mut self, nodes: usize) -> Result<()> {
        if self.router.name() == "GoBGP" {
            self.follow_gobgp(nodes)?;
        }
        wait_until(Duration::from_secs(5), "routes in the kernel", || {
            let gateways = self.lab.router_gateways((vip(1).v4.into(), 32))?;
            ensure!(gateways.len() == nodes, "{gateways:?}");
            Ok(Some(()))
        })
    }
}
