//! To another node: a MAC rewrite where it is on-link and the packet comes from outside, GUE otherwise. The
//! way there is one row of `nodes`; nothing is asked of the kernel but headroom. The entry program does it at once for
//! a plain packet that no node has steered ([`plain`]); the room does it for all others.

use aya_ebpf::{bindings::xdp_action::XDP_TX, programs::XdpContext};
use lb_common::{
    TCP, UDP, checksum,
    config::{Config, Globals},
    filter,
    gue::{self, GueHeader, OVERHEAD_V4_BYTES, OVERHEAD_V6_BYTES},
    interface::Interface,
    limits::{FRAGMENT_HOPS_MAX, HOPS_MAX},
    node::Node,
    packet::{
        self, ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Header, IPV4_BYTES, Layout,
        Packet as _,
    },
    service::ServiceValue,
    verdict::Verdict,
    walk::Walk,
};

use crate::{
    count, ethernet, fragment, lookup, maps,
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

/// Sends a packet without tags, options or extensions on that no node has steered. The action, and whether it is GUE.
#[inline(always)]
pub(crate) fn plain<const V6: bool>(
    ctx: &XdpContext,
    frame: Frame,
    globals: &Globals,
    hash: u64,
    node: u16,
) -> Result<(u32, bool), Verdict> {
    let config = &globals.config;
    let interface = maps::interface_of(globals, maps::uplink_slot());
    let header = &packet::fields::<V6, _>(&frame);
    let node = ready(globals, header, node)?;
    if node.flags & Node::DIRECT != 0 {
        direct::<V6>(frame, frame, header, node)?;
        return Ok((transmit(interface, node), false));
    }
    let carried = Carried {
        hop: 0,
        ingress_node: config.own_id,
        is_plain: true,
        tag_bytes: 0,
    };
    by_gue::<V6>(ctx, frame, config, header, hash, node, carried)?;
    Ok((transmit(interface, node), true))
}

/// The program of the room.
#[inline(always)]
pub(crate) fn enter<const V6: bool>(ctx: &XdpContext) -> u32 {
    let Some(walk) = rooms::walk() else {
        return count::drop(Verdict::TableInconsistent);
    };
    match onward::<V6>(ctx, walk) {
        Ok(action) => action,
        Err(reason) => rooms::answer::<V6>(ctx, walk, reason),
    }
}

#[inline(always)]
fn onward<const V6: bool>(ctx: &XdpContext, walk: &Walk) -> Result<u32, Verdict> {
    let globals = maps::globals().ok_or(Verdict::TableInconsistent)?;
    let config = &globals.config;
    let interface = maps::interface_of(globals, walk.slot.into());
    let frame = Frame::untagged(ctx, walk);
    if !frame.has(Layout::transport(V6) + 8) {
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
    let node = ready(globals, &header, walk.node)?;
    // Its next node would send a fragment that it gets by MAC to its home.
    let by_mac =
        !walk.steered_before() && !walk.has(Walk::FRAGMENT) && node.flags & Node::DIRECT != 0;
    if by_mac {
        direct::<V6>(frame, Frame::xdp(ctx), &header, node)?;
    } else {
        let carried = Carried::of::<V6>(walk, config)?;
        let hash = if walk.has(Walk::FRAGMENT) {
            fragment::pair::<V6>(config, frame, walk.protocol)
        } else {
            walk.hash
        };
        by_gue::<V6>(ctx, frame, config, &header, hash, node, carried)?;
    }
    if walk.service == 0 {
        count::verdict(Verdict::FragmentSentHome);
    } else {
        let service = ServiceValue(walk.service);
        count::forwarded(count::service(config, service.id()), !by_mac);
    }
    Ok(transmit(interface, node))
}

/// What a packet is sent on with by GUE, besides its flow.
#[derive(Clone, Copy)]
struct Carried {
    /// Times that the packet was steered before.
    hop: u8,
    /// Id of the node that got it from the router.
    ingress_node: u32,
    /// TCP or UDP, whole, without options or extension headers.
    is_plain: bool,
    /// Bytes of VLAN tags, which stay in front.
    tag_bytes: usize,
}

impl Carried {
    /// One step more, if another is allowed.
    #[inline(always)]
    fn of<const V6: bool>(walk: &Walk, config: &Config) -> Result<Self, Verdict> {
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
        Ok(Self {
            hop,
            ingress_node,
            is_plain: walk.flags & (Walk::IS_ERROR | Walk::FRAGMENT) == 0
                && walk.transport_at - walk.ip_at
                    == (Layout::transport(V6) - ETHERNET_BYTES) as u16,
            tag_bytes: ptr::tag_bytes(walk),
        })
    }
}

/// The way to a node, for a packet that has a hop left.
#[inline(always)]
fn ready<'a>(globals: &'a Globals, header: &Header, node: u16) -> Result<&'a Node, Verdict> {
    const READY: u16 = Node::PRESENT | Node::RESOLVED;
    if header.hop_limit <= 1 {
        return Err(Verdict::TtlExpired);
    }
    let node = maps::node_of(globals, node);
    if node.flags & READY != READY {
        return Err(Verdict::NodeUnresolved);
    }
    Ok(node)
}

