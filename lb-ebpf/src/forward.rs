//! To another node: a MAC rewrite where it is on-link and the packet comes from outside, GUE otherwise. The
//! way there is one row of `nodes`; nothing is asked of the kernel but headroom. The entry program does it at once for
//! a plain packet that no node has steered ([`plain`]); the room does it for all others.

use lb_common::{
    config::{Config, Globals},
    filter,
    gue::{self, GueHeader, OVERHEAD_V4_BYTES, OVERHEAD_V6_BYTES},
    interface::Interface,
    limits::{FRAGMENT_HOPS_MAX, HOPS_MAX},
    node::Node,
    packet::{self, ETHERNET_BYTES, Header, Layout, Packet as _},
    service::ServiceValue,
    verdict::Verdict,
    walk::Walk,
};

use crate::{
    count,
    encapsulate::{encapsulate, udp_checksum},
    fragment,
    hook::{self, Context},
    lookup, maps,
    ptr::{self, Frame},
    rooms,
};

/// Whether the frame's source MAC may be another node's, which few others' may.
#[inline(always)]
pub(crate) fn may_be_of_a_node(frame: Frame, interface: &Interface) -> bool {
    let (word, bit) = filter::mac_bit(packet::source_mac(&frame));
    interface.node_mac_filter[word] & bit != 0
}

/// Whether the frame's source MAC is another node's.
#[inline(always)]
pub(crate) fn is_of_a_node(frame: Frame, interface: &Interface) -> bool {
    frame.has(ETHERNET_BYTES)
        && may_be_of_a_node(frame, interface)
        && lookup::is_node_mac(packet::source_mac(&frame))
}

/// The way of a packet without tags, options or extensions that no node has steered. `None` if it cannot simply be sent
/// there; why, the room finds out.
#[inline(always)]
pub(crate) fn way<'a, const V6: bool>(
    ctx: &Context,
    frame: Frame,
    globals: &'a Globals,
    node: u16,
) -> Option<&'a Node> {
    let node = ready(globals, frame.load_u8(Layout::hop_limit(V6)), node).ok()?;
    let ip_bytes = hook::longest_ip_bytes(
        ctx,
        frame,
        packet::protocol::<V6, _>(&frame),
        (Layout::transport(V6) - ETHERNET_BYTES) as u16,
        packet::ip_bytes::<V6, _>(&frame),
    );
    fits(node, ip_bytes, !node.is_direct()).ok()?;
    Some(node)
}

/// Sends such a packet that has a [`way`]. `None` if there is no room for an outer header.
#[inline(always)]
pub(crate) fn plain<const V6: bool>(
    ctx: &Context,
    frame: Frame,
    globals: &Globals,
    interface: &Interface,
    hash: u64,
    node: &Node,
) -> Option<u32> {
    decrement_hop_limit::<V6>(frame);
    if node.is_direct() {
        store_macs(frame, node);
        return Some(transmit(interface, node));
    }
    let config = &globals.config;
    let carried = Carried {
        gue: GueHeader {
            tag: gue::tag_with(config.gue_key[0], hash, config.first_tag_term),
            ..GueHeader::untagged(inner_protocol(V6), 0, config.own_id)
        },
        oddity: 0,
        tag_bytes: 0,
    };
    let header = &packet::fields::<V6, _>(&frame);
    by_gue::<V6>(ctx, frame, config, header, hash, node, &carried).ok()?;
    Some(transmit(interface, node))
}

/// The program of the room.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &Context) -> u32 {
    let Some(walk) = rooms::walk() else {
        return count::drop(Verdict::TableInconsistent);
    };
    match onward::<V6>(ctx, walk) {
        Ok(action) => action,
        Err(reason) => rooms::answer::<V6>(ctx, walk, reason),
    }
}

