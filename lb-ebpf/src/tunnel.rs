//! GUE: what is for this node, taking off its outer header, and how a packet came. The tag is judged later,
//! when the inner flow's hash is known; until then nothing depends on what the header says.

use aya_ebpf::programs::XdpContext;
use lb_common::{
    Address, UDP,
    config::Config,
    gue::{self, GueHeader},
    interface::Interface,
    limits::HOPS_MAX,
    packet::{ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Layout, Packet as _},
    verdict::Verdict,
};

use crate::{
    count, lookup,
    ptr::{self, Frame},
};

/// How a packet came to this node.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    /// By GUE, whose outer header is off; the rest counts only then.
    pub(crate) by_gue: bool,
    /// Family of what was inside.
    pub(crate) inner_v6: bool,
    /// Hops it had made.
    pub(crate) hop: u8,
    /// Flags of the private data.
    pub(crate) private_flags: u8,
    /// Index of the node that sent it.
    pub(crate) sender: u16,
    /// Id of the node that got it from the router.
    pub(crate) ingress_node: u32,
    /// The tag it came with.
    pub(crate) tag: u32,
}

impl Arrival {
    /// From a router, a host of the link, or a node that rewrote its MAC.
    pub(crate) const PLAIN: Self = Self {
        by_gue: false,
        inner_v6: false,
        hop: 0,
        private_flags: 0,
        sender: 0,
        ingress_node: 0,
        tag: 0,
    };

    /// Whether the tag is the cluster's for the inner flow.
    #[inline(always)]
    pub(crate) fn tag_is_valid(&self, config: &Config, flow_hash: u64) -> bool {
        self.tag
            == gue::tag(
                &config.gue_key,
                flow_hash,
                self.hop,
                self.private_flags,
                self.ingress_node,
            )
    }

    /// The hop number that the next GUE header would carry, if one more is allowed.
    #[inline(always)]
    pub(crate) fn next_hop(&self, steered_before: bool) -> Option<u8> {
        match (self.by_gue, steered_before) {
            (true, _) if self.hop >= HOPS_MAX => None,
            (true, _) => Some(self.hop + 1),
            (false, true) => Some(1),
            (false, false) => Some(0),
        }
    }

    /// What becomes of a packet that is not for a VIP: it passes; out of GUE it is a defect or a stranger's.
    #[inline(always)]
    pub(crate) fn none_of_ours(&self) -> Option<u32> {
        self.by_gue.then(|| count::drop(Verdict::GueMalformed))
    }
}

/// Whether a packet that is for no VIP is GUE for this node. Fragments of such are the stack's.
#[inline(always)]
pub(crate) fn is_for_us<const V6: bool>(
    frame: Frame,
    config: &Config,
    destination: &Address,
) -> bool {
    let own = if V6 {
        &config.outer_v6
    } else {
        &[config.outer_v4, 0, 0, 0]
    };
    if !lookup::same_address::<V6>(own, destination) {
        return false;
    }
    let transport = Layout::transport(V6);
    let plain = if V6 {
        frame.load_u8(ETHERNET_BYTES + 6) == UDP
    } else {
        frame.load_u8(ETHERNET_BYTES) == 0x45
            && frame.load_u8(ETHERNET_BYTES + 9) == UDP
            && frame.load_u16(ETHERNET_BYTES + 6) & !0x4000_u16.to_be() == 0
    };
    plain && frame.has(transport + 8) && frame.load_u16(transport + 2) == config.gue_port
}

/// Takes the outer header off, or says why the packet is dropped.
#[inline(always)]
pub(crate) fn decapsulate<const V6: bool>(
    ctx: &XdpContext,
    frame: Frame,
    config: &Config,
    interface: &Interface,
) -> Result<Arrival, Verdict> {
    if interface.flags & Interface::FACES_NODES == 0 {
        return Err(Verdict::GueStranger);
    }
    let source = frame.load_address::<V6>(Layout::source(V6));
    let Some(sender) = lookup::node_of_address(config, &source) else {
        return Err(Verdict::GueStranger);
    };
    let at = Layout::transport(V6) + 8;
    let overhead = at + size_of::<GueHeader>() - ETHERNET_BYTES;
    if !frame.has(ETHERNET_BYTES + overhead) {
        return Err(Verdict::GueMalformed);
    }
    let header = load_header(frame, at);
    if !header.is_ours() {
        return Err(Verdict::GueMalformed);
    }
    let inner_v6 = header.protocol == GueHeader::IPV6;
    strip(frame, overhead, inner_v6);
    if !ptr::move_head(ctx, overhead as i32) {
        return Err(Verdict::NoHeadroom);
    }
    Ok(Arrival {
        by_gue: true,
        inner_v6,
        hop: header.hop,
        private_flags: header.private_flags,
        sender,
        ingress_node: header.ingress_node,
        tag: header.tag,
    })
}

#[inline(always)]
fn load_header(frame: Frame, at: usize) -> GueHeader {
    GueHeader {
        variant_length: frame.load_u8(at),
        protocol: frame.load_u8(at + 1),
        flags: frame.load_u16(at + 2),
        version: frame.load_u8(at + 4),
        hop: frame.load_u8(at + 5),
        private_flags: frame.load_u8(at + 6),
        reserved: frame.load_u8(at + 7),
        ingress_node: frame.load_u32(at + 8),
        tag: frame.load_u32(at + 12),
    }
}

/// Puts the Ethernet header in front of the inner packet.
#[inline(always)]
fn strip(frame: Frame, overhead: usize, inner_v6: bool) {
    frame.store_u32(overhead, frame.load_u32(0));
    frame.store_u32(overhead + 4, frame.load_u32(4));
    frame.store_u32(overhead + 8, frame.load_u32(8));
    frame.store_u16(
        overhead + 12,
        if inner_v6 {
            ETHERTYPE_IPV6
        } else {
            ETHERTYPE_IPV4
        },
    );
}
