//! XDP: a frame in the driver's memory, or in the generic hook's.

use aya_ebpf::{
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
        xdp_md,
    },
    helpers,
    programs::XdpContext,
};
use lb_common::{interface::Interface, verdict::Verdict, walk::Walk};

use crate::{
    ethernet,
    ptr::{self, Frame},
};

/// What a program is called with.
pub(crate) type Context = XdpContext;
/// The same as the kernel has it, for global functions.
pub(crate) type Raw = xdp_md;

/// Into the stack.
pub(crate) const PASS: u32 = XDP_PASS;
/// Nowhere.
pub(crate) const DROP: u32 = XDP_DROP;
/// A frame never lies in several buffers.
pub(crate) const ONE_BUFFER: bool = cfg!(feature = "basic");
/// Plain packets lie in several buffers.
pub(crate) const IN_PARTS: bool = false;

/// The context as a global function gets it.
#[inline(always)]
pub(crate) fn raw(ctx: &Context) -> *mut Raw {
    ctx.ctx
}

/// Addresses of the first byte and of the one behind the last of the first buffer.
///
/// Volatile: a compiler that loads these in a caller and hands them on as 32 bits loses what the verifier
/// knows about them.
#[inline(always)]
pub(crate) fn bounds(ctx: &Context) -> (usize, usize) {
    // SAFETY: the context is the one that the kernel passed to this run.
    unsafe {
        (
            (&raw const (*ctx.ctx).data).read_volatile() as usize,
            (&raw const (*ctx.ctx).data_end).read_volatile() as usize,
        )
    }
}

/// Bytes of the frame, all buffers together.
#[inline(always)]
pub(crate) fn bytes(raw: *mut Raw) -> u64 {
    // SAFETY: the context is the one that the kernel passed to this run.
    unsafe { helpers::bpf_xdp_get_buff_len(raw) }
}

/// Sees to it that the first bytes of the frame lie in its first buffer, where XDP has all headers anyway.
#[inline(always)]
pub(crate) fn make_linear(_: &Context, _bytes: u32) {}

/// Makes room in front of the frame. False if the driver left no headroom.
#[inline(always)]
pub(crate) fn grow(ctx: &Context, bytes: usize) -> bool {
    move_head(ctx, -(bytes as i32))
}

/// Moves the start of the frame: negative makes room. False if the driver left no headroom.
#[inline(always)]
pub(crate) fn move_head(ctx: &Context, bytes: i32) -> bool {
    // SAFETY: the context is the one that the kernel passed to this run.
    unsafe { helpers::bpf_xdp_adjust_head(ctx.ctx, bytes) == 0 }
}

/// Makes room for an outer IP header of a family, UDP and GUE. The MACs and tags stay where the frame begins, or are to be
/// written there; false if there is no room.
#[inline(always)]
pub(crate) fn make_room<const OUTER_V6: bool>(
    ctx: &Context,
    bytes: usize,
    _tag_bytes: usize,
) -> bool {
    grow(ctx, bytes)
}

/// Takes off an outer header of this many bytes, IP, UDP and GUE; what is inside has this EtherType.
///
/// # Errors
/// `GueMalformed` if the frame is shorter, `NoHeadroom`.
#[inline(always)]
pub(crate) fn take_off<const OUTER_V6: bool>(
    ctx: &Context,
    walk: &Walk,
    bytes: usize,
    ethertype: u16,
) -> Result<(), Verdict> {
    let tags = ptr::tag_bytes(walk);
    if ethernet::move_header(Frame::of(ctx), 0, bytes, tags, ethertype).is_none() {
        return Err(Verdict::GueMalformed);
    }
    if !move_head(ctx, bytes as i32) {
        return Err(Verdict::NoHeadroom);
    }
    Ok(())
}

/// Length of the longest IP packet that leaves when the frame does: its own.
#[inline(always)]
pub(crate) fn longest_ip_bytes(
    _: &Context,
    _: Frame,
    _protocol: u8,
    _header_bytes: u16,
    ip_bytes: u16,
) -> u16 {
    ip_bytes
}

/// Whether the frame is many segments of one TCP connection, to be cut before it is on the wire.
#[inline(always)]
pub(crate) fn is_many(_: &Context) -> bool {
    false
}

/// Moves the end of the frame: negative cuts off. False if the driver refuses.
#[inline(always)]
pub(crate) fn move_tail(ctx: &Context, bytes: i32) -> bool {
    // SAFETY: as `move_head`.
    unsafe { helpers::bpf_xdp_adjust_tail(ctx.ctx, bytes) == 0 }
}

/// Sends the frame out of the uplink that it came in on.
#[inline(always)]
pub(crate) fn send_back(_: &Interface) -> u32 {
    XDP_TX
}

/// Whether somebody else finishes the transport checksum at this offset: nobody does.
#[inline(always)]
pub(crate) fn unfinished(_: &Context, _checksum_at: usize) -> Option<u16> {
    None
}
