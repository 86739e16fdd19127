//! The header that every message has (RFC 4271 section 4.1), and the messages with little behind it.
//!
//! Finds the first whole message in a stream of octets and checks marker, length and type as section 6.1
//! demands. It never looks at a body.

use super::notification::{Notification, header_error};
use crate::family::Family;

/// Octets of marker, length and type.
pub const HEADER_LEN: usize = 19;

/// Longest message without the extended message capability (RFC 4271 section 4.1).
pub const MESSAGE_LEN_MAX: usize = 4096;

/// Longest message with it (RFC 8654 section 3). An OPEN or a KEEPALIVE is never longer than [`MESSAGE_LEN_MAX`].
pub const EXTENDED_MESSAGE_LEN_MAX: usize = 65_535;

const MARKER: [u8; 16] = [0xff; 16];

/// Message types (RFC 4271 section 4.1, RFC 2918).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// Opens a session.
    Open = 1,
    /// Announces and withdraws routes.
    Update = 2,
    /// Reports an error; the connection closes after it.
    Notification = 3,
    /// Keeps the hold timer from expiring.
    Keepalive = 4,
    /// Asks for all routes again (RFC 2918).
    RouteRefresh = 5,
}

impl MessageType {
    fn from_wire(value: u8) -> Option<Self> {
        [
            Self::Open,
            Self::Update,
            Self::Notification,
            Self::Keepalive,
            Self::RouteRefresh,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == value)
    }

    /// Lengths that a message of this type can have, header included.
    fn length_range(self) -> std::ops::RangeInclusive<usize> {
        match self {
            Self::Open => 29..=MESSAGE_LEN_MAX,
            Self::Update => 23..=EXTENDED_MESSAGE_LEN_MAX,
            Self::Notification => 21..=EXTENDED_MESSAGE_LEN_MAX,
            Self::Keepalive => HEADER_LEN..=HEADER_LEN,
            // A wrong length has an error code of its own (RFC 7313 section 5), so it is looked at later.
            Self::RouteRefresh => HEADER_LEN..=EXTENDED_MESSAGE_LEN_MAX,
        }
    }
}

/// A whole message: its type and what follows the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: MessageType,
    /// The octets after the header.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Octets of the whole message.
    pub fn message_len(&self) -> usize {
        HEADER_LEN + self.body.len()
    }
}

/// The message at the front of `octets`; `None` while it is incomplete.
///
/// A header that cannot be right is refused as soon as it is there, without waiting for the body.
pub fn first_frame(octets: &[u8]) -> Result<Option<Frame<'_>>, Notification> {
    let Some((header, rest)) = octets.split_first_chunk::<HEADER_LEN>() else {
        return Ok(None);
    };
    if header[..16] != MARKER {
        return Err(Notification::new(header_error::NOT_SYNCHRONIZED, &[]));
    }
    let length_octets = [header[16], header[17]];
    let length = usize::from(u16::from_be_bytes(length_octets));
    let bad_length = || Notification::new(header_error::BAD_LENGTH, &length_octets);
    if length < HEADER_LEN {
        return Err(bad_length());
    }
    let Some(kind) = MessageType::from_wire(header[18]) else {
        return Err(Notification::new(header_error::BAD_TYPE, &[header[18]]));
    };
    if !kind.length_range().contains(&length) {
        return Err(bad_length());
    }
    Ok(rest
        .get(..length - HEADER_LEN)
        .map(|body| Frame { kind, body }))
}

/// A KEEPALIVE message.
pub fn keepalive() -> Vec<u8> {
    message(MessageType::Keepalive, |_| {})
}

/// What a ROUTE-REFRESH message says (RFC 2918, RFC 7313 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refresh {
    /// All routes of the family, please.
    Request = 0,
    /// All routes of the family follow: BoRR.
    Begin = 1,
    /// That was all of them: EoRR.
    End = 2,
}

impl Refresh {
    /// The meaning of a subtype; `None` for one that is to be ignored.
    pub(crate) fn from_wire(subtype: u8) -> Option<Self> {
        [Self::Request, Self::Begin, Self::End]
            .into_iter()
            .find(|refresh| *refresh as u8 == subtype)
    }
}

/// A ROUTE-REFRESH message (RFC 2918): asks for all routes of a family.
pub fn route_refresh(family: Family) -> Vec<u8> {
    refresh(family, Refresh::Request)
}

/// A ROUTE-REFRESH message of any subtype.
pub fn refresh(family: Family, subtype: Refresh) -> Vec<u8> {
    message(MessageType::RouteRefresh, |out| {
        out.extend(family.afi().to_be_bytes());
        out.extend([subtype as u8, family.safi()]);
    })
}

/// Frames what `write_body` writes, which must fit the type's longest message.
pub(crate) fn message(kind: MessageType, write_body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    out.extend(MARKER);
    out.extend([0, 0, kind as u8]);
    write_body(&mut out);
    debug_assert!(
        kind.length_range().contains(&out.len()),
        "{kind:?} of {} octets",
        out.len()
    );
    let length = out.len() as u16;
    out[16..18].copy_from_slice(&length.to_be_bytes());
    out
}
