//! Random traffic in scenes: some clients, their pods, routers that complain, and whoever sends what should not be. A
//! scene is made from its seed alone and meets no other, so that one that fails can be run by itself.

mod variety;

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result};
use etherparse::PacketBuilder;
use fairlead_model::{Action, tags, wire};

use self::variety::{OPTIONS, cuts, dress, mutate, split, vary};
use crate::{
    addresses::{ninth_vip, no_vip, second_vip, vips},
    dice::Dice,
    fragments::part,
    frame::Packet,
    icmp_error::{complaint, quoted, refusal},
    neighbour::{Asks, claim, of_lan, question},
    odd::{SERVICE_TAG, TAG, tagged, with_headers},
    reference::{NODES, Reference},
    world::{ROUTER_MAC, node_mac, outer_address},
};

/// Packets of one scene, replies and what nodes send each other not counted.
const STEPS: usize = 60;
/// Clients of one scene.
const CLIENTS: usize = 6;

/// One client and one service port.
struct Conversation {
    packet: Packet,
    /// Where the router sends its packets.
    entry: u8,
    /// Node, address and port of its pod, once a packet has got there.
    pod: Option<(u8, IpAddr, u16)>,
    /// What the pod's SYN-ACK said.
    sequence: u32,
    /// What the pod has sent last, as the client got it.
    heard: Option<Vec<u8>>,
    /// What the pod has got last.
    delivered: Option<Vec<u8>>,
}

/// Plays the scene of a seed.
///
/// # Errors
/// Where the data path and the model differ: seed, step, packet.
pub fn play(reference: &mut Reference, seed: u64) -> Result<()> {
    let mut scene = Scene::new(seed);
    for step in 0..STEPS {
        scene
            .step(reference)
            .with_context(|| format!("FAIRLEAD_SEED={seed} replays it: step {step}"))?;
    }
    Ok(())
}

