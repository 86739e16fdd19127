//! Frames made and taken apart by etherparse, so that a mistake in our own parsing cannot hide itself. Every
//! checksum of a frame that is looked at is computed anew.

use std::net::IpAddr;

use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

/// A client in IPv4 and in IPv6, by family of the destination.
#[must_use]
pub fn client(like: IpAddr) -> IpAddr {
    if like.is_ipv4() {
        IpAddr::from([198, 51, 100, 2])
    } else {
        "2001:db8:100::2".parse().expect("an address")
    }
}

/// What is in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Destination MAC.
    pub to_mac: [u8; 6],
    /// Source MAC.
    pub from_mac: [u8; 6],
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Whether UDP.
    pub udp: bool,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// What follows the transport header.
    pub payload: Vec<u8>,
}

/// A packet to make: TCP with flags, or UDP.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Destination MAC.
    pub to_mac: [u8; 6],
    /// Source MAC.
    pub from_mac: [u8; 6],
    /// Source address and port.
    pub source: (IpAddr, u16),
    /// Destination address and port.
    pub destination: (IpAddr, u16),
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// UDP instead of TCP.
    pub udp: bool,
    /// TCP: S, A, F, R.
    pub flags: &'static str,
    /// TCP: sequence number.
    pub sequence: u32,
    /// TCP: acknowledgement number, if A.
    pub acknowledgement: u32,
    /// TCP: options as they lie in the header.
    pub options: &'static [u8],
    /// What follows the transport header.
    pub payload: Vec<u8>,
}

impl Packet {
    /// A SYN, or a datagram, that the router brings to `node1`.
    #[must_use]
    pub fn to(vip: IpAddr, port: u16, udp: bool) -> Self {
        Self {
            to_mac: crate::world::node_mac(1),
            from_mac: crate::world::ROUTER_MAC,
            source: (client(vip), 40_000),
            destination: (vip, port),
            hop_limit: 62,
            udp,
            flags: "S",
            sequence: 1000,
            acknowledgement: 0,
            options: &[],
            payload: Vec::new(),
        }
    }

    /// With other TCP flags.
    #[must_use]
    pub fn flags(mut self, flags: &'static str) -> Self {
        self.flags = flags;
        self
    }

    /// From another client port.
    #[must_use]
    pub fn from_port(mut self, port: u16) -> Self {
        self.source.1 = port;
        self
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(self.from_mac, self.to_mac);
        let ip = match (self.source.0, self.destination.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ethernet.ipv4(from.octets(), to.octets(), self.hop_limit)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                ethernet.ipv6(from.octets(), to.octets(), self.hop_limit)
            }
            _ => panic!("one family a packet"),
        };
        let mut bytes = Vec::new();
        if self.udp {
            ip.udp(self.source.1, self.destination.1)
                .write(&mut bytes, &self.payload)
                .expect("room");
            return bytes;
        }
        let mut tcp = ip.tcp(self.source.1, self.destination.1, self.sequence, 64_000);
        for flag in self.flags.bytes() {
            tcp = match flag {
                b'S' => tcp.syn(),
                b'A' => tcp.ack(self.acknowledgement),
                b'F' => tcp.fin(),
                b'R' => tcp.rst(),
                other => panic!("no flag {other}"),
            };
        }
        tcp = tcp.options_raw(self.options).expect("options");
        tcp.write(&mut bytes, &self.payload).expect("room");
        bytes
    }
}

/// Takes a frame apart, and verifies every checksum in it.
///
/// # Panics
/// If it is no TCP or UDP packet, or a checksum is wrong.
#[must_use]
pub fn see(frame: &[u8]) -> Seen {
    let sliced = SlicedPacket::from_ethernet(frame).expect("a frame");
    let link = sliced
        .link
        .as_ref()
        .and_then(|link| link.to_header())
        .expect("an Ethernet header");
    let link = link.ethernet2().expect("an Ethernet header");
    let net = sliced.net.as_ref().expect("an IP packet");
    let (source, destination, hop_limit) = addresses(net);
    let (udp, source_port, destination_port, payload) = transport(net, sliced.transport.as_ref());
    Seen {
        to_mac: link.destination,
        from_mac: link.source,
        source,
        destination,
        hop_limit,
        udp,
        source_port,
        destination_port,
        payload,
    }
}

/// Source, destination, and TTL or hop limit; the IPv4 header's checksum is verified.
fn addresses(net: &NetSlice<'_>) -> (IpAddr, IpAddr, u8) {
    match net {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let computed = header.to_header().calc_header_checksum();
            assert_eq!(
                header.header_checksum(),
                computed,
                "the IPv4 header's checksum"
            );
            (
                IpAddr::from(header.source()),
                IpAddr::from(header.destination()),
                header.ttl(),
            )
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            (
                IpAddr::from(header.source()),
                IpAddr::from(header.destination()),
                header.hop_limit(),
            )
        }
        NetSlice::Arp(_) => panic!("no IP packet"),
    }
}

