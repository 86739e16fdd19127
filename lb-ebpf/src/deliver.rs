//! To a pod of this node: the flow's state decides, or makes one; the destination is translated and the stack
//! does the rest, so that any CNI and its policies see the client's own address.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    TCP,
    config::Config,
    endpoint::Endpoint,
    flow::{self, Flow, State},
    packet::{self, Layout, Packet as _},
    service::ServiceValue,
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count,
    flows::{self, Found},
    forward, maps,
    ptr::{self, Frame},
    reverse::{self, Tuple},
    rooms,
};

/// FIN, SYN, RST, ACK in the fourteenth byte of a TCP header (RFC 9293 3.1).
pub(crate) mod tcp {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const ACK: u8 = 16;
    /// Offset of the flags.
    pub(crate) const FLAGS_AT: usize = 13;
    /// Offset of the sequence number.
    pub(crate) const SEQUENCE_AT: usize = 4;
    /// Offset of the acknowledgement number.
    pub(crate) const ACKNOWLEDGEMENT_AT: usize = 8;
}

/// A packet for a service port, and what steering found out about it.
struct Steered {
    protocol: u8,
    hash: u64,
    service: ServiceValue,
    /// Index in `endpoints` of the row's endpoint.
    endpoint: u32,
    by_gue: bool,
    /// Index of the node that sent it, if by GUE.
    sender: u16,
    /// The row's endpoint is on this node: a flow that is not known may be made.
    is_local: bool,
    /// Slot of the uplink.
    slot: u8,
}

/// The program of the room: delivers a packet to the endpoint of its flow, or of its row if the flow is new.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &XdpContext) -> u32 {
    let frame = Frame::xdp(ctx);
    let (Some(walk), Some(config)) = (rooms::walk(), maps::CONFIG.get_ptr(0)) else {
        return count::drop(Verdict::TableInconsistent);
    };
    let config: &Config = ptr::by_ref(config);
    let service = ServiceValue(walk.service);
    if !frame.has(Layout::transport(V6) + 8) {
        return count::drop_of(config, service.id(), Verdict::Malformed);
    }
    let steered = Steered {
        protocol: packet::protocol::<V6, _>(&frame),
        hash: walk.hash,
        service,
        endpoint: walk.endpoint,
        by_gue: walk.has(Walk::BY_GUE),
        sender: walk.sender,
        is_local: walk.has(Walk::IS_LOCAL),
        slot: walk.slot,
    };
    match deliver::<V6>(frame, config, &steered) {
        Ok(Some(action)) => action,
        Ok(None) => rooms::enter_by_family::<V6>(ctx, Room::ForwardV4, Room::ForwardV6),
        Err(reason) => count::drop_of(config, service.id(), reason),
    }
}

/// `None` for a flow that is not known here and whose row leads elsewhere.
#[inline(always)]
fn deliver<const V6: bool>(
    frame: Frame,
    config: &Config,
    steered: &Steered,
) -> Result<Option<u32>, Verdict> {
    let (flags, acknowledges) = tcp_fields::<V6>(frame, steered.protocol);
    let now = flows::now(config);
    let known = flows::find::<V6, false>(config, frame, steered.hash, now);
    let number = match known {
        Some(found) if opens_anew(found, flags) => {
            flows::publish(found.number, State::Free, steered.hash, now);
            None
        }
        Some(found) => Some(advance::<V6>(
            config,
            steered,
            found,
            flags,
            acknowledges,
            now,
        )),
        None if steered.is_local => None,
        None => return Ok(None),
    };
    let number = match number {
        Some(number) => number,
        None => create::<V6>(config, frame, steered, flags, now)?,
    };
    let flow = flows::record(number).ok_or(Verdict::TableInconsistent)?;
    forward::translate_destination::<V6>(frame, steered.protocol, flow);
    Ok(Some(count::pass(Verdict::Delivered)))
}

/// Flags and acknowledgement number; zero for UDP.
#[inline(always)]
fn tcp_fields<const V6: bool>(frame: Frame, protocol: u8) -> (u8, u32) {
    let transport = Layout::transport(V6);
    if protocol != TCP || !frame.has(transport + 20) {
        return (0, 0);
    }
    let acknowledges = frame.load_u32(transport + tcp::ACKNOWLEDGEMENT_AT);
    (
        frame.load_u8(transport + tcp::FLAGS_AT),
        u32::from_be(acknowledges),
    )
}

