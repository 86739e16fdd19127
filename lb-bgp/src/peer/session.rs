//! What happens on a connection that is up: OPENs, keepalives, updates, and its end.
//!
//! Each transition is one `enter_*` function. A connection ends in one of two ways: by us, with a
//! NOTIFICATION (`end_connection`), or without one because it is gone (`drop_connection`).

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::Peer;
use super::collision::{Origin, Rank, Survivor, survivor};
use super::connection::{Connection, InputBuffer, Phase, Session};
use super::negotiate::{Negotiated, negotiate};
use super::timers::{OPEN_HOLD_TIME, STABLE_AFTER};
use crate::config::PeerConfig;
use crate::family::{Family, PerFamily};
use crate::io::{ConnId, Event, Output, Reason, State};
use crate::rib_out::RibOut;
use crate::wire::notification::{
    HOLD_TIMER_EXPIRED, SEND_HOLD_TIMER_EXPIRED, cease, open_error, state_error,
};
use crate::wire::received::{ReadContext, ReceivedUpdate};
use crate::wire::{self, Message, MessageType, NextHop, Notification, Open, Refresh};

/// UPDATEs are held back while this many octets wait for the system: enough to keep a connection busy, and
/// few enough that a change of mind does not queue behind them.
const UNSENT_OCTETS_MAX: usize = 64 * 1024;

impl Peer {
    pub(super) fn enter_open_sent(
        &mut self,
        now: Instant,
        id: ConnId,
        origin: Origin,
        (local, remote): (SocketAddr, SocketAddr),
        reason: Reason,
    ) {
        let offered = self.capabilities();
        self.connections.push(Connection {
            id,
            origin,
            local,
            remote,
            offered: offered.clone(),
            phase: Phase::OpenSent,
            input: InputBuffer::default(),
            hold_deadline: Some(now + OPEN_HOLD_TIME),
            keepalive_deadline: None,
            send_hold_deadline: None,
            heard: false,
            unsent_octets: 0,
        });
        let config = &self.config;
        let open = Open::new(
            config.local_asn,
            config.hold_time_secs,
            config.router_id,
            offered,
        );
        self.send(now, id, open.encode());
        self.tell_state(now, reason);
    }