struct Scene {
    dice: Dice,
    conversations: Vec<Conversation>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::seeded(seed);
        let mut conversations: Vec<Conversation> = Vec::new();
        for _ in 0..CLIENTS {
            let mut talk = Conversation::new(&mut dice);
            // Behind a CGNAT, ports meet again.
            let before = conversations.last().map(|other| other.packet.source);
            let same_family =
                |source: &(IpAddr, u16)| source.0.is_ipv4() == talk.packet.source.0.is_ipv4();
            if let Some(source) = before.filter(same_family).filter(|_| dice.once_in(2)) {
                talk.packet.source = source;
            }
            conversations.push(talk);
        }
        Self {
            dice,
            conversations,
        }
    }

    fn step(&mut self, reference: &mut Reference) -> Result<()> {
        let number = self.dice.below(CLIENTS);
        match self.dice.below(20) {
            0..8 => self.client(reference, number),
            8..11 => self.pod(reference, number),
            11 => self.object(reference, number),
            12 => self.complain(reference, number),
            13 => self.ping(reference, number),
            14..16 => self.stray(reference, number),
            16 => self.neighbour(reference),
            17..19 => self.parts(reference, number),
            _ => self.noise(reference, number),
        }
    }

    /// The client's next packet, at its node or another.
    fn client(&mut self, reference: &mut Reference, number: usize) -> Result<()> {
        let talk = &mut self.conversations[number];
        let mut packet = talk.packet.clone();
        vary(&mut self.dice, &mut packet, talk.sequence);
        let entry = if self.dice.once_in(8) {
            self.dice.below(NODES.into()) as u8 + 1
        } else {
            talk.entry
        };
        packet.to_mac = node_mac(entry);
        if self.dice.once_in(16) {
            packet.from_mac = node_mac(self.dice.below(5) as u8 + 1);
        }
        let mut frame = packet.frame();
        dress(&mut self.dice, &mut frame);
        if self.dice.once_in(6) {
            frame = with_headers(&frame);
        }
        if self.dice.once_in(8) {
            frame = tagged(&frame, self.dice.one_of(&[&[TAG], &[SERVICE_TAG, TAG]]));
        }
        self.carry(reference, number, entry, frame)
    }

    /// What the client sends comes in parts, by whatever nodes; now and then out of order, twice, or one over the other.
    fn parts(&mut self, reference: &mut Reference, number: usize) -> Result<()> {
        let talk = &self.conversations[number];
        let (mut packet, entry) = (talk.packet.clone(), talk.entry);
        vary(&mut self.dice, &mut packet, talk.sequence);
        let payload = 16 + self.dice.below(1200);
        packet.payload = (0..payload).map(|_| self.dice.roll() as u8).collect();
        let mut whole = packet.frame();
        dress(&mut self.dice, &mut whole);
        let id = self.dice.roll() as u16;
        for (range, more) in cuts(&mut self.dice, &whole) {
            let mut frame = part(&whole, id, range, more);
            let entry = if self.dice.once_in(2) {
                self.dice.below(NODES.into()) as u8 + 1
            } else {
                entry
            };
            frame[..6].copy_from_slice(&node_mac(entry));
            if self.dice.once_in(8) {
                frame = tagged(&frame, self.dice.one_of(&[&[TAG], &[SERVICE_TAG, TAG]]));
            }
            self.carry(reference, number, entry, frame)?;
        }
        Ok(())
    }

    /// Somebody on the link asks for an address, or says to have it.
    fn neighbour(&mut self, reference: &mut Reference) -> Result<()> {
        let node = self.dice.below(NODES.into()) as u8 + 1;
        let like = self.dice.one_of(&vips());
        let address = self.dice.one_of(&[like, of_lan(like, 7), of_lan(like, 8)]);
        let asks = [Asks::ForMac, Asks::Again, Asks::WhetherFree];
        let mut frame = match self.dice.below(4) {
            0 => claim(address),
            _ => question(self.dice.one_of(&asks), address),
        };
        if frame[0] & 1 == 0 {
            frame[..6].copy_from_slice(&node_mac(node));
        }
        if self.dice.once_in(4) {
            frame = tagged(&frame, self.dice.one_of(&[&[TAG], &[SERVICE_TAG, TAG]]));
        }
        if self.dice.once_in(3) {
            mutate(&mut self.dice, &mut frame);
        }
        reference.receive(node, &frame).map(drop)
    }

    /// From node to node until somebody keeps it.
    fn carry(
        &mut self,
        reference: &mut Reference,
        number: usize,
        entry: u8,
        frame: Vec<u8>,
    ) -> Result<()> {
        let (mut node, mut frame) = (entry, frame);
        for _ in 0..4 {
            if self.dice.once_in(6) {
                mutate(&mut self.dice, &mut frame);
            }
            let observed = reference.receive(node, &frame)?;
            if observed.counted == ["delivered"] {
                self.conversations[number].note(node, &observed.frame);
            }
            let forwarded = observed
                .counted
                .iter()
                .any(|label| label.starts_with("forwarded") || *label == "fragment-sent-home");
            if observed.action != Action::Transmit || !forwarded {
                return Ok(());
            }
            let Some(next) = reference.next(&observed.frame) else {
                return Ok(());
            };
            (node, frame) = next;
        }
        Ok(())
    }

    /// The pod says something.
    fn pod(&mut self, reference: &mut Reference, number: usize) -> Result<()> {
        let Some((node, address, port)) = self.conversations[number].pod else {
            return self.client(reference, number);
        };
        let talk = &self.conversations[number];
        let mut reply = Packet {
            to_mac: ROUTER_MAC,
            from_mac: node_mac(node),
            source: (address, port),
            destination: (talk.packet.source.0, talk.port_at_pod()),
            ..talk.packet.clone()
        };
        vary(&mut self.dice, &mut reply, talk.sequence);
        if self.dice.once_in(2) {
            reply.flags = "SA";
        }
        if reply.flags == "SA" {
            reply.options = self.dice.one_of(&OPTIONS);
        }
        let sequence = reply.sequence;
        let mut frame = reply.frame();
        dress(&mut self.dice, &mut frame);
        if reply.udp && self.dice.once_in(2) {
            split(&mut self.dice, &mut frame);
        }
        self.spoil(&mut frame);
        // The kernel runs no egress program on less than an IP header.
        if frame.len() < 54 {
            return Ok(());
        }
        let observed = reference.send(node, &frame)?;
        let talk = &mut self.conversations[number];
        if observed.counted == ["replied"] {
            talk.heard = Some(observed.frame);
            if reply.flags == "SA" {
                talk.sequence = sequence.wrapping_add(1);
            }
        }
        Ok(())
    }

    /// The pod, or its node, cannot take what the client sent.
    fn object(&mut self, reference: &mut Reference, number: usize) -> Result<()> {
        let talk = &self.conversations[number];
        let (Some(delivered), Some((node, address, _))) = (talk.delivered.clone(), talk.pod) else {
            return self.client(reference, number);
        };
        let sender = if self.dice.once_in(2) {
            address
        } else {
            outer_address(node, address.is_ipv6())
        };
        let kinds: &[(u8, u8)] = match sender {
            IpAddr::V4(_) => &[(3, 3), (3, 4), (11, 0), (5, 1)],
            IpAddr::V6(_) => &[(1, 4), (2, 0), (3, 0), (130, 0)],
        };
        let kind = self.dice.one_of(kinds);
        let most = (delivered.len() - 14).min(500);
        let bytes = if self.dice.once_in(2) {
            quoted(sender)
        } else {
            most
        };
        let mut frame = refusal(&delivered, sender, kind, [0; 4], bytes.min(most));
        self.spoil(&mut frame);
        if frame.len() >= 54 {
            reference.send(node, &frame)?;
        }
        Ok(())
    }

    /// A frame that leaves the stack is as long as its packet.
    fn spoil(&mut self, frame: &mut Vec<u8>) {
        if self.dice.once_in(6) {
            let bytes = frame.len();
            mutate(&mut self.dice, frame);
            frame.truncate(bytes);
        }
    }

    /// A router on the way to the client has something to say about the last reply.
    fn complain(&mut self, reference: &mut Reference, number: usize) -> Result<()> {
        let talk = &self.conversations[number];
        let Some(heard) = talk.heard.clone() else {
            return self.client(reference, number);
        };
        let vip = talk.packet.destination.0;
        let kinds: &[(u8, u8)] = match vip {
            IpAddr::V4(_) => &[(3, 4), (3, 3), (11, 0), (5, 1), (12, 0)],
            IpAddr::V6(_) => &[(2, 0), (1, 4), (3, 0), (4, 1), (130, 0)],
        };
        let kind = self.dice.one_of(kinds);
        let mtu = self
            .dice
            .one_of(&[0_u16, 551, 552, 1279, 1280, 1400, 1500])
            .to_be_bytes();
        let most = heard.len() - 14;
        let bytes = if self.dice.once_in(2) {
            quoted(vip)
        } else {
            most
        };
        let mut frame = complaint(&heard, kind, [0, 0, mtu[0], mtu[1]], bytes.min(most));
        let entry = self.dice.below(NODES.into()) as u8 + 1;
        frame[..6].copy_from_slice(&node_mac(entry));
        self.carry(reference, number, entry, frame)
    }

    fn ping(&mut self, reference: &mut Reference, number: usize) -> Result<()> {
        let talk = &self.conversations[number];
        let (client, vip, entry) = (talk.packet.source.0, talk.packet.destination.0, talk.entry);
        let payload = vec![0x5a; self.dice.below(200)];
        let ethernet = PacketBuilder::ethernet2(ROUTER_MAC, node_mac(entry));
        let mut frame = Vec::new();
        match (client, vip) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet
                .ipv4(from.octets(), to.octets(), 9)
                .icmpv4_echo_request(7, 9)
                .write(&mut frame, &payload)?,
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet
                .ipv6(from.octets(), to.octets(), 9)
                .icmpv6_echo_request(7, 9)
                .write(&mut frame, &payload)?,
            _ => unreachable!("one family"),
        }
        self.carry(reference, number, entry, frame)
    }

    /// To a port or an address that nobody serves.
    fn stray(&mut self, reference: &mut Reference, number: usize) -> Result<()> {
        let talk = &self.conversations[number];
        let mut packet = talk.packet.clone();
        let vip = packet.destination.0;
        packet.destination = match self.dice.below(4) {
            0 => (vip, self.dice.below(65_536) as u16),
            1 => (no_vip(vip), packet.destination.1),
            2 => (outer_address(talk.entry, vip.is_ipv6()), 6080),
            _ => (vip, 90),
        };
        vary(&mut self.dice, &mut packet, talk.sequence);
        let entry = talk.entry;
        self.carry(reference, number, entry, packet.frame())
    }

    /// Bytes that mean nothing, behind a header that leads to a VIP.
    fn noise(&mut self, reference: &mut Reference, number: usize) -> Result<()> {
        let entry = self.conversations[number].entry;
        let mut frame = self.conversations[number].packet.frame();
        let from = 14 + self.dice.below(frame.len() - 14);
        for byte in &mut frame[from..] {
            *byte = self.dice.roll() as u8;
        }
        self.carry(reference, number, entry, frame)
    }
}

