//! The largest segment that a SYN-ACK offers to take, lowered so that what the client sends still fits with an outer
//! header in front: whatever way the SYN took, the flow may come by GUE later.

use aya_ebpf::{bindings::__sk_buff, programs::TcContext};
use lb_common::{config::Config, packet::Layout};

/// Options that are looked at before the search ends: a SYN-ACK has five at the most in practice.
const OPTIONS_MAX: u32 = 6;

/// Lowers the MSS of a SYN-ACK, so that what the client sends still fits with an outer header in front.
#[inline(always)]
pub(crate) fn clamp<const V6: bool>(ctx: &TcContext, config: &Config) {
    let most = if V6 {
        config.mss_v6_bytes
    } else {
        config.mss_v4_bytes
    };
    if most != 0 {
        clamp_mss(ctx.skb.skb, Layout::transport(V6) as u32, u32::from(most));
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn clamp_mss(skb: *mut __sk_buff, transport: u32, most: u32) -> u32 {
    search(&TcContext::new(skb), transport as usize, most as u16);
    0
}

#[inline(always)]
fn search(ctx: &TcContext, transport: usize, most: u16) {
    let Ok(offset) = ctx.load::<u8>(transport + 12) else {
        return;
    };
    let end = transport + usize::from(offset >> 4) * 4;
    let mut at = transport + 20;
    for _ in 0..OPTIONS_MAX {
        let Ok([kind, length]) = ctx.load::<[u8; 2]>(at) else {
            return;
        };
        match kind {
            _ if at + 4 > end => return,
            0 => return,
            1 => at += 1,
            2 => return lower(ctx, at + 2, transport + 16, most),
            _ if length < 2 => return,
            _ => at += usize::from(length),
        }
    }
}

#[inline(always)]
fn lower(ctx: &TcContext, at: usize, checksum_at: usize, most: u16) {
    let Ok(old) = ctx.load::<u16>(at) else { return };
    let new = most.to_be();
    if u16::from_be(old) <= most {
        return;
    }
    replace(ctx, at, checksum_at, old, new);
}

/// Replaces two bytes, and brings the checksum that covers them up to date, wherever it is finished.
#[inline(always)]
pub(crate) fn replace(ctx: &TcContext, at: usize, checksum_at: usize, old: u16, new: u16) {
    // A sum is over pairs of bytes: of an option at an odd place, the bytes belong to two of them.
    let swapped = at % 2 != checksum_at % 2;
    let word = |value: u16| u64::from(if swapped { value.swap_bytes() } else { value });
    if ctx
        .l4_csum_replace(checksum_at, word(old), word(new), 2)
        .is_ok()
    {
        let _ = ctx.store(at, &new, 0);
    }
}