    fn enter_open_confirm(&mut self, now: Instant, id: ConnId, negotiated: Negotiated) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.phase = Phase::OpenConfirm(negotiated);
        connection.restart_hold_timer(now);
        // Without a hold time nothing else would end a connection whose first KEEPALIVE never comes.
        connection.hold_deadline.get_or_insert(now + OPEN_HOLD_TIME);
        self.send(now, id, wire::keepalive());
        self.restart_keepalive_timer(now, id);
        self.tell_state(now, Reason::OpenAccepted);
    }

    fn enter_established(&mut self, now: Instant, id: ConnId, negotiated: Negotiated) {
        let Some(local) = self.connection(id).map(|c| c.local.ip()) else {
            return;
        };
        let own = own_next_hops(&self.config, &negotiated, local);
        let agreed = negotiated.agreed(&self.config);
        let rib_out = RibOut::new(agreed, own, self.routes.clone());
        let up = Event::SessionUp(Box::new(negotiated.clone()));
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.phase = Phase::Established(Box::new(Session {
            negotiated,
            rib_out,
            since: now,
            in_sync: false,
            received_routes: 0,
            inbound_reported: false,
            malformed_reported: false,
        }));
        connection.restart_hold_timer(now);
        self.was_up = true;
        self.give_up_dialling();
        self.connect_retry_deadline = None;
        self.tell_state(now, Reason::KeepaliveReceived);
        self.outputs.push_back(Output::Event(up));
        let other = self.connections.iter().find(|c| c.id != id).map(|c| c.id);
        if let Some(other) = other {
            let detail = "another connection is established";
            self.end_connection(now, other, Notification::new(cease::COLLISION, &[]), detail);
        }
    }

    pub(super) fn on_bytes(&mut self, now: Instant, id: ConnId, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let Some(connection) = self.connection_mut(id) else {
                return;
            };
            connection.input.fill(&mut bytes);
            while let Some(context) = self.read_context(id)
                && let Some(connection) = self.connection_mut(id)
            {
                match connection.input.next_message(context) {
                    Ok(Some(message)) => self.on_message(now, id, message),
                    Ok(None) => break,
                    Err(notification) => self.end_connection(now, id, notification, ""),
                }
            }
        }
    }

    /// How the peer's messages are read: before it has said what it speaks, as nearly everybody does.
    fn read_context(&self, id: ConnId) -> Option<ReadContext> {
        let negotiated = self.connection(id)?.negotiated();
        let context = negotiated.map(|n| n.read_context(&self.config));
        Some(context.unwrap_or(ReadContext {
            four_octet_asn: true,
            internal: self.config.is_internal(),
        }))
    }

    fn on_message(&mut self, now: Instant, id: ConnId, message: Message) {
        self.counters.messages_received += 1;
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.heard |= !matches!(message, Message::Notification(_));
        let state = connection.state();
        match (state, message) {
            (_, Message::Notification(notification)) => {
                self.drop_connection(now, id, Reason::NotificationReceived(notification));
            }
            (State::OpenSent, Message::Open(open)) => self.on_open(now, id, &open),
            (State::OpenConfirm, Message::Keepalive) => {
                if let Some(negotiated) = self.connection(id).and_then(Connection::negotiated) {
                    self.enter_established(now, id, negotiated.clone());
                }
            }
            (State::Established, Message::Keepalive) => self.restart_hold_timer(now, id),
            (State::Established, Message::Update(update)) => self.on_update(now, id, update),
            (State::Established, Message::RouteRefresh(asked)) => self.on_refresh(id, asked),
            (state, message) => self.on_unexpected(now, id, state, message.kind()),
        }
    }

    fn on_open(&mut self, now: Instant, id: ConnId, open: &Open) {
        self.is_refused = false;
        let Some(connection) = self.connection(id) else {
            return;
        };
        match negotiate(&self.config, &connection.offered, open) {
            Ok(negotiated) if self.survives_collision(now, id, open) => {
                self.enter_open_confirm(now, id, negotiated);
            }
            Ok(_) => {}
            Err(refused) => self.end_connection(now, id, refused.notification, &refused.detail),
        }
    }

    /// Ends one of two connections if both have the peer's OPEN; says whether `id` is left.
    fn survives_collision(&mut self, now: Instant, id: ConnId, open: &Open) -> bool {
        let Some(new) = self.connection(id).map(|c| c.origin) else {
            return false;
        };
        let other = self
            .connections
            .iter()
            .find(|c| c.id != id && c.state() > State::OpenSent);
        let Some((other, other_state, other_origin)) = other.map(|c| (c.id, c.state(), c.origin))
        else {
            return true;
        };
        let local = Rank {
            identifier: self.config.router_id,
            asn: self.config.local_asn,
        };
        let remote = Rank {
            identifier: open.identifier,
            asn: self.config.peer_asn,
        };
        let wins = other_state != State::Established
            && survivor(local, remote, other_origin, new) == Survivor::New;
        let loser = if wins { other } else { id };
        self.end_connection(now, loser, Notification::new(cease::COLLISION, &[]), "");
        wins
    }

    fn on_update(&mut self, now: Instant, id: ConnId, update: ReceivedUpdate) {
        self.restart_hold_timer(now, id);
        self.counters.updates_received += 1;
        self.counters.prefixes_dropped += update.announced;
        self.counters.withdrawals_dropped += update.withdrawn;
        self.counters.updates_malformed += u64::from(update.fault.is_some());
        let Some(session) = self.connection_mut(id).and_then(Connection::session_mut) else {
            return;
        };
        let first_routes = update.announced > 0 && !session.inbound_reported;
        session.inbound_reported |= first_routes;
        let fault = update.fault.filter(|_| !session.malformed_reported);
        session.malformed_reported |= fault.is_some();
        let received = session.received_routes + update.announced;
        session.received_routes = received.saturating_sub(update.withdrawn);
        let received = session.received_routes;
        if first_routes {
            self.outputs.push_back(Output::Event(Event::InboundRoutes));
        }
        if let Some((fault, reaction)) = fault {
            let event = Event::MalformedUpdate(fault, reaction);
            self.outputs.push_back(Output::Event(event));
        }
        if let Some(max) = self
            .config
            .received_routes_max
            .filter(|max| received > *max)
        {
            let detail = format!("the peer announces more than {max} routes");
            let notification = Notification::new(cease::MAXIMUM_PREFIXES, &[]);
            self.end_connection(now, id, notification, &detail);
        }
    }

    /// Marks of the peer's own routes say nothing: they are not kept.
    fn on_refresh(&mut self, id: ConnId, asked: Option<(Family, Refresh)>) {
        let Some(session) = self.connection_mut(id).and_then(Connection::session_mut) else {
            return;
        };
        if let Some((family, Refresh::Request)) = asked {
            session.rib_out.resend(family);
            session.in_sync = false;
        }
    }

    /// RFC 6608.
    fn on_unexpected(&mut self, now: Instant, id: ConnId, state: State, kind: MessageType) {
        let code = match state {
            State::Established => state_error::IN_ESTABLISHED,
            State::OpenConfirm => state_error::IN_OPEN_CONFIRM,
            _ => state_error::IN_OPEN_SENT,
        };
        let detail = format!("{kind:?} message in state {state}");
        self.end_connection(now, id, Notification::new(code, &[kind as u8]), &detail);
    }

    pub(super) fn on_sent(&mut self, now: Instant, id: ConnId, octets: usize) {
        if let Some(connection) = self.connection_mut(id) {
            connection.unsent_octets = connection.unsent_octets.saturating_sub(octets);
            connection.restart_send_hold_timer(now);
        }
    }

    /// RFC 9687: the peer takes nothing, so the NOTIFICATION may never reach it.
    pub(super) fn on_send_hold_timer(&mut self, now: Instant, id: ConnId) {
        let detail = "the peer takes nothing of what is sent";
        let notification = Notification::new(SEND_HOLD_TIMER_EXPIRED, &[]);
        self.end_connection(now, id, notification, detail);
    }

    pub(super) fn on_hold_timer(&mut self, now: Instant, id: ConnId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let hold_time = connection
            .negotiated()
            .map(|n| n.hold_time)
            .filter(|hold| !hold.is_zero());
        let silence = hold_time.unwrap_or(OPEN_HOLD_TIME).as_secs();
        let detail = format!("nothing heard from the peer for {silence} s");
        self.end_connection(now, id, Notification::new(HOLD_TIMER_EXPIRED, &[]), &detail);
    }

    pub(super) fn send_keepalive(&mut self, now: Instant) {
        let mut connections = self.connections.iter();
        let session = connections.find(|c| c.state() == State::Established);
        if let Some(id) = session.map(|c| c.id) {
            self.on_keepalive_timer(now, id);
        }
    }

    /// Sends a KEEPALIVE, unless so much is waiting that it could not be heard in time anyway.
    pub(super) fn on_keepalive_timer(&mut self, now: Instant, id: ConnId) {
        if self
            .connection(id)
            .is_some_and(|c| c.unsent_octets < UNSENT_OCTETS_MAX)
        {
            self.send(now, id, wire::keepalive());
        }
        self.restart_keepalive_timer(now, id);
    }

    /// The next UPDATE of the Established session, or the word that there is none left.
    pub(super) fn next_update(&mut self, now: Instant) -> Option<Output> {
        let connection = self
            .connections
            .iter_mut()
            .find(|c| c.state() == State::Established)?;
        let (id, unsent_octets) = (connection.id, connection.unsent_octets);
        let session = connection.session_mut()?;
        if unsent_octets < UNSENT_OCTETS_MAX
            && let Some(update) = session.rib_out.next_message()
        {
            self.counters.updates_sent += 1;
            self.send(now, id, update);
            self.restart_keepalive_timer(now, id);
            return self.outputs.pop_front();
        }
        if session.in_sync || unsent_octets > 0 || !session.rib_out.is_complete() {
            return None;
        }
        session.in_sync = true;
        let counts = session.rib_out.sent_counts();
        let routes = Family::ALL.into_iter().map(|family| counts[family]).sum();
        Some(Output::Event(Event::InSync { routes }))
    }

    /// Ends a connection with a NOTIFICATION.
    pub(super) fn end_connection(
        &mut self,
        now: Instant,
        id: ConnId,
        notification: Notification,
        detail: &str,
    ) {
        self.send_notification(now, id, &notification);
        self.outputs.push_back(Output::Close(id));
        self.drop_connection(
            now,
            id,
            Reason::NotificationSent(notification, detail.to_owned()),
        );
    }

    /// Forgets a connection, and goes on with what is left.
    pub(super) fn drop_connection(&mut self, now: Instant, id: ConnId, reason: Reason) {
        let is_refusal = self.connection(id).is_some_and(|c| refuses(c, &reason));
        let is_plain_refusal = self
            .connection(id)
            .is_some_and(|c| refuses_capabilities(c, &reason));
        if !self.forget_connection(now, id) {
            return;
        }
        // A connection that a peer ends by NOTIFICATION is closed by both ends.
        let ends_by_notification = matches!(reason, Reason::NotificationReceived(_));
        let reason = match is_refusal {
            true => Reason::NotConfiguredThere,
            false => reason,
        };
        self.is_refused |= is_refusal;
        self.without_capabilities |= is_plain_refusal && self.config.does_without_capabilities();
        if ends_by_notification {
            self.outputs.push_back(Output::Close(id));
        }
        if self.connections.is_empty() {
            self.note_error(now, &reason);
        }
        if !self.connections.is_empty() || self.dialling.is_some() {
            let dropped = Event::ConnectionDropped {
                conn: id,
                reason: reason.clone(),
            };
            self.outputs.push_back(Output::Event(dropped));
        }
        self.enter_active(now, reason);
    }

    /// Takes a connection out; says whether it was there.
    pub(super) fn forget_connection(&mut self, now: Instant, id: ConnId) -> bool {
        let Some(index) = self.connections.iter().position(|c| c.id == id) else {
            return false;
        };
        let connection = self.connections.remove(index);
        if let Some(session) = connection.session() {
            self.counters.sessions_lost += 1;
            self.without_capabilities = false;
            if now.saturating_duration_since(session.since) >= STABLE_AFTER {
                self.backoff.reset();
            }
        }
        true
    }

    pub(super) fn send_notification(
        &mut self,
        now: Instant,
        id: ConnId,
        notification: &Notification,
    ) {
        self.send(now, id, notification.encode());
    }

    fn send(&mut self, now: Instant, id: ConnId, bytes: Vec<u8>) {
        let Some(connection) = self.connection_mut(id) else {
            return;
        };
        connection.unsent_octets += bytes.len();
        if connection.send_hold_deadline.is_none() {
            connection.restart_send_hold_timer(now);
        }
        self.counters.messages_sent += 1;
        self.outputs.push_back(Output::Send { conn: id, bytes });
    }

    fn restart_hold_timer(&mut self, now: Instant, id: ConnId) {
        if let Some(connection) = self.connection_mut(id) {
            connection.restart_hold_timer(now);
        }
    }

    fn restart_keepalive_timer(&mut self, now: Instant, id: ConnId) {
        let keepalive = self
            .connection(id)
            .and_then(Connection::negotiated)
            .map(|n| n.keepalive);
        let interval = keepalive.filter(|interval| !interval.is_zero());
        let deadline = interval.map(|interval| now + self.random.jitter(interval));
        if let Some(connection) = self.connection_mut(id) {
            connection.keepalive_deadline = deadline;
        }
    }
}

