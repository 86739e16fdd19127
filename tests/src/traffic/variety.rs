//! What the dice make of a packet: flags and numbers, sizes, options, parts, and what happens to it on a wire.

use std::ops::Range;

use fairlead_model::wire;

use crate::{dice::Dice, frame::Packet};

/// What a SYN-ACK may offer.
pub(super) const OPTIONS: [&[u8]; 5] = [
    &[],
    &[2, 4, 0x05, 0xb4],
    &[1, 2, 4, 0x05, 0xb4, 1, 1, 0],
    &[3, 3, 7, 1, 2, 4, 0x05, 0xb4],
    &[2, 4, 0x02, 0x00, 0, 0, 0, 0],
];

/// Flags, numbers, hop limit and payload of the next packet.
pub(super) fn vary(dice: &mut Dice, packet: &mut Packet, acknowledges: u32) {
    packet.flags = dice.one_of(&["S", "S", "A", "A", "A", "FA", "R", "RA", "SA", "SF", ""]);
    packet.sequence = dice.roll() as u32;
    packet.acknowledgement = if dice.once_in(4) {
        dice.roll() as u32
    } else {
        acknowledges
    };
    packet.hop_limit = if dice.once_in(16) {
        dice.one_of(&[0, 1, 2])
    } else {
        dice.one_of(&[62, 64, 255])
    };
    let bytes = match dice.below(8) {
        0..4 => 0,
        4..6 => dice.below(64),
        6 => 1300 + dice.below(200),
        _ => 1380 + dice.below(80),
    };
    packet.payload = (0..bytes).map(|_| dice.roll() as u8).collect();
}

/// Type of service, and a UDP datagram without a checksum now and then.
pub(super) fn dress(dice: &mut Dice, frame: &mut [u8]) {
    let class = dice.roll() as u8;
    if frame[12] == 8 {
        wire::replace(frame, 14, &[0x45, class], &[24]);
        if frame[23] == 17 && dice.once_in(8) {
            wire::put(frame, 40, &[0, 0]);
        }
    } else {
        frame[14] = 0x60 | class >> 4;
        frame[15] = class << 4 | frame[15] & 15;
    }
}

/// Where a packet is cut, and whether more is said to follow.
pub(super) fn cuts(dice: &mut Dice, whole: &[u8]) -> Vec<(Range<usize>, bool)> {
    let bytes = whole.len() - if whole[12] == 8 { 34 } else { 54 };
    let mut cuts: Vec<(Range<usize>, bool)> = Vec::new();
    let mut at = 0;
    while at < bytes {
        let longest = if cuts.is_empty() && dice.once_in(4) {
            4
        } else {
            bytes / 8
        };
        let end = (at + 8 * (1 + dice.below(longest))).min(bytes);
        cuts.push((at..end, end < bytes));
        at = end;
    }
    if dice.once_in(6) {
        let last = cuts.len() - 1;
        cuts.swap(0, last);
    }
    if dice.once_in(6) {
        let again = cuts[dice.below(cuts.len())].clone();
        cuts.push(again);
    }
    if dice.once_in(6) {
        let number = dice.below(cuts.len());
        let range = &mut cuts[number].0;
        range.start = range.start.saturating_sub(8);
    }
    cuts
}

/// As the first fragment of a datagram, or as a later one.
pub(super) fn split(dice: &mut Dice, frame: &mut Vec<u8>) {
    let offset = dice.one_of(&[0_u16, 0, 185]);
    let id = dice.one_of(&[7, 8]);
    if frame[12] == 8 {
        let field = (0x2000 | offset).to_be_bytes();
        wire::replace(frame, 18, &[0, id, field[0], field[1]], &[24]);
        return;
    }
    let field = (offset << 3 | 1).to_be_bytes();
    let length = (wire::half(frame, 18) + 8).to_be_bytes();
    wire::put(frame, 18, &[length[0], length[1], 44]);
    frame.splice(54..54, [17, 0, field[0], field[1], 0, 0, 0, id]);
}

/// What wires, middleboxes and enemies do.
pub(super) fn mutate(dice: &mut Dice, frame: &mut Vec<u8>) {
    match dice.below(8) {
        // The kernel runs nothing on an Ethernet header alone.
        0 => frame.truncate(15 + dice.below(frame.len() - 14)),
        1 => frame.extend((0..dice.below(20)).map(|_| 0)),
        2 => {
            let bit = dice.below(frame.len().min(100) * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        // Where headers are.
        3..6 => {
            let at = 12 + dice.below(frame.len().min(90) - 12);
            frame[at] = dice.roll() as u8;
        }
        _ => {
            let at = 12 + dice.below(frame.len().min(90) - 12);
            frame[at] = dice.one_of(&[0, 1, 4, 6, 17, 41, 43, 44, 58, 60, 0x45, 0x46, 0x60, 0xff]);
        }
    }
}
