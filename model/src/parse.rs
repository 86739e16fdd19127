//! What a packet for a VIP says it is: the flow it belongs to, or why it has none.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::{Ipv4HeaderSlice, Ipv6HeaderSlice, TcpHeaderSlice, UdpHeaderSlice};

use crate::{
    flows::Tuple,
    wire::{ETHERNET, half, word},
};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet of a flow, from the client to the VIP, or an ICMP error about one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed {
    pub(crate) tuple: Tuple,
    pub(crate) hop_limit: u8,
    /// Of the IP packet by its own account.
    pub(crate) ip_bytes: usize,
    /// Offset of the transport header, which of an error is the quoted one.
    pub(crate) transport: usize,
    /// It is an ICMP error; `transport` is that of the quote.
    pub(crate) is_error: bool,
    /// It is a part of a datagram, which says no ports by itself: they are 0.
    pub(crate) part: Option<Part>,
}

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    /// What all parts of the datagram have in common besides addresses and protocol.
    pub(crate) id: u32,
    /// Where it begins, in units of eight bytes.
    pub(crate) offset: usize,
    /// How long it is.
    pub(crate) bytes: usize,
    /// Others follow.
    pub(crate) more: bool,
}

impl Part {
    /// Without a transport header.
    pub(crate) fn is_later(&self) -> bool {
        self.offset != 0
    }
}

impl Parsed {
    /// TCP or UDP right behind an IP header without options, and all of it.
    pub(crate) fn is_plain(&self) -> bool {
        let header = if self.tuple.vip.is_ipv4() { 20 } else { 40 };
        self.transport == ETHERNET + header && self.part.is_none()
    }

    /// Whether the transport header is in another packet.
    pub(crate) fn is_later_part(&self) -> bool {
        self.part.is_some_and(|part| part.is_later())
    }

    /// The TCP segment, of which a later part says nothing; `None` of UDP.
    pub(crate) fn segment(&self, frame: &[u8]) -> Option<Segment> {
        if self.tuple.udp || self.is_error {
            return None;
        }
        Some(match self.is_later_part() {
            true => Segment::default(),
            false => Segment::at(frame, self.transport),
        })
    }

    /// What the GUE header of the packet is tagged for: its flow, or what all parts have in common.
    pub(crate) fn tagged_for(&self) -> Tuple {
        match self.part {
            None => self.tuple,
            Some(_) => Tuple {
                client_port: 0,
                vip_port: 0,
                ..self.tuple
            },
        }
    }
}

/// Where a packet goes, by the fixed part of its header; `None` if that is not all there, or it is no IP.
pub(crate) fn destination(frame: &[u8]) -> Option<IpAddr> {
    match is_v6(frame)? {
        false => address(frame, false, ETHERNET + 16),
        true => address(frame, true, ETHERNET + 24),
    }
}

/// Family by the EtherType.
pub(crate) fn is_v6(frame: &[u8]) -> Option<bool> {
    match frame.get(12..14)? {
        [8, 0] => Some(false),
        [0x86, 0xdd] => Some(true),
        _ => None,
    }
}

/// The address at an offset, if the fixed header is there.
pub(crate) fn address(frame: &[u8], v6: bool, at: usize) -> Option<IpAddr> {
    if v6 {
        frame.get(..ETHERNET + 40)?;
        let octets: [u8; 16] = frame[at..at + 16].try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    } else {
        frame.get(..ETHERNET + 20)?;
        let octets: [u8; 4] = frame[at..at + 4].try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    }
}

/// What an answer must know of a packet that is no later part of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outline {
    pub(crate) protocol: u8,
    /// It is the first part of a datagram.
    pub(crate) is_part: bool,
    /// Offset of what follows the IP header and all that belongs to it.
    pub(crate) payload_at: usize,
}

/// The outline of a packet, if it has one.
pub(crate) fn outline(frame: &[u8]) -> Option<Outline> {
    let network = match is_v6(frame)? {
        true => network_v6(frame),
        false => network_v4(frame),
    };
    let network = network.ok()?;
    if network.part.is_some_and(|part| part.is_later()) {
        return None;
    }
    Some(Outline {
        protocol: network.protocol,
        is_part: network.part.is_some(),
        payload_at: network.payload_at,
    })
}

/// Protocol, IP bytes, offset of what follows the header.
struct Network {
    protocol: u8,
    bytes: usize,
    payload_at: usize,
    hop_limit: u8,
    source: IpAddr,
    destination: IpAddr,
    part: Option<Part>,
}

