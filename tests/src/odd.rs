//! Frames that are not plain: tagged, with IPv4 options or IPv6 extension headers, made from plain ones.

use crate::fragments::store_header_checksum;

/// An IEEE 802.1Q tag: VLAN 7, priority 5.
pub const TAG: [u8; 4] = [0x81, 0, 0xa0, 7];
/// An IEEE 802.1ad tag: VLAN 9.
pub const SERVICE_TAG: [u8; 4] = [0x88, 0xa8, 0, 9];
/// Router alert (RFC 2113), then the end of the list.
pub const OPTIONS: [u8; 8] = [148, 4, 0, 0, 0, 0, 0, 0];
/// Loose source route (RFC 791) by way of nobody.
pub const SOURCE_ROUTE: [u8; 4] = [131, 3, 4, 0];

/// The frame with tags, the outer one first.
#[must_use]
pub fn tagged(frame: &[u8], tags: &[[u8; 4]]) -> Vec<u8> {
    [&frame[..12], &tags.concat(), &frame[12..]].concat()
}

/// An untagged IPv4 frame with options, a multiple of four bytes.
#[must_use]
pub fn with_options(frame: &[u8], options: &[u8]) -> Vec<u8> {
    let mut longer = [&frame[..34], options, &frame[34..]].concat();
    longer[14] += (options.len() / 4) as u8;
    let bytes = (longer.len() - 14) as u16;
    longer[16..18].copy_from_slice(&bytes.to_be_bytes());
    store_header_checksum(&mut longer);
    longer
}

/// An untagged IPv6 frame with extension headers of eight bytes and these numbers.
#[must_use]
pub fn with_extensions(frame: &[u8], numbers: &[u8]) -> Vec<u8> {
    let mut longer = frame[..54].to_vec();
    let next = numbers.iter().skip(1).chain(&frame[20..21]);
    for next in next.take(numbers.len()) {
        // Padding of six bytes, which is "segments left 0" to a routing header.
        longer.extend([*next, 0, 1, 0, 0, 0, 0, 0]);
    }
    longer.extend(&frame[54..]);
    if let Some(first) = numbers.first() {
        longer[20] = *first;
    }
    let bytes = (longer.len() - 54) as u16;
    longer[18..20].copy_from_slice(&bytes.to_be_bytes());
    longer
}

/// Options or extension headers that are served, by the frame's family.
#[must_use]
pub fn with_headers(frame: &[u8]) -> Vec<u8> {
    if frame[12] == 8 {
        with_options(frame, &OPTIONS)
    } else {
        with_extensions(frame, &[0, 43, 60])
    }
}
