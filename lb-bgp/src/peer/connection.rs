//! One TCP connection of a peer, from its first octet: what it has received, its timers, how far it is.
//!
//! A peer has at most two. The input buffer holds one incomplete message at most, so that what a peer can
//! make us keep is bounded by the longest message.

use std::net::SocketAddr;
use std::time::Instant;

use super::collision::Origin;
use super::negotiate::Negotiated;
use crate::io::{ConnId, State};
use crate::rib_out::RibOut;
use crate::wire::header::{EXTENDED_MESSAGE_LEN_MAX, first_frame};
use crate::wire::received::ReadContext;
use crate::wire::{Capability, Message, Notification};

/// A connection that is up.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) origin: Origin,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Capabilities of our OPEN.
    pub(crate) offered: Vec<Capability>,
    pub(crate) phase: Phase,
    pub(crate) input: InputBuffer,
    /// When the peer has been silent for too long.
    pub(crate) hold_deadline: Option<Instant>,
    /// When the next KEEPALIVE is due.
    pub(crate) keepalive_deadline: Option<Instant>,
    /// When the system must have taken something of what waits (RFC 9687).
    pub(crate) send_hold_deadline: Option<Instant>,
    /// Whether any message came.
    pub(crate) heard: bool,
    /// Octets given out to be sent and not yet taken by the system.
    pub(crate) unsent_octets: usize,
}

/// How far a connection is.
#[derive(Debug)]
pub(crate) enum Phase {
    OpenSent,
    OpenConfirm(Negotiated),
    Established(Box<Session>),
}

/// What a connection has beyond its agreement once it is Established.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) negotiated: Negotiated,
    pub(crate) rib_out: RibOut,
    pub(crate) since: Instant,
    /// Whether [`Event::InSync`](crate::Event::InSync) was given for the present routes.
    pub(crate) in_sync: bool,
    /// Routes announced to us, less those withdrawn: no more than a bound, as none is stored.
    pub(crate) received_routes: u64,
    pub(crate) inbound_reported: bool,
    pub(crate) malformed_reported: bool,
}

impl Connection {
    pub(crate) fn state(&self) -> State {
        match self.phase {
            Phase::OpenSent => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        }
    }

    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::OpenConfirm(negotiated) => Some(negotiated),
            Phase::Established(session) => Some(&session.negotiated),
        }
    }

    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Established(session) => Some(session),
            _ => None,
        }
    }

    pub(crate) fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.phase {
            Phase::Established(session) => Some(session),
            _ => None,
        }
    }

    /// Octets were given out, or taken by the system: what still waits has its time from now.
    pub(crate) fn restart_send_hold_timer(&mut self, now: Instant) {
        let send_hold_time = self.negotiated().map(Negotiated::send_hold_time);
        self.send_hold_deadline = send_hold_time
            .filter(|_| self.unsent_octets > 0)
            .map(|time| now + time);
    }

    /// The peer has given a sign of life (RFC 4271 events 26 and 27).
    pub(crate) fn restart_hold_timer(&mut self, now: Instant) {
        let hold_time = self
            .negotiated()
            .map(|n| n.hold_time)
            .filter(|hold| !hold.is_zero());
        self.hold_deadline = hold_time.map(|hold| now + hold);
    }
}

/// Received octets that don't make a whole message yet.
#[derive(Debug, Default)]
pub(crate) struct InputBuffer {
    octets: Vec<u8>,
    consumed: usize,
}

impl InputBuffer {
    /// Takes octets off the front of `bytes`, up to the length of the longest message.
    pub(crate) fn fill(&mut self, bytes: &mut &[u8]) {
        self.octets.drain(..self.consumed);
        self.consumed = 0;
        let room = EXTENDED_MESSAGE_LEN_MAX - self.octets.len();
        let (taken, rest) = bytes.split_at(room.min(bytes.len()));
        self.octets.extend(taken);
        *bytes = rest;
    }

    /// Takes out the next message; `None` if it isn't whole.
    pub(crate) fn next_message(
        &mut self,
        context: ReadContext,
    ) -> Result<Option<Message>, Notification> {
        let Some(frame) = first_frame(&self.octets[self.consumed..])? else {
            return Ok(None);
        };
        self.consumed += frame.message_len();
        Message::decode(frame, context).map(Some)
    }
}
