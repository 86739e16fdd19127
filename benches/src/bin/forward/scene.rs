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
use lb_datapath::bench::{Driver, Orders};
use lb_lab::{
    Agent, AgentOptions, AttachedProgram, Lab, Namespace, Netlink, Profile, Segments, UPLINK,
    router_link, switch_port, topology,
};

use crate::{
    firewall,
    services::{self, PORT, Service},
    threads::NapiThread,
};

/// How a packet gets from node 1's uplink to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the pod's own address, by the kernel's routes; no firewall, no connection tracking.
    Plain,
    /// kube-proxy's rules in nftables mode.
    Nftables,
    /// kube-proxy's rules in iptables mode.
    Iptables,
    /// Fairlead, nodes on one link; kube-proxy's nftables rules beside it, as on any node.
    Direct,
    /// As above, nodes behind a router.
    Gue,
}

/// Which packets are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flows {
    /// Of a thousand flows that have all been seen.
    Known,
    /// Each of a flow of its own.
    New,
}

/// What one measurement found, in CPU nanoseconds a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Node 1.
    pub(crate) ingress: f64,
    /// Node 2; 0 if the packet ends on node 1.
    pub(crate) owner: f64,
}

/// Flows of [`Flows::Known`].
const KNOWN_FLOWS: u64 = 1024;
/// Packets of one measurement of known flows.
const KNOWN_PACKETS: u32 = 150_000;
/// Packets of one measurement of new flows: half of what the smallest table for flows in the making holds.
const NEW_PACKETS: u32 = 30_000;
/// Three quarters of what a veth's ring holds (`VETH_RING_SIZE`, drivers/net/veth.c).
const BURST_PACKETS: u32 = 192;
/// Between two bursts.
const BURST_INTERVAL: Duration = Duration::from_micros(200);
/// Of the packets that reach a node, as many must get where they are meant to go.
const DELIVERED_LEAST: f64 = 0.7;
/// The CPU of the nodes that are measured; everything else is on the other one.
const NODE_CPU: usize = 0;
const OTHER_CPU: usize = 1;

/// A link of the switch that nothing comes in by.
const IDLE_LINK: &str = "idle0";

/// A lab that is ready to be measured.
pub(crate) struct Scene {
    lab: Lab,
    way: Way,
    nodes: [NapiThread; 2],
    _agents: Vec<Agent>,
    _programs: Vec<AttachedProgram>,
}

