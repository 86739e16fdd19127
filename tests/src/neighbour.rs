//! Frames by which hosts ask whose an address is, and the answers that they must get: ARP (RFC 826, RFC 5227) and
//! Neighbour Discovery (RFC 4861), written out here and nowhere shared with the data path. The host is at 10.0.0.9.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;

use crate::world::node_mac;

/// The MAC of who asks.
pub const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const HOST_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const EVERYBODY: [u8; 6] = [0xff; 6];

/// How somebody asks for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// As hosts do that have something to send: ARP by broadcast, a solicitation with its own MAC in an option.
    ForMac,
    /// As hosts do that have the answer and doubt it: to `node1`'s MAC alone, without option.
    Again,
    /// Before somebody takes the address: an ARP probe, duplicate address detection.
    WhetherFree,
}

/// VIPs of `default/lan`, of which number 7 is `node1`'s.
#[must_use]
pub fn of_lan(like: IpAddr, number: u8) -> IpAddr {
    match like {
        IpAddr::V4(_) => [10, 99, 0, number].into(),
        IpAddr::V6(_) => [0xfd99, 0, 0, 0, 0, 0, 0, u16::from(number)].into(),
    }
}

/// ARP of the host: request or reply, for whom, from which address.
#[must_use]
pub fn arp(to_mac: [u8; 6], operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(to_mac, HOST_MAC, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(HOST_MAC);
    frame.extend(sender.octets());
    frame.extend(if to_mac == EVERYBODY { [0; 6] } else { to_mac });
    frame.extend(target.octets());
    frame
}

/// A question for an address.
#[must_use]
pub fn question(asks: Asks, target: IpAddr) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => match asks {
            Asks::ForMac => arp(EVERYBODY, 1, HOST_V4, target),
            Asks::Again => arp(node_mac(1), 1, HOST_V4, target),
            Asks::WhetherFree => arp(EVERYBODY, 1, Ipv4Addr::UNSPECIFIED, target),
        },
        IpAddr::V6(target) => {
            let group = solicited_node(target);
            let [.., a, b, c] = group.octets();
            let group_mac = [0x33, 0x33, 0xff, a, b, c];
            let option = [&[1, 1][..], &HOST_MAC].concat();
            let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
            match asks {
                Asks::ForMac => solicitation(group_mac, HOST_V6, group, target, &option),
                Asks::Again => solicitation(node_mac(1), HOST_V6, target, target, &[]),
                Asks::WhetherFree => {
                    solicitation(group_mac, Ipv6Addr::UNSPECIFIED, group, target, &nonce)
                }
            }
        }
    }
}

/// What `node1` answers to a [`question`].
#[must_use]
pub fn answer(asks: Asks, target: IpAddr) -> Vec<u8> {
    match target {
        IpAddr::V4(target) => {
            let asker = match asks {
                Asks::WhetherFree => Ipv4Addr::UNSPECIFIED,
                _ => HOST_V4,
            };
            let mut frame = ethernet(HOST_MAC, node_mac(1), 0x0806);
            frame.extend([0, 1, 8, 0, 6, 4, 0, 2]);
            frame.extend(node_mac(1));
            frame.extend(target.octets());
            frame.extend(HOST_MAC);
            frame.extend(asker.octets());
            frame
        }
        IpAddr::V6(target) => {
            let (to_mac, to, flags) = match asks {
                Asks::WhetherFree => {
                    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
                    ([0x33, 0x33, 0, 0, 0, 1], all_nodes, 0x20)
                }
                _ => (HOST_MAC, HOST_V6, 0x60),
            };
            let option = [&[2, 1][..], &node_mac(1)].concat();
            let body = [&target.octets()[..], &option].concat();
            icmp(
                (node_mac(1), to_mac),
                (target, to),
                (136, [flags, 0, 0, 0]),
                &body,
            )
        }
    }
}

/// Somebody else says to have an address, unasked.
#[must_use]
pub fn claim(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(EVERYBODY, 1, address, address),
        IpAddr::V6(address) => {
            let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
            let option = [&[2, 1][..], &HOST_MAC].concat();
            let body = [&address.octets()[..], &option].concat();
            let macs = (HOST_MAC, [0x33, 0x33, 0, 0, 0, 1]);
            icmp(macs, (address, all_nodes), (136, [0x20, 0, 0, 0]), &body)
        }
    }
}

/// A Neighbour Solicitation of the host.
#[must_use]
pub fn solicitation(
    to_mac: [u8; 6],
    source: Ipv6Addr,
    destination: Ipv6Addr,
    target: Ipv6Addr,
    options: &[u8],
) -> Vec<u8> {
    let body = [&target.octets()[..], options].concat();
    icmp(
        (HOST_MAC, to_mac),
        (source, destination),
        (135, [0; 4]),
        &body,
    )
}

/// The solicited-node group of an address (RFC 4291 section 2.7.1).
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | high & 0xff, low)
}

fn icmp(
    (from_mac, to_mac): ([u8; 6], [u8; 6]),
    (source, destination): (Ipv6Addr, Ipv6Addr),
    (kind, rest): (u8, [u8; 4]),
    body: &[u8],
) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(from_mac, to_mac)
        .ipv6(source.octets(), destination.octets(), 255)
        .icmpv6_raw(kind, 0, rest)
        .write(&mut frame, body)
        .expect("room");
    frame
}

fn ethernet(to_mac: [u8; 6], from_mac: [u8; 6], ethertype: u16) -> Vec<u8> {
    [&to_mac[..], &from_mac, &ethertype.to_be_bytes()].concat()
}
