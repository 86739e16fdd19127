//! To a pod of this node: the flow's state decides, or makes one; the destination is translated and the stack
//! does the rest, so that any CNI and its policies see the client's own address.

use lb_common::{
    TCP, UDP,
    config::Config,
    endpoint::Endpoint,
    filter,
    flow::{Flow, State},
    headers::Nested as _,
    packet::{Layout, Packet as _},
    service::ServiceValue,
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count,
    flows::{self, Found},
    hook::Context,
    lookup, maps,
    ptr::{self, Frame},
    rooms, translate, way_back,
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
pub(crate) struct Steered {
    pub(crate) protocol: u8,
    pub(crate) hash: u64,
    /// Low half of the hash that chose the row.
    pub(crate) row_hash: u32,
    /// Both ports, as they lie in the transport header.
    pub(crate) ports: u32,
    pub(crate) service: ServiceValue,
    /// Index in `endpoints` of the row's endpoint.
    pub(crate) endpoint: u32,
    pub(crate) by_gue: bool,
    /// Index of the node that sent it, if by GUE.
    pub(crate) sender: u16,
    /// The row's endpoint is on this node: a flow that is not known may be made.
    is_local: bool,
    /// Slot of the uplink.
    pub(crate) slot: u8,
    /// A fragment without a transport header.
    is_later: bool,
}

impl Steered {
    /// What the packet's record says.
    #[inline(always)]
    pub(crate) fn of(walk: &Walk) -> Self {
        Self {
            protocol: walk.protocol,
            hash: walk.hash,
            row_hash: walk.row_hash(),
            ports: walk.ports,
            service: ServiceValue(walk.service),
            endpoint: walk.endpoint,
            by_gue: walk.has(Walk::BY_GUE),
            sender: walk.sender,
            is_local: walk.has(Walk::IS_LOCAL),
            slot: walk.slot,
            is_later: walk.is_later_fragment(),
        }
    }
}

/// Where a packet's headers are.
#[derive(Clone, Copy)]
pub(crate) struct Headers {
    /// From the MACs on.
    pub(crate) whole: Frame,
    /// As if untagged.
    pub(crate) frame: Frame,
    /// From the transport header on. A later fragment has none; what is here then is not looked at.
    transport: Frame,
}

impl Headers {
    /// Those of a packet for a service port; `None` if it is shorter than they are.
    #[inline(always)]
    pub(crate) fn of<const V6: bool>(ctx: &Context, walk: &Walk) -> Option<Self> {
        let transport_at = if walk.is_later_fragment() {
            walk.ip_at
        } else {
            walk.transport_at
        };
        let headers = Self {
            whole: Frame::of(ctx),
            frame: Frame::untagged(ctx, walk),
            transport: Frame::of(ctx).beyond(usize::from(transport_at)),
        };
        let are_there = headers.frame.has(Layout::transport(V6)) && headers.transport.has(8);
        are_there.then_some(headers)
    }

    /// Rewrites destination address and ports for the flow's pod.
    #[inline(always)]
    pub(crate) fn translate<const V6: bool>(
        &self,
        ctx: &Context,
        walk: &Walk,
        steered: &Steered,
        flow: &Flow,
    ) {
        let transport = (!steered.is_later).then_some(self.transport);
        translate::destination::<V6>(ctx, walk, self.frame, transport, flow);
    }

    /// Flags, sequence number and acknowledgement number of a TCP segment; zero for UDP, and for a fragment that has none.
    #[inline(always)]
    pub(crate) fn tcp_fields(&self, steered: &Steered) -> (u8, [u32; 2]) {
        if steered.protocol != TCP || steered.is_later || !self.transport.has(20) {
            return (0, [0; 2]);
        }
        let number = |at| u32::from_be(self.transport.load_u32(at));
        (
            self.transport.load_u8(tcp::FLAGS_AT),
            [number(tcp::SEQUENCE_AT), number(tcp::ACKNOWLEDGEMENT_AT)],
        )
    }
}

/// The program of the room: delivers a packet to the endpoint of its flow, or of its row if the flow is new.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &Context) -> u32 {
    let (Some(walk), Some(config)) = (rooms::walk(), maps::config()) else {
        return count::drop(Verdict::TableInconsistent);
    };
    let steered = Steered::of(walk);
    let service = steered.service.id();
    let Some(headers) = Headers::of::<V6>(ctx, walk) else {
        return count::drop_of(config, service, Verdict::Malformed);
    };
    match deliver::<V6>(ctx, headers, config, walk, &steered) {
        Ok(Next::Pass { number }) if steered.service.has(ServiceValue::AFFINITY) => {
            walk.flow = number;
            rooms::enter(ctx, Room::Keep)
        }
        Ok(Next::Pass { .. }) => count::pass(Verdict::Delivered),
        Ok(Next::Clamp { number }) => {
            walk.flow = number;
            rooms::enter(ctx, Room::Clamp)
        }
        Ok(Next::Create { replaced }) => {
            walk.replaced = replaced;
            rooms::enter(ctx, Room::NewFlow)
        }
        Ok(Next::Promote { number }) => {
            walk.flags |= Walk::PROVEN;
            walk.replaced = number + 1;
            rooms::enter(ctx, Room::NewFlow)
        }
        Ok(Next::Forward) if walk.reason != 0 => rooms::without_endpoint::<V6>(ctx, walk),
        Ok(Next::Forward) => rooms::enter_by_family::<V6>(ctx, Room::ForwardV4, Room::ForwardV6),
        Err(reason) => count::drop_of(config, service, reason),
    }
}

