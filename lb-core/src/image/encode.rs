//! Model values as the maps hold them: addresses as words of network-order bytes, ports with their bytes in
//! network order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::{
    Address,
    endpoint::Endpoint,
    service::{ServiceCold, ServiceKey},
};

use super::placement::Entry;
use crate::{
    desired::Target,
    model::{Protocol, ServicePort},
};

pub(super) fn address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => [v4(address), 0, 0, 0],
        IpAddr::V6(address) => {
            let octets = address.octets();
            [0, 4, 8, 12].map(|at| {
                u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
            })
        }
    }
}

pub(super) fn v4(address: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(address.octets())
}

/// The key of an entry under the cluster's seed.
pub(super) fn key(seed: u64, entry: &Entry) -> ServiceKey {
    let words = address(entry.vip());
    let (protocol, port) = protocol_and_port(entry);
    match entry.vip() {
        IpAddr::V4(_) => ServiceKey::v4(words[0], port, protocol),
        IpAddr::V6(_) => ServiceKey::v6(seed, &words, port, protocol),
    }
}

/// The part of a cold line that says whose it is.
pub(super) fn cold(entry: &Entry) -> ServiceCold {
    let (protocol, port) = protocol_and_port(entry);
    ServiceCold {
        vip: address(entry.vip()),
        port,
        protocol,
        family: if entry.vip().is_ipv4() { 4 } else { 6 },
        ..ServiceCold::default()
    }
}

/// Whose a cold line is; `None` if nobody's.
pub(super) fn entry(cold: &ServiceCold) -> Option<Entry> {
    let [first, rest @ ..] = cold.vip;
    let vip = match cold.family {
        4 if rest == [0; 3] => IpAddr::V4(Ipv4Addr::from(first.to_ne_bytes())),
        6 => {
            let mut octets = [0; 16];
            for (bytes, word) in octets.chunks_exact_mut(4).zip(cold.vip) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    let protocol = match cold.protocol {
        0 if cold.port == 0 => return Some(Entry::Vip(vip)),
        lb_common::TCP => Protocol::Tcp,
        lb_common::UDP => Protocol::Udp,
        _ => return None,
    };
    Some(Entry::Port(ServicePort {
        vip,
        protocol,
        port: u16::from_be(cold.port),
    }))
}

pub(super) fn endpoint(target: &Target) -> Endpoint {
    Endpoint {
        address: address(target.address),
        port: target.port.to_be(),
        node: target.node,
        flags: Endpoint::IN_USE,
        reserved: 0,
    }
}

fn protocol_and_port(entry: &Entry) -> (u8, u16) {
    match entry {
        Entry::Vip(_) => (0, 0),
        Entry::Port(port) => (port.protocol.number(), port.port.to_be()),
    }
}