#[inline(always)]
fn direct<const V6: bool>(
    frame: Frame,
    whole: Frame,
    header: &Header,
    node: &Node,
) -> Result<(), Verdict> {
    if header.ip_bytes > node.mtu_bytes {
        return Err(Verdict::TooBig);
    }
    if !whole.has(ETHERNET_BYTES) {
        return Err(Verdict::Malformed);
    }
    decrement_hop_limit::<V6>(frame);
    store_macs(whole, node);
    Ok(())
}

#[inline(always)]
fn by_gue<const V6: bool>(
    ctx: &XdpContext,
    frame: Frame,
    config: &Config,
    header: &Header,
    hash: u64,
    node: &Node,
    carried: Carried,
) -> Result<(), Verdict> {
    let outer_v6 = node.flags & Node::OUTER_V6 != 0;
    let overhead = if outer_v6 {
        OVERHEAD_V6_BYTES
    } else {
        OVERHEAD_V4_BYTES
    };
    if u32::from(header.ip_bytes) + overhead as u32 > u32::from(node.mtu_bytes) {
        return Err(Verdict::TooBig);
    }
    decrement_hop_limit::<V6>(frame);
    let protocol = if V6 { GueHeader::IPV6 } else { GueHeader::IPV4 };
    let gue = GueHeader::new(
        &config.gue_key,
        hash,
        protocol,
        carried.hop,
        carried.ingress_node,
    );
    if outer_v6 {
        let checksum = if carried.is_plain {
            udp_checksum::<V6>(frame, header, node, &gue, hash, config)
        } else {
            0
        };
        let tags = carried.tag_bytes;
        encapsulate::<true>(ctx, config, node, header, hash, &gue, 0, checksum, tags)
    } else {
        let service_class = if V6 {
            0
        } else {
            frame.load_u8(ETHERNET_BYTES + 1) & 0xfc
        };
        let (checksum, tags) = (0, carried.tag_bytes);
        encapsulate::<false>(
            ctx,
            config,
            node,
            header,
            hash,
            &gue,
            service_class,
            checksum,
            tags,
        )
    }
}

#[inline(always)]
fn transmit(interface: &Interface, node: &Node) -> u32 {
    if node.egress_ifindex == interface.ifindex {
        XDP_TX
    } else {
        ptr::redirect(node.egress_ifindex)
    }
}

#[inline(always)]
fn store_macs(frame: Frame, node: &Node) {
    let macs = (&raw const node.macs).cast::<u32>();
    // SAFETY: twelve bytes, aligned: `macs` is the first field of a 64-byte aligned row.
    let words = unsafe { [macs.read(), macs.add(1).read(), macs.add(2).read()] };
    let wrong = if cfg!(feature = "canary-mac") {
        1 << 8
    } else {
        0
    };
    frame.store_u32(0, words[0] ^ wrong);
    frame.store_u32(4, words[1]);
    frame.store_u32(8, words[2]);
}

#[inline(always)]
fn decrement_hop_limit<const V6: bool>(frame: Frame) {
    if cfg!(feature = "canary-ttl") {
        return;
    }
    let at = Layout::hop_limit(V6);
    frame.store_u8(at, frame.load_u8(at) - 1);
    if !V6 {
        // RFC 1141: the word that TTL is the upper byte of shrinks by 0x0100.
        let sum = u32::from(frame.load_u16(ETHERNET_BYTES + 10)) + u32::from(0x0100_u16.to_be());
        frame.store_u16(ETHERNET_BYTES + 10, (sum + (sum >> 16)) as u16);
    }
}

#[inline(always)]
#[expect(
    clippy::too_many_arguments,
    reason = "inlined; a struct would go through the stack"
)]
fn encapsulate<const OUTER_V6: bool>(
    ctx: &XdpContext,
    config: &Config,
    node: &Node,
    header: &Header,
    hash: u64,
    gue: &GueHeader,
    service_class: u8,
    checksum: u16,
    tag_bytes: usize,
) -> Result<(), Verdict> {
    let overhead = if OUTER_V6 {
        OVERHEAD_V6_BYTES
    } else {
        OVERHEAD_V4_BYTES
    };
    if !ptr::move_head(ctx, -(overhead as i32)) {
        return Err(Verdict::NoHeadroom);
    }
    let whole = Frame::xdp(ctx);
    let frame = ethernet::move_tags(whole, overhead, 0, tag_bytes);
    if !whole.has(ETHERNET_BYTES) || !frame.has(ETHERNET_BYTES + overhead) {
        return Err(Verdict::NoHeadroom);
    }
    store_macs(whole, node);
    frame.store_u16(
        12,
        if OUTER_V6 {
            ETHERTYPE_IPV6
        } else {
            ETHERTYPE_IPV4
        },
    );
    let udp_bytes = header.ip_bytes + (8 + size_of::<GueHeader>()) as u16;
    if OUTER_V6 {
        store_outer_v6(frame, node, udp_bytes);
    } else {
        store_outer_v4(frame, node, udp_bytes, service_class);
    }
    let at = Layout::transport(OUTER_V6);
    frame.store_u16(at, gue::source_port(hash));
    frame.store_u16(at + 2, config.gue_port);
    frame.store_u16(at + 4, udp_bytes.to_be());
    frame.store_u16(at + 6, checksum);
    store_gue(frame, at + 8, gue);
    Ok(())
}

