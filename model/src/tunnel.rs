//! GUE between nodes: what is ours to take off, and what a packet looks like in it.

use std::net::IpAddr;

use etherparse::PacketBuilder;

use crate::{
    cluster::{Cluster, Node, Way},
    compare::Expected,
    parse,
    wire::{ETHERNET, half, put, verify, word},
};

/// Steers that a packet may make between nodes after the first.
pub(crate) const HOPS_MAX: u8 = 1;
/// The same for a part of a datagram, one of which leads to its home.
pub(crate) const HOPS_MAX_OF_PARTS: u8 = 2;

/// GUE header and private data.
const GUE: usize = 16;

/// How a packet came to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival {
    /// From the router, or from a node by MAC.
    Plain,
    /// By GUE.
    Gue {
        hop: u8,
        flags: u8,
        ingress: u32,
        tag: u32,
    },
}

/// Whether a frame is GUE for this node: UDP to its own address, not in fragments, without options.
pub(crate) fn is_for(node: &Node, cluster: &Cluster, frame: &[u8], destination: IpAddr) -> bool {
    if !node.addresses.contains(&destination) {
        return false;
    }
    let transport = match destination {
        IpAddr::V4(_) => {
            let plain = frame[14] == 0x45 && frame[23] == 17 && half(frame, 20) & !0x4000 == 0;
            if !plain {
                return false;
            }
            ETHERNET + 20
        }
        IpAddr::V6(_) if frame[20] == 17 => ETHERNET + 40,
        IpAddr::V6(_) => return false,
    };
    frame.len() >= transport + 8 && half(frame, transport + 2) == cluster.gue_port
}

/// Takes the outer header off.
///
/// # Errors
/// The label of the reason.
pub(crate) fn decapsulate(
    cluster: &Cluster,
    own: usize,
    frame: &[u8],
) -> Result<(Vec<u8>, Arrival), &'static str> {
    let v6 = parse::is_v6(frame).ok_or("gue-malformed")?;
    let source = parse::address(frame, v6, ETHERNET + if v6 { 8 } else { 12 });
    let sender = source.and_then(|source| cluster.sender(own, source));
    if sender.is_none() {
        return Err("gue-stranger");
    }
    let at = ETHERNET + if v6 { 48 } else { 28 };
    let header = frame.get(at..at + GUE).ok_or("gue-malformed")?;
    let ethertype = match header[1] {
        4 => [8, 0],
        41 => [0x86, 0xdd],
        _ => return Err("gue-malformed"),
    };
    // Variant 0, no control, three words of private data, no flags; version 1.
    if header[0] != 3 || header[2..4] != [0, 0] || header[4] != 1 {
        return Err("gue-malformed");
    }
    let inner = [&frame[..12], &ethertype, &frame[at + GUE..]].concat();
    let arrival = Arrival::Gue {
        hop: header[5],
        flags: header[6],
        ingress: word(header, 8),
        tag: word(header, 12),
    };
    Ok((inner, arrival))
}

/// What GUE says of itself that only the cluster's key explains.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Secrets {
    pub(crate) source_port: u16,
    pub(crate) ingress: u32,
    pub(crate) tag: u32,
}

/// Bytes that an outer header adds.
pub(crate) fn overhead(way: &Way) -> usize {
    GUE + 8
        + if way.outer_destination.is_ipv4() {
            20
        } else {
            40
        }
}

/// What the observed frame says, where it is GUE.
pub(crate) fn read_secrets(way: &Way, frame: &[u8]) -> Option<Secrets> {
    let at = ETHERNET
        + if way.outer_destination.is_ipv4() {
            20
        } else {
            40
        };
    frame.get(..at + 8 + GUE)?;
    Some(Secrets {
        source_port: half(frame, at),
        ingress: word(frame, at + 16),
        tag: word(frame, at + 20),
    })
}

/// A packet in GUE on its way: inner packet `inner`, whose MACs are already those of the way and of which `ip_bytes`
/// count; and whether the outer header is IPv6.
pub(crate) fn encapsulate(
    gue_port: u16,
    way: &Way,
    inner: &[u8],
    ip_bytes: usize,
    hop: u8,
    secrets: Secrets,
) -> Option<(Vec<u8>, bool)> {
    let mac = |at: usize| -> [u8; 6] { inner[at..at + 6].try_into().expect("six bytes") };
    let inner_v6 = parse::is_v6(inner)?;
    let mut payload = vec![3, if inner_v6 { 41 } else { 4 }, 0, 0, 1, hop, 0, 0];
    payload.extend(secrets.ingress.to_be_bytes());
    payload.extend(secrets.tag.to_be_bytes());
    payload.extend(inner.get(ETHERNET..ETHERNET + ip_bytes)?);
    let ethernet = PacketBuilder::ethernet2(mac(6), mac(0));
    let (ip, v4) = match (way.outer_source, way.outer_destination) {
        (IpAddr::V4(from), IpAddr::V4(to)) => (ethernet.ipv4(from.octets(), to.octets(), 64), true),
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            (ethernet.ipv6(from.octets(), to.octets(), 64), false)
        }
        _ => return None,
    };
    let mut frame = Vec::new();
    ip.udp(secrets.source_port, gue_port)
        .write(&mut frame, &payload)
        .ok()?;
    if v4 {
        put(&mut frame, 40, &[0, 0]);
        if !inner_v6 {
            // DSCP goes along (RFC 2983), ECN is the inner packet's own.
            crate::wire::replace(&mut frame, 14, &[0x45, inner[15] & 0xfc], &[24]);
        }
    }
    // What follows the packet in its frame, padding, is nobody's; it stays.
    frame.extend(&inner[ETHERNET + ip_bytes..]);
    Some((frame, !v4))
}

/// The outer UDP checksum over IPv6: derived from the inner packet's, so right if that is; none (RFC 6936) where
/// there is none inside, or only an ICMP error's.
pub(crate) fn outer_checksum(
    expected: &mut Expected,
    inner: &[u8],
    is_error: bool,
    udp_at: usize,
    gue_port: u16,
) {
    const AT: usize = ETHERNET + 40 + 6;
    let Some(frame) = &mut expected.frame else {
        return;
    };
    let has_none =
        is_error || (inner.get(udp_at + 6..udp_at + 8) == Some(&[0, 0]) && is_udp(inner));
    if has_none {
        put(frame, AT, &[0, 0]);
    } else if verify(inner, gue_port).is_err() {
        expected.free.push(AT..AT + 2);
    } else {
        expected.checksums.push(AT);
    }
}

fn is_udp(inner: &[u8]) -> bool {
    inner[12] == 8 && inner[23] == 17 || inner[12] == 0x86 && inner[20] == 17
}
