//! Two peers, the connections between them, and a clock that jumps from event to event.
//!
//! What must hold at every step is asserted here: one Established session an end, no spinning, a session
//! never silent for longer than its hold time. A failure prints the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use lb_bgp::{
    ConnId, Event, Family, HeldBack, Input, Output, Peer, PeerConfig, PeerStatus, PerFamily,
    Prefix, RouteSet, State,
};

use lb_bgp::wire::{Capability, Open, capability::AddPath, header::HEADER_LEN, keepalive};

use crate::tcp::{Segment, Tcp};
use crate::view::{Learned, View, expected};

const TYPE_OPEN: u8 = 1;
const TYPE_UPDATE: u8 = 2;

/// Most outputs between an input and the wait after it: a full send window of small UPDATEs.
const OUTPUTS_MAX: usize = 4000;

/// How often each transition was taken: from, to, and the kind of reason.
pub(crate) type Transitions = BTreeMap<(State, State, String), u64>;

/// One end: a peer and what is known about it from outside.
pub(crate) struct End {
    pub(crate) peer: Peer,
    pub(crate) config: PeerConfig,
    pub(crate) routes: Arc<RouteSet>,
    pub(crate) wake_at: Option<Instant>,
    /// Its host is suspended until then: nothing arrives, and its clock jumps.
    asleep_until: Option<Instant>,
    /// Whether it answers when it is dialled.
    pub(crate) listening: bool,
    accepted_count: u64,
    /// The connection whose UPDATEs belong to the present session.
    session: Option<ConnId>,
    is_up: bool,
    /// Whether this process has had a session.
    was_up: bool,
    last_heard: Instant,
}

