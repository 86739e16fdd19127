//! Who asks on the link for a VIP that the node answers for: by ARP (RFC 826, RFC 5227) or by Neighbour Discovery
//! (RFC 4861, RFC 4862). The answer has the node's MAC, and nothing is learned. Who says to have such an address itself is
//! noted, and left to the stack.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{Icmpv6Slice, PacketBuilder};

use crate::{
    cluster::{Cluster, Node},
    compare::{Action, Expected},
    parse,
    wire::{ETHERNET, half},
};

/// Ethernet, IPv6, and a solicitation or advertisement without options.
const MESSAGE: usize = ETHERNET + 40;
const MESSAGE_BYTES: usize = 24;
/// Options of eight bytes that are looked at.
const OPTIONS_MAX: usize = 2;
const EVERYBODY: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What becomes of a frame without its tags that is about neighbours; `None`: it is not.
pub(crate) fn heard(cluster: &Cluster, node: usize, frame: &[u8]) -> Option<Expected> {
    let node = &cluster.nodes[node];
    let is_group = frame.first()? & 1 == 1;
    if !is_group && frame.get(..6)? != node.mac {
        return None;
    }
    let said = match frame.get(12..14)? {
        [8, 6] => arp(node, frame),
        [0x86, 0xdd] if is_discovery(frame) => {
            let is_for_all = is_group || cluster.is_vip(v6(frame, 38).into());
            is_for_all.then(|| discovery(node, frame))?
        }
        _ => return None,
    };
    Some(said.unwrap_or_else(|| Expected::untouched(frame)))
}

fn owns(node: &Node, address: IpAddr) -> bool {
    node.owned.contains(&address)
}

fn claimed(frame: &[u8]) -> Expected {
    Expected::new(Action::Pass, Some(frame.to_vec()), &["vip-claimed"])
}

fn answered(frame: Vec<u8>) -> Expected {
    Expected::new(Action::Transmit, Some(frame), &["neighbour-answered"])
}

/// `None`: nothing comes of it.
fn arp(node: &Node, frame: &[u8]) -> Option<Expected> {
    if frame.get(14..20)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let address = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = frame.get(at..at + 4)?.try_into().ok()?;
        Some(octets.into())
    };
    let (sender, target) = (address(28)?, address(38)?);
    if owns(node, sender.into()) {
        return Some(claimed(frame));
    }
    let asker = &frame[22..28];
    let is_somebody = asker[0] & 1 == 0 && asker != [0; 6];
    if half(frame, 20) != 1 || !is_somebody || !owns(node, target.into()) {
        return None;
    }
    let mut reply = [asker, &node.mac, &frame[12..20], &[0, 2]].concat();
    reply.extend([&node.mac[..], &target.octets(), asker, &sender.octets()].concat());
    // Padding is nobody's.
    reply.extend(&frame[42..]);
    Some(answered(reply))
}

fn is_discovery(frame: &[u8]) -> bool {
    let is_whole = frame.len() >= MESSAGE + MESSAGE_BYTES;
    is_whole && frame[20] == 58 && matches!(frame[MESSAGE], 135 | 136)
}

/// As [`arp`]; the frame has the fixed part of a message.
fn discovery(node: &Node, frame: &[u8]) -> Option<Expected> {
    let target = v6(frame, MESSAGE + 8);
    if frame[MESSAGE] == 136 {
        return owns(node, target.into()).then(|| claimed(frame));
    }
    let source = v6(frame, 22);
    let options = sound_options(frame)?;
    let source_mac = link_layer_source(options)?;
    let is_probe = source.is_unspecified();
    if is_probe && (source_mac.is_some() || v6(frame, 38) != solicited_node(target)) {
        return None;
    }
    let asker: [u8; 6] = source_mac.unwrap_or(&frame[6..12]).try_into().ok()?;
    if source.is_multicast() || asker[0] & 1 == 1 {
        return None;
    }
    if !is_probe && owns(node, source.into()) {
        return Some(claimed(frame));
    }
    owns(node, target.into()).then(|| {
        answered(if is_probe {
            advertisement(node, target, ([0x33, 0x33, 0, 0, 0, 1], EVERYBODY), 0x20)
        } else {
            advertisement(node, target, (asker, source), 0x60)
        })
    })
}

/// The options of a solicitation that RFC 4861 section 7.1.1 lets pass.
fn sound_options(frame: &[u8]) -> Option<&[u8]> {
    let bytes = usize::from(half(frame, 18));
    let options = bytes.checked_sub(MESSAGE_BYTES)?;
    if options % 8 != 0 || options / 8 > OPTIONS_MAX || frame[21] != 255 || frame[MESSAGE + 1] != 0
    {
        return None;
    }
    let message = frame.get(MESSAGE..MESSAGE + bytes)?;
    let (source, destination) = (v6(frame, 22).octets(), v6(frame, 38).octets());
    let slice = Icmpv6Slice::from_slice(message).ok()?;
    let is_right = slice.is_checksum_valid(source, destination);
    let is_one = !v6(frame, MESSAGE + 8).is_multicast();
    (is_right && is_one).then(|| &message[MESSAGE_BYTES..])
}

/// `None`: the options are not well-formed.
fn link_layer_source(options: &[u8]) -> Option<Option<&[u8]>> {
    let (mut at, mut source) = (0, None);
    while at < options.len() {
        let length = usize::from(options[at + 1]) * 8;
        if length == 0 {
            return None;
        }
        if options[at] == 1 && length == 8 {
            source = Some(&options[at + 2..at + 8]);
        }
        at += length;
    }
    (at == options.len()).then_some(source)
}

fn advertisement(
    node: &Node,
    target: Ipv6Addr,
    (to_mac, to): ([u8; 6], Ipv6Addr),
    flags: u8,
) -> Vec<u8> {
    let option = [&[2, 1][..], &node.mac].concat();
    let body = [&target.octets()[..], &option].concat();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(node.mac, to_mac)
        .ipv6(target.octets(), to.octets(), 255)
        .icmpv6_raw(136, 0, [flags, 0, 0, 0])
        .write(&mut frame, &body)
        .expect("a message of fixed size");
    frame
}

/// RFC 4291 section 2.7.1.
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

/// The address at an offset that the frame is known to reach.
fn v6(frame: &[u8], at: usize) -> Ipv6Addr {
    match parse::address_at(frame, true, at) {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
    }
}
