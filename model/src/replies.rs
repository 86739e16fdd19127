//! What leaves: a pod's packet of a flow comes from the VIP, all else goes as it is.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use crate::{
    cluster::Node,
    compare::{Action, Effect, Expected},
    counters::{self, Tally},
    flows::{Change, Flow, Flows, Tuple},
    parse::{self, Segment},
    wire::{ETHERNET, half, mend, put, sum, word},
};

/// What all fragments of a reply have in common: pod, client, identification.
pub(crate) type Datagram = (IpAddr, IpAddr, u32);

/// How long later fragments of a reply are surely, and at most, known.
const NOTE_LIVES: (Duration, Duration) = (Duration::from_millis(900), Duration::from_secs(3));

/// A node, as something leaves it.
pub(crate) struct Sending<'a> {
    pub(crate) own: usize,
    pub(crate) node: &'a Node,
    pub(crate) flows: &'a Flows,
    pub(crate) fragments: &'a HashMap<Datagram, (Tuple, Duration)>,
    pub(crate) now: Duration,
}

/// A packet of the pod.
struct Reply {
    v6: bool,
    transport: usize,
    udp: bool,
    pod: IpAddr,
    client: IpAddr,
    /// Identification and offset of a fragment.
    fragment: Option<(u32, u16)>,
}

impl Sending<'_> {
    /// What becomes of a frame that leaves.
    pub(crate) fn sent(&self, frame: &[u8]) -> Vec<Expected> {
        if let Some(translated) = self.error(frame) {
            return translated;
        }
        let untouched = || vec![Expected::untouched(frame)];
        let Some(reply) = read(frame) else {
            return untouched();
        };
        let datagram = |id| (reply.pod, reply.client, id);
        if let Some((id, 1..)) = reply.fragment {
            let Some((tuple, at)) = self.fragments.get(&datagram(id)) else {
                return untouched();
            };
            let translated = later_fragment(frame, &reply, tuple);
            return match self.now - *at {
                age if age < NOTE_LIVES.0 => vec![translated],
                age if age < NOTE_LIVES.1 => vec![translated, Expected::untouched(frame)],
                _ => untouched(),
            };
        }
        let ports = &frame[reply.transport..reply.transport + 4];
        let key = (
            reply.pod,
            half(ports, 0),
            reply.client,
            half(ports, 2),
            reply.udp,
        );
        let Some(tuple) = self.flows.find_reply(&key) else {
            return untouched();
        };
        let found = self.flows.find(&tuple, self.now).into_iter();
        let outcomes = found.map(|flow| match (flow, reply.fragment) {
            (None, _) => Expected::untouched(frame),
            (Some(flow), None) => self.of_flow(frame, &reply, tuple, flow),
            (Some(flow), Some((id, _))) => self
                .of_flow(frame, &reply, tuple, flow)
                .with(Effect::Fragment(datagram(id), tuple)),
        });
        outcomes.collect()
    }

    fn of_flow(&self, frame: &[u8], reply: &Reply, tuple: Tuple, flow: Flow) -> Expected {
        let segment = (!reply.udp).then(|| Segment::at(frame, reply.transport));
        let change = |flow| {
            Effect::Flow(Change {
                node: self.own,
                tuple,
                flow,
            })
        };
        if segment.is_some_and(|segment| flow.is_strange(&segment)) {
            return Expected::untouched(frame).with(change(None));
        }
        let mut out = frame.to_vec();
        let checksum = reply.transport + if reply.udp { 6 } else { 16 };
        let has_none = reply.udp && half(frame, checksum) == 0;
        let vip = octets(tuple.vip);
        let ports = [
            tuple.vip_port.to_be_bytes(),
            tuple.client_port.to_be_bytes(),
        ]
        .concat();
        let old = sum(&octets(reply.pod)) + sum(&out[reply.transport..reply.transport + 4]);
        put(&mut out, reply.transport, &ports);
        mend(
            &mut out,
            checksum,
            old % 0xffff,
            (sum(&vip) + sum(&ports)) % 0xffff,
        );
        store_source(&mut out, reply, &vip);
        if segment.is_some_and(|segment| segment.syn && segment.ack) {
            clamp(&mut out, reply, checksum, self.node.inner_mtu_bytes);
        }
        if has_none {
            put(&mut out, checksum, &[0, 0]);
        }
        let mut expected = Expected::new(Action::Pass, Some(out), &["replied"]);
        if !has_none {
            expected.checksums.push(checksum);
        }
        if !reply.v6 {
            expected.checksums.push(24);
        }
        expected
            .with(change(Some(flow.after_pod(segment, self.now))))
            .with(counted(&tuple, frame))
    }

    /// An ICMP error of a pod or its node about what a client sent: source and quote become the VIP's. `None` if it is
    /// none about a flow.
    fn error(&self, frame: &[u8]) -> Option<Vec<Expected>> {
        let quoted = Quoted::read(frame)?;
        let key = (
            quoted.pod,
            quoted.ports.1,
            quoted.client,
            quoted.ports.0,
            quoted.udp,
        );
        let tuple = self.flows.find_reply(&key)?;
        let found = self.flows.find(&tuple, self.now).into_iter();
        let outcomes = found.map(|flow| match flow {
            Some(_) => quoted.as_of_vip(frame, &tuple),
            None => Expected::untouched(frame),
        });
        Some(outcomes.collect())
    }
}

