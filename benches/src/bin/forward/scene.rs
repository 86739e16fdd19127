//! A lab with one way of forwarding, and one measurement in it: packets are put straight into node 1's uplink, as if the
//! router had sent them, and end in a program that drops them at the pod. What a node spends on a packet is the CPU
//! time of its uplink's own thread over the packets that its uplink received.

use std::{
    fs,
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lb_datapath::bench::Driver;
use lb_lab::{
    Agent, AgentOptions, AttachedProgram, CountingProgram, Lab, Namespace, Netlink, Profile,
    Segments, UPLINK, router_link, switch_port, topology,
};

use crate::{
    firewall,
    services::{self, Service},
    threads::NapiThread,
    traffic::{self, Course},
};

/// How a packet gets from node 1's uplink to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To node 2, which drops it, by the smallest XDP program that can: what the links take, whoever decides.
    Relay,
    /// To the pod's own address, by the kernel's routes; no firewall, no connection tracking.
    Plain,
    /// kube-proxy's rules in nftables mode.
    Nftables,
    /// The same, with an XDP program on the uplinks that counts packets and passes them.
    NftablesBesideXdp,
    /// The same as `Nftables`, with the rule that Fairlead keeps for packets from the uplinks, and a route behind it.
    NftablesBesideRule,
    /// kube-proxy's rules in iptables mode.
    Iptables,
    /// Fairlead, nodes on one link; kube-proxy's nftables rules beside it, as on any node.
    Direct,
    /// As above, nodes behind a router.
    Gue,
}

/// What one measurement found, in CPU nanoseconds a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Node 1.
    pub(crate) ingress: f64,
    /// Node 2; 0 if the packet ends on node 1.
    pub(crate) owner: f64,
}

/// Packets of known flows before each measurement.
const WARM_PACKETS: u32 = 20 * traffic::KNOWN_FLOWS as u32;
/// Packets of one measurement of known flows.
const KNOWN_PACKETS: u32 = 150_000;
/// Packets of one measurement of new flows: half of what the smallest table for flows in the making holds.
const NEW_PACKETS: u32 = 30_000;
/// Of the packets that reach a node, as many must get where they are meant to go.
const DELIVERED_LEAST: f64 = 0.98;
/// The CPU of all links that the packets come in by, each of which has a thread of its own there. On one CPU, a node's thread
/// is done with a burst before the next link's begins, and wakes it once; on two it would wake the other CPU again and again, and
/// so measure how dear that is on this machine. The sender is on the other CPU.
const LINKS_CPU: usize = 0;

/// A link of the switch that nothing comes in by.
const IDLE_LINK: &str = "idle0";

/// A lab that is ready to be measured.
pub(crate) struct Scene {
    lab: Lab,
    way: Way,
    nodes: [NapiThread; 2],
    _agents: Vec<Agent>,
    _programs: Vec<AttachedProgram>,
    /// Programs on the two nodes' uplinks that are not Fairlead's.
    counting: Vec<CountingProgram>,
}

/// Packets that links have received, and CPU time of the nodes.
#[derive(Clone, Copy)]
struct Counters {
    cpu_ns: [u64; 2],
    received: [u64; 2],
    delivered: u64,
    /// Seen by the programs that are not Fairlead's.
    counted: u64,
}

impl Scene {
    /// Builds the lab and starts what forwards.
    pub(crate) fn build(way: Way, services: &[Service], driver: &mut Driver) -> Result<Self> {
        let segments = if way == Way::Gue {
            Segments::AllRouted
        } else {
            Segments::OneLan
        };
        let lab = Lab::build(&Profile {
            segments,
            ..Profile::default()
        })?;
        resolve(&lab)?;
        for node in [1, 2] {
            firewall::load(lab.node(node).namespace(), way, services)?;
            if way == Way::NftablesBesideRule {
                firewall::add_rule(lab.node(node).namespace(), UPLINK)?;
            }
        }
        let mut agents = match way {
            Way::Direct | Way::Gue => start_agents(&lab, services)?,
            _ => Vec::new(),
        };
        let counting = match way {
            Way::Relay => vec![lab.node(1).relay_to(2)?],
            Way::NftablesBesideXdp => vec![lab.node(1).occupy_xdp()?, lab.node(2).occupy_xdp()?],
            _ => Vec::new(),
        };
        lab.switch_namespace().run(|| {
            let switch = lab.switch_namespace().net();
            Netlink::open()?.add_veth(
                IDLE_LINK,
                [2, 0, 0, 0, 9, 1],
                switch,
                "idle1",
                [2, 0, 0, 0, 9, 2],
            )?;
            Ok(driver.keep_ready(IDLE_LINK)?)
        })?;
        if way != Way::Relay {
            make_known(&lab, way, driver, &mut agents)?;
        }
        let mut programs = Vec::new();
        if way == Way::Relay {
            programs.push(lab.node(2).discard()?);
        }
        for pod in lab.node_pods(1).iter().chain(lab.node_pods(2)) {
            programs.push(pod.discard()?);
            NapiThread::of(pod.namespace(), UPLINK, LINKS_CPU)?;
        }
        for node in [1, 2] {
            NapiThread::of(lab.switch_namespace(), &switch_port(node), LINKS_CPU)?;
        }
        let thread = |node: u8| NapiThread::of(lab.node(node).namespace(), UPLINK, LINKS_CPU);
        Ok(Self {
            nodes: [thread(1)?, thread(2)?],
            lab,
            way,
            _agents: agents,
            _programs: programs,
            counting,
        })
    }