fn transport(
    net: &NetSlice<'_>,
    transport: Option<&TransportSlice<'_>>,
) -> (bool, u16, u16, Vec<u8>) {
    match transport {
        Some(TransportSlice::Tcp(tcp)) => {
            let header = tcp.to_header();
            let computed = match net {
                NetSlice::Ipv4(ip) => header.calc_checksum_ipv4_raw(
                    ip.header().source(),
                    ip.header().destination(),
                    tcp.payload(),
                ),
                NetSlice::Ipv6(ip) => header.calc_checksum_ipv6_raw(
                    ip.header().source(),
                    ip.header().destination(),
                    tcp.payload(),
                ),
                NetSlice::Arp(_) => panic!("no IP packet"),
            };
            assert_eq!(
                header.checksum,
                computed.expect("a length"),
                "the TCP checksum"
            );
            (
                false,
                header.source_port,
                header.destination_port,
                tcp.payload().to_vec(),
            )
        }
        Some(TransportSlice::Udp(udp)) => {
            let header = udp.to_header();
            let computed = match net {
                NetSlice::Ipv4(ip) => header.calc_checksum_ipv4_raw(
                    ip.header().source(),
                    ip.header().destination(),
                    udp.payload(),
                ),
                NetSlice::Ipv6(ip) => header.calc_checksum_ipv6_raw(
                    ip.header().source(),
                    ip.header().destination(),
                    udp.payload(),
                ),
                NetSlice::Arp(_) => panic!("no IP packet"),
            };
            if header.checksum != 0 {
                assert_eq!(
                    header.checksum,
                    computed.expect("a length"),
                    "the UDP checksum"
                );
            }
            (
                true,
                header.source_port,
                header.destination_port,
                udp.payload().to_vec(),
            )
        }
        _ => panic!("neither TCP nor UDP"),
    }
}

/// The largest segment that a SYN or SYN-ACK offers to take.
///
/// # Panics
/// If it is no TCP packet, or has no such option.
#[must_use]
pub fn mss(frame: &[u8]) -> u16 {
    let sliced = SlicedPacket::from_ethernet(frame).expect("a frame");
    let Some(TransportSlice::Tcp(tcp)) = sliced.transport else {
        panic!("no TCP packet")
    };
    tcp.options_iterator()
        .find_map(|option| match option {
            Ok(etherparse::TcpOptionElement::MaximumSegmentSize(bytes)) => Some(bytes),
            _ => None,
        })
        .expect("a maximum segment size")
}

/// An ICMP or ICMPv6 message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Icmp {
    /// Destination MAC.
    pub to_mac: [u8; 6],
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// Type and code.
    pub kind: (u8, u8),
    /// The second word of the header.
    pub rest: [u8; 4],
    /// What follows the header.
    pub payload: Vec<u8>,
}

/// Takes an ICMP message apart and verifies its checksums.
///
/// # Panics
/// If it is none, or a checksum is wrong.
#[must_use]
pub fn see_icmp(frame: &[u8]) -> Icmp {
    let sliced = SlicedPacket::from_ethernet(frame).expect("a frame");
    let to_mac = frame[..6].try_into().expect("six bytes");
    let net = sliced.net.as_ref().expect("an IP packet");
    let (source, destination, hop_limit) = addresses(net);
    let bytes = match (sliced.transport, source, destination) {
        (Some(TransportSlice::Icmpv4(icmp)), ..) => {
            let computed = icmp.icmp_type().calc_checksum(icmp.payload());
            assert_eq!(icmp.checksum(), computed, "the ICMP checksum");
            icmp.slice().to_vec()
        }
        (Some(TransportSlice::Icmpv6(icmp)), IpAddr::V6(from), IpAddr::V6(to)) => {
            assert!(
                icmp.is_checksum_valid(from.octets(), to.octets()),
                "the ICMPv6 checksum"
            );
            icmp.slice().to_vec()
        }
        _ => panic!("no ICMP message"),
    };
    Icmp {
        to_mac,
        source,
        destination,
        hop_limit,
        kind: (bytes[0], bytes[1]),
        rest: bytes[4..8].try_into().expect("four bytes"),
        payload: bytes[8..].to_vec(),
    }
}

/// An echo request of a client to a VIP, as the router brings it to `node1`.
#[must_use]
pub fn echo_request(vip: IpAddr, payload: &[u8]) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(crate::world::ROUTER_MAC, crate::world::node_mac(1));
    let mut bytes = Vec::new();
    match (client(vip), vip) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet
            .ipv4(from.octets(), to.octets(), 62)
            .icmpv4_echo_request(7, 9)
            .write(&mut bytes, payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet
            .ipv6(from.octets(), to.octets(), 62)
            .icmpv6_echo_request(7, 9)
            .write(&mut bytes, payload),
        _ => panic!("one family a packet"),
    }
    .expect("room");
    bytes
}
