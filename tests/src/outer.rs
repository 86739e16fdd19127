//! Packets in GUE taken apart.

use crate::frame::{Seen, see};

/// Bytes before the inner packet, from the Ethernet header on, over IPv4.
pub const OUTER_V4: usize = 14 + 44;
/// As [`OUTER_V4`], over IPv6.
pub const OUTER_V6: usize = 14 + 64;

/// What GUE carries behind `outer` bytes, as if it came alone.
///
/// # Panics
/// As [`see`].
#[must_use]
pub fn inner(frame: &[u8], outer: usize) -> Seen {
    let v6 = frame[outer] >> 4 == 6;
    let mut bytes = frame[..12].to_vec();
    bytes.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
    bytes.extend(&frame[outer..]);
    see(&bytes)
}
