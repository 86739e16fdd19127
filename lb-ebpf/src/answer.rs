//! What a VIP answers itself, in place of a host: echo requests, closed ports (TCP reset, port unreachable),
//! an expired TTL, a packet too big for the way. Here is whether, and what; [`crate::reply`] makes it of the frame that
//! came, which goes back where it came from, under a token bucket per CPU. Nothing that a node has steered draws an
//! answer: its sender's tables are ahead of ours, or behind.

use lb_common::{
    TCP, UDP,
    config::{Config, Globals},
    martian,
    packet::{self, Layout, Packet as _},
    service::ServiceValue,
    verdict::Verdict,
    walk::Walk,
};

use crate::{
    count, forward,
    hook::{self, Context},
    lookup, maps,
    ptr::Frame,
    reply, rooms,
};

/// The program of the room: counts why a packet goes nowhere, and answers it if there is an answer. Only what is
/// addressed to a VIP may be dropped, or answered.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &Context) -> u32 {
    let (Some(walk), Some(globals)) = (rooms::walk(), maps::globals()) else {
        return count::drop(Verdict::TableInconsistent);
    };
    if walk.has(Walk::MAY_BE_VIP) && !is_for_vip::<V6>(ctx, walk) {
        return if walk.has(Walk::BY_GUE) {
            count::drop(Verdict::GueMalformed)
        } else {
            hook::PASS
        };
    }
    if walk.service != 0 {
        count::lost(&globals.config, ServiceValue(walk.service).id());
    }
    let dropped = count::drop_number(walk.reason);
    let answered = match due::<V6>(ctx, globals, walk) {
        Due::NOTHING => return dropped,
        Due::ECHO => (reply::echo::<V6>(ctx), Verdict::EchoAnswered),
        Due::RESET => (reply::reset::<V6>(ctx), Verdict::ResetSent),
        error => {
            let mtu_bytes = if walk.reason == TOO_BIG {
                next_hop_mtu::<V6>(globals, walk)
            } else {
                0
            };
            let made = reply::error::<V6>(ctx, error.0, mtu_bytes.into());
            (made, Verdict::ErrorSent)
        }
    };
    if !answered.0 {
        return dropped;
    }
    reply::swap_macs(Frame::of(ctx));
    count::verdict(answered.1);
    hook::send_back(maps::interface_of(globals, walk.slot.into()))
}

#[inline(always)]
fn is_for_vip<const V6: bool>(ctx: &Context, walk: &Walk) -> bool {
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(Layout::transport(V6)) {
        return false;
    }
    let destination = frame.load_address::<V6>(Layout::destination(V6));
    lookup::is_vip::<V6>(&destination)
}

/// The answer that a packet calls for; type and code of an ICMP error otherwise, as one number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Due(u32);

impl Due {
    const NOTHING: Self = Self(0);
    const ECHO: Self = Self(1);
    const RESET: Self = Self(2);

    /// Types are above zero, so that the number is above those.
    const fn error((kind, code): (u8, u8)) -> Self {
        Self((kind as u32) << 8 | code as u32)
    }
}

/// What is due to a packet that no node has steered, and that somebody can have sent.
#[inline(always)]
fn due<const V6: bool>(ctx: &Context, globals: &Globals, walk: &Walk) -> Due {
    let whole = Frame::of(ctx);
    let interface = maps::interface_of(globals, walk.slot.into());
    if walk.has(Walk::BY_GUE) || forward::is_of_a_node(whole, interface) {
        return Due::NOTHING;
    }
    let frame = Frame::untagged(ctx, walk);
    if globals.config.flags & silenced_by(walk.reason) != 0 || !frame.has(Layout::transport(V6)) {
        return Due::NOTHING;
    }
    let due = due_to::<V6>(walk);
    let source = frame.load_address::<V6>(Layout::source(V6));
    let destination = frame.load_address::<V6>(Layout::destination(V6));
    if due != Due::NOTHING && martian::is_martian::<V6>(&source, &destination) {
        count::verdict(Verdict::SourceMartian);
        return Due::NOTHING;
    }
    due
}

/// By reason and protocol. An ICMP error draws nothing, nor does a later fragment (RFC 1122 section 3.2.2); a reset would
/// have to acknowledge what is in other fragments.
#[inline(always)]
fn due_to<const V6: bool>(walk: &Walk) -> Due {
    if walk.has(Walk::IS_ERROR) {
        // Or anything else that is neither TCP nor UDP; whether it is an echo request is seen when it is answered.
        let may_be_echo = walk.reason == UNSUPPORTED && walk.protocol == packet::icmp_protocol(V6);
        return if may_be_echo { Due::ECHO } else { Due::NOTHING };
    }
    if walk.is_later_fragment() {
        return Due::NOTHING;
    }
    match (walk.reason, walk.protocol) {
        (NO_SUCH_PORT | NO_ENDPOINT, TCP) if walk.has(Walk::FRAGMENT) => Due::NOTHING,
        (NO_SUCH_PORT | NO_ENDPOINT, TCP) => Due::RESET,
        (NO_SUCH_PORT | NO_ENDPOINT, UDP) => Due::error(port_unreachable(V6)),
        (TTL_EXPIRED, TCP | UDP) => Due::error(time_exceeded(V6)),
        (TOO_BIG, TCP | UDP) => Due::error(too_big(V6)),
        _ => Due::NOTHING,
    }
}

/// What "too big" announces. An IPv6 host cuts nothing below 1280 bytes (RFC 8200 section 5).
#[inline(always)]
fn next_hop_mtu<const V6: bool>(globals: &Globals, walk: &Walk) -> u16 {
    let most_bytes = forward::most_bytes(globals, walk);
    if V6 {
        most_bytes.max(IPV6_MTU_BYTES_MIN)
    } else {
        most_bytes
    }
}

const IPV6_MTU_BYTES_MIN: u16 = 1280;
const NO_SUCH_PORT: u32 = Verdict::NoSuchPort as u32;
const NO_ENDPOINT: u32 = Verdict::NoEndpoint as u32;
const TTL_EXPIRED: u32 = Verdict::TtlExpired as u32;
const TOO_BIG: u32 = Verdict::TooBig as u32;
const UNSUPPORTED: u32 = Verdict::UnsupportedProtocol as u32;

/// The setting that forbids an answer. Of what is neither TCP nor UDP, only echo requests are answered.
const fn silenced_by(reason: u32) -> u32 {
    match reason {
        NO_SUCH_PORT | NO_ENDPOINT => Config::SILENT_ON_CLOSED_PORTS,
        UNSUPPORTED => Config::SILENT_ON_ECHO,
        _ => 0,
    }
}

/// Type and code (RFC 792, RFC 4443).
const fn port_unreachable(v6: bool) -> (u8, u8) {
    if v6 { (1, 4) } else { (3, 3) }
}

const fn time_exceeded(v6: bool) -> (u8, u8) {
    if v6 { (3, 0) } else { (11, 0) }
}

const fn too_big(v6: bool) -> (u8, u8) {
    if v6 { (2, 0) } else { (3, 4) }
}
