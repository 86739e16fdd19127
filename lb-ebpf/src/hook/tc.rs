//! tc's ingress hook: an skb, which may be many segments in one (GRO, or a neighbour on the same host), may have its payload
//! outside of its first buffer, its outermost VLAN tag beside it, and a checksum that is not there yet
//! (`CHECKSUM_PARTIAL`, Documentation/networking/checksum-offloads.rst). The kernel keeps the books of all that, as long as
//! headers are put on and taken off by its helpers.

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_ADJ_ROOM_DECAP_L3_IPV4, BPF_F_ADJ_ROOM_DECAP_L3_IPV6,
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
        BPF_F_ADJ_ROOM_FIXED_GSO, TC_ACT_SHOT, TC_ACT_UNSPEC,
    },
    helpers,
    programs::TcContext,
};
use lb_common::{
    TCP,
    headers::Nested as _,
    interface::Interface,
    packet::{ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, IPV4_BYTES, IPV6_BYTES, Packet as _},
    verdict::Verdict,
    walk::Walk,
};

use super::redirect;
use crate::ptr::{self, Frame};

/// What a program is called with.
pub(crate) type Context = TcContext;
/// The same as the kernel has it, for global functions.
pub(crate) type Raw = __sk_buff;

/// To the next program of the chain, and then into the stack (`TCX_NEXT`, linux/bpf.h).
pub(crate) const PASS: u32 = TC_ACT_UNSPEC as u32;
/// Nowhere.
pub(crate) const DROP: u32 = TC_ACT_SHOT as u32;
/// A frame never lies in several buffers.
pub(crate) const ONE_BUFFER: bool = false;
/// Plain packets lie in several buffers.
pub(crate) const IN_PARTS: bool = true;

/// `BPF_ADJ_ROOM_MAC` (linux/bpf.h): room between the Ethernet header and the IP header.
const BEHIND_MACS: u32 = 1;
/// Bytes between the IP headers of both families, by which `bpf_skb_change_proto` moves the start of the packet.
const FAMILY_BYTES: i32 = (IPV6_BYTES - IPV4_BYTES) as i32;

/// The context as a global function gets it.
#[inline(always)]
pub(crate) fn raw(ctx: &Context) -> *mut Raw {
    ctx.skb.skb
}

/// Addresses of the first byte and of the one behind the last of the first buffer; volatile as in XDP.
#[inline(always)]
pub(crate) fn bounds(ctx: &Context) -> (usize, usize) {
    // SAFETY: the context is the one that the kernel passed to this run.
    unsafe {
        (
            (&raw const (*ctx.skb.skb).data).read_volatile() as usize,
            (&raw const (*ctx.skb.skb).data_end).read_volatile() as usize,
        )
    }
}

/// Bytes of the frame, all buffers together.
#[inline(always)]
pub(crate) fn bytes(raw: *mut Raw) -> u64 {
    // SAFETY: the context is the one that the kernel passed to this run.
    unsafe { (&raw const (*raw).len).read_volatile() }.into()
}

/// Sees to it that the first bytes of the frame lie in its first buffer.
#[inline(always)]
pub(crate) fn make_linear(ctx: &Context, bytes: u32) {
    let (start, end) = bounds(ctx);
    let wanted = ptr::opaque(ctx.len()).min(bytes);
    if ptr::opaque(end - start) < wanted as usize {
        // Where there is no memory for it, the frame seems cut short.
        let _ = ctx.pull_data(wanted);
    }
}

/// Makes room in front of the frame. False if there is no memory.
#[inline(always)]
pub(crate) fn grow(ctx: &Context, bytes: usize) -> bool {
    // SAFETY: the context is the one that the kernel passed to this run.
    unsafe { helpers::bpf_skb_change_head(ctx.skb.skb, bytes as u32, 0) == 0 }
}

/// Moves the end of the frame: negative cuts off, after which it is one segment. False if the kernel refuses.
#[inline(always)]
pub(crate) fn move_tail(ctx: &Context, bytes: i32) -> bool {
    let length = ctx.len().wrapping_add_signed(bytes);
    // SAFETY: as `grow`.
    unsafe { helpers::bpf_skb_change_tail(ctx.skb.skb, length, 0) == 0 }
}

/// Makes room for an outer IP header of a family, UDP and GUE. The MACs and tags stay where the frame begins, or are to be
/// written there; false if there is no room.
///
/// Segments stay as long as they are: whoever asks has compared them with the MTU.
#[inline(always)]
pub(crate) fn make_room<const OUTER_V6: bool>(
    ctx: &Context,
    bytes: usize,
    tag_bytes: usize,
) -> bool {
    let family = if OUTER_V6 {
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV6
    } else {
        BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
    };
    let flags = family | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_FIXED_GSO;
    let is_untagged = tag_bytes == 0;
    if is_untagged
        && ctx
            .adjust_room(bytes as i32, BEHIND_MACS, flags.into())
            .is_ok()
    {
        return true;
    }
    // A frame with a tag inside, or one whose sender was on this host and had wrapped it already. Of many segments
    // nobody would know where to cut.
    !is_many(ctx) && grow(ctx, bytes)
}