/// What an error that leaves is about: a client's packet as the pod got it.
struct Quoted {
    v6: bool,
    transport: usize,
    udp: bool,
    client: IpAddr,
    pod: IpAddr,
    ports: (u16, u16),
}

impl Quoted {
    fn read(frame: &[u8]) -> Option<Self> {
        let v6 = parse::is_v6(frame)?;
        let icmp = ETHERNET + if v6 { 40 } else { 20 };
        let quote = icmp + 8;
        let receiver = parse::address(frame, v6, ETHERNET + if v6 { 24 } else { 16 })?;
        let is_error = match (v6, frame[if v6 { 20 } else { 23 }]) {
            (false, 1) => matches!(frame.get(icmp)?, 3 | 11 | 12),
            (true, 58) => matches!(frame.get(icmp)?, 1..=4),
            _ => return None,
        };
        let version = frame.get(quote)? >> 4;
        if !is_error || version != if v6 { 6 } else { 4 } {
            return None;
        }
        frame.get(quote..(quote + if v6 { 40 } else { 20 }))?;
        let (transport, protocol) = if v6 {
            beyond_extensions(frame, quote + 40, frame[quote + 6])?
        } else if half(frame, quote + 6) & 0x1fff != 0 {
            return None;
        } else {
            let header = usize::from(frame[quote] & 15) * 4;
            (quote + header, frame[quote + 9])
        };
        let ports = frame.get(transport..transport + 4)?;
        let (from, to) = if v6 { (8, 24) } else { (12, 16) };
        let address = |at| parse::address_at(frame, v6, at);
        let (client, pod) = (address(quote + from), address(quote + to));
        if (protocol != 6 && protocol != 17) || client != receiver {
            return None;
        }
        Some(Self {
            v6,
            transport,
            udp: protocol == 17,
            client,
            pod,
            ports: (half(ports, 0), half(ports, 2)),
        })
    }

    fn as_of_vip(&self, frame: &[u8], tuple: &Tuple) -> Expected {
        let mut out = frame.to_vec();
        let mut expected = Expected::new(Action::Pass, None, &["icmp-error-replied"]);
        let icmp = ETHERNET + if self.v6 { 40 } else { 20 };
        let quote = icmp + 8;
        let (vip, pod) = (octets(tuple.vip), octets(self.pod));
        let source = ETHERNET + if self.v6 { 8 } else { 12 };
        let sender = frame[source..source + vip.len()].to_vec();
        let ports = [
            tuple.client_port.to_be_bytes(),
            tuple.vip_port.to_be_bytes(),
        ]
        .concat();
        let change = |bytes: &[u8], address: &[u8]| (sum(bytes) + sum(address)) % 0xffff;
        let old = change(&frame[self.transport..self.transport + 4], &pod);
        put(&mut out, source, &vip);
        put(&mut out, quote + if self.v6 { 24 } else { 16 }, &vip);
        put(&mut out, self.transport, &ports);
        let checksum = self.transport + if self.udp { 6 } else { 16 };
        let reaches = frame.len() >= checksum + 2;
        if reaches && !(self.udp && half(frame, checksum) == 0) {
            mend(&mut out, checksum, old, change(&ports, &vip));
            expected.checksums.push(checksum);
        }
        if !self.v6 {
            mend(&mut out, quote + 10, sum(&pod), sum(&vip));
            mend(&mut out, 24, sum(&sender), sum(&vip));
            expected.checksums.extend([quote + 10, 24]);
        }
        let pseudo = |address: &[u8]| if self.v6 { sum(address) } else { 0 };
        let old = sum(&frame[quote..]) + pseudo(&sender);
        let new = sum(&out[quote..]) + pseudo(&vip);
        mend(&mut out, icmp + 2, old % 0xffff, new % 0xffff);
        expected.checksums.push(icmp + 2);
        expected.frame = Some(out);
        expected
    }
}