#[inline(always)]
fn onward<const V6: bool>(ctx: &Context, walk: &mut Walk) -> Result<u32, Verdict> {
    let globals = maps::globals().ok_or(Verdict::TableInconsistent)?;
    let config = &globals.config;
    let interface = maps::interface_of(globals, walk.slot.into());
    let frame = Frame::untagged(ctx, walk);
    // The last part of a datagram may be shorter than a transport header.
    if !frame.has(Layout::transport(V6)) {
        return Err(Verdict::Malformed);
    }
    let header = Header {
        source: frame.load_address::<V6>(Layout::source(V6)),
        destination: frame.load_address::<V6>(Layout::destination(V6)),
        ports: 0,
        protocol: walk.protocol,
        hop_limit: frame.load_u8(Layout::hop_limit(V6)),
        ip_bytes: walk.ip_bytes,
    };
    let node = match ready(globals, header.hop_limit, walk.node) {
        Err(Verdict::NodeUnresolved) if !walk.steered_before() => detour(globals, walk)?,
        ready => ready?,
    };
    let by_mac = goes_by_mac(walk, node);
    let ip_bytes = hook::longest_ip_bytes(
        ctx,
        frame,
        walk.protocol,
        walk.transport_at - walk.ip_at,
        walk.ip_bytes,
    );
    if by_mac {
        fits(node, ip_bytes, false)?;
        let whole = Frame::of(ctx);
        if !whole.has(ETHERNET_BYTES) {
            return Err(Verdict::Malformed);
        }
        decrement_hop_limit::<V6>(frame);
        store_macs(whole, node);
    } else {
        let hash = if walk.has(Walk::FRAGMENT) {
            fragment::pair::<V6>(config, frame, walk.protocol)
        } else {
            walk.hash
        };
        let carried = Carried::of::<V6>(walk, config, hash)?;
        fits(node, ip_bytes, true)?;
        decrement_hop_limit::<V6>(frame);
        by_gue::<V6>(ctx, frame, config, &header, hash, node, &carried)?;
    }
    if walk.service == 0 {
        count::verdict(Verdict::FragmentSentHome);
    } else {
        let service = ServiceValue(walk.service);
        count::forwarded(count::service(config, service.id()), !by_mac);
    }
    Ok(transmit(interface, node))
}

/// A frame that another node gets by MAC is sent on as if it came from outside; so what has been steered, or is for a node
/// that is not the endpoint's, goes by GUE, and a fragment, which would be sent home again.
#[inline(always)]
fn goes_by_mac(walk: &Walk, node: &Node) -> bool {
    let by_gue = Walk::FRAGMENT | Walk::DETOUR;
    !walk.steered_before() && walk.flags & by_gue == 0 && node.is_direct()
}

/// Length of the largest packet that can go the way of this one, to [`Walk::node`].
#[inline(always)]
pub(crate) fn most_bytes(globals: &Globals, walk: &Walk) -> u16 {
    let node = maps::node_of(globals, walk.node);
    if goes_by_mac(walk, node) {
        return node.mtu_bytes;
    }
    node.mtu_bytes.saturating_sub(overhead(node) as u16)
}

/// What GUE adds to a packet for a node.
#[inline(always)]
fn overhead(node: &Node) -> usize {
    if node.flags & Node::OUTER_V6 != 0 {
        OVERHEAD_V6_BYTES
    } else {
        OVERHEAD_V4_BYTES
    }
}

/// Nodes that are looked at for one that can be reached.
const DETOURS_TRIED: u64 = 8;

/// A node that may know a way to the one that has no resolved MAC here; it gets the packet by GUE, and drops it if it
/// knows none. Which one, the flow decides.
#[inline(always)]
fn detour<'a>(globals: &'a Globals, walk: &mut Walk) -> Result<&'a Node, Verdict> {
    let index = detour_of(walk.hash) as u16;
    if index == globals.config.own_node {
        return Err(Verdict::NodeUnresolved);
    }
    walk.node = index;
    walk.flags |= Walk::DETOUR;
    count::verdict(Verdict::Detoured);
    Ok(maps::node_of(globals, index))
}

/// Index of the node for a detour; this node's own if there is none. Global, so that the verifier walks it once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn detour_of(hash: u64) -> u32 {
    let Some(globals) = maps::globals() else {
        return 0;
    };
    for attempt in 0..DETOURS_TRIED {
        let (word, shift) = lb_common::fragment::home(hash.wrapping_add(attempt << 32));
        let index = maps::HOMES
            .get(word)
            .map_or(0, |homes| (*homes >> shift) as u16);
        let node = maps::node_of(globals, index);
        if index != globals.config.own_node && is_ready(node) {
            return index.into();
        }
    }
    globals.config.own_node.into()
}

/// What a packet is sent on with by GUE.
struct Carried {
    gue: GueHeader,
    /// Zero if it is TCP or UDP, whole, without options or extension headers. A number: for the verifier a test that is not
    /// needed yet would be two ways.
    oddity: u32,
    /// Bytes of VLAN tags, which stay in front.
    tag_bytes: usize,
}

