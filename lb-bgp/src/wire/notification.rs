//! The NOTIFICATION message (RFC 4271 section 4.5): why a connection closes, in numbers and in words.
//!
//! The same type is what decoders return as their error, so that the answer to a bad message is decided
//! where it is read. Names follow the IANA registry; Administrative Shutdown carries text (RFC 9003).

use std::fmt;

use super::header::{MessageType, message};
use super::reader::Reader;

/// Error code and subcode of a NOTIFICATION.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u8, pub u8);

/// Message header errors (RFC 4271 section 6.1).
pub mod header_error {
    use super::ErrorCode;
    /// The marker is not all ones.
    pub const NOT_SYNCHRONIZED: ErrorCode = ErrorCode(1, 1);
    /// Length is out of bounds; data: the length.
    pub const BAD_LENGTH: ErrorCode = ErrorCode(1, 2);
    /// Unknown message type; data: the type.
    pub const BAD_TYPE: ErrorCode = ErrorCode(1, 3);
}

/// OPEN errors (RFC 4271 section 6.2, RFC 5492).
pub mod open_error {
    use super::ErrorCode;
    /// The optional parameters cannot be parsed.
    pub const UNSPECIFIC: ErrorCode = ErrorCode(2, 0);
    /// Not version 4; data: the version we speak.
    pub const UNSUPPORTED_VERSION: ErrorCode = ErrorCode(2, 1);
    /// Not the AS that is configured, or one nobody can have.
    pub const BAD_PEER_AS: ErrorCode = ErrorCode(2, 2);
    /// BGP identifier zero, or ours within our AS.
    pub const BAD_IDENTIFIER: ErrorCode = ErrorCode(2, 3);
    /// An optional parameter that is no capability.
    pub const UNSUPPORTED_PARAMETER: ErrorCode = ErrorCode(2, 4);
    /// Hold time of one or two seconds.
    pub const BAD_HOLD_TIME: ErrorCode = ErrorCode(2, 6);
    /// A capability that we cannot do without is missing; data: that capability.
    pub const UNSUPPORTED_CAPABILITY: ErrorCode = ErrorCode(2, 7);
}

/// UPDATE errors that RFC 7606 still answers by a reset.
pub mod update_error {
    use super::ErrorCode;
    /// Lengths contradict each other, or MP_REACH_NLRI or MP_UNREACH_NLRI is there twice.
    pub const MALFORMED_ATTRIBUTES: ErrorCode = ErrorCode(3, 1);
    /// MP_REACH_NLRI or MP_UNREACH_NLRI cannot be parsed; data: the attribute.
    pub const OPTIONAL_ATTRIBUTE: ErrorCode = ErrorCode(3, 9);
    /// Prefixes of the message body cannot be parsed.
    pub const INVALID_NETWORK: ErrorCode = ErrorCode(3, 10);
}

/// A ROUTE-REFRESH of a wrong length (RFC 7313 section 5); data: the message.
pub const REFRESH_LENGTH: ErrorCode = ErrorCode(7, 1);

/// The peer takes nothing of what we send (RFC 9687).
pub const SEND_HOLD_TIMER_EXPIRED: ErrorCode = ErrorCode(8, 0);

/// Hold timer expired (RFC 4271 section 6.5).
pub const HOLD_TIMER_EXPIRED: ErrorCode = ErrorCode(4, 0);

/// A message that its state doesn't allow (RFC 6608); data: the message type.
pub mod state_error {
    use super::ErrorCode;
    /// In OpenSent.
    pub const IN_OPEN_SENT: ErrorCode = ErrorCode(5, 1);
    /// In OpenConfirm.
    pub const IN_OPEN_CONFIRM: ErrorCode = ErrorCode(5, 2);
    /// In Established.
    pub const IN_ESTABLISHED: ErrorCode = ErrorCode(5, 3);
}

