//! What leaves: a pod's packet of a flow comes from the VIP, all else goes as it is.

use std::{net::IpAddr, time::Duration};

use crate::{
    cluster::Node,
    compare::{Action, Effect, Expected},
    flows::{Change, Flow, Flows, Tuple},
    parse::{self, Segment},
    wire::{ETHERNET, half, mend, put, sum},
};

/// A packet of the pod.
struct Reply {
    v6: bool,
    transport: usize,
    udp: bool,
    pod: (IpAddr, u16),
    client: (IpAddr, u16),
}

/// What becomes of a frame that leaves.
pub(crate) fn sent(
    own: usize,
    node: &Node,
    flows: &Flows,
    now: Duration,
    frame: &[u8],
) -> Vec<Expected> {
    let untouched = || vec![Expected::untouched(frame)];
    let Some(reply) = read(frame) else {
        return untouched();
    };
    let key = (
        reply.pod.0,
        reply.pod.1,
        reply.client.0,
        reply.client.1,
        reply.udp,
    );
    let Some(tuple) = flows.find_reply(&key) else {
        return untouched();
    };
    let found = flows.find(&tuple, now).into_iter();
    found
        .map(|flow| match flow {
            Some(flow) => of_flow(own, node, now, frame, &reply, tuple, flow),
            None => Expected::untouched(frame),
        })
        .collect()
}

fn of_flow(
    own: usize,
    node: &Node,
    now: Duration,
    frame: &[u8],
    reply: &Reply,
    tuple: Tuple,
    flow: Flow,
) -> Expected {
    let segment = (!reply.udp).then(|| Segment::at(frame, reply.transport));
    let change = |flow| {
        Effect::Flow(Change {
            node: own,
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
    let source = ETHERNET + if reply.v6 { 8 } else { 12 };
    let vip = octets(tuple.vip);
    let old =
        sum(&out[source..source + vip.len()]) + sum(&out[reply.transport..reply.transport + 4]);
    put(&mut out, source, &vip);
    put(&mut out, reply.transport, &tuple.vip_port.to_be_bytes());
    let new = sum(&vip) + sum(&out[reply.transport..reply.transport + 4]);
    mend(&mut out, checksum, old % 0xffff, new % 0xffff);
    if !reply.v6 {
        mend(&mut out, 24, sum(&frame[source..source + 4]), sum(&vip));
    }
    if segment.is_some_and(|segment| segment.syn && segment.ack) {
        clamp(&mut out, reply, checksum, node.inner_mtu_bytes);
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
    expected.with(change(Some(flow.after_pod(segment, now))))
}

/// TCP or UDP without options, fragments or extension headers.
fn read(frame: &[u8]) -> Option<Reply> {
    let v6 = parse::is_v6(frame)?;
    let at = if v6 { ETHERNET + 8 } else { ETHERNET + 12 };
    let pod = parse::address(frame, v6, at)?;
    let client = parse::address(frame, v6, at + if v6 { 16 } else { 4 })?;
    let plain = v6 || (frame[14] == 0x45 && half(frame, 20) & 0x3fff == 0);
    let protocol = frame[if v6 { 20 } else { 23 }];
    let transport = ETHERNET + if v6 { 40 } else { 20 };
    let least = match protocol {
        6 => 20,
        17 => 8,
        _ => return None,
    };
    if !plain || frame.len() < transport + least {
        return None;
    }
    Some(Reply {
        v6,
        transport,
        udp: protocol == 17,
        pod: (pod, half(frame, transport)),
        client: (client, half(frame, transport + 2)),
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