/// What becomes of a packet.
enum Next {
    /// Translated for the flow of this number: the stack does the rest.
    Pass { number: u32 },
    /// As `Pass`, but its MSS is to be lowered first.
    Clamp { number: u32 },
    /// Its flow is to be made; `replaced` as [`Walk::replaced`].
    Create { replaced: u32 },
    /// Its flow is to move to the established ones.
    Promote { number: u32 },
    /// The flow is not known here, and its row leads elsewhere.
    Forward,
}

#[inline(always)]
fn deliver<const V6: bool>(
    ctx: &Context,
    headers: Headers,
    config: &Config,
    walk: &Walk,
    steered: &Steered,
) -> Result<Next, Verdict> {
    let (flags, numbers) = headers.tcp_fields(steered);
    let now = flows::now(config);
    let known = flows::find::<V6, false>(config, headers.frame, walk, now);
    let (found, replaced) = match known {
        Some(found) if opens_anew(found, flags) || has_lost_its_endpoint::<V6>(steered, found) => {
            (None, found.number + 1)
        }
        other => (other, 0),
    };
    let Some(found) = found else {
        return Ok(if steered.is_local {
            Next::Create { replaced }
        } else {
            Next::Forward
        });
    };
    if advance(config, found, flags, numbers, now) {
        let number = found.number;
        return Ok(Next::Promote { number });
    }
    let number = found.number;
    let flow = flows::record_mut(number).ok_or(Verdict::TableInconsistent)?;
    let is_returned = flow.flags & Flow::RETURN != 0;
    if flow.interface != steered.slot || is_returned {
        way_back::note(headers.whole, steered, flow);
    }
    headers.translate::<V6>(ctx, walk, steered, flow);
    if is_returned && flags & tcp::SYN != 0 {
        return Ok(Next::Clamp { number });
    }
    Ok(Next::Pass { number })
}

/// A SYN on a flow that was closed begins another.
#[inline(always)]
fn opens_anew(found: Found, flags: u8) -> bool {
    let closed =
        found.meta.state() == State::Closing as u32 || found.meta.state() == State::Reset as u32;
    closed && flags & (tcp::SYN | tcp::ACK) == tcp::SYN
}

/// Whether the flow's endpoint is gone: for a TCP flow no endpoint of the service any more, so that the row's will reset
/// what nobody answers; for a UDP flow one that gets no new flows, if there is another. Asked only where the row leads
/// elsewhere, or nowhere.
#[inline(always)]
fn has_lost_its_endpoint<const V6: bool>(steered: &Steered, found: Found) -> bool {
    let (Some(globals), Some(flow)) = (maps::globals(), flows::record(found.number)) else {
        return false;
    };
    let (mut difference, mut protocol) = (1, flow.protocol);
    if let Some(row) = maps::ENDPOINTS.get_ptr(steered.endpoint) {
        let row: &Endpoint = ptr::by_ref(row);
        difference = u32::from(flow.endpoint_port ^ row.port)
            | lookup::difference::<V6>(&flow.endpoint, &row.address);
        if protocol == UDP {
            protocol = UDP | filter::SERVES;
        }
    }
    difference != 0
        && !lookup::may_be_endpoint::<V6>(globals, &flow.endpoint, flow.endpoint_port, protocol)
}

/// Notes a client's packet of a known flow. True if it proves the flow, which is embryonic still.
#[inline(always)]
fn advance(
    config: &Config,
    found: Found,
    flags: u8,
    [sequence, acknowledges]: [u32; 2],
    now: u32,
) -> bool {
    let state = found.meta.state();
    let is_embryonic = flows::is_embryonic(config, found.number);
    let next = if flags & tcp::RST != 0 {
        reset(found.number, sequence).map_or(state, |state| state as u32)
    } else if is_embryonic {
        if state != State::Reset as u32 && is_proven(found, acknowledges) {
            return true;
        }
        state
    } else if flags & tcp::FIN != 0 {
        State::Closing as u32
    } else {
        state
    };
    flows::touch(found, next, now);
    false
}

/// Both sides have spoken, TCP's by the right numbers: nobody does that from a forged address.
#[inline(always)]
fn is_proven(found: Found, acknowledges: u32) -> bool {
    flows::record(found.number).is_some_and(|flow| {
        let handshake = found.meta.state() == State::SynReceived as u32;
        flow.flags & Flow::REPLIED != 0 && (!handshake || acknowledges == flow.expected_ack)
    })
}

/// Bytes that a client may be ahead of what the pod has acknowledged: a receive window, generously.
const WINDOW_BYTES: u32 = 1 << 20;

/// What a client's RST makes of a flow: one that the pod cannot believe changes nothing, one that it may only challenge
/// counts until the pod goes on (RFC 5961 section 3.2).
#[inline(always)]
fn reset(number: u32, sequence: u32) -> Option<State> {
    let flow = flows::record_mut(number)?;
    let ahead = sequence.wrapping_sub(flow.endpoint_ack);
    if flow.flags & Flow::REPLIED == 0 || ahead >= WINDOW_BYTES {
        return None;
    }
    if ahead != 0 {
        flow.flags |= Flow::RESET_IN_DOUBT;
    }
    Some(State::Reset)
}
