//! Frames as hosts send them, and every byte of the answer.

use super::*;

const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn interface() -> Interface {
    let [a, b, c, d, e, f] = OWN;
    Interface {
        mac: u64::from_le_bytes([a, b, c, d, e, f, 0, 0]),
        ..Interface::default()
    }
}

fn frame(to: [u8; 6], operation: u8, sender: [u8; 4], target_mac: [u8; 6]) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..6].copy_from_slice(&to);
    frame[6..12].copy_from_slice(&HOST);
    frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    frame[22..28].copy_from_slice(&HOST);
    frame[28..32].copy_from_slice(&sender);
    frame[32..38].copy_from_slice(&target_mac);
    frame[38..42].copy_from_slice(&[10, 99, 0, 1]);
    frame
}

#[test]
fn requests_probes_and_polls_become_replies_to_who_asked() {
    let cases = [
        ([0xff; 6], [10, 0, 0, 2], [0; 6]),
        ([0xff; 6], [0; 4], [0; 6]),
        (OWN, [10, 0, 0, 2], OWN),
    ];
    for (to, sender, target_mac) in cases {
        let mut frame = frame(to, 1, sender, target_mac);
        let asked = message(&frame[..]).expect("a message");
        assert!(asked.can_be_answered());
        answer(&mut frame[..], &interface(), &asked);
        assert_eq!((&frame[..6], &frame[6..12]), (&HOST[..], &OWN[..]));
        assert_eq!(frame[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
        assert_eq!(
            (&frame[22..28], &frame[28..32]),
            (&OWN[..], &[10, 99, 0, 1][..])
        );
        assert_eq!((&frame[32..38], &frame[38..42]), (&HOST[..], &sender[..]));
        assert!(
            frame[42..].iter().all(|byte| *byte == 0),
            "the padding stays"
        );
    }
}

#[test]
fn nobody_answers_a_reply_or_a_sender_that_is_a_group() {
    let reply = frame(OWN, 2, [10, 0, 0, 2], OWN);
    assert!(!message(&reply[..]).expect("a message").can_be_answered());
    for mac in [[0; 6], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        let mut request = frame([0xff; 6], 1, [10, 0, 0, 2], [0; 6]);
        request[22..28].copy_from_slice(&mac);
        assert!(!message(&request[..]).expect("a message").can_be_answered());
    }
}

#[test]
fn other_hardware_other_protocols_and_short_frames_are_none() {
    let whole = frame([0xff; 6], 1, [10, 0, 0, 2], [0; 6]);
    assert!(message(&whole[..42]).is_some());
    assert_eq!(message(&whole[..41]), None);
    for at in [12, 14, 16, 18, 19] {
        let mut other = whole;
        other[at] ^= 0x40;
        assert_eq!(message(&other[..]), None, "byte {at}");
    }
}