/// A SYN on a flow that was closed begins another.
#[inline(always)]
fn opens_anew(found: Found, flags: u8) -> bool {
    let closed =
        found.meta.state() == State::Closing as u32 || found.meta.state() == State::Reset as u32;
    closed && flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// A client's packet of a known flow; the flow's number, which changes when it is promoted.
#[inline(always)]
fn advance<const V6: bool>(
    config: &Config,
    steered: &Steered,
    found: Found,
    flags: u8,
    acknowledges: u32,
    now: u32,
) -> u32 {
    let state = found.meta.state();
    if flags & tcp::RST != 0 {
        flows::touch(found, State::Reset as u32, now);
        return found.number;
    }
    if !flows::is_embryonic(config, found.number) {
        let state = if flags & tcp::FIN != 0 {
            State::Closing as u32
        } else {
            state
        };
        flows::touch(found, state, now);
        return found.number;
    }
    let Some(flow) = flows::record(found.number) else {
        return found.number;
    };
    let replied = flow.flags & Flow::REPLIED != 0;
    let proven =
        replied && (state != State::SynReceived as u32 || acknowledges == flow.expected_ack);
    if proven && state != State::Reset as u32 {
        if let Some(number) = promote::<V6>(config, steered, found, flags, now) {
            return number;
        }
    }
    flows::touch(found, state, now);
    found.number
}

/// Moves a flow to the established table: the copy lives before the reverse index leads to it, and the old
/// place is given back last, so that replies find the flow at every instant.
#[inline(always)]
fn promote<const V6: bool>(
    config: &Config,
    steered: &Steered,
    found: Found,
    flags: u8,
    now: u32,
) -> Option<u32> {
    let number = flows::claim(
        flows::established_line(config, steered.hash),
        steered.hash,
        now,
    )?;
    flows::copy_record(found.number, number)?;
    let state = match (steered.protocol, flags & tcp::FIN != 0) {
        (TCP, true) => State::Closing,
        (TCP, false) => State::Established,
        _ => State::Stream,
    };
    flows::publish(number, state, steered.hash, now);
    let hash = Tuple::of(flows::record(number)?).hash::<V6>(config);
    reverse::redirect(config, hash, found.number, number);
    flows::publish(found.number, State::Free, steered.hash, now);
    Some(number)
}

#[inline(always)]
fn create<const V6: bool>(
    config: &Config,
    frame: Frame,
    steered: &Steered,
    flags: u8,
    now: u32,
) -> Result<u32, Verdict> {
    let hash = steered.hash;
    let line = flow::line(hash, config.embryonic_mask);
    let number = flows::claim(line, hash, now).ok_or(Verdict::FlowsFull)?;
    let flow = flows::record_mut(number).ok_or(Verdict::TableInconsistent)?;
    let tuple_hash =
        fill::<V6>(config, frame, steered, flow, now).ok_or(Verdict::TableInconsistent)?;
    if let Err(reason) = reverse::insert::<V6>(config, &Tuple::of(flow), tuple_hash, number, now) {
        flows::publish(number, State::Free, hash, now);
        return Err(reason);
    }
    let state = match (steered.protocol, flags & (tcp::SYN | tcp::ACK | tcp::RST)) {
        (TCP, tcp::SYN) => State::SynReceived,
        (TCP, other) if other & tcp::RST != 0 => State::Reset,
        (TCP, _) => State::Adopted,
        _ => State::Unreplied,
    };
    flows::publish(number, state, hash, now);
    if let Some(line) = count::service(config, steered.service.id()) {
        ptr::by_mut(line).new_flows += 1;
    }
    Ok(number)
}

/// Writes the record of a new flow; the hash of its reverse tuple.
#[inline(always)]
fn fill<const V6: bool>(
    config: &Config,
    frame: Frame,
    steered: &Steered,
    flow: &mut Flow,
    now: u32,
) -> Option<u64> {
    let endpoint: &Endpoint = ptr::by_ref(maps::ENDPOINTS.get_ptr(steered.endpoint)?);
    flow.client = frame.load_address::<V6>(Layout::source(V6));
    flow.vip = frame.load_address::<V6>(Layout::destination(V6));
    flow.client_port = frame.load_u16(Layout::transport(V6));
    flow.vip_port = frame.load_u16(Layout::transport(V6) + 2);
    flow.endpoint_port = endpoint.port;
    flow.mapped_port = flow.client_port;
    flow.protocol = steered.protocol;
    flow.family = if V6 { 6 } else { 4 };
    flow.interface = steered.slot;
    flow.flags = if steered.by_gue { Flow::FROM_GUE } else { 0 };
    flow.service = steered.service.id();
    flow.sender_node = steered.sender;
    flow.expected_ack = 0;
    flow.created = now;
    ptr::copy_address(&raw mut flow.endpoint, &raw const endpoint.address);
    flow.row = steered.hash as u32 & steered.service.shape().rows().saturating_sub(1);
    let hash = Tuple::of(flow).hash::<V6>(config);
    flow.reverse_tag = (hash >> 32) as u32;
    Some(hash)
}
