//! What a packet becomes on its way: a hop older, a pod's instead of a VIP's.

use std::time::Duration;

use crate::{
    compare::{Action, Effect, Expected},
    flows::{Change, Flow},
    parse::Parsed,
    replies::octets,
    tunnel::Arrival,
    wire::{ETHERNET, half, mend, put, replace, sum},
};

/// A packet for a VIP on its way through one node.
pub(crate) struct Visit<'a> {
    pub(crate) own: usize,
    pub(crate) now: Duration,
    pub(crate) frame: &'a [u8],
    pub(crate) arrival: Arrival,
    /// A node has steered it already.
    pub(crate) steered: bool,
    pub(crate) observed: &'a [u8],
    /// VLAN tags, which are not in `frame`.
    pub(crate) tag_bytes: usize,
}

/// One hop less (RFC 1812 section 5.3.1).
pub(crate) fn age(frame: &mut [u8], v6: bool, hop_limit: u8) {
    if v6 {
        frame[21] = hop_limit - 1;
    } else {
        let protocol = frame[23];
        replace(frame, 22, &[hop_limit - 1, protocol], &[24]);
    }
}

/// To the pod of the flow, as it is after this packet.
pub(crate) fn deliver(visit: &Visit<'_>, parsed: &Parsed, flow: Flow) -> Expected {
    let tuple = parsed.tuple;
    let v6 = visit.frame[12] != 8;
    let mut out = visit.frame.to_vec();
    let destination = ETHERNET + if v6 { 24 } else { 16 };
    let pod = octets(flow.endpoint.address);
    let checksum = parsed.transport + if tuple.udp { 6 } else { 16 };
    let ports = [
        flow.mapped_port.to_be_bytes(),
        flow.endpoint.port.to_be_bytes(),
    ]
    .concat();
    put(&mut out, destination, &pod);
    let mut expected = Expected::new(Action::Pass, None, &["delivered"]);
    // Ports and checksum are in the first part.
    if !parsed.is_later_part() {
        let old = sum(&octets(tuple.vip)) + sum(&out[parsed.transport..parsed.transport + 4]);
        put(&mut out, parsed.transport, &ports);
        let has_none = tuple.udp && half(&out, checksum) == 0;
        if !has_none {
            let new = sum(&pod) + sum(&ports);
            mend(&mut out, checksum, old % 0xffff, new % 0xffff);
            expected.checksums.push(checksum);
        }
    }
    if !v6 {
        mend(&mut out, 24, sum(&octets(tuple.vip)), sum(&pod));
        expected.checksums.push(24);
    }
    expected.frame = Some(out);
    expected.with(Effect::Flow(Change {
        node: visit.own,
        tuple,
        flow: Some(flow),
    }))
}

/// An ICMP error to the pod that has the flow, as if no VIP had ever been. It does not touch the flow.
pub(crate) fn related(visit: &Visit<'_>, parsed: &Parsed, flow: &Flow) -> Expected {
    let v6 = visit.frame[12] != 8;
    let mut out = visit.frame.to_vec();
    let icmp = ETHERNET + if v6 { 40 } else { 20 };
    let inner = icmp + 8;
    let (outer_at, quote_at) = if v6 {
        (ETHERNET + 24, inner + 8)
    } else {
        (ETHERNET + 16, inner + 12)
    };
    let pod = octets(flow.endpoint.address);
    let vip = octets(parsed.tuple.vip);
    put(&mut out, outer_at, &pod);
    put(&mut out, quote_at, &pod);
    // As the pod has sent it.
    let ports = [
        flow.endpoint.port.to_be_bytes(),
        flow.mapped_port.to_be_bytes(),
    ]
    .concat();
    put(&mut out, parsed.transport, &ports);
    let mut expected = Expected::new(Action::Pass, None, &["icmp-error-delivered"]);
    if !v6 {
        mend(&mut out, 24, sum(&vip), sum(&pod));
        mend(&mut out, inner + 10, sum(&vip), sum(&pod));
        expected.checksums.extend([24, inner + 10]);
    }
    let quoted = parsed.transport + 6;
    if parsed.tuple.udp && half(&out, quoted) != 0 {
        let quoted_ports = &visit.frame[parsed.transport..parsed.transport + 4];
        let old = sum(&vip) + sum(quoted_ports);
        let new = sum(&pod) + sum(&ports);
        mend(&mut out, quoted, old % 0xffff, new % 0xffff);
        expected.checksums.push(quoted);
    }
    // The message is summed over all that it holds; over IPv6 with the pseudo-header too.
    let end = out.len();
    let pseudo = |address: &[u8]| if v6 { sum(address) } else { 0 };
    let old = sum(&visit.frame[inner..end]) + pseudo(&vip);
    let new = sum(&out[inner..end]) + pseudo(&pod);
    mend(&mut out, icmp + 2, old % 0xffff, new % 0xffff);
    expected.checksums.push(icmp + 2);
    expected.frame = Some(out);
    expected
}
