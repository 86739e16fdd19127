//! The machine of one peer (RFC 4271 section 8): up to two connections, of which at most one is Established.
//!
//! [`Peer::handle`] takes one input, [`Peer::poll`] gives one output; neither blocks, reads a clock or fails.
//! This file has the peer's own part: starting, stopping, dialling, accepting, and routes. What happens on a
//! connection once it is up is in `session`. The state is never stored: it follows from what is there.
//!
//! ```text
//!          Start            connected or accepted       OPEN            KEEPALIVE
//!   Idle ────────► Connect ───────────────────► OpenSent ──► OpenConfirm ──► Established
//!     ▲             │   ▲                           │             │               │
//!     │ Stop        ▼   │ ConnectRetry              ▼             ▼               ▼
//!  (from any)      Active ◄───────────────── error, NOTIFICATION, connection lost
//! ```
//!
//! Beyond the RFC: after an error the peer listens at once and only dialling waits, by a growing back-off; the
//! OPEN is sent at once (no DelayOpen); a newer accepted connection replaces one that is not Established.

mod collision;
mod connection;
mod negotiate;
mod session;
mod status;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use collision::Origin;
pub use negotiate::Negotiated;
pub use status::{ConnectionStatus, Counters, FamilyStatus, HeldBack, LastError, PeerStatus, Told};

use crate::config::{ConfigError, PeerConfig};
use crate::io::{ConnId, Event, Input, Output, Reason, Shutdown, State};
use crate::random::Random;
use crate::route::RouteSet;
use crate::wire::notification::cease;
use crate::wire::{Capability, Notification};
use connection::Connection;
use timers::{Backoff, REFUSED_RETRY};

/// One BGP peer.
#[derive(Debug)]
pub struct Peer {
    config: PeerConfig,
    routes: Arc<RouteSet>,
    started: bool,
    /// The connection being dialled. The retry timer runs meanwhile.
    dialling: Option<ConnId>,
    dialled_count: u64,
    /// Whether a session was ever up: with the first one, our restart is over.
    was_up: bool,
    /// The peer has refused an OPEN with capabilities (RFC 5492 section 3): the next ones have none, until a session that
    /// came up so ends.
    without_capabilities: bool,
    /// When to dial again, or give up the attempt that is running.
    connect_retry_deadline: Option<Instant>,
    backoff: Backoff,
    /// Whether the far end hung up the last time before it said a word: it has no configuration for us.
    is_refused: bool,
    random: Random,
    /// At most two, and of those at most one Established.
    connections: Vec<Connection>,
    outputs: VecDeque<Output>,
    /// The state last told by an event, and since when.
    state: State,
    state_since: Instant,
    last_error: Option<LastError>,
    counters: Counters,
}

/// What becomes of our routes at a peer that would keep them (RFC 8538).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Routes {
    /// We come back at once.
    Kept,
    /// We don't.
    Forgotten,
}