/// Packets that links have received, and CPU time of the nodes.
#[derive(Clone, Copy)]
struct Counters {
    cpu_ns: [u64; 2],
    received: [u64; 2],
    delivered: u64,
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
        }
        let agents = match way {
            Way::Direct | Way::Gue => start_agents(&lab, services)?,
            _ => Vec::new(),
        };
        let mut programs = Vec::new();
        for pod in lab.node_pods(1).iter().chain(lab.node_pods(2)) {
            programs.push(pod.discard()?);
            NapiThread::of(pod.namespace(), UPLINK, OTHER_CPU)?;
        }
        for node in [1, 2] {
            NapiThread::of(lab.switch_namespace(), &switch_port(node), OTHER_CPU)?;
        }
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
        let thread = |node: u8| NapiThread::of(lab.node(node).namespace(), UPLINK, NODE_CPU);
        Ok(Self {
            nodes: [thread(1)?, thread(2)?],
            lab,
            way,
            _agents: agents,
            _programs: programs,
        })
    }

    /// Packets that node 1 sends on to node 2.
    pub(crate) fn remote(&self, driver: &mut Driver, flows: Flows) -> Result<Sample> {
        let target = match self.way {
            Way::Plain => (topology::pod(2, 1).v4, topology::POD_PORT),
            _ => (services::remote_vip(), PORT),
        };
        let (before, after) = self.send(driver, target, flows)?;
        let spent = |node: usize| {
            let packets = after.received[node] - before.received[node];
            (after.cpu_ns[node] - before.cpu_ns[node]) as f64 / packets as f64
        };
        let delivered = (after.delivered - before.delivered) as f64;
        self.expect(delivered, after.received[1] - before.received[1])?;
        Ok(Sample {
            ingress: spent(0),
            owner: spent(1),
        })
    }

    /// Packets that end in a pod of node 1.
    pub(crate) fn local(&self, driver: &mut Driver, flows: Flows) -> Result<Sample> {
        let target = match self.way {
            Way::Plain => (topology::pod(1, 1).v4, topology::POD_PORT),
            _ => (services::local_vip(), PORT),
        };
        let (before, after) = self.send(driver, target, flows)?;
        let packets = after.received[0] - before.received[0];
        self.expect((after.delivered - before.delivered) as f64, packets)?;
        Ok(Sample {
            ingress: (after.cpu_ns[0] - before.cpu_ns[0]) as f64 / packets as f64,
            owner: 0.0,
        })
    }

    fn expect(&self, delivered: f64, received: u64) -> Result<()> {
        ensure!(
            received > 0 && delivered >= DELIVERED_LEAST * received as f64,
            "{:?}: of {received} packets only {delivered} reached a pod",
            self.way
        );
        Ok(())
    }

    fn send(
        &self,
        driver: &mut Driver,
        target: (Ipv4Addr, u16),
        flows: Flows,
    ) -> Result<(Counters, Counters)> {
        let frame = frame(target);
        let index = self
            .lab
            .switch_namespace()
            .run(|| Ok(Netlink::open()?.index(&switch_port(1))?))?;
        let orders = Orders {
            flows: KNOWN_FLOWS,
            destinations: 1,
            frame_bytes: frame.len() as u64,
            random: 0x9E37_79B9_7F4A_7C15,
            egress_ifindex: u64::from(index),
            ..Orders::default()
        };
        let mut bursts = |orders: Orders, packets: u32| {
            self.lab
                .switch_namespace()
                .run(|| send_bursts(driver, orders, &frame, packets))
        };
        bursts(orders, 20 * KNOWN_FLOWS as u32)?;
        let before = self.settled()?;
        match flows {
            Flows::Known => bursts(orders, KNOWN_PACKETS)?,
            Flows::New => bursts(Orders { flows: 0, ..orders }, NEW_PACKETS)?,
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
        Ok(Counters {
            cpu_ns: [first.cpu_ns()?, second.cpu_ns()?],
            received: [
                received(self.lab.node(1).namespace(), UPLINK)?,
                received(self.lab.node(2).namespace(), UPLINK)?,
            ],
            delivered,
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

/// Sends with pauses, so that the links' rings take what comes. Starts where the last call with these orders started:
/// known flows are the same ones each time, new ones are new once a lab.
fn send_bursts(driver: &mut Driver, orders: Orders, frame: &[u8], packets: u32) -> Result<()> {
    let mut sent = 0;
    while sent < packets {
        let orders = Orders {
            count: NEW_FLOWS_FROM + u64::from(sent),
            random: orders.random.wrapping_add(u64::from(sent) << 20),
            ..orders
        };
        driver.send(orders, frame, BURST_PACKETS)?;
        sent += BURST_PACKETS;
        thread::sleep(BURST_INTERVAL);
    }
    Ok(())
}

/// Beyond the numbers of all known flows.
const NEW_FLOWS_FROM: u64 = 1 << 20;

/// A datagram to the target as the router would hand it to node 1, without a UDP checksum.
fn frame((address, port): (Ipv4Addr, u16)) -> Vec<u8> {
    let mut frame = [topology::node_mac(1), topology::router_mac(0)].concat();
    frame.extend([8, 0]);
    let mut ip = [
        0x45, 0, 0, 64, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 51, 100, 2, 0, 0, 0, 0,
    ];
    ip[16..].copy_from_slice(&address.octets());
    let checksum = !lb_common::checksum::fold(lb_common::checksum::sum(&ip));
    ip[10..12].copy_from_slice(&checksum.to_ne_bytes());
    frame.extend(ip);
    frame.extend(40_000_u16.to_be_bytes());
    frame.extend(port.to_be_bytes());
    frame.extend(44_u16.to_be_bytes());
    frame.resize(78, 0);
    frame
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
