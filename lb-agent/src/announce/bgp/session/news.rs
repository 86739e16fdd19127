//! What a session tells of itself: its state and figures for people, and the VIPs that the peer may still have a
//! route to for the plan. Changes of state are told at once, figures at most once in [`FIGURES_INTERVAL`]. When the
//! peer's TCP has acknowledged a withdraw is found out by looking at the send queue until it is empty.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use lb_bgp::{
    Event, Family, Negotiated, Peer, PeerStatus, PerFamily, Reason, State,
    wire::notification::cease,
};
use lb_core::model::Remote;
use tokio::sync::mpsc::UnboundedSender;

use super::{Counterpart, Report};
use crate::{
    announce::bgp::{
        connection::Connection,
        held::{Held, Vips},
        journal::Journal,
        routes::Routes,
        socket::Transport,
    },
    engine::feedback::{Agreed, Figures, PeerSession, Timers},
};

/// Time between two looks at the send queue while a withdraw waits for its acknowledgement.
const ACKNOWLEDGEMENT_POLL: Duration = Duration::from_millis(5);
/// Least time from one telling of mere figures to the next.
const FIGURES_INTERVAL: Duration = Duration::from_secs(1);

/// What was told, and what there is to tell.
pub(super) struct News {
    name: Remote,
    range: Option<Remote>,
    address: IpAddr,
    journal: Journal,
    held: Held,
    /// As negotiated in the last session.
    negotiated: Option<Box<Negotiated>>,
    not_dialled: Option<Arc<str>>,
    since: SystemTime,
    reports: UnboundedSender<Report>,
    is_urgent: bool,
    told_at: Option<Instant>,
    told_session: Option<PeerSession>,
    told_held: Vips,
}

impl News {
    /// Nothing is told yet.
    pub(super) fn new(
        counterpart: &Counterpart,
        address: IpAddr,
        reports: UnboundedSender<Report>,
    ) -> Self {
        Self {
            name: counterpart.name.clone(),
            range: counterpart.range.clone(),
            address,
            journal: Journal::new(counterpart.name.clone()),
            held: Held::default(),
            negotiated: None,
            not_dialled: None,
            since: SystemTime::now(),
            reports,
            is_urgent: true,
            told_at: None,
            told_session: None,
            told_held: Vips::default(),
        }
    }

    /// The session is to be told as soon as possible.
    pub(super) fn is_urgent(&mut self) {
        self.is_urgent = true;
    }

    /// Other routes are to be announced, or others of them can be.
    pub(super) fn want(&mut self, machine: &Peer, routes: &Routes) {
        self.held.want(sendable(machine, routes));
    }

    /// Why the peer is not dialled, if it could be.
    pub(super) fn not_dialled(&mut self, why: Option<Arc<str>>) {
        self.is_urgent |= self.not_dialled != why;
        self.not_dialled = why;
    }

    /// Whether the peer has no route from us, and no session.
    pub(super) fn is_forgotten(&self) -> bool {
        self.held.vips().is_empty()
    }

    /// The machine says that something happened.
    pub(super) fn hear(&mut self, event: &Event, machine: &Peer, routes: &Routes) {
        self.journal.log(event);
        self.is_urgent = true;
        match event {
            Event::StateChanged { from, to, reason } => {
                self.since = SystemTime::now();
                if *from == State::Established {
                    self.forget_session(reason);
                }
                if *to == State::Established {
                    self.held.want(sendable(machine, routes));
                    self.held.session_up();
                }
            }
            Event::SessionUp(negotiated) => self.negotiated = Some(negotiated.clone()),
            Event::InSync { .. } => self.held.written(),
            _ => {}
        }
    }

