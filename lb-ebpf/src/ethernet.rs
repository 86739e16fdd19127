//! The Ethernet header while the packet behind it changes its place: VLAN tags stay with it.

use lb_common::{
    headers::{Nested as _, TAG_BYTES},
    packet::{ETHERNET_BYTES, Packet as _},
};

use crate::ptr::Frame;

/// Where the first tag is, behind the MACs.
const TAGS_AT: usize = 12;

/// Copies the tags of a header that begins `from` bytes into the frame to one that begins `to` bytes into it; the frame
/// from the latter on, as if untagged. Its MACs and EtherType are the caller's to write. Without tags (a constant
/// zero) this is nothing.
#[inline(always)]
pub(crate) fn move_tags(frame: Frame, from: usize, to: usize, tag_bytes: usize) -> Frame {
    if tag_bytes == 0 {
        return frame.past(to);
    }
    let end = TAGS_AT + 2 * TAG_BYTES;
    if frame.has(from.max(to) + end) {
        frame.store_u32(to + TAGS_AT, frame.load_u32(from + TAGS_AT));
        if tag_bytes > TAG_BYTES {
            let second = TAGS_AT + TAG_BYTES;
            frame.store_u32(to + second, frame.load_u32(from + second));
        }
    }
    frame.past(to).beyond(tag_bytes)
}

/// Moves the MACs and tags to a header that begins `to` bytes into the frame, and writes the EtherType there; the frame from
/// there on, as if untagged. `None` if it is too short. The places must not overlap.
#[inline(always)]
pub(crate) fn move_header(
    frame: Frame,
    from: usize,
    to: usize,
    tag_bytes: usize,
    ethertype: u16,
) -> Option<Frame> {
    if !frame.has(from.max(to) + ETHERNET_BYTES) {
        return None;
    }
    frame.store_u32(to, frame.load_u32(from));
    frame.store_u32(to + 4, frame.load_u32(from + 4));
    frame.store_u32(to + 8, frame.load_u32(from + 8));
    let moved = move_tags(frame, from, to, tag_bytes);
    if !moved.has(ETHERNET_BYTES) {
        return None;
    }
    moved.store_u16(ETHERNET_BYTES - 2, ethertype);
    Some(moved)
}
