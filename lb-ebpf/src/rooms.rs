//! The doors between the programs of the ingress path. A packet that is not simply forwarded leaves the entry program
//! by a tail call for a room ([`Room`]), which finds what is known of it in this CPU's [`Walk`]. Each room is verified
//! apart and has 512 bytes of stack of its own, so that what is rare costs the plain packet nothing.

use aya_ebpf::{btf_maps::ProgramArray, macros::btf_map};
use lb_common::{
    verdict::Verdict,
    walk::{ROOMS_MAX, Room, Walk},
};

use crate::{
    count,
    hook::{self, Context},
    maps, ptr,
};

/// The rooms, by number. The indices are constants where they are used, so that the kernel makes direct jumps of them.
#[cfg_attr(not(feature = "tc"), btf_map(name = "rooms"))]
#[cfg_attr(feature = "tc", btf_map(name = "tc_rooms"))]
static ROOMS: ProgramArray<{ ROOMS_MAX as usize }> = ProgramArray::new();

/// This CPU's record, as the last program left it.
#[inline(always)]
pub(crate) fn walk() -> Option<&'static mut Walk> {
    maps::WALKS.get_ptr_mut(ptr::cpu()).map(ptr::by_mut)
}

/// This CPU's record, all zero.
#[inline(always)]
pub(crate) fn begin() -> Option<&'static mut Walk> {
    let walk = maps::WALKS.get_ptr_mut(ptr::cpu())?;
    // Word by word: the compiler's memory set is a loop over bytes.
    for word in 0..core::mem::offset_of!(Walk, reserved) / 8 {
        ptr::store_word(walk.cast::<u64>().wrapping_add(word), 0);
    }
    Some(ptr::by_mut(walk))
}

/// Goes on in a room. Comes back only where there is none, which drops the packet.
#[inline(always)]
pub(crate) fn enter(ctx: &Context, room: Room) -> u32 {
    tail_call(ctx, room);
    count::drop(Verdict::TableInconsistent)
}

/// As [`enter`], for a packet that need not be ours.
#[inline(always)]
pub(crate) fn enter_or_pass(ctx: &Context, room: Room) -> u32 {
    tail_call(ctx, room);
    hook::PASS
}

/// As [`enter`], by the packet's family.
#[inline(always)]
pub(crate) fn enter_by_family<const V6: bool>(ctx: &Context, v4: Room, v6: Room) -> u32 {
    enter(ctx, if V6 { v6 } else { v4 })
}

/// Gives the packet up for `reason`, which is counted, and answered where an answer is due.
#[inline(always)]
pub(crate) fn answer<const V6: bool>(ctx: &Context, walk: &mut Walk, reason: Verdict) -> u32 {
    walk.reason = reason as u32;
    enter_by_family::<V6>(ctx, Room::AnswerV4, Room::AnswerV6)
}

/// What becomes of a packet whose service has no endpoint, once it is known that no flow of this node goes on without one.
#[inline(always)]
pub(crate) fn without_endpoint<const V6: bool>(ctx: &Context, walk: &Walk) -> u32 {
    if walk.reason == Verdict::LeftToKernel as u32 {
        return count::pass(Verdict::LeftToKernel);
    }
    enter_by_family::<V6>(ctx, Room::AnswerV4, Room::AnswerV6)
}

#[inline(always)]
fn tail_call(ctx: &Context, room: Room) {
    // SAFETY: the array holds programs of this hook only; nothing of this run is left to be dropped.
    unsafe { ROOMS.tail_call(ctx, room as u32) }
}