/// The two ends and all between them.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) random: Rng,
    pub(crate) now: Instant,
    pub(crate) ends: [End; 2],
    pub(crate) links: Vec<(Tcp, [View; 2])>,
    pub(crate) partitioned: bool,
    pub(crate) transitions: Transitions,
    /// OPENs with graceful restart that said not to have restarted, and that said so.
    pub(crate) restarts_told: [u64; 2],
    /// Clocks that have jumped.
    pub(crate) jumps: u64,
    next_port: u16,
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat this run with FAIRLEAD_SEED={}", self.seed);
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, random: Rng, configs: [PeerConfig; 2]) -> Self {
        let now = Instant::now();
        let ends = configs.map(|config| End::new(config, now));
        Self {
            seed,
            random,
            now,
            ends,
            links: Vec::new(),
            partitioned: false,
            transitions: Transitions::new(),
            restarts_told: [0; 2],
            jumps: 0,
            next_port: 1024,
        }
    }

    /// Gives one end an input, and carries out what it wants.
    pub(crate) fn input(&mut self, end: usize, input: Input<'_>) {
        self.ends[end].asleep_until = None;
        self.ends[end].peer.handle(self.now, input);
        self.run(end);
    }

    /// Runs until nothing is due up to `until`.
    pub(crate) fn run_until(&mut self, until: Instant) {
        while let Some(at) = self.next_event().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            for end in &mut self.ends {
                end.asleep_until = end.asleep_until.filter(|at| *at > self.now);
            }
            self.deliver_due();
            for end in [0, 1] {
                let is_due = self.ends[end].wake_at.is_some_and(|at| at <= self.now);
                if is_due && self.ends[end].asleep_until.is_none() {
                    self.run(end);
                }
            }
            self.assert_nobody_waits_in_silence();
        }
        self.now = until;
    }

    /// Runs until both ends have what the other wants them to have; says when.
    pub(crate) fn run_until_converged(&mut self, limit: Duration) -> Duration {
        let begin = self.now;
        while !self.has_converged() {
            let at = self.next_event().expect("someone must try again");
            assert!(
                at - begin < limit,
                "not converged after {limit:?}: {}",
                self.describe()
            );
            self.run_until(at);
        }
        self.now - begin
    }

    pub(crate) fn has_converged(&self) -> bool {
        let [(link, views)] = &self.links[..] else {
            return false;
        };
        let statuses = self.ends.each_ref().map(|end| end.peer.status());
        let both_up = statuses
            .iter()
            .all(|s| s.state == State::Established && s.in_sync);
        both_up
            && link.open == [true, true]
            && views.iter().enumerate().all(|(receiver, view)| {
                let sender = &self.ends[1 - receiver];
                view.learned() == self.expected_of(sender)
            })
    }

    /// What must hold once both ends are content.
    pub(crate) fn assert_settled(&self) {
        for (receiver, view) in self.links[0].1.iter().enumerate() {
            for family in Family::ALL {
                let due = u32::from(self.common_families()[family]);
                assert_eq!(
                    view.end_of_rib[family], due,
                    "End-of-RIB of {family} to end {receiver}"
                );
            }
        }
        for end in &self.ends {
            self.assert_status_is_true(&end.peer.status(), end);
        }
    }

    fn assert_status_is_true(&self, status: &PeerStatus, end: &End) {
        let told = self.expected_of(end);
        for family in Family::ALL {
            let count = told.iter().filter(|(p, _)| p.family() == family).count();
            assert_eq!(status.families[family].sent, count);
            let in_the_way = status.families[family].held_back;
            assert_eq!(in_the_way.is_none(), self.common_families()[family]);
            assert_ne!(in_the_way, Some(HeldBack::NotEstablished));
        }
    }

    fn expected_of(&self, sender: &End) -> BTreeSet<(Prefix, Learned)> {
        let families = self.common_families();
        expected(&sender.config, families, self.add_path(), &sender.routes)
    }

    /// Whether prefixes have several paths, in both directions: an OPEN that says "send" arrives as "both".
    fn add_path(&self) -> bool {
        self.ends.iter().all(|end| end.config.add_path)
    }

    fn common_families(&self) -> PerFamily<bool> {
        PerFamily::from_fn(|family| self.ends.iter().all(|end| end.config.families[family]))
    }

    /// Breaks a connection; both ends learn it.
    pub(crate) fn reset_link(&mut self, index: usize) {
        for end in [0, 1] {
            self.links[index].0.flows[end].clear();
            self.links[index].0.push(end, self.now, Segment::Reset);
        }
    }

    /// Puts octets of nobody's into a connection.
    pub(crate) fn inject(&mut self, index: usize, to: usize, octets: Vec<u8>) {
        self.links[index]
            .0
            .push(to, self.now, Segment::Octets(octets));
    }

    /// Replaces an end by a new process; the system ends its connections without a NOTIFICATION.
    pub(crate) fn crash(&mut self, end: usize) {
        let ending = if self.random.bool() {
            || Segment::Fin
        } else {
            || Segment::Reset
        };
        let at = self.now + millis(&mut self.random, 1..50);
        for (link, _) in self.links.iter_mut().filter(|(link, _)| link.open[end]) {
            link.open[end] = false;
            link.push(1 - end, at, ending());
        }
        let accepted_count = self.ends[end].accepted_count;
        let routes = Arc::clone(&self.ends[end].routes);
        self.ends[end] = End::new(self.ends[end].config.clone(), self.now);
        self.ends[end].accepted_count = accepted_count;
        self.set_routes(end, routes);
        self.input(end, Input::Start);
    }

    /// Suspends an end's host: what comes meanwhile waits, and then its clock has jumped.
    pub(crate) fn suspend(&mut self, end: usize, duration: Duration) {
        self.ends[end].asleep_until = Some(self.now + duration);
        self.jumps += 1;
    }

    pub(crate) fn set_routes(&mut self, end: usize, routes: Arc<RouteSet>) {
        self.ends[end].routes = Arc::clone(&routes);
        self.input(end, Input::Routes(routes));
    }

    pub(crate) fn reconfigure(&mut self, end: usize, config: PeerConfig) {
        self.ends[end].config = config.clone();
        self.ends[end].peer.reconfigure(self.now, config).unwrap();
        self.run(end);
    }

    pub(crate) fn describe(&self) -> String {
        let ends = self.ends.each_ref().map(|end| end.peer.status());
        format!("{} links, ends {ends:#?}", self.links.len())
    }

    fn next_event(&self) -> Option<Instant> {
        let awake = |end: &usize| self.ends[*end].asleep_until.is_none();
        let links = self.links.iter().filter(|_| !self.partitioned);
        let arrivals = links.flat_map(|(link, _)| {
            let ends = [0, 1].into_iter().filter(awake);
            ends.filter_map(|end| link.next_arrival(end))
        });
        let wakes = self.ends.iter();
        let wakes = wakes.filter_map(|end| end.asleep_until.or(end.wake_at));
        arrivals.chain(wakes).min().map(|at| at.max(self.now))
    }

    /// Polls an end until it waits, and carries out what it says.
    fn run(&mut self, end: usize) {
        for _ in 0..OUTPUTS_MAX {
            match self.ends[end].peer.poll(self.now) {
                Output::Connect(id) => self.on_connect(end, id),
                Output::Send { conn, bytes } => self.on_send(end, conn, bytes),
                Output::Close(id) => self.on_close(end, id),
                Output::Event(event) => self.on_event(end, event),
                Output::Wait(deadline) => {
                    assert!(
                        deadline.is_none_or(|at| at > self.now),
                        "end {end} waits for the past"
                    );
                    self.ends[end].wake_at = deadline;
                    return;
                }
            }
        }
        panic!("end {end} spins: {OUTPUTS_MAX} outputs without a wait");
    }

    fn on_connect(&mut self, end: usize, id: ConnId) {
        let dialled = |(link, _): &(Tcp, _)| link.dialler == end && link.open[end];
        assert!(!self.links.iter().any(dialled), "end {end} dials twice");
        let mut link = Tcp::dial(end, id, self.next_port);
        self.next_port += 1;
        link.push(
            1 - end,
            self.now + millis(&mut self.random, 1..50),
            Segment::Syn,
        );
        self.links.push((link, Default::default()));
    }

    fn on_send(&mut self, end: usize, id: ConnId, bytes: Vec<u8>) {
        if bytes[18] == TYPE_UPDATE {
            let session = *self.ends[end].session.get_or_insert(id);
            assert_eq!(
                session, id,
                "end {end} sends UPDATEs on two connections at once"
            );
        }
        let bytes = match bytes[18] {
            TYPE_OPEN => {
                self.assert_restart_is_told(end, &bytes);
                taking_several_paths(&bytes)
            }
            _ => bytes,
        };
        let at = self.now + millis(&mut self.random, 1..50);
        if let Some(index) = self.link_of(end, id) {
            self.links[index]
                .0
                .push(1 - end, at, Segment::Octets(bytes));
        }
    }

    /// The first session ends a restart; what is forwarded is never doubted afterwards.
    fn assert_restart_is_told(&mut self, index: usize, open: &[u8]) {
        let end = &self.ends[index];
        let open = Open::decode(&open[HEADER_LEN..]).expect("our own OPEN");
        let sent = open.graceful_restart();
        assert_eq!(sent.is_some(), end.config.graceful_restart.is_some());
        let (Some(sent), Some(config)) = (sent, end.config.graceful_restart) else {
            return;
        };
        assert_eq!(sent.restarted, config.restarted && !end.was_up);
        for family in end.config.families.enabled() {
            let proven = config.restarted && config.forwarding_preserved[family];
            assert_eq!(sent.families[family], Some(end.was_up || proven));
        }
        self.restarts_told[usize::from(sent.restarted)] += 1;
    }

    fn on_close(&mut self, end: usize, id: ConnId) {
        let at = self.now + millis(&mut self.random, 1..50);
        let Some(index) = self.link_of(end, id) else {
            return;
        };
        let link = &mut self.links[index].0;
        link.open[end] = false;
        let never_arrived = matches!(link.flows[1 - end].front(), Some((_, Segment::Syn)));
        if never_arrived {
            self.links.remove(index);
        } else {
            link.push(1 - end, at, Segment::Fin);
        }
    }

    fn on_event(&mut self, index: usize, event: Event) {
        let end = &mut self.ends[index];
        match event {
            Event::StateChanged { from, to, reason } => {
                assert_ne!(from, to);
                if from == State::Established {
                    (end.is_up, end.session) = (false, None);
                }
                let debug = format!("{reason:?}");
                let kind = debug
                    .split(['(', ' ', '{'])
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                *self.transitions.entry((from, to, kind)).or_default() += 1;
            }
            Event::SessionUp(_) => {
                assert!(!end.is_up, "end {index} has two sessions at once");
                (end.is_up, end.was_up) = (true, true);
                end.last_heard = self.now;
            }
            _ => {}
        }
    }

    fn deliver_due(&mut self) {
        if self.partitioned {
            return;
        }
        for index in 0..self.links.len() {
            for end in [0, 1] {
                while let Some(segment) = self.take_due(index, end) {
                    self.deliver(index, end, segment);
                }
            }
        }
        self.links.retain(|(link, _)| !link.is_gone());
    }

    fn take_due(&mut self, index: usize, end: usize) -> Option<Segment> {
        if self.ends[end].asleep_until.is_some() {
            return None;
        }
        // Carrying out a delivery may remove a link that was never accepted.
        let flow = &mut self.links.get_mut(index)?.0.flows[end];
        flow.pop_front_if(|(at, _)| *at <= self.now)
            .map(|(_, segment)| segment)
    }

    fn deliver(&mut self, index: usize, end: usize, segment: Segment) {
        let answer_at = self.now + millis(&mut self.random, 1..50);
        let link = &mut self.links[index].0;
        let (local, remote) = addresses(link, end);
        match (segment, link.ids[end]) {
            (Segment::Syn, _) if self.ends[end].listening => {
                let id = ConnId::accepted(self.ends[end].accepted_count);
                self.ends[end].accepted_count += 1;
                link.ids[end] = Some(id);
                link.open[end] = true;
                link.push(1 - end, answer_at, Segment::SynAck);
                self.input(
                    end,
                    Input::Accepted {
                        conn: id,
                        local,
                        remote,
                    },
                );
            }
            (Segment::Syn, _) => link.push(1 - end, answer_at, Segment::Refused),
            (Segment::Octets(octets), Some(conn)) if link.open[end] => {
                self.deliver_octets(index, end, conn, &octets);
            }
            (Segment::Octets(_), _) => link.push(1 - end, answer_at, Segment::Reset),
            (_, _) if !link.open[end] => {}
            (Segment::SynAck, Some(conn)) => {
                self.input(
                    end,
                    Input::Connected {
                        conn,
                        local,
                        remote,
                    },
                );
            }
            (Segment::Refused, Some(conn)) => {
                link.open[end] = false;
                self.input(
                    end,
                    Input::ConnectFailed {
                        conn,
                        error: "connection refused",
                    },
                );
            }
            (Segment::Fin, Some(conn)) => {
                link.open[end] = false;
                link.push(1 - end, answer_at, Segment::Fin);
                self.input(end, Input::Closed { conn, error: None });
            }
            (Segment::Reset, Some(conn)) => {
                link.open[end] = false;
                let error = Some("connection reset by peer");
                self.input(end, Input::Closed { conn, error });
            }
            (segment, None) => panic!("{segment:?} on a connection that end {end} never had"),
        }
    }

    /// In two pieces as often as in one.
    fn deliver_octets(&mut self, index: usize, end: usize, conn: ConnId, octets: &[u8]) {
        let sender = self.ends[1 - end].config.clone();
        let add_path = self.add_path();
        let (link, views) = &mut self.links[index];
        let sender_id = link.ids[1 - end].filter(|_| link.open[1 - end]);
        let is_garbage = octets[..16] != [0xff; 16];
        if !is_garbage {
            views[end].receive(octets, &sender, add_path);
        }
        self.ends[end].last_heard = self.now;
        // Our speaker never reads several paths: the view does, and the twin gets a sign of life instead.
        let is_update = !is_garbage && octets[18] == TYPE_UPDATE;
        let read = match add_path && is_update {
            true => &keepalive()[..],
            false => octets,
        };
        let cut = if self.random.bool() {
            self.random.usize(..read.len())
        } else {
            0
        };
        for bytes in [&read[..cut], &read[cut..]] {
            self.input(end, Input::Bytes { conn, bytes });
        }
        if let Some(conn) = sender_id {
            self.input(
                1 - end,
                Input::Sent {
                    conn,
                    bytes: octets.len(),
                },
            );
        }
    }

    fn link_of(&self, end: usize, id: ConnId) -> Option<usize> {
        let is_it = |(link, _): &(Tcp, _)| link.open[end] && link.ids[end] == Some(id);
        self.links.iter().position(is_it)
    }

    fn assert_nobody_waits_in_silence(&self) {
        let ends = self.ends.iter().enumerate();
        for (index, end) in ends.filter(|(_, end)| end.is_up && end.asleep_until.is_none()) {
            let hold_time = self.hold_time();
            let silence = self.now - end.last_heard;
            assert!(
                hold_time.is_zero() || silence <= hold_time,
                "end {index} is Established and has heard nothing for {silence:?}"
            );
        }
    }

    /// The hold time both ends agree on; changes of configuration only ever shorten it.
    pub(crate) fn hold_time(&self) -> Duration {
        let proposed = self.ends.iter().map(|end| end.config.hold_time_secs);
        Duration::from_secs(proposed.min().unwrap_or(0).into())
    }
}

