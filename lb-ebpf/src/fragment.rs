//! The room of fragments: to their home, which knows the ports of a datagram from its first part and goes on like an
//! ingress node, but by GUE alone; so does every node that a part comes to by GUE, which is never sent home again. Parts that
//! overtake the first, overlap what has come, or are too small for a transport header are dropped.

use lb_common::{
    TCP,
    config::Config,
    fragment::{self, DATAGRAMS_PER_LINE, Datagram, FragmentLine},
    headers::{self, Fragment, Nested as _},
    packet::{Header, Layout, Packet as _},
    verdict::Verdict,
    walk::{Room, Walk},
};

use crate::{
    count, flows, forward,
    hook::Context,
    lookup, maps,
    ptr::{self, Frame},
    rooms, steer,
};

/// Bytes of the largest datagram.
const DATAGRAM_BYTES_MAX: u32 = 0xffff;

/// The program of the room.
#[inline(always)]
pub(crate) fn enter(ctx: &Context) -> u32 {
    let (Some(walk), Some(config)) = (rooms::walk(), maps::config()) else {
        return count::drop(Verdict::TableInconsistent);
    };
    if walk.has(Walk::V6) {
        receive::<true>(ctx, config, walk)
    } else {
        receive::<false>(ctx, config, walk)
    }
}

#[inline(always)]
fn receive<const V6: bool>(ctx: &Context, config: &Config, walk: &mut Walk) -> u32 {
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(Layout::transport(V6)) {
        return rooms::answer::<V6>(ctx, walk, Verdict::Malformed);
    }
    let pair = pair::<V6>(config, frame, walk.protocol);
    if walk.has(Walk::BY_GUE) {
        if !steer::tag_is_valid(config, walk, pair) {
            return count::drop(Verdict::GueBadTag);
        }
    } else if let Some(home) = other_home(config, pair) {
        walk.node = home;
        return rooms::enter_by_family::<V6>(ctx, Room::ForwardV4, Room::ForwardV6);
    }
    match ports::<V6>(ctx, config, walk, pair) {
        Ok(ports) => {
            walk.ports = ports;
            rooms::enter_by_family::<V6>(ctx, Room::SteerV4, Room::SteerV6)
        }
        Err(reason) => rooms::answer::<V6>(ctx, walk, reason),
    }
}

/// What all parts between two hosts have in common: the flow hash without ports.
#[inline(always)]
pub(crate) fn pair<const V6: bool>(config: &Config, frame: Frame, protocol: u8) -> u64 {
    let header = Header {
        source: frame.load_address::<V6>(Layout::source(V6)),
        destination: frame.load_address::<V6>(Layout::destination(V6)),
        ports: 0,
        protocol,
        hop_limit: 0,
        ip_bytes: 0,
    };
    lookup::flow_hash::<V6>(config, &header)
}

/// The node that is home to the pair, if that is another one that can be reached.
#[inline(always)]
fn other_home(config: &Config, pair: u64) -> Option<u16> {
    let (word, shift) = fragment::home(pair);
    let home = (*maps::HOMES.get(word)? >> shift) as u16;
    let node = maps::node_of(maps::globals()?, home);
    (home != config.own_node && forward::is_ready(node)).then_some(home)
}

/// The ports of the datagram: the first part says them, for the later ones they are remembered.
#[inline(always)]
fn ports<const V6: bool>(
    ctx: &Context,
    config: &Config,
    walk: &Walk,
    pair: u64,
) -> Result<u32, Verdict> {
    let offset = u32::from(walk.fragment_place >> 3);
    let bytes = u32::from(walk.ip_bytes - (walk.transport_at - walk.ip_at));
    let more = walk.fragment_place & Fragment::MORE != 0;
    if bytes == 0 || more && bytes % 8 != 0 || offset * 8 + bytes > DATAGRAM_BYTES_MAX {
        return Err(Verdict::Malformed);
    }
    let tag = fragment::tag(pair, walk.fragment_id);
    let now = flows::now(config);
    let end = (offset + bytes.div_ceil(8)) as u16;
    if offset == 0 {
        let ports = first_ports(ctx, walk, bytes)?;
        table::fragment_remember(tag, Datagram::new(tag, ports, end, now).0, now);
        return Ok(ports);
    }
    if offset * 8 < headers::transport_bytes(walk.protocol) as u32 {
        return Err(Verdict::FragmentOverlap);
    }
    let datagram = Datagram(table::fragment_find(tag, now));
    if datagram.0 == 0 {
        return Err(Verdict::FragmentUnknown);
    }
    if offset < u32::from(datagram.end()) {
        return Err(Verdict::FragmentOverlap);
    }
    if offset == u32::from(datagram.end()) {
        table::fragment_remember(tag, datagram.up_to(end).0, now);
    }
    Ok(datagram.ports())
}

/// A first part must hold the whole transport header (RFC 1858 section 3, RFC 7112).
#[inline(always)]
fn first_ports(ctx: &Context, walk: &Walk, bytes: u32) -> Result<u32, Verdict> {
    let transport = Frame::of(ctx).beyond(usize::from(walk.transport_at));
    let ports = if walk.protocol == TCP {
        headers::tcp_ports(&transport, bytes as usize)
    } else {
        headers::udp_ports(&transport, bytes as usize, false)
    };
    ports.ok_or(Verdict::FragmentTiny)
}

/// The table of datagrams. Global functions of numbers, as those of [`crate::flows`].
mod table {
    use super::{DATAGRAMS_PER_LINE, Datagram, FragmentLine, fragment, maps, ptr};

    /// The datagram with this tag; 0 if there is none.
    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn fragment_find(tag: u64, now: u32) -> u64 {
        let Some(line) = maps::FRAGMENTS.get_ptr_mut(fragment::line(tag)) else {
            return 0;
        };
        for place in 0..DATAGRAMS_PER_LINE {
            let (key, value) = words(line, place);
            let datagram = Datagram(ptr::load_word(value));
            if ptr::load_word(key) == tag && datagram.counts(tag, now) {
                return datagram.0;
            }
        }
        0
    }

    /// Takes the datagram's own place, a free one, or the oldest one's. The tag comes last. 0 always.
    #[unsafe(no_mangle)]
    #[inline(never)]
    pub(super) extern "C" fn fragment_remember(tag: u64, datagram: u64, now: u32) -> u32 {
        let Some(line) = maps::FRAGMENTS.get_ptr_mut(fragment::line(tag)) else {
            return 0;
        };
        let (mut chosen, mut oldest) = (0, 0);
        for place in 0..DATAGRAMS_PER_LINE {
            let (key, value) = words(line, place);
            let age = match ptr::load_word(key) {
                0 => 0x100,
                other if other == tag => 0x101,
                _ => Datagram(ptr::load_word(value)).age(now),
            };
            if age >= oldest {
                (chosen, oldest) = (place, age);
            }
        }
        let (key, value) = words(line, ptr::opaque(chosen));
        ptr::store_word(value, datagram);
        ptr::store_word(key, tag);
        0
    }

    #[inline(always)]
    fn words(line: *mut FragmentLine, place: u32) -> (*mut u64, *mut u64) {
        let place = (place & (DATAGRAMS_PER_LINE - 1)) as usize;
        let first = line.cast::<u64>().wrapping_add(place * 2);
        (first, first.wrapping_add(1))
    }
}
