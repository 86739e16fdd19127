//! Any received message, decoded into owned values of bounded size.

use super::header::{Frame, MessageType};
use super::notification::Notification;
use super::open::Open;
use super::reader::Reader;
use super::received::{self, ReceivedUpdate};
use crate::family::Family;

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// RFC 4271 section 4.2.
    Open(Open),
    /// Counted, not kept.
    Update(ReceivedUpdate),
    /// The peer closes the connection.
    Notification(Notification),
    /// RFC 4271 section 4.4.
    Keepalive,
    /// RFC 2918; `None` for a family we don't speak or a subtype we didn't ask for (RFC 7313).
    RouteRefresh(Option<Family>),
}

impl Message {
    /// Decodes a frame; the error is what to answer.
    pub fn decode(frame: Frame<'_>) -> Result<Self, Notification> {
        Ok(match frame.kind {
            MessageType::Open => Self::Open(Open::decode(frame.body)?),
            MessageType::Update => Self::Update(received::inspect(frame.body)?),
            MessageType::Notification => Self::Notification(decode_notification(frame.body)),
            MessageType::Keepalive => Self::Keepalive,
            MessageType::RouteRefresh => Self::RouteRefresh(decode_route_refresh(frame.body)),
        })
    }

    /// Its type.
    pub fn kind(&self) -> MessageType {
        match self {
            Self::Open(_) => MessageType::Open,
            Self::Update(_) => MessageType::Update,
            Self::Notification(_) => MessageType::Notification,
            Self::Keepalive => MessageType::Keepalive,
            Self::RouteRefresh(_) => MessageType::RouteRefresh,
        }
    }
}

/// The header's least length guarantees code and subcode; an error here must not be answered anyway.
fn decode_notification(body: &[u8]) -> Notification {
    Notification::decode(body)
        .unwrap_or(Notification::new(super::notification::ErrorCode(0, 0), &[]))
}

fn decode_route_refresh(body: &[u8]) -> Option<Family> {
    let mut reader = Reader::new(body);
    let (afi, subtype, safi) = (reader.u16()?, reader.u8()?, reader.u8()?);
    // Subtypes 1 and 2 are markers of enhanced route refresh, which we don't offer.
    (subtype == 0)
        .then(|| Family::from_wire(afi, safi))
        .flatten()
}