impl End {
    fn new(config: PeerConfig, now: Instant) -> Self {
        Self {
            peer: Peer::new(config.clone(), now).unwrap(),
            config,
            routes: Arc::default(),
            wake_at: None,
            asleep_until: None,
            listening: true,
            accepted_count: 0,
            session: None,
            is_up: false,
            was_up: false,
            last_heard: now,
        }
    }
}

/// Our speaker only sends several paths; for its twin to take them, its OPEN must say so.
fn taking_several_paths(open: &[u8]) -> Vec<u8> {
    let mut open = Open::decode(&open[HEADER_LEN..]).expect("our own OPEN");
    for capability in &mut open.capabilities {
        if let Capability::AddPath(families) = capability {
            let both = |family| families[family].map(|_| AddPath::Both);
            *capability = Capability::AddPath(PerFamily::from_fn(both));
        }
    }
    open.encode()
}

fn addresses(link: &Tcp, end: usize) -> (SocketAddr, SocketAddr) {
    let address = |of: usize| {
        let port = if of == link.dialler { link.port } else { 179 };
        SocketAddr::from((Ipv4Addr::new(10, 0, 0, of as u8 + 1), port))
    };
    (address(end), address(1 - end))
}

/// A time within these milliseconds.
pub(crate) fn millis(random: &mut Rng, range: Range<u64>) -> Duration {
    Duration::from_millis(random.u64(range))
}
