//! What goes into a [`Peer`](crate::Peer) and what comes out of it.
//!
//! The caller owns sockets and the clock; it turns what they report into an [`Input`] and carries out each
//! [`Output`]. A connection is named by its [`ConnId`] on both sides.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::peer::Negotiated;
use crate::route::RouteSet;
use crate::wire::Notification;
use crate::wire::notification::cease;
use crate::wire::received::{Reaction, UpdateFault};

/// Names one TCP connection, from dialling or accepting it until it is closed; never used again.
///
/// Numbers of dialled connections are even and given out by the peer; numbers of accepted ones are odd and
/// made by the caller with [`ConnId::accepted`]. So they cannot clash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl ConnId {
    /// The id of an accepted connection, from any number that the caller never uses twice for one peer.
    pub fn accepted(serial: u64) -> Self {
        Self(serial << 1 | 1)
    }

    pub(crate) fn dialled(serial: u64) -> Self {
        Self(serial << 1)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.0 & 1 == 1 {
            "accepted"
        } else {
            "dialled"
        };
        write!(f, "{kind} {}", self.0 >> 1)
    }
}

/// Something that happened outside. Inputs for a connection that is no longer there are ignored.
#[derive(Debug, Clone)]
pub enum Input<'a> {
    /// The operator wants the session (RFC 4271 event 1): dial, unless passive, and accept.
    Start,
    /// The operator doesn't want it (event 2): all connections end with a Cease that says why.
    Stop(Shutdown),
    /// Connections are to be made anew, as they are signed or addressed in another way now; the peer keeps our
    /// routes if it can.
    Reconnect,
    /// A dialled connection is up.
    Connected {
        /// From [`Output::Connect`].
        conn: ConnId,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
    },
    /// A dialled connection didn't come up.
    ConnectFailed {
        /// From [`Output::Connect`].
        conn: ConnId,
        /// The system's words.
        error: &'a str,
    },
    /// The peer has dialled us. The caller has matched it to this peer by its address.
    Accepted {
        /// From [`ConnId::accepted`].
        conn: ConnId,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
    },
    /// Octets were received, in order; any number.
    Bytes {
        /// The connection they came from.
        conn: ConnId,
        /// Any piece of the stream.
        bytes: &'a [u8],
    },
    /// Octets of [`Output::Send`] were taken by the system. UPDATEs are held back while many octets wait.
    Sent {
        /// The connection they went to.
        conn: ConnId,
        /// How many.
        bytes: usize,
    },
    /// The connection ended, by the peer or by an error; not to be reported after [`Output::Close`].
    Closed {
        /// The connection that is gone.
        conn: ConnId,
        /// The system's words; `None` for an orderly end.
        error: Option<&'a str>,
    },
    /// Send a KEEPALIVE now, if there is a session, whatever its timer says: whether the peer acknowledges it shows
    /// whether it is still heard. RFC 4271 section 4.4 allows one a second.
    Keepalive,
    /// All that shall be announced, replacing what was asked before. Kept while no session is up.
    Routes(Arc<RouteSet>),
}

/// How to end a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shutdown {
    /// The operator wants it, for now, with words for the peer's operator (RFC 9003); at most 255 octets of them
    /// are sent. May be empty.
    Administrative(String),
    /// The peer is no longer configured.
    Deconfigured,
}

impl Shutdown {
    pub(crate) fn notification(&self) -> Notification {
        match self {
            Self::Administrative(text) => Notification::administrative_shutdown(text),
            Self::Deconfigured => Notification::new(cease::PEER_DECONFIGURED, &[]),
        }
    }
}

/// What the caller is to do next. After each [`Input`], and when a wait is over, `poll` until
/// [`Output::Wait`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Dial the peer; answer with [`Input::Connected`] or [`Input::ConnectFailed`].
    Connect(ConnId),
    /// Write these octets behind those given before; report them by [`Input::Sent`].
    Send {
        /// Where to.
        conn: ConnId,
        /// Whole messages.
        bytes: Vec<u8>,
    },
    /// Write what is still unwritten, then close; or give up dialling. Nothing is to be reported afterwards.
    Close(ConnId),
    /// Something worth logging or acting on.
    Event(Event),
    /// Nothing to do until then, or until the next input if `None`.
    Wait(Option<Instant>),
}