/// Whether the far end takes us for nobody: it hangs up on our dialling before it has said a word, or says so.
fn refuses(connection: &Connection, reason: &Reason) -> bool {
    let hangs_up = match reason {
        Reason::ConnectionLost(_) => true,
        Reason::NotificationReceived(notification) => {
            [cease::CONNECTION_REJECTED, cease::PEER_DECONFIGURED].contains(&notification.code)
        }
        _ => false,
    };
    hangs_up && connection.origin == Origin::Dialled && !connection.heard
}

/// Whether the far end knows no capabilities: it refuses the parameter that has them (RFC 5492 section 3).
fn refuses_capabilities(connection: &Connection, reason: &Reason) -> bool {
    let refuses = matches!(
        reason,
        Reason::NotificationReceived(notification)
            if notification.code == open_error::UNSUPPORTED_PARAMETER
    );
    refuses && !connection.offered.is_empty() && connection.session().is_none()
}

/// This node as next hop of each family, in a session over `local`.
pub(super) fn own_next_hops(
    config: &PeerConfig,
    negotiated: &Negotiated,
    local: IpAddr,
) -> PerFamily<Option<NextHop>> {
    let extended = negotiated.extended_next_hop;
    PerFamily::from_fn(|family| config.own_next_hop(family, local, extended))
}