impl Conversation {
    fn new(dice: &mut Dice) -> Self {
        let udp = dice.once_in(3);
        let first = dice.one_of(&vips());
        let (vip, port) = if dice.once_in(4) {
            let hundred = if udp { 70 } else { 90 };
            (ninth_vip(first), hundred + 1 + dice.below(5) as u16)
        } else if dice.once_in(8) {
            (second_vip(first), 80)
        } else {
            let hundred = if udp { 60 } else { 80 };
            let all = if udp { 53 } else { 80 };
            let node = dice.below(7) as u16;
            (
                first,
                if node == 0 || node > 5 {
                    all
                } else {
                    hundred + node
                },
            )
        };
        let udp = udp && vip != second_vip(first);
        let mut packet = Packet::to(vip, port, udp).from_port(1 + dice.below(65_535) as u16);
        packet.source.0 = client(dice, vip);
        Self {
            packet,
            entry: dice.below(NODES.into()) as u8 + 1,
            pod: None,
            sequence: dice.roll() as u32,
            heard: None,
            delivered: None,
        }
    }

    /// The client's port as the pod saw it last.
    fn port_at_pod(&self) -> u16 {
        let at = if self.packet.source.0.is_ipv4() {
            34
        } else {
            54
        };
        let seen = self.delivered.as_ref().map(|frame| wire::half(frame, at));
        seen.unwrap_or(self.packet.source.1)
    }

