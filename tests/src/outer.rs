//! Packets in GUE made and taken apart. The header's tag and entropy come from the shipped hash; lengths, addresses
//! and checksums are etherparse's.

use std::net::IpAddr;

use etherparse::PacketBuilder;
use lb_common::{Address, TCP, UDP, fragment, gue, hash, node::node_id, packet};
use lb_core::keys::ClusterKeys;

use crate::{
    frame::{Packet, Seen, see},
    world::{ROUTER_MAC, SECRET, node_mac, outer_address},
};

/// Bytes before the inner packet, from the Ethernet header on, over IPv4.
pub const OUTER_V4: usize = 14 + 44;
/// As [`OUTER_V4`], over IPv6.
pub const OUTER_V6: usize = 14 + 64;

/// What GUE carries behind `outer` bytes, as if it came alone.
///
/// # Panics
/// As [`see`].
#[must_use]
pub fn inner(frame: &[u8], outer: usize) -> Seen {
    see(&alone(frame, outer))
}

fn alone(frame: &[u8], outer: usize) -> Vec<u8> {
    let v6 = frame[outer] >> 4 == 6;
    let mut bytes = frame[..12].to_vec();
    bytes.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
    bytes.extend(&frame[outer..]);
    bytes
}

/// A packet in GUE, as one node sends it to another.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    /// The node that sends it.
    pub from: u8,
    /// The node it is for.
    pub to: u8,
    /// The node that had it from the router.
    pub ingress: u8,
    /// Steers before this one.
    pub hop: u8,
}

impl Outer {
    /// From the ingress node.
    #[must_use]
    pub fn first(from: u8, to: u8) -> Self {
        Self {
            from,
            to,
            ingress: from,
            hop: 0,
        }
    }

    /// The frame that leaves the sending node, whose next hop is the router or, on the same link, the node itself.
    /// `flow` is a packet of the flow, which for an ICMP error is not the packet that is carried.
    ///
    /// # Panics
    /// If `flow` is no TCP or UDP packet.
    #[must_use]
    pub fn around(&self, packet: &[u8], flow: &[u8]) -> Vec<u8> {
        let keys = keys();
        self.carry(&keys, packet, flow_hash(&keys, &see(flow)))
    }

    /// As [`Outer::around`], for a part of the packet `of`.
    ///
    /// # Panics
    /// If `of` is no TCP or UDP packet.
    #[must_use]
    pub fn around_part(&self, part: &[u8], of: &[u8]) -> Vec<u8> {
        let keys = keys();
        let carried = self.carry(&keys, part, pair_hash(&keys, &see(of)));
        if self.from == 4 || self.to == 4 {
            without_checksum(&carried)
        } else {
            carried
        }
    }

    fn carry(&self, keys: &ClusterKeys, packet: &[u8], hash: u64) -> Vec<u8> {
        let by_v6 = self.from == 4 || self.to == 4;
        let id = id(keys, self.ingress);
        let protocol = if packet[14] >> 4 == 6 { 41 } else { 4 };
        let tag = gue::tag(&keys.gue_key, hash, self.hop, 0, id);
        let mut payload = vec![3, protocol, 0, 0, 1, self.hop, 0, 0];
        payload.extend(id.to_ne_bytes());
        payload.extend(tag.to_ne_bytes());
        payload.extend(&packet[14..]);
        let on_link = [1, 2, 5].contains(&self.from) && [1, 2, 5].contains(&self.to);
        let to_mac = if on_link {
            node_mac(self.to)
        } else {
            ROUTER_MAC
        };
        let ethernet = PacketBuilder::ethernet2(node_mac(self.from), to_mac);
        let (from, to) = (
            outer_address(self.from, by_v6),
            outer_address(self.to, by_v6),
        );
        let ip = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
            (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
            _ => unreachable!("both of one family"),
        };
        let mut frame = Vec::new();
        ip.udp(u16::from_be(gue::source_port(hash)), gue::PORT)
            .write(&mut frame, &payload)
            .expect("room");
        if !by_v6 {
            frame[40..42].fill(0);
        }
        frame
    }
}

/// A frame that left one node, as it arrives at another: the last hop put the node's MAC there.
#[must_use]
pub fn arrives_at(node: u8, frame: &[u8]) -> Vec<u8> {
    [&node_mac(node)[..], &frame[6..]].concat()
}

/// A frame over IPv6 whose UDP says that it has no checksum (RFC 6936).
#[must_use]
pub fn without_checksum(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[60..62].fill(0);
    frame
}

/// Number of the node that is home to the parts of a packet.
///
/// # Panics
/// If it is no TCP or UDP packet.
#[must_use]
pub fn home_of(packet: &Packet) -> u8 {
    let keys = keys();
    home(&keys, pair_hash(&keys, &see(&packet.frame())))
}

/// Number of the node that `node1` sends a packet to whose own node has no MAC: neither is `node1` nor `node5` asked.
///
/// # Panics
/// If it is no TCP or UDP packet.
#[must_use]
pub fn detour_of(packet: &Packet) -> Option<u8> {
    let keys = keys();
    let hash = flow_hash(&keys, &see(&packet.frame()));
    let tried = (0..8_u64).map(|attempt| home(&keys, hash.wrapping_add(attempt << 32)));
    tried.into_iter().find(|node| (2..=4).contains(node))
}

fn home(keys: &ClusterKeys, hash: u64) -> u8 {
    let (word, shift) = fragment::home(hash);
    let place = word * fragment::HOMES_PER_WORD + shift / 16;
    let score = |node: &u8| fragment::home_score(keys.seed[0], place, id(keys, *node));
    (1..=5).max_by_key(score).expect("five nodes")
}

fn keys() -> ClusterKeys {
    ClusterKeys::from_secret(SECRET).expect("long enough")
}

/// What GUE calls a node.
fn id(keys: &ClusterKeys, node: u8) -> u32 {
    node_id(keys.seed[0], &words(outer_address(node, node == 4)))
}

fn pair_hash(keys: &ClusterKeys, flow: &Seen) -> u64 {
    let portless = Seen {
        source_port: 0,
        destination_port: 0,
        ..flow.clone()
    };
    flow_hash(keys, &portless)
}

fn flow_hash(keys: &ClusterKeys, flow: &Seen) -> u64 {
    let ports = packet::ports(flow.source_port.to_be(), flow.destination_port.to_be());
    let protocol = if flow.udp { UDP } else { TCP };
    let (source, destination) = (words(flow.source), words(flow.destination));
    if flow.source.is_ipv4() {
        hash::flow_v4(&keys.seed, source[0], destination[0], ports, protocol)
    } else {
        hash::flow_v6(&keys.seed, &source, &destination, ports, protocol)
    }
}

fn words(address: IpAddr) -> Address {
    let mut words = [0; 4];
    let octets = match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    for (word, bytes) in words.iter_mut().zip(octets.chunks(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().expect("four bytes"));
    }
    words
}