#[inline(always)]
fn store_outer_v4(frame: Frame, node: &Node, udp_bytes: u16, service_class: u8) {
    let at = ETHERNET_BYTES;
    let total = (udp_bytes + 20).to_be();
    let first = u16::from_ne_bytes([0x45, service_class]);
    let class = u16::from_ne_bytes([0, service_class]);
    frame.store_u16(at, first);
    // Identification 0 and "don't fragment" (RFC 6864: an atomic datagram needs no identification).
    frame.store_u32(at + 2, u32::from(total.to_le()).to_le());
    let rest = [0x40, 0, gue::OUTER_TTL, UDP];
    frame.store_u32(at + 6, u32::from_ne_bytes(rest));
    let sum = (node.outer_sum & 0xffff) + u32::from(total) + u32::from(class);
    frame.store_u16(at + 10, !checksum::fold_few(sum));
    frame.store_u32(at + 12, node.outer_source[0]);
    frame.store_u32(at + 16, node.outer_destination[0]);
}

#[inline(always)]
fn store_outer_v6(frame: Frame, node: &Node, udp_bytes: u16) {
    let at = ETHERNET_BYTES;
    frame.store_u32(at, u32::from_ne_bytes([0x60, 0, 0, 0]));
    frame.store_u16(at + 4, udp_bytes.to_be());
    frame.store_u16(at + 6, u16::from_ne_bytes([UDP, gue::OUTER_TTL]));
    frame.store_address::<true>(at + 8, &node.outer_source);
    frame.store_address::<true>(at + 24, &node.outer_destination);
}

#[inline(always)]
fn store_gue(frame: Frame, at: usize, gue: &GueHeader) {
    let words = gue_words(gue);
    frame.store_u32(at, words[0]);
    frame.store_u32(at + 4, words[1]);
    frame.store_u32(at + 8, words[2]);
    frame.store_u32(at + 12, words[3]);
}

#[inline(always)]
fn gue_words(gue: &GueHeader) -> [u32; 4] {
    let flags = gue.flags.to_ne_bytes();
    [
        u32::from_ne_bytes([gue.variant_length, gue.protocol, flags[0], flags[1]]),
        u32::from_ne_bytes([gue.version, gue.hop, gue.private_flags, gue.reserved]),
        gue.ingress_node,
        gue.tag,
    ]
}

/// The outer UDP checksum over IPv6, without touching the payload: the inner transport's checksum already
/// says what its bytes add up to. 0 (RFC 6936) where the inner packet has none, or is not plain.
#[inline(always)]
fn udp_checksum<const V6: bool>(
    frame: Frame,
    header: &Header,
    node: &Node,
    gue: &GueHeader,
    hash: u64,
    config: &Config,
) -> u16 {
    let transport = Layout::transport(V6);
    if header.protocol == UDP && frame.load_u16(transport + 6) == 0 {
        return 0;
    }
    let protocol = u16::from(if header.protocol == TCP { TCP } else { UDP }).to_be();
    // A good checksum makes the segment what its pseudo-header lacks of all ones, which is zero; so what the pseudo-header
    // shares with the IP header counts as nothing.
    let inner = if V6 {
        // Version, class and label; next header and hop limit.
        let first = u64::from(frame.load_u32(ETHERNET_BYTES));
        first + u64::from(frame.load_u16(ETHERNET_BYTES + 6)) + u64::from(!protocol)
    } else {
        // A header with a good checksum adds up to all ones.
        let bytes = (header.ip_bytes - IPV4_BYTES as u16).to_be();
        u64::from(!header.source[0])
            + u64::from(!header.destination[0])
            + u64::from(!bytes)
            + u64::from(!protocol)
    };
    let udp_bytes = header.ip_bytes + (8 + size_of::<GueHeader>()) as u16;
    let outer = address_sum(&node.outer_source)
        + address_sum(&node.outer_destination)
        + u64::from(u16::from(UDP).to_be())
        + 2 * u64::from(udp_bytes.to_be());
    let ports = u64::from(gue::source_port(hash)) + u64::from(config.gue_port);
    match !checksum::fold(inner + outer + ports + gue_sum(gue)) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[inline(always)]
fn address_sum(address: &lb_common::Address) -> u64 {
    address.iter().map(|&word| u64::from(word)).sum()
}

#[inline(always)]
fn gue_sum(gue: &GueHeader) -> u64 {
    let [a, b, c, d] = gue_words(gue);
    u64::from(a) + u64::from(b) + u64::from(c) + u64::from(d)
}
