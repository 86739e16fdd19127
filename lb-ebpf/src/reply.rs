//! The answers of a VIP, each made of the frame that draws it: an echo reply, a reset, an ICMP error with the packet's
//! first bytes. Only the MACs are still as they came. Global functions, one a family: the verifier walks each once,
//! whatever led to it.

use lb_common::{
    Address, TCP,
    checksum::{self, Delta},
    headers::{self, Nested as _},
    packet::{
        ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_BYTES, IPV6_BYTES, Layout, Packet as _,
    },
    walk::Walk,
};

use crate::{
    deliver::tcp,
    ethernet,
    hook::{self, Context, Raw},
    ptr::{self, Frame},
    rooms, tokens,
};

/// IP protocol numbers (IANA).
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Shortest frame on Ethernet without its check sequence.
const FRAME_BYTES_MIN: usize = 60;
/// TTL and hop limit of what a VIP sends itself (RFC 1700's default).
const HOP_LIMIT: u8 = 64;
/// ICMP header.
const ICMP_BYTES: usize = 8;
/// Where a transport header has its checksum.
const TCP_CHECKSUM_AT: usize = 16;
const UDP_CHECKSUM_AT: usize = 6;
/// Words of what an error quotes at most: the IP header with its options, or with extension headers of 64 bytes, and the
/// eight bytes behind it (RFC 792).
const QUOTE_WORDS_V4: usize = (60 + 8) / 4;
const QUOTE_WORDS_V6: usize = (IPV6_BYTES + 64 + 8) / 4;