fn later_fragment(frame: &[u8], reply: &Reply, tuple: &Tuple) -> Expected {
    let mut out = frame.to_vec();
    store_source(&mut out, reply, &octets(tuple.vip));
    let mut expected = Expected::new(Action::Pass, Some(out), &["reply-fragment"]);
    if !reply.v6 {
        expected.checksums.push(24);
    }
    expected.with(counted(tuple, frame))
}

fn counted(tuple: &Tuple, frame: &[u8]) -> Effect {
    let tally = Tally {
        reply_packets: 1,
        reply_bytes: frame.len() as u64,
        ..Tally::default()
    };
    Effect::Count(counters::key(tuple), tally)
}

fn store_source(out: &mut [u8], reply: &Reply, vip: &[u8]) {
    put(out, ETHERNET + if reply.v6 { 8 } else { 12 }, vip);
    if !reply.v6 {
        mend(out, 24, sum(&octets(reply.pod)), sum(vip));
    }
}

/// TCP, or UDP that may be in fragments; without options or other extension headers.
fn read(frame: &[u8]) -> Option<Reply> {
    let v6 = parse::is_v6(frame)?;
    let at = if v6 { ETHERNET + 8 } else { ETHERNET + 12 };
    let pod = parse::address(frame, v6, at)?;
    let client = parse::address(frame, v6, at + if v6 { 16 } else { 4 })?;
    let mut transport = ETHERNET + if v6 { 40 } else { 20 };
    let mut protocol = frame[if v6 { 20 } else { 23 }];
    let mut fragment = None;
    if v6 && protocol == 44 {
        let header = frame.get(transport..transport + 8)?;
        protocol = header[0];
        fragment = Some((word(header, 4), half(header, 2) >> 3));
        transport += 8;
    } else if !v6 && half(frame, 20) & 0x3fff != 0 {
        fragment = Some((u32::from(half(frame, 18)), half(frame, 20) & 0x1fff));
    }
    let least = match (protocol, fragment) {
        (17, Some((_, 1..))) => 0,
        (17, _) => 8,
        (6, None) => 20,
        _ => return None,
    };
    let plain = v6 || fragment.is_some() || frame[14] == 0x45;
    if !plain || frame.len() < transport + least {
        return None;
    }
    Some(Reply {
        v6,
        transport,
        udp: protocol == 17,
        pod,
        client,
        fragment,
    })
}

/// The MSS of a SYN-ACK offers no more than fits any encapsulation.
fn clamp(out: &mut [u8], reply: &Reply, checksum: usize, mtu_bytes: u16) {
    let most = mtu_bytes - if reply.v6 { 60 } else { 40 };
    let header = usize::from(out[reply.transport + 12] >> 4) * 4;
    let end = (reply.transport + header).min(out.len());
    let mut at = reply.transport + 20;
    while at + 4 <= end {
        match (out[at], usize::from(out[at + 1])) {
            (0, _) => return,
            (1, _) => at += 1,
            (2, _) => {
                if half(out, at + 2) > most {
                    let (from, to) = (at & !1, ((at + 5) & !1).min(out.len()));
                    let old = sum(&out[from..to]);
                    put(out, at + 2, &most.to_be_bytes());
                    let new = sum(&out[from..to]);
                    mend(out, checksum, old, new);
                }
                return;
            }
            (_, 0 | 1) => return,
            (_, bytes) => at += bytes,
        }
    }
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Extension headers of a quoted packet that are looked at.
const EXTENSIONS_MAX: usize = 6;

/// Offset and protocol of what follows the extension headers (RFC 8200 section 4), unless that is in another fragment.
fn beyond_extensions(frame: &[u8], mut at: usize, mut protocol: u8) -> Option<(usize, u8)> {
    for _ in 0..EXTENSIONS_MAX {
        let start = match protocol {
            0 | 43 | 44 | 60 => frame.get(at..at + 4)?,
            _ => return Some((at, protocol)),
        };
        if protocol == 44 && half(start, 2) >> 3 != 0 {
            return None;
        }
        at += match protocol {
            44 => 8,
            _ => 8 + usize::from(start[1]) * 8,
        };
        protocol = start[0];
    }
    None
}
