//! Octets as a stream of messages, and as the body of each kind of message.

use lb_bgp::wire::{
    Message, MessageType, Notification,
    attribute::ReadContext,
    header::{Frame, HEADER_LEN, first_frame},
};

/// All kinds of messages (RFC 4271 section 4.1, RFC 2918).
const KINDS: [MessageType; 5] = [
    MessageType::Open,
    MessageType::Update,
    MessageType::Notification,
    MessageType::Keepalive,
    MessageType::RouteRefresh,
];

/// Reads the octets in every way that a session might.
pub(crate) fn read(octets: &[u8]) {
    stream(octets);
    for kind in KINDS {
        for context in contexts() {
            judge(Message::decode(Frame { kind, body: octets }, context));
        }
    }
}

/// From one message to the next, as they lie one behind the other.
fn stream(mut octets: &[u8]) {
    loop {
        match first_frame(octets) {
            Ok(Some(frame)) => {
                let length = frame.message_len();
                assert!((HEADER_LEN..=octets.len()).contains(&length), "{length}");
                octets = &octets[length..];
            }
            Ok(None) => return,
            Err(refusal) => return can_be_sent(&refusal),
        }
    }
}

fn contexts() -> impl Iterator<Item = ReadContext> {
    [false, true].into_iter().flat_map(|four_octet_asn| {
        [false, true].map(|internal| ReadContext {
            four_octet_asn,
            internal,
        })
    })
}

fn judge(read: Result<Message, Notification>) {
    match read {
        Ok(Message::Open(open)) => {
            let _ = open.asn();
        }
        Ok(Message::Notification(notification)) => {
            let _ = (
                notification.shutdown_text(),
                notification.within_hard_reset(),
            );
            let _ = notification.to_string();
        }
        Ok(_) => {}
        Err(refusal) => can_be_sent(&refusal),
    }
}

/// What is answered is itself a message, no longer than one may be, with the same words inside.
fn can_be_sent(refusal: &Notification) {
    let octets = refusal.encode();
    let frame = first_frame(&octets).expect("a header").expect("a message");
    assert_eq!(frame.message_len(), octets.len());
    let read = Notification::decode(frame.body).expect("code and subcode");
    assert_eq!(read.code, refusal.code);
}
