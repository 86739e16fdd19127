//! The flow owner under a flood of spoofed sources, by test run in real time: ten thousand idle connections live on, and
//! who really connects meanwhile, a tenth of a second away, gets through. Needs root; nothing is attached.

use std::{
    collections::{BTreeSet, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use fairlead_tests::{
    addresses::{pod, pod_port, port_of, vips},
    dice::Dice,
    frame::{Packet, see},
    world::{CLUSTER, ROUTER_MAC, World, XDP_PASS, node_mac},
};
use lb_common::{flow::State, limits::Capacity};
use lb_datapath::Options;

const IDLE_FLOWS: u32 = 10_000;
const ROUND_TRIP: Duration = Duration::from_millis(100);
/// Between two real connects.
const PERIOD: Duration = Duration::from_millis(10);
/// What the flood sends between two looks at the clock.
const BURST: u32 = 64;

/// What spoofed sources send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Syn,
    Udp,
    Ack,
}

/// Packets of the flood in the tier, and in soak.
const SHORT: u32 = 200_000;
const LONG: u32 = 1_000_000;

#[test]
fn a_short_flood_of_syns_keeps_nobody_out() -> Result<()> {
    flood(Kind::Syn, vips()[0], SHORT)
}

#[test]
fn a_short_flood_of_datagrams_keeps_nobody_out() -> Result<()> {
    flood(Kind::Udp, vips()[0], SHORT)
}

#[test]
fn a_short_flood_of_acknowledgements_keeps_nobody_out() -> Result<()> {
    flood(Kind::Ack, vips()[0], SHORT)
}

#[test]
fn a_short_flood_over_ipv6_keeps_nobody_out() -> Result<()> {
    flood(Kind::Syn, vips()[1], SHORT)
}

#[test]
#[ignore = "soak: a million packets of each kind, in either family"]
fn a_flood_keeps_nobody_out() -> Result<()> {
    for vip in vips() {
        for kind in [Kind::Syn, Kind::Udp, Kind::Ack] {
            flood(kind, vip, LONG)?;
        }
    }
    Ok(())
}

fn flood(kind: Kind, vip: IpAddr, packets: u32) -> Result<()> {
    let world = World::with(1, CLUSTER, &Options::unpinned(Capacity::DEFAULT))?;
    let idle: Vec<Client> = (0..IDLE_FLOWS).map(Client::idle).collect();
    for client in &idle {
        client.connect(&world)?;
    }
    let begun = Instant::now();
    let mut rush = Rush::new(begun);
    let mut attacker = Attacker::new(kind, vip);
    for _ in 0..packets / BURST {
        for _ in 0..BURST {
            world.datapath.run_ingress(attacker.next())?;
        }
        rush.step(&world, Instant::now())?;
    }
    let took = begun.elapsed();
    rush.finish(&world)?;

    for client in &idle {
        ensure!(client.is_served(&world)?, "{client:?} no longer answers");
    }
    let established: BTreeSet<u16> = established(&world);
    ensure!(
        idle.iter().all(|client| established.contains(&client.port)),
        "an idle flow is no longer established"
    );
    println!(
        "{kind:?} to {vip}: {packets} packets in {took:?}, {} of {} connects got through",
        rush.through, rush.begun
    );
    ensure!(rush.begun >= 5, "only {} connects in {took:?}", rush.begun);
    ensure!(
        rush.through * 100 >= rush.begun * 99,
        "{} of {} connects got through",
        rush.through,
        rush.begun
    );
    Ok(())
}

/// Ports of the clients whose flows are established.
fn established(world: &World) -> BTreeSet<u16> {
    let flows = world.datapath.flows().into_iter();
    flows
        .filter(|(meta, _)| meta.state() == State::Established as u32)
        .map(|(_, flow)| u16::from_be(flow.client_port))
        .collect()
}

/// Somebody with a TCP connection to the pod of `node1`.
#[derive(Clone, Copy, Debug)]
struct Client {
    address: IpAddr,
    port: u16,
    vip: IpAddr,
}

impl Client {
    fn idle(number: u32) -> Self {
        let vip = vips()[number as usize % 2];
        let address = match vip {
            IpAddr::V4(_) => IpAddr::from((0x1400_0000 + number * 257).to_be_bytes()),
            IpAddr::V6(_) => {
                IpAddr::from((0x2001_0db8_u128 << 96 | u128::from(number)).to_be_bytes())
            }
        };
        Self {
            address,
            port: 20_000 + number as u16,
            vip,
        }
    }

    /// One who comes during the flood; the ports are nobody else's.
    fn new(number: u32) -> Self {
        Self {
            port: 31_000 + (number % 30_000) as u16,
            ..Self::idle(IDLE_FLOWS + number)
        }
    }

    fn packet(&self, flags: &'static str, acknowledgement: u32) -> Packet {
        Packet {
            source: (self.address, self.port),
            flags,
            acknowledgement,
            ..Packet::to(self.vip, port_of(1, false), false)
        }
    }

    fn reply(&self, flags: &'static str, sequence: u32) -> Packet {
        Packet {
            to_mac: ROUTER_MAC,
            from_mac: node_mac(1),
            source: (pod(self.vip, 1, 2), pod_port(false)),
            destination: (self.address, self.port),
            flags,
            sequence,
            ..Packet::to(self.vip, 0, false)
        }
    }

    /// Whether a packet gets to the pod.
    fn reaches(&self, world: &World, packet: &Packet) -> Result<bool> {
        let (action, frame) = world.receive(&packet.frame())?;
        Ok(action == XDP_PASS && see(&frame).destination == pod(self.vip, 1, 2))
    }

    /// Whether the pod's packet comes from the VIP.
    fn hears(&self, world: &World, reply: &Packet) -> Result<bool> {
        Ok(see(&world.send(&reply.frame())?).source == self.vip)
    }

    fn begin(&self, world: &World) -> Result<bool> {
        let reached = self.reaches(world, &self.packet("S", 0))?;
        Ok(reached && self.hears(world, &self.reply("SA", 5000))?)
    }

    fn connect(&self, world: &World) -> Result<()> {
        let begun = self.begin(world)? && self.reaches(world, &self.packet("A", 5001))?;
        ensure!(begun, "{self:?} cannot connect");
        Ok(())
    }

    /// A request reaches the pod, and its answer comes from the VIP.
    fn is_served(&self, world: &World) -> Result<bool> {
        let request = self.packet("A", 5001);
        Ok(self.reaches(world, &request)? && self.hears(world, &self.reply("A", 5001))?)
    }
}

/// Those who connect during the flood, each a round trip after its SYN.
struct Rush {
    next: Instant,
    begun: u32,
    through: u32,
    waiting: VecDeque<(Instant, Client)>,
}

impl Rush {
    fn new(now: Instant) -> Self {
        Self {
            next: now,
            begun: 0,
            through: 0,
            waiting: VecDeque::new(),
        }
    }

    fn step(&mut self, world: &World, now: Instant) -> Result<()> {
        while self.next <= now {
            let client = Client::new(self.begun);
            self.begun += 1;
            self.next += PERIOD;
            if client.begin(world)? {
                self.waiting.push_back((now + ROUND_TRIP, client));
            }
        }
        while self.waiting.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, client)) = self.waiting.pop_front() else {
                break;
            };
            let acknowledged = client.reaches(world, &client.packet("A", 5001))?;
            if acknowledged && client.is_served(world)? {
                self.through += 1;
            }
        }
        Ok(())
    }

    /// The flood is over; who is still on the way arrives.
    fn finish(&mut self, world: &World) -> Result<()> {
        let last = self.waiting.back().map(|(due, _)| *due);
        self.next += Duration::from_secs(3600);
        last.map_or(Ok(()), |last| self.step(world, last))
    }
}

/// Frames from random sources; nobody looks at their checksums on the way to the pod.
struct Attacker {
    dice: Dice,
    frame: Vec<u8>,
}

impl Attacker {
    fn new(kind: Kind, vip: IpAddr) -> Self {
        let udp = kind == Kind::Udp;
        let flags = if kind == Kind::Ack { "A" } else { "S" };
        let template = Packet::to(vip, port_of(1, udp), udp).flags(flags);
        Self {
            dice: Dice::seeded(1),
            frame: template.frame(),
        }
    }

    fn next(&mut self) -> &[u8] {
        let random = self.dice.roll().to_be_bytes();
        // A source that is none of the clients': below 224.0.0.0, or in 2001:db8:a000::/35; and a port.
        let (source, port) = if self.frame[12] == 8 {
            self.frame[26] = 100 + random[0] % 100;
            (27..30, 34)
        } else {
            self.frame[26] = 0xa0 + random[0] % 0x20;
            (27..30, 54)
        };
        self.frame[source].copy_from_slice(&random[1..4]);
        self.frame[port..port + 2].copy_from_slice(&random[4..6]);
        &self.frame
    }
}