/// Takes off an outer header of this many bytes, IP, UDP and GUE; what is inside has this EtherType.
///
/// # Errors
/// `GueMalformed` if the frame is shorter, `NoHeadroom` of what the kernel cannot unwrap, which is what has a tag inside.
#[inline(always)]
pub(crate) fn take_off<const OUTER_V6: bool>(
    ctx: &Context,
    _: &Walk,
    bytes: usize,
    ethertype: u16,
) -> Result<(), Verdict> {
    let to_v6 = ethertype == ETHERTYPE_IPV6;
    let least = ETHERNET_BYTES + bytes + if to_v6 { IPV6_BYTES } else { IPV4_BYTES };
    if (ctx.len() as usize) < least {
        return Err(Verdict::GueMalformed);
    }
    if !shrink::<OUTER_V6>(ctx, bytes as i32, to_v6) {
        return Err(Verdict::NoHeadroom);
    }
    let frame = Frame::of(ctx);
    if !frame.has(ETHERNET_BYTES) {
        return Err(Verdict::GueMalformed);
    }
    frame.store_u16(ETHERNET_BYTES - 2, ethertype);
    Ok(())
}

/// Takes bytes off behind the MACs, after which the packet is of a family.
#[inline(always)]
fn shrink<const FROM_V6: bool>(ctx: &Context, bytes: i32, to_v6: bool) -> bool {
    let fixed = u64::from(BPF_F_ADJ_ROOM_FIXED_GSO);
    if to_v6 == FROM_V6 {
        return ctx.adjust_room(-bytes, BEHIND_MACS, fixed).is_ok();
    }
    let (family, ethertype, moved) = if to_v6 {
        (BPF_F_ADJ_ROOM_DECAP_L3_IPV6, ETHERTYPE_IPV6, FAMILY_BYTES)
    } else {
        (BPF_F_ADJ_ROOM_DECAP_L3_IPV4, ETHERTYPE_IPV4, -FAMILY_BYTES)
    };
    let flags = fixed | u64::from(family);
    if ctx.adjust_room(-bytes, BEHIND_MACS, flags).is_ok() {
        return true;
    }
    // Before 6.3 the helper keeps the family. This one changes it, and the packet's start by what their headers differ.
    ctx.change_proto(ethertype, 0).is_ok()
        && ctx
            .adjust_room(-(bytes + moved), BEHIND_MACS, fixed)
            .is_ok()
}

/// Sends the frame out of the uplink that it came in on.
#[inline(always)]
pub(crate) fn send_back(interface: &Interface) -> u32 {
    redirect(interface.ifindex)
}

/// Length of the longest IP packet that leaves when the frame does: of many segments each goes alone. `header_bytes` are in
/// front of the transport header, from the IP header on; `frame` is as if untagged.
#[inline(always)]
pub(crate) fn longest_ip_bytes(
    ctx: &Context,
    frame: Frame,
    protocol: u8,
    header_bytes: u16,
    ip_bytes: u16,
) -> u16 {
    let segment = segment_bytes(ctx);
    if segment == 0 {
        return ip_bytes;
    }
    let transport = frame.past(ETHERNET_BYTES).beyond(header_bytes.into());
    let transport_bytes = match protocol {
        TCP if transport.has(13) => u32::from(transport.load_u8(12) >> 4) * 4,
        TCP => 20,
        _ => 8,
    };
    (u32::from(header_bytes) + transport_bytes + segment).min(u16::MAX.into()) as u16
}

/// Whether the frame is many segments of one connection, to be cut before it is on the wire.
#[inline(always)]
pub(crate) fn is_many(ctx: &Context) -> bool {
    segment_bytes(ctx) != 0
}

/// Payload of each segment; 0 of a frame that is one packet.
#[inline(always)]
fn segment_bytes(ctx: &Context) -> u32 {
    // SAFETY: the context is the one that the kernel passed to this run.
    unsafe { (&raw const (*ctx.skb.skb).gso_size).read() }
}

/// Sum of the whole packet as the device gave it (`CHECKSUM_COMPLETE`); negative if it gave none.
#[inline(always)]
pub(crate) fn whole_sum(ctx: &Context) -> i64 {
    // SAFETY: the context is the one that the kernel passed to this run; nothing is added.
    unsafe { helpers::bpf_csum_update(ctx.skb.skb, 0) }
}

/// Notes a change under the sum.
#[inline(always)]
pub(crate) fn add_to_whole_sum(ctx: &Context, difference: u64) {
    // SAFETY: as `whole_sum`; without a sum the helper does nothing.
    unsafe { helpers::bpf_csum_update(ctx.skb.skb, difference as u32) };
}

/// Makes the sum what it was, of a packet whose change adds up to nothing.
#[inline(always)]
pub(crate) fn restore_whole_sum(ctx: &Context, sum: i64) {
    let now = whole_sum(ctx);
    if sum < 0 || now < 0 {
        return;
    }
    let difference = sum as u64 + u64::from(!(now as u32));
    add_to_whole_sum(ctx, (difference & 0xffff_ffff) + (difference >> 32));
}

/// What is in the place of the transport checksum at this offset, if the device is to finish it (`CHECKSUM_PARTIAL`): the
/// helper leaves alone then what the device will count. What is there stays.
#[inline(always)]
pub(crate) fn unfinished(ctx: &Context, checksum_at: usize) -> Option<u16> {
    let before = ctx.load::<u16>(checksum_at).ok()?;
    ctx.l4_csum_replace(checksum_at, 0, 1, 2).ok()?;
    let after = ctx.load::<u16>(checksum_at).ok()?;
    ctx.store(checksum_at, &before, 0).ok()?;
    (before == after).then_some(before)
}
