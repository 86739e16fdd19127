//! Solicitations as hosts send them, every byte of the answer, and what RFC 4861 section 7.1.1 has discarded. Checksums
//! are etherparse's.

extern crate std;

use std::{vec, vec::Vec};

use etherparse::checksum::u32_16bit_word;
use proptest::prelude::*;

use super::*;

const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const VIP: [u8; 16] = [0xfd, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xa, 0xb, 0xc, 0xd];
const GROUP: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xb, 0xc, 0xd];
const CLIENT: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

fn interface() -> Interface {
    let [a, b, c, d, e, f] = OWN;
    Interface {
        mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
        ..Interface::default()
    }
}

struct Asked {
    source: [u8; 16],
    destination: [u8; 16],
    options: Vec<u8>,
}

impl Asked {
    fn by(source: [u8; 16], destination: [u8; 16], options: &[&[u8]]) -> Self {
        Self {
            source,
            destination,
            options: options.concat(),
        }
    }

    fn frame(&self) -> Vec<u8> {
        let mut frame = vec![0x33, 0x33, 0xff, 0xb, 0xc, 0xd];
        frame.extend(HOST);
        frame.extend([
            0x86,
            0xdd,
            0x60,
            0,
            0,
            0,
            0,
            24 + self.options.len() as u8,
            58,
            255,
        ]);
        frame.extend(self.source);
        frame.extend(self.destination);
        frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(VIP);
        frame.extend(&self.options);
        set_checksum(&mut frame);
        frame
    }
}

fn source_option(mac: [u8; 6]) -> Vec<u8> {
    [&[1, 1][..], &mac].concat()
}

/// By etherparse, over pseudo-header and message.
fn right_checksum(frame: &[u8]) -> u16 {
    let length = u32::from(u16::from_be_bytes([frame[18], frame[19]]));
    let sum = u32_16bit_word::add_slice(0, &frame[22..54]);
    let sum = u32_16bit_word::add_4bytes(sum, length.to_be_bytes());
    let sum = u32_16bit_word::add_4bytes(sum, [0, 0, 0, 58]);
    let mut message = frame[54..].to_vec();
    message[2..4].fill(0);
    u32_16bit_word::ones_complement(u32_16bit_word::add_slice(sum, &message)).to_be()
}

fn set_checksum(frame: &mut [u8]) {
    let checksum = right_checksum(frame);
    frame[56..58].copy_from_slice(&checksum.to_be_bytes());
}

fn answered(frame: &[u8]) -> Option<Vec<u8>> {
    let asked = solicitation(frame)?;
    let mut answer = vec![0xa5; FRAME_BYTES];
    super::answer(&mut answer[..], &interface(), &asked);
    Some(answer)
}

/// The advertisement in full, flags and all.
fn advertisement(to_mac: [u8; 6], to: [u8; 16], flags: u8) -> Vec<u8> {
    let mut frame = to_mac.to_vec();
    frame.extend(OWN);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    frame.extend(VIP);
    frame.extend(to);
    frame.extend([136, 0, 0, 0, flags, 0, 0, 0]);
    frame.extend(VIP);
    frame.extend([2, 1]);
    frame.extend(OWN);
    set_checksum(&mut frame);
    frame
}

#[test]
fn the_answer_goes_to_the_mac_of_the_option_or_of_the_frame() {
    let by_option = [2, 0, 0, 0, 0, 0x22];
    let with = Asked::by(CLIENT, GROUP, &[&source_option(by_option)]);
    assert_eq!(
        answered(&with.frame()),
        Some(advertisement(by_option, CLIENT, 0x60))
    );
    let poll = Asked::by(CLIENT, VIP, &[]);
    assert_eq!(
        answered(&poll.frame()),
        Some(advertisement(HOST, CLIENT, 0x60))
    );
}

#[test]
fn duplicate_address_detection_is_answered_to_all_nodes() {
    let mut all_nodes = [0; 16];
    (all_nodes[0], all_nodes[1], all_nodes[15]) = (0xff, 2, 1);
    let wanted = advertisement([0x33, 0x33, 0, 0, 0, 1], all_nodes, 0x20);
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6];
    for options in [&[][..], &[&nonce[..]]] {
        let probe = Asked::by([0; 16], GROUP, options);
        assert_eq!(answered(&probe.frame()), Some(wanted.clone()));
    }
    let mac = source_option(HOST);
    for wrong in [
        Asked::by([0; 16], GROUP, &[&mac]),
        Asked::by([0; 16], VIP, &[]),
    ] {
        assert_eq!(answered(&wrong.frame()), None);
    }
}

#[test]
fn what_the_rfc_discards_is_none() {
    let sound = Asked::by(CLIENT, GROUP, &[&source_option(HOST)]).frame();
    assert!(answered(&sound).is_some());
    let changes: [(&str, usize, u8); 6] = [
        ("hop limit", 21, 254),
        ("code", 55, 1),
        ("an option without length", 79, 0),
        ("an option that is too long", 79, 2),
        ("a multicast target", 62, 0xff),
        ("a multicast source", 22, 0xff),
    ];
    for (what, at, value) in changes {
        let mut frame = sound.clone();
        frame[at] = value;
        set_checksum(&mut frame);
        assert_eq!(answered(&frame), None, "{what}");
    }
    for at in 22..sound.len() {
        let mut frame = sound.clone();
        frame[at] ^= 4;
        assert_eq!(
            answered(&frame),
            None,
            "the checksum does not cover byte {at}"
        );
    }
    for length in 0..sound.len() {
        assert_eq!(answered(&sound[..length]), None, "cut to {length}");
    }
    let group = Asked::by(CLIENT, GROUP, &[&source_option([0x33, 0x33, 0, 0, 0, 1])]);
    assert_eq!(
        answered(&group.frame()),
        None,
        "a group has no MAC of its own"
    );
}

#[test]
fn options_that_nobody_knows_are_skipped() {
    let unknown = [200, 1, 0, 0, 0, 0, 0, 0];
    let other = [2, 0, 0, 0, 0, 0x33];
    let frame = Asked::by(CLIENT, GROUP, &[&unknown, &source_option(other)]).frame();
    assert_eq!(answered(&frame), Some(advertisement(other, CLIENT, 0x60)));
    let long = [200, 2, 0, 0, 0, 0, 0, 0, 1, 1, 9, 9, 9, 9, 9, 9];
    let frame = Asked::by(CLIENT, GROUP, &[&long]).frame();
    assert_eq!(answered(&frame), Some(advertisement(HOST, CLIENT, 0x60)));
    let too_many = Asked::by(CLIENT, GROUP, &[&unknown, &unknown, &source_option(HOST)]);
    assert_eq!(answered(&too_many.frame()), None);
}

#[test]
fn the_group_of_an_address_is_its_last_three_bytes() {
    let words = |bytes: [u8; 16]| bytemuck::cast::<[u8; 16], Address>(bytes);
    assert_eq!(solicited_node(&words(VIP)), words(GROUP));
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(mut bytes in proptest::collection::vec(any::<u8>(), 0..140)) {
        let _ = solicitation(&bytes[..]);
        let sound = Asked::by(CLIENT, GROUP, &[]).frame();
        let length = bytes.len().min(62);
        bytes[..length].copy_from_slice(&sound[..length]);
        let _ = solicitation(&bytes[..]);
    }
}
