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
}

impl Parsed {
    /// The TCP segment; `None` of UDP.
    pub(crate) fn segment(&self, frame: &[u8]) -> Option<Segment> {
        (!self.tuple.udp && !self.is_error).then(|| Segment::at(frame, self.transport))
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

/// Protocol, IP bytes, offset of what follows the header.
struct Network {
    protocol: u8,
    bytes: usize,
    payload_at: usize,
    hop_limit: u8,
    source: IpAddr,
    destination: IpAddr,
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
    let end = ETHERNET + network.bytes;
    let transport = network.payload_at;
    let ports = match network.protocol {
        TCP => {
            let slice = frame.get(transport..end).ok_or("malformed")?;
            let tcp = slice.get(..20).ok_or("malformed")?;
            (half(tcp, 0), half(tcp, 2))
        }
        UDP => {
            let slice = frame.get(transport..end).ok_or("malformed")?;
            let udp = UdpHeaderSlice::from_slice(slice).map_err(|_| "malformed")?;
            (udp.source_port(), udp.destination_port())
        }
        1 if !v6 => return quoted(frame, &network, v6),
        58 if v6 => return quoted(frame, &network, v6),
        _ => return Err("unsupported-protocol"),
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
    })
}

/// RFC 791 section 3.1.
fn network_v4(frame: &[u8]) -> Result<Network, &'static str> {
    let bytes = &frame[ETHERNET..];
    if bytes[0] >> 4 == 4 && bytes[0] & 15 > 5 {
        return Err("header-options");
    }
    let header = Ipv4HeaderSlice::from_slice(bytes).map_err(|_| "malformed")?;
    let total = usize::from(header.total_len());
    if total > bytes.len() {
        return Err("malformed");
    }
    if header.more_fragments() || header.fragments_offset().value() != 0 {
        return Err("fragment");
    }
    Ok(Network {
        protocol: header.protocol().0,
        bytes: total,
        payload_at: ETHERNET + 20,
        hop_limit: header.ttl(),
        source: header.source_addr().into(),
        destination: header.destination_addr().into(),
    })
}

/// RFC 8200 section 3.
fn network_v6(frame: &[u8]) -> Result<Network, &'static str> {
    let header = Ipv6HeaderSlice::from_slice(&frame[ETHERNET..]).map_err(|_| "malformed")?;
    let total = usize::from(header.payload_length()) + 40;
    if ETHERNET + total > frame.len() || total > 0xffff {
        return Err("malformed");
    }
    match header.next_header().0 {
        0 | 43 | 50 | 51 | 59 | 60 | 135 => Err("header-options"),
        44 => Err("fragment"),
        protocol => Ok(Network {
            protocol,
            bytes: total,
            payload_at: ETHERNET + 40,
            hop_limit: header.hop_limit(),
            source: header.source_addr().into(),
            destination: header.destination_addr().into(),
        }),
    }
}

/// The flow that an ICMP error is about (RFC 792, RFC 4443): of what it quotes, the source is the VIP.
fn quoted(frame: &[u8], network: &Network, v6: bool) -> Result<Parsed, &'static str> {
    let icmp = network.payload_at;
    let inner = icmp + 8;
    let transport = inner + if v6 { 40 } else { 20 };
    let (kind, code) = match frame.get(icmp..transport + 8) {
        Some(bytes) => (bytes[0], bytes[1]),
        None => return Err("unsupported-protocol"),
    };
    let too_small = match (v6, kind, code) {
        (false, 3, 4) => word(frame, icmp + 4) & 0xffff < 552,
        (true, 2, _) => word(frame, icmp + 4) < 1280,
        (false, 3 | 11 | 12, _) | (true, 1..=4, _) => false,
        _ => return Err("unsupported-protocol"),
    };
    if too_small {
        return Err("malformed");
    }
    let plain = if v6 {
        frame[inner] >> 4 == 6
    } else {
        frame[inner] == 0x45
    };
    let protocol = frame[inner + if v6 { 6 } else { 9 }];
    if !plain || (protocol != TCP && protocol != UDP) {
        return Err("unsupported-protocol");
    }
    let (from, to) = if v6 { (8, 24) } else { (12, 16) };
    let vip = address_at(frame, v6, inner + from);
    if vip != network.destination {
        return Err("malformed");
    }
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
    })
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