    /// Sends packets of a kind and sees what they cost.
    pub(crate) fn measure(&self, driver: &mut Driver, course: Course) -> Result<Sample> {
        let (before, after) = self.send(driver, course)?;
        let received = |node: usize| after.received[node] - before.received[node];
        let spent =
            |node: usize| (after.cpu_ns[node] - before.cpu_ns[node]) as f64 / received(node) as f64;
        let counted = after.counted - before.counted;
        if self.way == Way::Relay {
            ensure!(
                counted == received(0),
                "the relay has seen {counted} of {} packets",
                received(0)
            );
        }
        if !course.is_local() {
            self.expect(received(1), received(0))?;
        }
        if self.way == Way::Relay {
            return Ok(Sample {
                ingress: spent(0),
                owner: 0.0,
            });
        }
        let last = usize::from(!course.is_local());
        self.expect(after.delivered - before.delivered, received(last))?;
        Ok(Sample {
            ingress: spent(0),
            owner: if course.is_local() { 0.0 } else { spent(1) },
        })
    }

    fn expect(&self, delivered: u64, received: u64) -> Result<()> {
        ensure!(
            received > 0 && delivered as f64 >= DELIVERED_LEAST * received as f64,
            "{:?}: of {received} packets only {delivered} got to their end",
            self.way
        );
        Ok(())
    }

    fn send(&self, driver: &mut Driver, course: Course) -> Result<(Counters, Counters)> {
        traffic::send_known(&self.lab, driver, self.way, course, WARM_PACKETS)?;
        let before = self.settled()?;
        match course {
            Course::RemoteKnown | Course::LocalKnown => {
                traffic::send_known(&self.lab, driver, self.way, course, KNOWN_PACKETS)?;
            }
            Course::RemoteNew | Course::LocalNew => {
                traffic::send_new(&self.lab, driver, self.way, course, NEW_PACKETS)?;
            }
        }
        Ok((before, self.settled()?))
    }

    /// The counters once nothing is under way any more.
    fn settled(&self) -> Result<Counters> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut last = self.counters()?;
        loop {
            thread::sleep(Duration::from_millis(20));
            let now = self.counters()?;
            if now.received == last.received && now.delivered == last.delivered {
                return Ok(now);
            }
            ensure!(Instant::now() < deadline, "packets go on and on");
            last = now;
        }
    }

    fn counters(&self) -> Result<Counters> {
        let pods = self.lab.node_pods(1).iter().chain(self.lab.node_pods(2));
        let mut delivered = 0;
        for pod in pods {
            delivered += received(pod.namespace(), UPLINK)?;
        }
        let [first, second] = &self.nodes;
        let mut counted = 0;
        for program in &self.counting {
            counted += program.frames()?;
        }
        Ok(Counters {
            cpu_ns: [first.cpu_ns()?, second.cpu_ns()?],
            received: [
                received(self.lab.node(1).namespace(), UPLINK)?,
                received(self.lab.node(2).namespace(), UPLINK)?,
            ],
            delivered,
            counted,
        })
    }
}

/// Tells the hosts on the way each other's MACs: an answer to a question of theirs would find the rings full.
fn resolve(lab: &Lab) -> Result<()> {
    let segments = lab.profile().segments;
    let on_path = |from: &Namespace, link: &str, to: Ipv4Addr, mac| {
        from.run(|| Ok(Netlink::open()?.add_neighbour(link, to.into(), mac)?))
    };
    let (first, second) = (lab.node(1), lab.node(2));
    if segments == Segments::OneLan {
        let to = second.addresses().v4;
        return on_path(first.namespace(), UPLINK, to, topology::node_mac(2));
    }
    on_path(
        first.namespace(),
        UPLINK,
        first.router().v4,
        topology::router_mac(0),
    )?;
    let last_link = router_link(segments.of_node(2));
    on_path(
        lab.router_namespace(),
        &last_link,
        second.addresses().v4,
        topology::node_mac(2),
    )
}

/// Has the pods answer the known flows, and the clients go on, so that whoever keeps state of flows knows these to be real.
fn make_known(lab: &Lab, way: Way, driver: &mut Driver, agents: &mut [Agent]) -> Result<()> {
    for course in [Course::RemoteKnown, Course::LocalKnown] {
        traffic::send_known(lab, driver, way, course, WARM_PACKETS)?;
    }
    for agent in agents {
        agent.wait_for(
            Duration::from_secs(5),
            "flows",
            "known to be real",
            |shown| {
                let real = shown["states"]["stream"].as_u64();
                real.is_some_and(|real| {
                    real as f64 >= DELIVERED_LEAST * traffic::KNOWN_FLOWS as f64
                })
            },
        )?;
    }
    Ok(())
}

fn start_agents(lab: &Lab, services: &[Service]) -> Result<Vec<Agent>> {
    let services = services::yaml(services);
    let mut agents = [1, 2]
        .map(|node| {
            let yaml = lab.agent_configuration(node, 9, &services);
            lab.start_agent(node, &yaml, &AgentOptions::default())
        })
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    for agent in &mut agents {
        agent.wait_for(Duration::from_secs(30), "services", "applied", |shown| {
            shown["rows"].as_array().is_some_and(|rows| {
                !rows.is_empty() && rows.iter().all(|row| row["applied"] == true)
            })
        })?;
    }
    Ok(agents)
}

/// Frames that a link has received.
fn received(namespace: &Namespace, link: &str) -> Result<u64> {
    let text = namespace
        .run(|| fs::read_to_string("/proc/thread-self/net/dev").context("reading link counters"))?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(link)?.strip_prefix(':'))
        .with_context(|| format!("{} has no link {link}", namespace.name()))?;
    let frames = line.split_whitespace().nth(1);
    Ok(frames.context("no received frames")?.parse()?)
}
