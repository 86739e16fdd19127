//! The pod's address and port in place of the VIP's, under all checksums that cover them.

use lb_common::{
    TCP,
    checksum::Delta,
    flow::Flow,
    packet::{self, ETHERNET_BYTES, Layout, Packet as _},
};

use crate::ptr::Frame;

/// Rewrites destination address and ports for the pod. `frame` is as if untagged and has its IP header; `transport`
/// begins with the transport header and has 8 bytes: none for a later fragment, which no checksum of its own covers.
#[inline(always)]
pub(crate) fn destination<const V6: bool>(frame: Frame, transport: Option<Frame>, flow: &Flow) {
    let at = Layout::destination(V6);
    let delta = if V6 {
        Delta::new().address(&frame.load_address::<V6>(at), &flow.endpoint)
    } else {
        let delta = Delta::new().word(frame.load_u32(at), flow.endpoint[0]);
        let checksum = ETHERNET_BYTES + 10;
        frame.store_u16(checksum, delta.apply(frame.load_u16(checksum)));
        delta
    };
    frame.store_address::<V6>(at, &flow.endpoint);
    let Some(transport) = transport else { return };
    let ports = packet::ports(flow.mapped_port, flow.endpoint_port);
    let delta = delta.word(transport.load_u32(0), ports);
    transport.store_u32(0, ports);
    if cfg!(feature = "canary-checksum") {
        return;
    }
    if flow.protocol != TCP {
        transport.store_u16(6, delta.apply_udp(transport.load_u16(6)));
    } else if transport.has(18) {
        transport.store_u16(16, delta.apply(transport.load_u16(16)));
    }
}