impl Peer {
    /// A peer that is not started. Nothing happens before [`Input::Start`].
    pub fn new(config: PeerConfig, now: Instant) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self {
            random: Random::seeded(config.jitter_seed),
            config,
            routes: Arc::default(),
            started: false,
            dialling: None,
            dialled_count: 0,
            was_up: false,
            without_capabilities: false,
            connect_retry_deadline: None,
            backoff: Backoff::new(),
            is_refused: false,
            connections: Vec::new(),
            outputs: VecDeque::new(),
            state: State::Idle,
            state_since: now,
            last_error: None,
            counters: Counters::default(),
        })
    }

    /// Takes one input. `poll` afterwards until [`Output::Wait`].
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Start => self.start(now),
            Input::Stop(shutdown) => self.stop(now, &shutdown),
            Input::Reconnect => self.begin_anew(now),
            Input::Connected {
                conn,
                local,
                remote,
            } => {
                self.on_connected(now, conn, local, remote);
            }
            Input::ConnectFailed { conn, error } => self.on_connect_failed(now, conn, error),
            Input::Accepted {
                conn,
                local,
                remote,
            } => self.on_accepted(now, conn, local, remote),
            Input::Bytes { conn, bytes } => self.on_bytes(now, conn, bytes),
            Input::Sent { conn, bytes } => self.on_sent(now, conn, bytes),
            Input::Closed { conn, error } => {
                let reason = Reason::ConnectionLost(error.map(str::to_owned));
                self.drop_connection(now, conn, reason);
            }
            Input::Keepalive => self.send_keepalive(now),
            Input::Routes(routes) => self.set_routes(routes),
        }
    }

    /// Gives the next output. Runs the timers that are due, so it must be called when a wait is over.
    ///
    /// Octets that have already come should be handled first: after a stall of the caller, the peer's
    /// keepalives may wait in the socket while the hold timer is due.
    pub fn poll(&mut self, now: Instant) -> Output {
        self.run_timers(now);
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        if let Some(output) = self.next_update(now) {
            return output;
        }
        Output::Wait(self.next_deadline())
    }

    /// Changes the configuration. What can change in a running session does: next hops, whether and how often to
    /// dial, how many routes are too many; anything else needs a new one, which is begun at once. On an error
    /// nothing has changed.
    pub fn reconfigure(&mut self, now: Instant, config: PeerConfig) -> Result<(), ConfigError> {
        config.validate()?;
        let same_session = self.config.shares_session_with(&config);
        let was_passive = self.config.passive;
        self.config = config;
        if same_session {
            self.apply_next_hops();
            if was_passive != self.config.passive {
                self.apply_passive(now);
            }
            return Ok(());
        }
        self.begin_anew(now);
        Ok(())
    }

    fn begin_anew(&mut self, now: Instant) {
        self.backoff.reset();
        self.without_capabilities = false;
        let notification = Notification::new(cease::CONFIGURATION_CHANGE, &[]);
        self.end_all(now, &notification, Routes::Kept);
        if self.started {
            self.begin(now, Reason::Reconfigured);
        }
    }

    /// From now on, connections are dialled or are not; those of the other kind that are up are not touched.
    fn apply_passive(&mut self, now: Instant) {
        if !self.config.passive {
            self.backoff.reset();
            if self.may_dial() && self.connections.is_empty() {
                self.enter_connect(now, Reason::Reconfigured);
            }
            return;
        }
        self.connect_retry_deadline = None;
        self.give_up_dialling();
        let dialled = self.ids_of_connections(|c| c.origin == Origin::Dialled);
        let notification = Notification::new(cease::CONFIGURATION_CHANGE, &[]);
        for id in dialled {
            self.end_connection(now, id, notification.clone(), "");
        }
        self.tell_state(now, Reason::Reconfigured);
    }

    fn start(&mut self, now: Instant) {
        if self.started {
            return;
        }
        self.started = true;
        self.backoff.reset();
        self.begin(now, Reason::Started);
    }

    fn begin(&mut self, now: Instant, reason: Reason) {
        if self.config.passive {
            self.enter_active(now, reason);
        } else {
            self.enter_connect(now, reason);
        }
    }

    fn stop(&mut self, now: Instant, shutdown: &Shutdown) {
        if !self.started {
            return;
        }
        self.started = false;
        self.end_all(now, &shutdown.notification(), Routes::Forgotten);
        self.enter_idle(now, Reason::Stopped);
    }

    /// Ends everything that is up or being dialled. A peer that would keep our routes is told to forget them even if
    /// the N bit was not agreed on: some then keep them after any other NOTIFICATION, and those that don't know
    /// Hard Reset take it for a plain Cease.
    fn end_all(&mut self, now: Instant, notification: &Notification, routes: Routes) {
        self.give_up_dialling();
        self.connect_retry_deadline = None;
        while let Some(connection) = self.connections.first() {
            let id = connection.id;
            let would_keep = connection
                .negotiated()
                .is_some_and(|n| !n.restart_time.is_zero());
            if routes == Routes::Forgotten && would_keep {
                self.send_notification(now, id, &notification.in_hard_reset());
            } else {
                self.send_notification(now, id, notification);
            }
            self.outputs.push_back(Output::Close(id));
            self.forget_connection(now, id);
        }
    }

    fn enter_idle(&mut self, now: Instant, reason: Reason) {
        self.connect_retry_deadline = None;
        self.tell_state(now, reason);
    }

    /// Dials. The retry timer bounds the attempt, and paces the next one if it fails sooner.
    fn enter_connect(&mut self, now: Instant, reason: Reason) {
        let id = ConnId::dialled(self.dialled_count);
        self.dialled_count += 1;
        self.dialling = Some(id);
        self.connect_retry_deadline = Some(now + self.next_delay());
        self.outputs.push_back(Output::Connect(id));
        self.tell_state(now, reason);
    }

    /// Waits: for the peer to dial, and unless passive until it is time to dial.
    fn enter_active(&mut self, now: Instant, reason: Reason) {
        if self.may_dial() && self.connect_retry_deadline.is_none() {
            self.connect_retry_deadline = Some(now + self.next_delay());
        }
        self.tell_state(now, reason);
    }

    fn next_delay(&mut self) -> Duration {
        // Who has spoken with us before may be about to do so again: some hang up for a while after a reset.
        let at_most = match self.is_refused && !self.was_up {
            true => self.config.connect_retry.max(REFUSED_RETRY),
            false => self.config.connect_retry,
        };
        self.backoff.next_delay(at_most, &mut self.random)
    }

    /// Whether dialling could help: no connection is ours, and none is nearly up.
    fn may_dial(&self) -> bool {
        let under_way =
            |c: &Connection| c.origin == Origin::Dialled || c.state() >= State::OpenConfirm;
        self.started && !self.config.passive && !self.connections.iter().any(under_way)
    }

    /// What our next OPEN offers.
    fn capabilities(&self) -> Vec<Capability> {
        match self.without_capabilities {
            true => Vec::new(),
            false => self.config.capabilities(self.was_up),
        }
    }

    fn give_up_dialling(&mut self) {
        if let Some(id) = self.dialling.take() {
            self.outputs.push_back(Output::Close(id));
        }
    }

    fn on_connected(&mut self, now: Instant, id: ConnId, local: SocketAddr, remote: SocketAddr) {
        if self.dialling != Some(id) {
            return;
        }
        self.dialling = None;
        self.connect_retry_deadline = None;
        self.enter_open_sent(now, id, Origin::Dialled, (local, remote), Reason::Connected);
    }

    fn on_connect_failed(&mut self, now: Instant, id: ConnId, error: &str) {
        if self.dialling != Some(id) {
            return;
        }
        self.dialling = None;
        let reason = Reason::ConnectFailed(error.to_owned());
        self.note_error(now, &reason);
        self.enter_active(now, reason);
    }

    fn on_accepted(&mut self, now: Instant, id: ConnId, local: SocketAddr, remote: SocketAddr) {
        if !self.started {
            let rejected = Notification::new(cease::CONNECTION_REJECTED, &[]).encode();
            self.outputs.push_back(Output::Send {
                conn: id,
                bytes: rejected,
            });
            self.outputs.push_back(Output::Close(id));
            return;
        }
        let stale = self
            .connections
            .iter()
            .find(|c| c.origin == Origin::Accepted && c.state() != State::Established);
        if let Some(stale) = stale.map(|c| c.id) {
            let detail = "the peer has dialled again";
            self.end_connection(now, stale, Notification::new(cease::COLLISION, &[]), detail);
        }
        self.is_refused = false;
        self.enter_open_sent(now, id, Origin::Accepted, (local, remote), Reason::Accepted);
    }

    fn set_routes(&mut self, routes: Arc<RouteSet>) {
        self.routes = routes;
        for session in self
            .connections
            .iter_mut()
            .filter_map(Connection::session_mut)
        {
            session.rib_out.set_wanted(Arc::clone(&self.routes));
            session.in_sync = false;
        }
    }

    fn apply_next_hops(&mut self) {
        for connection in &mut self.connections {
            let local = connection.local.ip();
            let Some(session) = connection.session_mut() else {
                continue;
            };
            let own = session::own_next_hops(&self.config, &session.negotiated, local);
            session.rib_out.set_own_next_hops(own);
            session.in_sync = false;
        }
    }

    fn run_timers(&mut self, now: Instant) {
        let is_due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if is_due(self.connect_retry_deadline) {
            self.on_connect_retry(now);
        }
        let expired = self.ids_of_connections(|c| is_due(c.hold_deadline));
        expired
            .into_iter()
            .for_each(|id| self.on_hold_timer(now, id));
        let stuck = self.ids_of_connections(|c| is_due(c.send_hold_deadline));
        stuck
            .into_iter()
            .for_each(|id| self.on_send_hold_timer(now, id));
        let due = self.ids_of_connections(|c| is_due(c.keepalive_deadline));
        due.into_iter()
            .for_each(|id| self.on_keepalive_timer(now, id));
    }

    fn ids_of_connections(&self, is_meant: impl Fn(&Connection) -> bool) -> Vec<ConnId> {
        self.connections
            .iter()
            .filter(|c| is_meant(c))
            .map(|c| c.id)
            .collect()
    }

    fn on_connect_retry(&mut self, now: Instant) {
        self.connect_retry_deadline = None;
        if self.dialling.is_some() {
            self.note_error(now, &Reason::ConnectTimedOut);
            self.give_up_dialling();
        }
        if self.may_dial() {
            self.enter_connect(now, Reason::Dialling);
        } else {
            self.tell_state(now, Reason::ConnectTimedOut);
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let of_connections = self
            .connections
            .iter()
            .flat_map(|c| [c.hold_deadline, c.keepalive_deadline, c.send_hold_deadline]);
        of_connections
            .chain([self.connect_retry_deadline])
            .flatten()
            .min()
    }

    /// The state that follows from what is there.
    fn current_state(&self) -> State {
        let furthest = self.connections.iter().map(Connection::state).max();
        match furthest {
            Some(state) => state,
            None if !self.started => State::Idle,
            None if self.dialling.is_some() => State::Connect,
            None => State::Active,
        }
    }

    /// Gives an event if the state is another one than last told.
    fn tell_state(&mut self, now: Instant, reason: Reason) {
        let (from, to) = (self.state, self.current_state());
        if from == to {
            return;
        }
        self.state = to;
        self.state_since = now;
        self.outputs
            .push_back(Output::Event(Event::StateChanged { from, to, reason }));
    }

    fn note_error(&mut self, now: Instant, reason: &Reason) {
        if reason.is_error() {
            self.last_error = Some(LastError {
                reason: reason.clone(),
                at: now,
            });
        }
    }

    fn connection(&self, id: ConnId) -> Option<&Connection> {
        self.connections.iter().find(|c| c.id == id)
    }

    fn connection_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|c| c.id == id)
    }
}