/// The flow of a packet whose destination is a VIP.
///
/// # Errors
/// The label of the reason.
pub(crate) fn parse(frame: &[u8]) -> Result<Parsed, &'static str> {
    let v6 = is_v6(frame).ok_or("malformed")?;
    let network = if v6 {
        network_v6(frame)?
    } else {
        network_v4(frame)?
    };
    let is_served = matches!(network.protocol, TCP | UDP);
    if network.part.is_some() && !is_served {
        return Err("fragment");
    }
    let transport = network.payload_at;
    if !is_served {
        return match network.protocol {
            1 if !v6 => quoted(frame, &network, v6),
            58 if v6 => quoted(frame, &network, v6),
            _ => Err("unsupported-protocol"),
        };
    }
    let ports = if network.part.is_some() {
        (0, 0)
    } else {
        let segment = frame.get(transport..ETHERNET + network.bytes);
        let ports = segment.and_then(|segment| ports(segment, network.protocol));
        ports.ok_or("malformed")?
    };
    Ok(Parsed {
        tuple: Tuple {
            client: network.source,
            client_port: ports.0,
            vip: network.destination,
            vip_port: ports.1,
            udp: network.protocol == UDP,
        },
        hop_limit: network.hop_limit,
        ip_bytes: network.bytes,
        transport,
        is_error: false,
        part: network.part,
    })
}

/// The ports of a datagram whose first part this is, if that holds the whole transport header.
pub(crate) fn first_ports(frame: &[u8], first: &Parsed) -> Option<(u16, u16)> {
    let bytes = frame.get(first.transport..ETHERNET + first.ip_bytes)?;
    if first.tuple.udp {
        let udp = UdpHeaderSlice::from_slice(bytes).ok()?;
        return (udp.length() >= 8).then(|| (udp.source_port(), udp.destination_port()));
    }
    ports(bytes, TCP)
}

/// Of a whole segment or datagram whose header is as long as it says, and no longer than there is room for.
fn ports(bytes: &[u8], protocol: u8) -> Option<(u16, u16)> {
    if protocol == UDP {
        let udp = UdpHeaderSlice::from_slice(bytes).ok()?;
        let fits = (8..=bytes.len()).contains(&usize::from(udp.length()));
        return fits.then(|| (udp.source_port(), udp.destination_port()));
    }
    let tcp = TcpHeaderSlice::from_slice(bytes).ok()?;
    Some((tcp.source_port(), tcp.destination_port()))
}

/// IPv4 options and IPv6 extension headers that are looked at.
const OPTIONS_MAX: usize = 10;
const EXTENSIONS_MAX: usize = 6;
/// Offset of a transport header from the IPv6 header that is not exceeded.
const TRANSPORT_MAX: usize = 255;

/// RFC 791 section 3.1.
fn network_v4(frame: &[u8]) -> Result<Network, &'static str> {
    let bytes = &frame[ETHERNET..];
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| "malformed")?;
    let total = usize::from(header.total_len());
    let length = header.slice().len();
    if total > bytes.len() || total < length {
        return Err("malformed");
    }
    options(bytes, length)?;
    Ok(Network {
        protocol: header.protocol().0,
        bytes: total,
        payload_at: ETHERNET + length,
        hop_limit: header.ttl(),
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        part: (header.more_fragments() || header.fragments_offset().value() != 0).then(|| Part {
            id: header.identification().into(),
            offset: header.fragments_offset().value().into(),
            bytes: total - length,
            more: header.more_fragments(),
        }),
    })
}

/// A source route is refused, what says that it has no length is broken, and there are not too many.
fn options(bytes: &[u8], end: usize) -> Result<(), &'static str> {
    let mut at = 20;
    for _ in 0..OPTIONS_MAX {
        if at >= end {
            return Ok(());
        }
        let option = bytes.get(at..at + 2).ok_or("malformed")?;
        at += match (option[0], usize::from(option[1])) {
            (0, _) => return Ok(()),
            (1, _) => 1,
            (131 | 137, _) => return Err("header-options"),
            (_, 0 | 1) => return Err("malformed"),
            (_, length) => length,
        };
    }
    if at >= end {
        Ok(())
    } else {
        Err("header-options")
    }
}

/// RFC 8200 sections 3 and 4.
fn network_v6(frame: &[u8]) -> Result<Network, &'static str> {
    let bytes = &frame[ETHERNET..];
    let header = Ipv6HeaderSlice::from_slice(bytes).map_err(|_| "malformed")?;
    let total = usize::from(header.payload_length()) + 40;
    if total > bytes.len() || total > 0xffff {
        return Err("malformed");
    }
    let (mut at, mut protocol) = (40, header.next_header().0);
    let (mut fragment, mut id) = (None, 0);
    let is_extension = |protocol: u8| matches!(protocol, 0 | 43 | 44 | 51 | 60);
    for _ in 0..EXTENSIONS_MAX {
        // What the first part alone holds does not say whose the others are.
        if !is_extension(protocol) || fragment.unwrap_or(0) != 0 {
            break;
        }
        let extension = bytes.get(at..at + 8).ok_or("malformed")?;
        let length = usize::from(extension[1]);
        if protocol == 43 && extension[3] != 0 {
            return Err("header-options");
        }
        let length = match protocol {
            44 => 8,
            51 => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        if at + length > TRANSPORT_MAX {
            return Err("header-options");
        }
        if protocol == 44 && fragment.replace(half(extension, 2) & 0xfff9).is_some() {
            return Err("malformed");
        }
        if protocol == 44 {
            id = word(extension, 4);
        }
        (at, protocol) = (at + length, extension[0]);
    }
    if is_extension(protocol) || matches!(protocol, 50 | 59 | 135 | 139 | 140) {
        return Err("header-options");
    }
    if at > total {
        return Err("malformed");
    }
    Ok(Network {
        protocol,
        bytes: total,
        payload_at: ETHERNET + at,
        hop_limit: header.hop_limit(),
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
        // A datagram that is its only fragment is none (RFC 6946).
        part: fragment.filter(|place| *place != 0).map(|place| Part {
            id,
            offset: usize::from(place >> 3),
            bytes: total - at,
            more: place & 1 != 0,
        }),
    })
}

