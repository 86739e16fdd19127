//! Any received message, decoded into owned values of bounded size.

use super::header::{Frame, MessageType, Refresh, message};
use super::notification::{Notification, REFRESH_LENGTH};
use super::open::Open;
use super::received::{self, ReadContext, ReceivedUpdate};
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
    /// RFC 2918, RFC 7313; `None` for a family we don't speak or a subtype nobody knows.
    RouteRefresh(Option<(Family, Refresh)>),
}

impl Message {
    /// Decodes a frame as the session reads it; the error is what to answer.
    pub fn decode(frame: Frame<'_>, context: ReadContext) -> Result<Self, Notification> {
        Ok(match frame.kind {
            MessageType::Open => Self::Open(Open::decode(frame.body)?),
            MessageType::Update => Self::Update(received::inspect(frame.body, context)?),
            MessageType::Notification => Self::Notification(decode_notification(frame.body)),
            MessageType::Keepalive => Self::Keepalive,
            MessageType::RouteRefresh => Self::RouteRefresh(decode_route_refresh(frame.body)?),
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

fn decode_route_refresh(body: &[u8]) -> Result<Option<(Family, Refresh)>, Notification> {
    let Ok([afi_high, afi_low, subtype, safi]) = <[u8; 4]>::try_from(body) else {
        let whole = message(MessageType::RouteRefresh, |out| out.extend(body));
        return Err(Notification::new(REFRESH_LENGTH, &whole));
    };
    let family = Family::from_wire(u16::from_be_bytes([afi_high, afi_low]), safi);
    Ok(family.zip(Refresh::from_wire(subtype)))
}