/// Cease (RFC 4486).
pub mod cease {
    use super::ErrorCode;
    /// More routes than the limit allows; data: AFI, SAFI and the limit.
    pub const MAXIMUM_PREFIXES: ErrorCode = ErrorCode(6, 1);
    /// The operator stopped the session; data: text of RFC 9003.
    pub const ADMINISTRATIVE_SHUTDOWN: ErrorCode = ErrorCode(6, 2);
    /// The peer is no longer configured.
    pub const PEER_DECONFIGURED: ErrorCode = ErrorCode(6, 3);
    /// This connection is not wanted.
    pub const CONNECTION_REJECTED: ErrorCode = ErrorCode(6, 5);
    /// The configuration changed in a way that needs a new session.
    pub const CONFIGURATION_CHANGE: ErrorCode = ErrorCode(6, 6);
    /// Two connections at once, and this one lost.
    pub const COLLISION: ErrorCode = ErrorCode(6, 7);
    /// Routes are not to be kept, graceful restart or not; data: code, subcode and data of the real reason
    /// (RFC 8538 section 3).
    pub const HARD_RESET: ErrorCode = ErrorCode(6, 9);
    /// BFD says that the peer cannot be reached (RFC 9384).
    pub const BFD_DOWN: ErrorCode = ErrorCode(6, 10);
}

/// Administrative Reset carries text as Administrative Shutdown does (RFC 9003).
const ADMINISTRATIVE_RESET: ErrorCode = ErrorCode(6, 4);

/// Longest text of RFC 9003 in octets; its length field is one octet.
const SHUTDOWN_TEXT_LEN_MAX: usize = 255;

/// A NOTIFICATION message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What went wrong.
    pub code: ErrorCode,
    /// What belongs to it, by code.
    pub data: Vec<u8>,
}

impl Notification {
    /// A notification with its data.
    pub fn new(code: ErrorCode, data: &[u8]) -> Self {
        Self {
            code,
            data: data.to_vec(),
        }
    }

    /// Administrative Shutdown with the operator's words (RFC 9003), cut to 255 octets between characters.
    pub fn administrative_shutdown(text: &str) -> Self {
        let text = &text[..text.floor_char_boundary(SHUTDOWN_TEXT_LEN_MAX)];
        let mut data = vec![text.len() as u8];
        data.extend(text.as_bytes());
        Self {
            code: cease::ADMINISTRATIVE_SHUTDOWN,
            data,
        }
    }

    /// The same reason in a Hard Reset (RFC 8538 section 3): the peer must not keep our routes.
    #[must_use]
    pub fn in_hard_reset(&self) -> Self {
        let mut data = vec![self.code.0, self.code.1];
        data.extend(&self.data);
        Self {
            code: cease::HARD_RESET,
            data,
        }
    }

    /// The real reason in a Hard Reset, if it carries one.
    pub fn within_hard_reset(&self) -> Option<Self> {
        let inner = Self::decode(&self.data).filter(|_| self.code == cease::HARD_RESET)?;
        // One in another says nothing more.
        (inner.code != cease::HARD_RESET).then_some(inner)
    }

    /// The message's octets. Data beyond what fits is cut.
    pub fn encode(&self) -> Vec<u8> {
        let data_len_max = super::header::MESSAGE_LEN_MAX - super::header::HEADER_LEN - 2;
        message(MessageType::Notification, |out| {
            out.extend([self.code.0, self.code.1]);
            out.extend(self.data.iter().take(data_len_max));
        })
    }

    /// Reads a message body; `None` if it is shorter than two octets, which its header excludes.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let code = ErrorCode(reader.u8()?, reader.u8()?);
        Some(Self {
            code,
            data: reader.rest().to_vec(),
        })
    }

    /// The text of an Administrative Shutdown or Reset, if it carries one (RFC 9003).
    pub fn shutdown_text(&self) -> Option<String> {
        if ![cease::ADMINISTRATIVE_SHUTDOWN, ADMINISTRATIVE_RESET].contains(&self.code) {
            return None;
        }
        let mut reader = Reader::new(&self.data);
        let length = reader.u8()?;
        let text = reader.take(usize::from(length))?;
        (!text.is_empty()).then(|| String::from_utf8_lossy(text).into_owned())
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorCode(code, subcode) = self.code;
        write!(f, "{} ({code}/{subcode})", self.code.name())?;
        if let Some(inner) = self.within_hard_reset() {
            return write!(f, ": {inner}");
        }
        match self.shutdown_text() {
            // Escaped: it comes from the network and ends up in logs and terminals.
            Some(text) => write!(f, ": \"{}\"", text.escape_debug()),
            None => Ok(()),
        }
    }
}