/// The states of RFC 4271 section 8.2.2. With two connections, that of the one further on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Stopped: nothing is dialled or accepted.
    Idle,
    /// Waiting for a dialled connection to come up.
    Connect,
    /// Not dialling: waiting for the peer to dial, or until it is time to dial again.
    Active,
    /// Connected; our OPEN is sent, the peer's awaited.
    OpenSent,
    /// Both OPENs are accepted; the peer's first KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The RFC's own spelling is that of the names.
        fmt::Debug::fmt(self, f)
    }
}

/// Something worth logging or acting on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The state is another one now.
    StateChanged {
        /// Before.
        from: State,
        /// Now.
        to: State,
        /// Why.
        reason: Reason,
    },
    /// A session came up, with this agreed. Follows its `StateChanged`.
    SessionUp(Box<Negotiated>),
    /// A connection ended while another one goes on, so that the state may be the same.
    ConnectionDropped {
        /// Which.
        conn: ConnId,
        /// Why.
        reason: Reason,
    },
    /// The system has taken every message that brings the peer up to date with the routes wanted.
    InSync {
        /// Routes the peer now has from us.
        routes: usize,
    },
    /// The peer announces routes; they are counted and dropped. Once a session.
    InboundRoutes,
    /// The peer sent an UPDATE that RFC 7606 tolerates, and this is what it makes of its routes. Once a session; all
    /// are counted.
    MalformedUpdate(UpdateFault, Reaction),
}

/// Why a state changed or a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// [`Input::Start`].
    Started,
    /// [`Input::Stop`].
    Stopped,
    /// [`Peer::reconfigure`](crate::Peer::reconfigure) with what needs a new session.
    Reconfigured,
    /// It is time to dial.
    Dialling,
    /// The dialled connection is up.
    Connected,
    /// The peer has dialled us.
    Accepted,
    /// Dialling failed, with the system's words.
    ConnectFailed(String),
    /// Dialling took too long.
    ConnectTimedOut,
    /// The peer's OPEN was accepted.
    OpenAccepted,
    /// The peer has accepted our OPEN.
    KeepaliveReceived,
    /// The connection ended without a NOTIFICATION; the system's words if it was an error.
    ConnectionLost(Option<String>),
    /// The far end hangs up before it says a word, or says that it knows no such peer: it has no configuration for
    /// us. Not an error of ours, and nothing but its operator can change it.
    NotConfiguredThere,
    /// The peer ended it.
    NotificationReceived(Notification),
    /// We ended it; with what a person needs to know beyond the code, if anything.
    NotificationSent(Notification, String),
}

impl Reason {
    /// Whether it is worth keeping as the last error.
    pub(crate) fn is_error(&self) -> bool {
        matches!(
            self,
            Self::ConnectFailed(_)
                | Self::ConnectTimedOut
                | Self::ConnectionLost(_)
                | Self::NotificationReceived(_)
                | Self::NotificationSent(..)
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Stopped => f.write_str("stopped"),
            Self::Reconfigured => f.write_str("configuration changed"),
            Self::Dialling => f.write_str("dialling"),
            Self::Connected => f.write_str("connected"),
            Self::Accepted => f.write_str("accepted a connection"),
            Self::ConnectFailed(error) => write!(f, "could not connect: {error}"),
            Self::ConnectTimedOut => f.write_str("could not connect: timed out"),
            Self::OpenAccepted => f.write_str("received OPEN"),
            Self::KeepaliveReceived => f.write_str("received KEEPALIVE"),
            Self::ConnectionLost(None) => f.write_str("the peer closed the connection"),
            Self::ConnectionLost(Some(error)) => write!(f, "connection lost: {error}"),
            Self::NotConfiguredThere => {
                f.write_str("the router has no configuration for this node")
            }
            Self::NotificationReceived(n) => write!(f, "received NOTIFICATION: {n}"),
            Self::NotificationSent(n, detail) if detail.is_empty() => {
                write!(f, "sent NOTIFICATION: {n}")
            }
            Self::NotificationSent(n, detail) => write!(f, "{detail}; sent NOTIFICATION: {n}"),
        }
    }
}