    /// Tells what has changed; gives the time when there may be more.
    pub(super) fn tell<'a>(
        &mut self,
        machine: &Peer,
        mut connections: impl Iterator<Item = &'a Connection>,
        transport: &Transport,
    ) -> Option<Instant> {
        let now = Instant::now();
        if self.held.awaits_acknowledgement() && connections.all(Connection::is_acknowledged) {
            self.held.acknowledged();
        }
        self.held.expire(now);
        self.tell_held();
        let figures_at = self.told_at.map_or(now, |at| at + FIGURES_INTERVAL);
        if self.is_urgent || figures_at <= now {
            self.is_urgent = false;
            self.told_at = Some(now);
            self.tell_session(machine.status(), transport);
        }
        let look_again = self
            .held
            .awaits_acknowledgement()
            .then(|| now + ACKNOWLEDGEMENT_POLL);
        // Figures change only while a session is up, and nobody waits for them.
        let figures_again = (figures_at > now).then_some(figures_at);
        [look_again, figures_again, self.held.lapses_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn forget_session(&mut self, reason: &Reason) {
        let now = Instant::now();
        let Some(negotiated) = &self.negotiated else {
            return;
        };
        let (hold_time, hard_reset) = (negotiated.hold_time, negotiated.hard_reset);
        let restart_time = negotiated.restart_time + negotiated.stale_time;
        let keeps = !restart_time.is_zero();
        match reason {
            Reason::NotificationReceived(notification)
                if keeps && hard_reset && notification.code != cease::HARD_RESET =>
            {
                self.held.session_retained(now, restart_time);
            }
            Reason::ConnectionLost(None) if keeps => {
                self.held.session_retained(now, restart_time);
            }
            Reason::NotificationReceived(_) | Reason::ConnectionLost(None) => {
                self.held.session_ended_by_peer();
            }
            Reason::Stopped => self.held.session_lost(now, hold_time),
            // Without a hold time it may never find out.
            _ if keeps && !hold_time.is_zero() => {
                self.held.session_retained(now, hold_time + restart_time);
            }
            _ => self.held.session_lost(now, hold_time),
        }
    }

    fn tell_session(&mut self, status: PeerStatus, transport: &Transport) {
        let is_up = status.state == State::Established;
        let connection = status.connection.as_ref();
        let agreed = connection
            .filter(|_| is_up)
            .and_then(|connection| connection.negotiated.as_ref());
        let sum = |of: fn(&lb_bgp::FamilyStatus) -> usize| {
            let families = Family::ALL.into_iter();
            families.map(|family| of(&status.families[family])).sum()
        };
        let counters = status.counters;
        let session = PeerSession {
            peer: self.name.clone(),
            range: self.range.clone(),
            address: Some(self.address),
            state: status.state.into(),
            not_configured_there: status.not_configured_there,
            not_dialled: self.not_dialled.clone(),
            since: self.since,
            agreed: agreed.map(Agreed::of),
            figures: Figures {
                routes_sent: sum(|family| family.sent),
                routes_received: connection.map_or(0, |c| c.received_routes),
                routes_dropped: counters.prefixes_dropped,
                updates_sent: counters.updates_sent,
                updates_received: counters.updates_received,
                updates_malformed: counters.updates_malformed,
                sessions_lost: counters.sessions_lost,
                unsent_octets: connection.map_or(0, |c| c.unsent_octets),
            },
            timers: Timers {
                hold: connection.and_then(|c| c.hold_deadline),
                keepalive: connection.and_then(|c| c.keepalive_deadline),
                retry: status.next_dial,
            },
            held_back: PerFamily::from_fn(|family| status.families[family].held_back),
            last_error: status
                .last_error
                .map(|error| in_words(&error.reason, transport)),
        };
        if self.told_session.as_ref() != Some(&session) {
            self.told_session = Some(session.clone());
            let _ = self.reports.send(Report::Session(Box::new(session)));
        }
    }

    fn tell_held(&mut self) {
        let vips = self.held.vips();
        if Arc::ptr_eq(&self.told_held, vips) {
            return;
        }
        let told = std::mem::replace(&mut self.told_held, Arc::clone(vips));
        if told != self.told_held {
            let (peer, vips) = (self.name.clone(), Arc::clone(&self.told_held));
            let _ = self.reports.send(Report::Held { peer, vips });
        }
    }
}

/// VIPs of the families that this session carries.
fn sendable(machine: &Peer, routes: &Routes) -> Vips {
    let families = machine.status().families;
    routes.vips(PerFamily::from_fn(|family| {
        families[family].held_back.is_none()
    }))
}

/// A wrong password looks like a peer that is not there, and so does a peer too far away: the kernels drop what is not
/// signed as it should be, or comes with too low a TTL.
fn in_words(reason: &Reason, transport: &Transport) -> String {
    match reason {
        Reason::ConnectTimedOut if transport.signature.is_some() => {
            format!("{reason}; is the password the same at both ends?")
        }
        Reason::ConnectTimedOut if transport.distance.gtsm => {
            format!("{reason}; is TTL security on at both ends?")
        }
        _ => reason.to_string(),
    }
}
