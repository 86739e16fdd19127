//! A frame from a description, with every checksum right: what a client's packet looks like when the router hands it to
//! the uplink.

use std::net::{IpAddr, SocketAddr};

use lb_common::{TCP, UDP, checksum};

/// What is above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP with these flags (RFC 9293 3.1).
    Tcp {
        /// As in the header's fourteenth byte.
        flags: u8,
    },
    /// UDP.
    Udp,
    /// ICMP or ICMPv6 echo request.
    Echo,
}

/// A packet as a person describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// The client; its port is an echo request's identifier.
    pub source: SocketAddr,
    /// The VIP, of the same family.
    pub destination: SocketAddr,
    /// What is above IP.
    pub kind: Kind,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Bytes above TCP, UDP or ICMP; zeroes.
    pub payload_bytes: usize,
    /// Who sends the frame.
    pub source_mac: [u8; 6],
    /// The uplink.
    pub destination_mac: [u8; 6],
}

/// ICMP echo request (RFC 792) and ICMPv6 (RFC 4443).
const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The frame.
#[must_use]
pub fn frame(description: &Description) -> Vec<u8> {
    let segment = segment(description);
    let mut frame = [description.destination_mac, description.source_mac].concat();
    match (description.source.ip(), description.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([8, 0]);
            frame.extend(header_v4(
                description,
                segment.len(),
                source.octets(),
                destination.octets(),
            ));
        }
        (source, destination) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend((segment.len() as u16).to_be_bytes());
            frame.extend([protocol(description), description.hop_limit]);
            frame.extend(octets(source).into_iter().chain(octets(destination)));
        }
    }
    frame.extend(segment);
    frame
}

fn protocol(description: &Description) -> u8 {
    match (description.kind, description.destination) {
        (Kind::Tcp { .. }, _) => TCP,
        (Kind::Udp, _) => UDP,
        (Kind::Echo, SocketAddr::V4(_)) => ICMP,
        (Kind::Echo, SocketAddr::V6(_)) => ICMPV6,
    }
}

fn header_v4(
    description: &Description,
    bytes: usize,
    source: [u8; 4],
    destination: [u8; 4],
) -> [u8; 20] {
    let mut header = [0; 20];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&((20 + bytes) as u16).to_be_bytes());
    // "Don't fragment", as a TCP of today sets it.
    header[6] = 0x40;
    header[8] = description.hop_limit;
    header[9] = protocol(description);
    header[12..16].copy_from_slice(&source);
    header[16..].copy_from_slice(&destination);
    let sum = !checksum::fold(checksum::sum(&header));
    header[10..12].copy_from_slice(&sum.to_ne_bytes());
    header
}

fn segment(description: &Description) -> Vec<u8> {
    let ports = [description.source.port(), description.destination.port()].map(u16::to_be_bytes);
    let (mut segment, checksum_at) = match description.kind {
        Kind::Tcp { flags } => {
            let mut segment = ports.concat();
            segment.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            (segment, 16)
        }
        Kind::Udp => {
            let mut segment = ports.concat();
            segment.extend((8 + description.payload_bytes as u16).to_be_bytes());
            segment.extend([0, 0]);
            (segment, 6)
        }
        Kind::Echo => {
            let kind = if description.destination.is_ipv4() {
                ECHO_V4
            } else {
                ECHO_V6
            };
            let [high, low] = ports[0];
            (vec![kind, 0, 0, 0, high, low, 0, 1], 2)
        }
    };
    segment.resize(segment.len() + description.payload_bytes, 0);
    let sum = !checksum::fold(checksum::sum(&segment) + pseudo_header(description, segment.len()));
    // RFC 768: a computed 0 is sent as all ones.
    let sum = if sum == 0 && description.kind == Kind::Udp {
        0xffff
    } else {
        sum
    };
    segment[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_ne_bytes());
    segment
}

/// What a transport's checksum covers of the IP header; nothing for ICMP over IPv4.
fn pseudo_header(description: &Description, bytes: usize) -> u64 {
    if protocol(description) == ICMP {
        return 0;
    }
    let addresses = [description.source.ip(), description.destination.ip()]
        .map(octets)
        .concat();
    let rest = [(bytes as u16).to_be_bytes(), [0, protocol(description)]].concat();
    checksum::sum(&addresses) + checksum::sum(&rest)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