macro_rules! by_family {
    ($($(#[$doc:meta])* $name:ident($($argument:ident),*): $v4:ident, $v6:ident, $make:ident;)*) => {
        $(
            $(#[$doc])*
            #[inline(always)]
            pub(crate) fn $name<const V6: bool>(ctx: &Context, $($argument: u32),*) -> bool {
                let made = if V6 {
                    $v6(hook::raw(ctx), $($argument),*)
                } else {
                    $v4(hook::raw(ctx), $($argument),*)
                };
                made != 0
            }

            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $v4(ctx: *mut Raw, $($argument: u32),*) -> u32 {
                u32::from($make::<false>(&Context::new(ctx), $($argument),*).is_some())
            }

            #[unsafe(no_mangle)]
            #[inline(never)]
            extern "C" fn $v6(ctx: *mut Raw, $($argument: u32),*) -> u32 {
                u32::from($make::<true>(&Context::new(ctx), $($argument),*).is_some())
            }
        )*
    };
}

by_family! {
    /// Answers an echo request; false if it is none, or there has been enough.
    echo(): echo_v4, echo_v6, make_echo;
    /// Answers a TCP segment by a reset (RFC 9293 3.10.7.1); false if it is a reset itself, or there has been enough.
    reset(): reset_v4, reset_v6, make_reset;
    /// Answers by an ICMP error of a type and code, in the upper and lower byte; false if there has been enough.
    error(kind_code, mtu_bytes): error_v4, error_v6, make_error;
}

/// Takes a token.
#[inline(always)]
fn may_answer() -> bool {
    tokens::token_of_vip() != 0
}

/// The packet as if untagged, and from its transport header on, of which eight bytes are there.
#[inline(always)]
fn frames<const V6: bool>(ctx: &Context, walk: &Walk) -> Option<(Frame, Frame)> {
    let frame = Frame::untagged(ctx, walk);
    let transport = Frame::of(ctx).beyond(usize::from(walk.transport_at));
    (frame.has(Layout::transport(V6)) && transport.has(8)).then_some((frame, transport))
}

/// An echo request becomes its reply: types differ, so the checksum does by their difference alone; exchanging
/// the addresses leaves sums as they are. Options and extension headers go back as they came.
#[inline(always)]
fn make_echo<const V6: bool>(ctx: &Context) -> Option<()> {
    let (frame, icmp) = frames::<V6>(ctx, rooms::walk()?)?;
    let (request, reply) = if V6 { (128, 129) } else { (8, 0) };
    if icmp.load_u8(0) != request || icmp.load_u8(1) != 0 || !may_answer() {
        return None;
    }
    let delta = Delta::new().half(
        u16::from_ne_bytes([request, 0]),
        u16::from_ne_bytes([reply, 0]),
    );
    icmp.store_u8(0, reply);
    icmp.store_u16(2, delta.apply(icmp.load_u16(2)));
    let (source, destination) = frame.load_addresses::<V6>(Layout::source(V6));
    frame.store_address::<V6>(Layout::source(V6), &destination);
    frame.store_address::<V6>(Layout::destination(V6), &source);
    let hop_limit = Layout::hop_limit(V6);
    if !V6 {
        // TTL is the first byte of its word, the protocol the second.
        let (old, new) = ([frame.load_u8(hop_limit), ICMP], [HOP_LIMIT, ICMP]);
        let delta = Delta::new().half(u16::from_ne_bytes(old), u16::from_ne_bytes(new));
        frame.store_u16(
            ETHERNET_BYTES + 10,
            delta.apply(frame.load_u16(ETHERNET_BYTES + 10)),
        );
    }
    frame.store_u8(hop_limit, HOP_LIMIT);
    Some(())
}

#[inline(always)]
fn make_reset<const V6: bool>(ctx: &Context) -> Option<()> {
    let walk = rooms::walk()?;
    let unfinished = hook::unfinished(ctx, usize::from(walk.transport_at) + TCP_CHECKSUM_AT);
    let (frame, segment) = frames::<V6>(ctx, walk)?;
    if !segment.has(20) {
        return None;
    }
    let flags = segment.load_u8(tcp::FLAGS_AT);
    if flags & tcp::RST != 0 || !may_answer() {
        return None;
    }
    let header =
        u32::from(walk.transport_at - walk.ip_at) + u32::from(segment.load_u8(12) >> 4) * 4;
    let length = u32::from(walk.ip_bytes).wrapping_sub(header)
        + u32::from(flags & tcp::SYN != 0)
        + u32::from(flags & tcp::FIN != 0);
    let (sequence, acknowledgement, flags) = if flags & tcp::ACK != 0 {
        (segment.load_u32(tcp::ACKNOWLEDGEMENT_AT), 0, tcp::RST)
    } else {
        let received = u32::from_be(segment.load_u32(tcp::SEQUENCE_AT));
        (
            0,
            received.wrapping_add(length).to_be(),
            tcp::RST | tcp::ACK,
        )
    };
    let ports = segment.load_u32(0).rotate_left(16);
    let (client, vip) = frame.load_addresses::<V6>(Layout::source(V6));
    let at = Layout::transport(V6);
    if unfinished.is_none() {
        trim(ctx, frame, (at + 20).max(FRAME_BYTES_MIN))?;
    } else {
        // What finishes the checksum counts from where the segment's header was to the end.
        let is_plain = usize::from(walk.transport_at - walk.ip_at) == at - ETHERNET_BYTES;
        is_plain.then(|| trim(ctx, frame, at + 20))??;
    }
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(at + 20) {
        return None;
    }
    store_ip::<V6>(frame, &vip, &client, TCP, 20);
    frame.store_u32(at, ports);
    frame.store_u32(at + 4, sequence);
    frame.store_u32(at + 8, acknowledgement);
    frame.store_u32(at + 12, u32::from_ne_bytes([0x50, flags, 0, 0]));
    frame.store_u32(at + 16, 0);
    let pseudo = pseudo_sum::<V6>(&vip, &client, TCP, 20);
    let checksum = if unfinished.is_none() {
        !checksum::fold(pseudo + sum_of::<5>(frame, at))
    } else {
        checksum::fold(pseudo)
    };
    frame.store_u16(at + TCP_CHECKSUM_AT, checksum);
    Some(())
}

/// Puts an ICMP error in front of the packet's first bytes and cuts off the rest.
#[inline(always)]
fn make_error<const V6: bool>(ctx: &Context, kind_code: u32, mtu_bytes: u32) -> Option<()> {
    let walk = rooms::walk()?;
    let is_tcp = walk.protocol == TCP;
    let checksum_at = if is_tcp {
        TCP_CHECKSUM_AT
    } else {
        UDP_CHECKSUM_AT
    };
    let unfinished = hook::unfinished(ctx, usize::from(walk.transport_at) + checksum_at);
    let (frame, _) = frames::<V6>(ctx, walk)?;
    let quote = usize::from(walk.transport_at - walk.ip_at) + 8;
    let most = if V6 { QUOTE_WORDS_V6 } else { QUOTE_WORDS_V4 } * 4;
    if quote > most || !may_answer() {
        return None;
    }
    let (client, vip) = frame.load_addresses::<V6>(Layout::source(V6));
    let room = Layout::transport(V6) - ETHERNET_BYTES + ICMP_BYTES;
    if !hook::grow(ctx, room) {
        return None;
    }
    let ethertype = if V6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
    ethernet::move_header(Frame::of(ctx), room, 0, ptr::tag_bytes(walk), ethertype)?;
    let (quote, summed, least) = match unfinished {
        None => (quote, quote, FRAME_BYTES_MIN),
        // The header with the checksum, and not a byte behind it.
        Some(_) => (
            quote - 8 + headers::transport_bytes(walk.protocol),
            quote - 8,
            0,
        ),
    };
    let end = ETHERNET_BYTES + room + quote;
    trim(ctx, Frame::untagged(ctx, walk), end.max(least))?;
    let frame = Frame::untagged(ctx, walk);
    let at = Layout::transport(V6);
    if !frame.has(at + ICMP_BYTES) {
        return None;
    }
    let bytes = (ICMP_BYTES + quote) as u16;
    let protocol = if V6 { ICMPV6 } else { ICMP };
    store_ip::<V6>(frame, &vip, &client, protocol, bytes);
    frame.store_u32(
        at,
        (kind_code >> 8 & 0xff | kind_code << 8 & 0xff00).to_le(),
    );
    // "Next-hop MTU" is the last half of the word in ICMP (RFC 1191), the whole word in ICMPv6.
    frame.store_u32(at + 4, mtu_bytes.to_be());
    let quoted = if V6 {
        quote_sum_v6(hook::raw(ctx), summed as u32)
    } else {
        quote_sum_v4(hook::raw(ctx), summed as u32)
    };
    let pseudo = if V6 {
        pseudo_sum::<true>(&vip, &client, ICMPV6, bytes)
    } else {
        0
    };
    let sum = pseudo + sum_of::<{ ICMP_BYTES / 4 }>(frame, at) + quoted;
    // Once it is finished, what the checksum covers adds up to the complement of what is in its place now.
    let sum = sum + unfinished.map_or(0, |checksum| u64::from(!checksum));
    frame.store_u16(at + 2, !checksum::fold(sum));
    Some(())
}

/// Sum of the words that an error quotes, which has just been made; `bytes` is a multiple of four.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn quote_sum_v4(ctx: *mut Raw, bytes: u32) -> u64 {
    quote_sum::<false, QUOTE_WORDS_V4>(&Context::new(ctx), bytes as usize)
}

/// As [`quote_sum_v4`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn quote_sum_v6(ctx: *mut Raw, bytes: u32) -> u64 {
    quote_sum::<true, QUOTE_WORDS_V6>(&Context::new(ctx), bytes as usize)
}

#[inline(always)]
fn quote_sum<const V6: bool, const WORDS: usize>(ctx: &Context, bytes: usize) -> u64 {
    let Some(walk) = rooms::walk() else { return 0 };
    let frame = Frame::untagged(ctx, walk);
    let first = Layout::transport(V6) + ICMP_BYTES;
    let mut sum = 0;
    for word in 0..WORDS {
        let at = first + word * 4;
        if word * 4 >= bytes || !frame.has(at + 4) {
            break;
        }
        sum += u64::from(frame.load_u32(at));
    }
    sum
}

/// Cuts the frame to a length, if it is longer. It is to be looked at anew.
#[inline(always)]
pub(crate) fn trim(ctx: &Context, frame: Frame, bytes: usize) -> Option<()> {
    let surplus = ptr::opaque(frame.len()).saturating_sub(bytes as u64) as i32;
    (surplus <= 0 || hook::move_tail(ctx, -surplus)).then_some(())
}

/// A fresh IP header, with its checksum; `bytes` of payload.
#[inline(always)]
fn store_ip<const V6: bool>(
    frame: Frame,
    source: &Address,
    destination: &Address,
    protocol: u8,
    bytes: u16,
) {
    let at = ETHERNET_BYTES;
    if V6 {
        frame.store_u32(at, u32::from_ne_bytes([0x60, 0, 0, 0]));
        frame.store_u16(at + 4, bytes.to_be());
        frame.store_u16(at + 6, u16::from_ne_bytes([protocol, HOP_LIMIT]));
    } else {
        let total = bytes + IPV4_BYTES as u16;
        frame.store_u16(at, u16::from_ne_bytes([0x45, 0]));
        frame.store_u16(at + 2, total.to_be());
        frame.store_u32(at + 4, u32::from_ne_bytes([0, 0, 0x40, 0]));
        frame.store_u32(at + 8, u32::from_ne_bytes([HOP_LIMIT, protocol, 0, 0]));
    }
    frame.store_address::<V6>(Layout::source(V6), source);
    frame.store_address::<V6>(Layout::destination(V6), destination);
    if !V6 {
        frame.store_u16(at + 10, !checksum::fold(sum_of::<5>(frame, at)));
    }
}

#[inline(always)]
fn pseudo_sum<const V6: bool>(
    source: &Address,
    destination: &Address,
    protocol: u8,
    bytes: u16,
) -> u64 {
    let words = if V6 { 4 } else { 1 };
    let mut sum = u64::from(bytes.to_be()) + u64::from(u16::from(protocol).to_be());
    for word in 0..words {
        sum += u64::from(source[word]) + u64::from(destination[word]);
    }
    sum
}

/// Sum of whole words of the frame, which must have them.
#[inline(always)]
fn sum_of<const WORDS: usize>(frame: Frame, at: usize) -> u64 {
    let mut sum = 0;
    for word in 0..WORDS {
        sum += u64::from(frame.load_u32(at + word * 4));
    }
    sum
}

/// Sends the frame back where it came from.
#[inline(always)]
pub(crate) fn swap_macs(frame: Frame) {
    if !frame.has(ETHERNET_BYTES) {
        return;
    }
    let (to, to_end) = (frame.load_u32(0), frame.load_u16(4));
    let (from, from_end) = (frame.load_u16(6), frame.load_u32(8));
    frame.store_u16(0, from);
    frame.store_u32(2, from_end);
    frame.store_u32(6, to);
    frame.store_u16(10, to_end);
}