/// The flow that an ICMP error is about (RFC 792, RFC 4443): of what it quotes, the source is the VIP.
fn quoted(frame: &[u8], network: &Network, v6: bool) -> Result<Parsed, &'static str> {
    let icmp = network.payload_at;
    let inner = icmp + 8;
    let (kind, code) = match frame.get(icmp..inner + if v6 { 40 } else { 20 }) {
        Some(bytes) => (bytes[0], bytes[1]),
        None => return Err("unsupported-protocol"),
    };
    let too_small = match (v6, kind, code) {
        (false, 3, 4) => word(frame, icmp + 4) & 0xffff < 552,
        (true, 2, _) => word(frame, icmp + 4) < 1280,
        (false, 3 | 11 | 12, _) | (true, 1..=4, _) => false,
        _ => return Err("unsupported-protocol"),
    };
    let (from, to) = if v6 { (8, 24) } else { (12, 16) };
    let vip = address_at(frame, v6, inner + from);
    if too_small || vip != network.destination {
        return Err("malformed");
    }
    if icmp != ETHERNET + if v6 { 40 } else { 20 } {
        return Err("header-options");
    }
    let found = if v6 {
        quoted_v6(frame, inner)
    } else {
        quoted_v4(frame, inner)
    };
    let found = found.filter(|(transport, _)| frame.len() >= transport + 8);
    let Some((transport, protocol @ (TCP | UDP))) = found else {
        return Err("unsupported-protocol");
    };
    Ok(Parsed {
        tuple: Tuple {
            client: address_at(frame, v6, inner + to),
            client_port: half(frame, transport + 2),
            vip,
            vip_port: half(frame, transport),
            udp: protocol == UDP,
        },
        hop_limit: network.hop_limit,
        ip_bytes: network.bytes,
        transport,
        is_error: true,
        part: None,
    })
}

/// Transport header and protocol of a quoted packet, of which the fixed header is there.
fn quoted_v4(frame: &[u8], inner: usize) -> Option<(usize, u8)> {
    let header = usize::from(frame[inner] & 15) * 4;
    let is_first = half(frame, inner + 6) & 0x1fff == 0;
    let is_header = frame[inner] >> 4 == 4 && header >= 20 && is_first;
    is_header.then(|| (inner + header, frame[inner + 9]))
}

/// As [`quoted_v4`], behind extension headers.
pub(crate) fn quoted_v6(frame: &[u8], inner: usize) -> Option<(usize, u8)> {
    let (mut at, mut protocol) = (inner + 40, frame[inner + 6]);
    for _ in 0..EXTENSIONS_MAX {
        if !matches!(protocol, 0 | 43 | 44 | 51 | 60) {
            break;
        }
        let extension = frame.get(at..at + 8)?;
        let length = usize::from(extension[1]);
        let is_refused = match protocol {
            43 => extension[3] != 0,
            44 => half(extension, 2) >> 3 != 0,
            _ => false,
        };
        at += match protocol {
            44 => 8,
            51 => (length + 2) * 4,
            _ => (length + 1) * 8,
        };
        if is_refused || at - ETHERNET > TRANSPORT_MAX {
            return None;
        }
        protocol = extension[0];
    }
    (frame[inner] >> 4 == 6).then_some((at, protocol))
}

/// The address at an offset that the frame is known to reach.
pub(crate) fn address_at(frame: &[u8], v6: bool, at: usize) -> IpAddr {
    if v6 {
        let octets: [u8; 16] = frame[at..at + 16].try_into().expect("sixteen bytes");
        Ipv6Addr::from(octets).into()
    } else {
        Ipv4Addr::from(word(frame, at)).into()
    }
}

/// Flags, sequence number, acknowledgement number and header bytes of the segment at an offset.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) header_bytes: usize,
}

impl Segment {
    /// Of a TCP header that is known to be there.
    pub(crate) fn at(frame: &[u8], transport: usize) -> Self {
        // A header whose own length is impossible is read all the same.
        let mut fixed = frame[transport..transport + 20].to_vec();
        let header_bytes = usize::from(fixed[12] >> 4) * 4;
        fixed[12] = 0x50;
        let tcp = TcpHeaderSlice::from_slice(&fixed).expect("twenty bytes");
        Self {
            syn: tcp.syn(),
            ack: tcp.ack(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            sequence: tcp.sequence_number(),
            acknowledgement: tcp.acknowledgment_number(),
            header_bytes,
        }
    }
}
