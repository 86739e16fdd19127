//! What brings a packet in, as the programs of the ingress path see it: the context, the frame's bounds, moves of its ends,
//! and what may become of it. XDP is meant; the build with the feature `tc` is for uplinks whose XDP hook is taken by
//! somebody else's program. What differs is in a file for each hook, chosen where it is compiled.

#[cfg(feature = "tc")]
mod tc;
#[cfg(not(feature = "tc"))]
mod xdp;

use aya_ebpf::{EbpfContext as _, helpers};

#[cfg(feature = "tc")]
pub(crate) use tc::*;
#[cfg(not(feature = "tc"))]
pub(crate) use xdp::*;

/// Sends the frame out of an interface.
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
