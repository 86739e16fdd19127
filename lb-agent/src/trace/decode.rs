//! A frame in one line for people, as far as its bytes say: addresses, ports, TCP flags, what is inside of GUE. It judges
//! nothing and never fails; what it cannot read it calls by its number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lb_common::{Address, TCP, UDP, gue::GueHeader};

/// The port that GUE goes to unless set otherwise.
const GUE_PORT: u16 = 6080;
/// IANA's numbers of the rest.
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The name of an IP protocol, as Kubernetes writes it.
pub(super) const fn protocol(number: u8) -> &'static str {
    match number {
        TCP => "TCP",
        UDP => "UDP",
        ICMP => "ICMP",
        ICMPV6 => "ICMPv6",
        _ => "IP",
    }
}

/// An address as maps hold it.
pub(super) fn address(v6: bool, address: &Address) -> IpAddr {
    let mut bytes = [0; 16];
    for (chunk, word) in bytes.chunks_exact_mut(4).zip(address) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    if v6 {
        return Ipv6Addr::from(bytes).into();
    }
    Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into()
}

/// Address and port, IPv6 in brackets.
pub(super) fn end(address: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

/// The frame in one line.
pub(super) fn frame(frame: &[u8]) -> String {
    let bytes = frame.len();
    let text = match network(frame) {
        Some((ethertype, packet)) => ip(packet).unwrap_or(format!("EtherType {ethertype:#06x}")),
        None => "cut short".to_owned(),
    };
    format!("{text}, {bytes} bytes")
}

/// Where the outermost IP header goes.
pub(super) fn destination(frame: &[u8]) -> Option<IpAddr> {
    Some(Ip::read(network(frame)?.1)?.destination)
}

/// EtherType behind up to two tags, and what follows.
fn network(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut at = 12;
    loop {
        let ethertype = word(frame, at)?;
        if !matches!(ethertype, 0x8100 | 0x88a8) || at == 20 {
            return Some((ethertype, &frame[at + 2..]));
        }
        at += 4;
    }
}

/// The head of an IP packet.
struct Ip<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    hop_limit: u8,
    is_later_fragment: bool,
    payload: &'a [u8],
}

impl<'a> Ip<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let header_bytes = usize::from(packet[0] & 15) * 4;
                let v4 = |at: usize| {
                    let bytes: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                    Some(IpAddr::from(bytes))
                };
                Some(Self {
                    source: v4(12)?,
                    destination: v4(16)?,
                    protocol: packet[9],
                    hop_limit: packet[8],
                    is_later_fragment: word(packet, 6)? & 0x1fff != 0,
                    payload: packet.get(header_bytes..)?,
                })
            }
            6 => {
                let v6 = |at: usize| {
                    let bytes: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                    Some(IpAddr::from(bytes))
                };
                Some(Self {
                    source: v6(8)?,
                    destination: v6(24)?,
                    protocol: packet[6],
                    hop_limit: packet[7],
                    is_later_fragment: false,
                    payload: packet.get(40..)?,
                })
            }
            _ => None,
        }
    }
}

fn ip(packet: &[u8]) -> Option<String> {
    let ip = Ip::read(packet)?;
    let name = protocol(ip.protocol);
    let (source, destination, hops) = (ip.source, ip.destination, ip.hop_limit);
    if ip.is_later_fragment {
        return Some(format!(
            "{name} fragment {source} > {destination} ttl {hops}"
        ));
    }
    let rest = match ip.protocol {
        TCP | UDP => transport(&ip)?,
        ICMP | ICMPV6 => {
            let (kind, code) = (ip.payload.first()?, ip.payload.get(1)?);
            format!("{source} > {destination} type {kind} code {code}")
        }
        number => format!("{number} {source} > {destination}"),
    };
    Some(format!("{name} {rest} ttl {hops}"))
}

fn transport(ip: &Ip<'_>) -> Option<String> {
    let (from, to) = (word(ip.payload, 0)?, word(ip.payload, 2)?);
    let mut text = format!("{} > {}", end(ip.source, from), end(ip.destination, to));
    if ip.protocol == TCP {
        text += &format!(" [{}]", flags(*ip.payload.get(13)?));
    } else if to == GUE_PORT {
        let inner = ip
            .payload
            .get(8 + size_of::<GueHeader>()..)
            .and_then(self::ip);
        text += &format!(" GUE ({})", inner.unwrap_or_else(|| "cut short".to_owned()));
    }
    Some(text)
}

/// The flags of a TCP header (RFC 9293 3.1) that make a difference here.
fn flags(bits: u8) -> String {
    let names = [(2, "SYN"), (16, "ACK"), (1, "FIN"), (4, "RST")];
    let set: Vec<_> = names
        .into_iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| name)
        .collect();
    set.join(" ")
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}
