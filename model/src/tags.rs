//! VLAN tags (IEEE 802.1Q, 802.1ad): up to two, which stay with the frame whatever becomes of it. Everything else is
//! judged as if there were none.

use crate::compare::Expected;

/// Where the first tag is, behind the MACs.
const AT: usize = 12;

/// The frame without its tags, and these. A third tag stays, as the EtherType of nothing that we know.
#[must_use]
pub fn taken_off(frame: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let is_tag = |at: usize| matches!(frame.get(at..at + 2), Some([0x81, 0] | [0x88, 0xa8]));
    let mut end = AT;
    while end < AT + 8 && is_tag(end) && frame.len() >= end + 6 {
        end += 4;
    }
    let bare = [
        &frame[..AT.min(frame.len())],
        frame.get(end..).unwrap_or_default(),
    ]
    .concat();
    (bare, frame.get(AT..end).unwrap_or_default().to_vec())
}

/// The same outcome for the frame with its tags.
pub(crate) fn put_back(mut expected: Expected, tags: &[u8]) -> Expected {
    if let Some(frame) = &mut expected.frame {
        frame.splice(AT..AT, tags.iter().copied());
    }
    for at in &mut expected.checksums {
        *at += tags.len();
    }
    for range in &mut expected.free {
        *range = range.start + tags.len()..range.end + tags.len();
    }
    expected
}