    /// The packet got to a pod.
    fn note(&mut self, node: u8, frame: &[u8]) {
        let (frame, _) = tags::taken_off(frame);
        let is_later = frame[12] == 8 && wire::half(&frame, 20) & 0x1fff != 0;
        let is_plain =
            !is_later && frame[14] == 0x45 || matches!(frame[20], 6 | 17) && frame[12] == 0x86;
        if !is_plain {
            return;
        }
        let (address, at) = match frame[12] {
            8 => (
                IpAddr::from([frame[30], frame[31], frame[32], frame[33]]),
                34,
            ),
            _ => {
                let octets: [u8; 16] = frame[38..54].try_into().expect("sixteen bytes");
                (IpAddr::from(octets), 54)
            }
        };
        self.pod = Some((node, address, wire::half(&frame, at + 2)));
        self.delivered = Some(frame);
    }
}

/// Somewhere in the Internet.
fn client(dice: &mut Dice, like: IpAddr) -> IpAddr {
    let random = dice.roll();
    if like.is_ipv4() {
        let [_, b, c, d, ..] = random.to_be_bytes();
        IpAddr::from([20 + (random % 150) as u8, b, c, d])
    } else {
        let prefix = 0x2001_0db8_u128 << 96;
        Ipv6Addr::from(prefix | u128::from(random)).into()
    }
}
