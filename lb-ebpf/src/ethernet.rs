//! The Ethernet header while the packet behind it changes its place: VLAN tags stay with it.

use lb_common::{
    headers::{Nested as _, TAG_BYTES},
    packet::{ETHERNET_BYTES, Packet as _},
    walk::Walk,
};

use crate::{
    hook::Context,
    ptr::{self, Frame},
};

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

/// VLAN tags that are out of the way.
pub(crate) struct Tags {
    bytes: usize,
    words: [u32; 2],
}

/// Moves the MACs behind the tags, so that from there on the frame is as untagged ones are ([`Tags::view`]).
#[inline(always)]
pub(crate) fn without_tags(ctx: &Context, walk: &Walk) -> Option<Tags> {
    let bytes = ptr::tag_bytes(walk);
    let frame = Frame::of(ctx);
    let view = frame.beyond(bytes);
    if !frame.has(TAGS_AT + 2 * TAG_BYTES) || !view.has(TAGS_AT) {
        return None;
    }
    let tags = Tags {
        bytes,
        words: [frame.load_u32(TAGS_AT), frame.load_u32(TAGS_AT + TAG_BYTES)],
    };
    move_macs(frame, view);
    Some(tags)
}

impl Tags {
    /// The frame without them.
    #[inline(always)]
    pub(crate) fn view(&self, ctx: &Context) -> Frame {
        Frame::of(ctx).beyond(self.bytes)
    }

    /// Puts them where they were, in front of them the MACs as they are now.
    #[inline(always)]
    pub(crate) fn put_back(&self, ctx: &Context) -> Option<()> {
        let (frame, view) = (Frame::of(ctx), self.view(ctx));
        if !frame.has(TAGS_AT + 2 * TAG_BYTES) || !view.has(TAGS_AT) {
            return None;
        }
        move_macs(view, frame);
        if self.bytes > 0 {
            frame.store_u32(TAGS_AT, self.words[0]);
        }
        if self.bytes > TAG_BYTES {
            frame.store_u32(TAGS_AT + TAG_BYTES, self.words[1]);
        }
        Some(())
    }
}

/// The places may overlap.
#[inline(always)]
fn move_macs(from: Frame, to: Frame) {
    let words = [from.load_u32(0), from.load_u32(4), from.load_u32(8)];
    to.store_u32(0, words[0]);
    to.store_u32(4, words[1]);
    to.store_u32(8, words[2]);
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