impl ErrorCode {
    /// The registered name, or that of the code alone where the subcode is unknown.
    pub fn name(self) -> &'static str {
        let find = |wanted: Self| NAMES.iter().find(|(code, _)| *code == wanted);
        find(self)
            .or_else(|| find(Self(self.0, 0)))
            .map_or("unknown error", |(_, name)| name)
    }
}

/// IANA, BGP Error Codes and Subcodes.
const NAMES: &[(ErrorCode, &str)] = &[
    (ErrorCode(1, 0), "message header error"),
    (
        header_error::NOT_SYNCHRONIZED,
        "connection not synchronized",
    ),
    (header_error::BAD_LENGTH, "bad message length"),
    (header_error::BAD_TYPE, "bad message type"),
    (open_error::UNSPECIFIC, "OPEN message error"),
    (
        open_error::UNSUPPORTED_VERSION,
        "unsupported version number",
    ),
    (open_error::BAD_PEER_AS, "bad peer AS"),
    (open_error::BAD_IDENTIFIER, "bad BGP identifier"),
    (
        open_error::UNSUPPORTED_PARAMETER,
        "unsupported optional parameter",
    ),
    (open_error::BAD_HOLD_TIME, "unacceptable hold time"),
    (open_error::UNSUPPORTED_CAPABILITY, "unsupported capability"),
    (ErrorCode(2, 11), "role mismatch"),
    (ErrorCode(3, 0), "UPDATE message error"),
    (
        update_error::MALFORMED_ATTRIBUTES,
        "malformed attribute list",
    ),
    (ErrorCode(3, 2), "unrecognized well-known attribute"),
    (ErrorCode(3, 3), "missing well-known attribute"),
    (ErrorCode(3, 4), "attribute flags error"),
    (ErrorCode(3, 5), "attribute length error"),
    (ErrorCode(3, 6), "invalid ORIGIN attribute"),
    (ErrorCode(3, 8), "invalid NEXT_HOP attribute"),
    (update_error::OPTIONAL_ATTRIBUTE, "optional attribute error"),
    (update_error::INVALID_NETWORK, "invalid network field"),
    (ErrorCode(3, 11), "malformed AS_PATH"),
    (HOLD_TIMER_EXPIRED, "hold timer expired"),
    (ErrorCode(5, 0), "finite state machine error"),
    (state_error::IN_OPEN_SENT, "unexpected message in OpenSent"),
    (
        state_error::IN_OPEN_CONFIRM,
        "unexpected message in OpenConfirm",
    ),
    (
        state_error::IN_ESTABLISHED,
        "unexpected message in Established",
    ),
    (ErrorCode(6, 0), "cease"),
    (
        cease::MAXIMUM_PREFIXES,
        "maximum number of prefixes reached",
    ),
    (cease::ADMINISTRATIVE_SHUTDOWN, "administrative shutdown"),
    (cease::PEER_DECONFIGURED, "peer de-configured"),
    (ADMINISTRATIVE_RESET, "administrative reset"),
    (cease::CONNECTION_REJECTED, "connection rejected"),
    (cease::CONFIGURATION_CHANGE, "other configuration change"),
    (cease::COLLISION, "connection collision resolution"),
    (ErrorCode(6, 8), "out of resources"),
    (cease::HARD_RESET, "hard reset"),
    (cease::BFD_DOWN, "BFD down"),
    (ErrorCode(7, 0), "ROUTE-REFRESH message error"),
    (REFRESH_LENGTH, "invalid ROUTE-REFRESH length"),
    (SEND_HOLD_TIMER_EXPIRED, "send hold timer expired"),
];