impl Carried {
    /// One step more, if another is allowed. The tag is made from `hash`.
    #[inline(always)]
    fn of<const V6: bool>(walk: &Walk, config: &Config, hash: u64) -> Result<Self, Verdict> {
        let by_gue = walk.has(Walk::BY_GUE);
        let most = if walk.has(Walk::FRAGMENT) {
            FRAGMENT_HOPS_MAX
        } else {
            HOPS_MAX
        };
        if by_gue && walk.hop >= most {
            return Err(Verdict::HopLimit);
        }
        let (hop, ingress_node) = if by_gue {
            (walk.hop + 1, walk.ingress_node)
        } else {
            (u8::from(walk.has(Walk::OF_NODE)), config.own_id)
        };
        let protocol = inner_protocol(V6);
        let plain_bytes = Layout::transport(V6) - ETHERNET_BYTES;
        Ok(Self {
            gue: GueHeader::new(&config.gue_key, hash, protocol, hop, ingress_node),
            oddity: walk.flags & (Walk::IS_ERROR | Walk::FRAGMENT)
                | u32::from(walk.transport_at.wrapping_sub(walk.ip_at)) ^ plain_bytes as u32,
            tag_bytes: ptr::tag_bytes(walk),
        })
    }
}

/// What GUE calls a packet of the family.
const fn inner_protocol(v6: bool) -> u8 {
    if v6 { GueHeader::IPV6 } else { GueHeader::IPV4 }
}

/// Whether a node can be reached.
#[inline(always)]
pub(crate) fn is_ready(node: &Node) -> bool {
    const READY: u16 = Node::PRESENT | Node::RESOLVED;
    node.flags & READY == READY
}

/// The way to a node, for a packet that has a hop left.
///
/// # Errors
/// `TtlExpired`, `NodeUnresolved`.
#[inline(always)]
pub(crate) fn ready(globals: &Globals, hop_limit: u8, node: u16) -> Result<&Node, Verdict> {
    if hop_limit <= 1 {
        return Err(Verdict::TtlExpired);
    }
    let node = maps::node_of(globals, node);
    if !is_ready(node) {
        return Err(Verdict::NodeUnresolved);
    }
    Ok(node)
}

/// Whether the way to a node carries an IP packet of this length.
#[inline(always)]
fn fits(node: &Node, ip_bytes: u16, by_gue: bool) -> Result<(), Verdict> {
    let added = if by_gue { overhead(node) } else { 0 };
    if u32::from(ip_bytes) + added as u32 > u32::from(node.mtu_bytes) {
        return Err(Verdict::TooBig);
    }
    Ok(())
}

#[inline(always)]
fn by_gue<const V6: bool>(
    ctx: &Context,
    frame: Frame,
    config: &Config,
    header: &Header,
    hash: u64,
    node: &Node,
    carried: &Carried,
) -> Result<(), Verdict> {
    let Carried { gue, tag_bytes, .. } = carried;
    if node.flags & Node::OUTER_V6 != 0 {
        // Of many segments, each would need its own.
        let is_plain = carried.oddity == 0 && frame.has(Layout::transport(V6) + 8);
        let checksum = if is_plain && !hook::is_many(ctx) {
            udp_checksum::<V6>(frame, header, node, gue, hash, config)
        } else {
            0
        };
        encapsulate::<true>(
            ctx, config, node, header, hash, gue, 0, checksum, *tag_bytes,
        )
    } else {
        let service_class = if V6 {
            0
        } else {
            frame.load_u8(ETHERNET_BYTES + 1) & 0xfc
        };
        encapsulate::<false>(
            ctx,
            config,
            node,
            header,
            hash,
            gue,
            service_class,
            0,
            *tag_bytes,
        )
    }
}

#[inline(always)]
fn transmit(interface: &Interface, node: &Node) -> u32 {
    if node.egress_ifindex == interface.ifindex {
        hook::send_back(interface)
    } else {
        hook::redirect(node.egress_ifindex)
    }
}

/// Writes the MACs of the way to a node; the frame must have an Ethernet header.
#[inline(always)]
pub(crate) fn store_macs(frame: Frame, node: &Node) {
    // Twelve bytes at the start of an aligned row: two loads.
    let first = ptr::load_word((&raw const node.macs).cast());
    let [last, more] = [node.macs[4], node.macs[5]].map(u32::from);
    let wrong = if cfg!(feature = "canary-mac") {
        1 << 8
    } else {
        0
    };
    frame.store_u64(0, first ^ wrong);
    frame.store_u32(8, last | more << 16);
}

/// One hop less; the frame must have its IP header.
#[inline(always)]
pub(crate) fn decrement_hop_limit<const V6: bool>(frame: Frame) {
    if cfg!(feature = "canary-ttl") {
        return;
    }
    if V6 {
        let at = Layout::hop_limit(true);
        return frame.store_u8(at, frame.load_u8(at) - 1);
    }
    // TTL, protocol and checksum are one word. The checksum grows by what the TTL, its word's upper byte, shrinks by (RFC
    // 1141): one in this byte order, where the word behind adds what the word in front lacks.
    let at = Layout::hop_limit(false);
    let word = u64::from(frame.load_u32(at)) + (1 << 16) - 1;
    frame.store_u32(at, (word + (word >> 32 << 16)) as u32);
}
