//! A packet in fragments, and put together again.

use std::ops::Range;

/// Splits what follows the IP header at `at` bytes, a multiple of eight, into two fragments.
///
/// # Panics
/// If the packet is no longer than that.
#[must_use]
pub fn split(frame: &[u8], identification: u16, at: usize) -> [Vec<u8>; 2] {
    let end = frame.len() - header_bytes(frame);
    [
        part(frame, identification, 0..at, true),
        part(frame, identification, at..end, false),
    ]
}

/// The fragment with these bytes of what follows the IP header; `more` are said to follow.
///
/// # Panics
/// If the packet is too short.
#[must_use]
pub fn part(frame: &[u8], identification: u16, bytes: Range<usize>, more: bool) -> Vec<u8> {
    let v6 = frame[12] == 0x86;
    let header = header_bytes(frame);
    let units = (bytes.start / 8) as u16;
    let payload = &frame[header..][bytes];
    let mut fragment = frame[..header].to_vec();
    if v6 {
        let field = (units << 3 | u16::from(more)).to_be_bytes();
        let [high, low] = identification.to_be_bytes();
        fragment.extend([fragment[20], 0, field[0], field[1], 0, 0, high, low]);
        fragment[20] = 44;
        let bytes = (payload.len() + 8) as u16;
        fragment[18..20].copy_from_slice(&bytes.to_be_bytes());
    } else {
        let field = units | if more { 0x2000 } else { 0 };
        fragment[18..20].copy_from_slice(&identification.to_be_bytes());
        fragment[20..22].copy_from_slice(&field.to_be_bytes());
        let bytes = (payload.len() + 20) as u16;
        fragment[16..18].copy_from_slice(&bytes.to_be_bytes());
        store_header_checksum(&mut fragment);
    }
    fragment.extend(payload);
    fragment
}

fn header_bytes(frame: &[u8]) -> usize {
    if frame[12] == 0x86 { 14 + 40 } else { 14 + 20 }
}

/// The packet that two fragments of [`split`] make; each IPv4 header's checksum is verified on the way.
///
/// # Panics
/// If they are of different packets, or a header's checksum is wrong.
#[must_use]
pub fn joined([first, second]: &[Vec<u8>; 2]) -> Vec<u8> {
    let v6 = first[12] == 0x86;
    let (header, behind) = if v6 {
        (14 + 40, 14 + 48)
    } else {
        (14 + 20, 14 + 20)
    };
    for fragment in [first, second] {
        let mut mended = fragment.clone();
        if !v6 {
            store_header_checksum(&mut mended);
        }
        assert_eq!(&mended, fragment, "the IPv4 header's checksum");
    }
    let addresses = header - if v6 { 32 } else { 8 };
    assert_eq!(first[addresses..header], second[addresses..header]);
    let mut packet = first[..header].to_vec();
    packet.extend(&first[behind..]);
    packet.extend(&second[behind..]);
    if v6 {
        packet[20] = first[14 + 40];
        let bytes = (packet.len() - header) as u16;
        packet[18..20].copy_from_slice(&bytes.to_be_bytes());
    } else {
        packet[18..22].fill(0);
        let bytes = (packet.len() - 14) as u16;
        packet[16..18].copy_from_slice(&bytes.to_be_bytes());
        store_header_checksum(&mut packet);
    }
    packet
}

/// Computes the checksum of an untagged frame's IPv4 header.
///
/// # Panics
/// If it has none.
pub fn store_header_checksum(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let end = 14 + usize::from(frame[14] & 15) * 4;
    let words = frame[14..end].chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !(((folded & 0xffff) + (folded >> 16)) as u16);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
}
