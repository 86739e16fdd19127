//! XDP: a frame in the driver's memory, or in the generic hook's.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        xdp_action::{XDP_DROP, XDP_PASS, XDP_TX},
        xdp_md,
    },
    helpers,
    programs::XdpContext,
};
use lb_common::interface::Interface;

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

/// Moves the start of the frame: negative makes room. False if the driver left no headroom.
#[inline(always)]
pub(crate) fn move_head(ctx: &Context, bytes: i32) -> bool {
    // SAFETY: the context is the one that the kernel passed to this run.
    unsafe { helpers::bpf_xdp_adjust_head(ctx.ctx, bytes) == 0 }
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

/// Sends the frame out of another interface.
#[inline(always)]
pub(crate) fn redirect(ifindex: u32) -> u32 {
    // SAFETY: the helper takes plain numbers.
    unsafe { helpers::bpf_redirect(ifindex, 0) as u32 }
}

/// Asks the kernel's routing table (`struct bpf_fib_lookup` in words, both ways); `BPF_FIB_LKUP_RET_*` (linux/bpf.h).
#[inline(always)]
pub(crate) fn fib_lookup(ctx: &Context, question: &mut [u32; 16]) -> i64 {
    let bytes = size_of_val(question) as i32;
    // SAFETY: the context is the one that the kernel passed to this run, the question is as long as its struct.
    unsafe { helpers::bpf_fib_lookup(ctx.as_ptr(), question.as_mut_ptr().cast(), bytes, 0) }
}
