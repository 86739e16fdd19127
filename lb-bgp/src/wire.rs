//! The octets of BGP-4: one file per message or part of one.
//!
//! Encoders take values that can always be written and return a whole message. Decoders never panic and
//! never allocate by a size the peer claims; what they refuse comes back as the [`Notification`] that
//! answers it. Nothing here knows about sessions or time.

pub mod attribute;
pub mod capability;
pub mod header;
pub mod message;
pub mod nlri;
pub mod notification;
pub mod open;
pub mod path;
mod reader;
pub mod received;
pub mod update;

pub use capability::Capability;
pub use header::{MessageType, Refresh, keepalive, refresh, route_refresh};
pub use message::Message;
pub use notification::Notification;
pub use open::Open;
pub use path::{NextHop, Path};
