//! The task of one peer: carries octets, time and commands to the machine of `lb-bgp`, and carries out what the
//! machine answers. It decides nothing about the protocol. What it adds is knowing when the peer's TCP has
//! acknowledged a withdraw, by looking at the send queue until it is empty.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use lb_bgp::{
    ConnId, Event, Family, Input, Output, Peer, PeerConfig, PerFamily, Reason, RouteSet, Shutdown,
    State, wire::notification::cease,
};
use tokio::{
    net::TcpStream,
    sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender},
    task::{AbortHandle, JoinSet},
};

use super::{
    connection::{Connection, Happening},
    held::Held,
    journal::Journal,
    password::Password,
    socket,
};
use crate::engine::feedback::PeerSession;

/// What happened and waits to be told to the machine; connections wait when it is full.
const HAPPENINGS_WAITING_MAX: usize = 64;
/// Time between two looks at the send queue while a withdraw waits for its acknowledgement.
const ACKNOWLEDGEMENT_POLL: Duration = Duration::from_millis(5);

/// Whom a session is with.
#[derive(Debug)]
pub(super) struct Remote {
    /// Where to dial.
    pub(super) peer: SocketAddr,
    /// What connections are signed with.
    pub(super) password: Option<Password>,
}

/// What the speaker tells a session.
#[derive(Debug)]
pub(super) enum Command {
    /// All that shall be announced.
    Routes(Arc<RouteSet>),
    /// Another configuration for the same peer.
    Configure(PeerConfig),
    /// The peer has dialled us.
    Accepted(TcpStream),
    /// End the session and the task.
    Stop(Shutdown),
    /// End the task; the connections close without a NOTIFICATION.
    Abandon,
}

/// What a session tells the speaker.
#[derive(Debug)]
pub(super) enum Report {
    /// The session as it is now.
    Session(PeerSession),
    /// What the peer may still have routes to.
    Held {
        /// The peer's address.
        peer: IpAddr,
        /// VIPs.
        vips: BTreeSet<IpAddr>,
    },
    /// The task has ended.
    Ended(IpAddr),
}

/// Runs the session with one peer until it is stopped and its last words are written.
pub(super) async fn run(
    remote: Remote,
    config: PeerConfig,
    mut commands: UnboundedReceiver<Command>,
    reports: UnboundedSender<Report>,
) {
    let (happenings, mut happened) = mpsc::channel(HAPPENINGS_WAITING_MAX);
    let hold_time = proposed_hold_time(&config);
    let peer = remote.peer;
    match Peer::new(config, Instant::now()) {
        Ok(machine) => {
            let mut session = Session::new(remote, machine, hold_time, happenings, reports.clone());
            session.machine.handle(Instant::now(), Input::Start);
            session.follow(&mut commands, &mut happened).await;
            drop(happened);
            session.finish().await;
        }
        Err(error) => {
            tracing::error!(%peer, %error, "there can be no BGP session");
            let _ = reports.send(Report::Session(PeerSession::impossible(
                peer.ip(),
                error.to_string(),
            )));
            while !matches!(
                commands.recv().await,
                None | Some(Command::Stop(_) | Command::Abandon)
            ) {}
        }
    }
    let _ = reports.send(Report::Ended(peer.ip()));
}

struct Session {
    peer: SocketAddr,
    password: Option<Password>,
    machine: Peer,
    journal: Journal,
    routes: Arc<RouteSet>,
    held: Held,
    /// As negotiated in the last session.
    hold_time: Duration,
    /// For how long the peer keeps routes without a session, as negotiated in the last one.
    restart_time: Duration,
    /// Whether a NOTIFICATION other than Hard Reset counts as a restart.
    hard_reset: bool,
    proposed_hold_time: Duration,
    dialling: Option<(ConnId, AbortHandle)>,
    connections: BTreeMap<ConnId, Connection>,
    accepted_count: u64,
    happenings: Sender<Happening>,
    tasks: JoinSet<()>,
    since: SystemTime,
    reports: UnboundedSender<Report>,
    told_session: Option<PeerSession>,
    told_held: BTreeSet<IpAddr>,
}

impl Session {
    fn new(
        Remote { peer, password }: Remote,
        machine: Peer,
        proposed_hold_time: Duration,
        happenings: Sender<Happening>,
        reports: UnboundedSender<Report>,
    ) -> Self {
        Self {
            peer,
            password,
            machine,
            journal: Journal::new(peer),
            routes: Arc::default(),
            held: Held::default(),
            hold_time: Duration::ZERO,
            restart_time: Duration::ZERO,
            hard_reset: false,
            proposed_hold_time,
            dialling: None,
            connections: BTreeMap::new(),
            accepted_count: 0,
            happenings,
            tasks: JoinSet::new(),
            since: SystemTime::now(),
            reports,
            told_session: None,
            told_held: BTreeSet::new(),
        }
    }

    async fn follow(
        &mut self,
        commands: &mut UnboundedReceiver<Command>,
        happened: &mut Receiver<Happening>,
    ) {
        loop {
            let wake = self.carry_out();
            tokio::select! {
                command = commands.recv() => {
                    let command = command.unwrap_or(Command::Stop(Shutdown::Deconfigured));
                    if !self.obey(command) {
                        return;
                    }
                }
                Some(happening) = happened.recv() => self.pass_on(happening),
                () = sleep_until(wake), if wake.is_some() => {}
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    /// False if it was the last.
    fn obey(&mut self, command: Command) -> bool {
        let now = Instant::now();
        match command {
            Command::Routes(routes) => {
                self.routes = Arc::clone(&routes);
                self.machine.handle(now, Input::Routes(routes));
                self.held.want(self.sendable());
            }
            Command::Configure(config) => {
                self.proposed_hold_time = proposed_hold_time(&config);
                if let Err(error) = self.machine.reconfigure(now, config) {
                    tracing::error!(peer = %self.peer, %error, "the BGP session stays as it was configured");
                }
                self.held.want(self.sendable());
            }
            Command::Accepted(stream) => self.accept(now, stream),
            Command::Stop(shutdown) => {
                self.machine.handle(now, Input::Stop(shutdown));
                self.carry_out();
                return false;
            }
            Command::Abandon => return false,
        }
        true
    }

    fn pass_on(&mut self, happening: Happening) {
        let now = Instant::now();
        match happening {
            Happening::Connected(id, stream) => self.connected(now, id, stream),
            Happening::ConnectFailed(id, error) => {
                let error = error.to_string();
                self.machine.handle(
                    now,
                    Input::ConnectFailed {
                        conn: id,
                        error: &error,
                    },
                );
            }
            Happening::Received(id, octets) => {
                self.machine.handle(
                    now,
                    Input::Bytes {
                        conn: id,
                        bytes: &octets,
                    },
                );
            }
            Happening::Sent(id, octets) => {
                self.machine.handle(
                    now,
                    Input::Sent {
                        conn: id,
                        bytes: octets,
                    },
                );
            }
            Happening::Closed(id, error) => {
                self.connections.remove(&id);
                let error = error.map(|error| error.to_string());
                self.machine.handle(
                    now,
                    Input::Closed {
                        conn: id,
                        error: error.as_deref(),
                    },
                );
            }
        }
    }

    fn connected(&mut self, now: Instant, id: ConnId, stream: TcpStream) {
        if self
            .dialling
            .take_if(|(dialling, _)| *dialling == id)
            .is_none()
        {
            return;
        }
        match self.start_connection(id, stream) {
            Ok((local, remote)) => {
                self.machine.handle(
                    now,
                    Input::Connected {
                        conn: id,
                        local,
                        remote,
                    },
                );
            }
            Err(error) => {
                let error = error.to_string();
                self.machine.handle(
                    now,
                    Input::ConnectFailed {
                        conn: id,
                        error: &error,
                    },
                );
            }
        }
    }

    fn accept(&mut self, now: Instant, stream: TcpStream) {
        let id = ConnId::accepted(self.accepted_count);
        self.accepted_count += 1;
        // One that broke before it began is no news.
        if let Ok((local, remote)) = self.start_connection(id, stream) {
            self.machine.handle(
                now,
                Input::Accepted {
                    conn: id,
                    local,
                    remote,
                },
            );
        }
    }

    fn start_connection(
        &mut self,
        id: ConnId,
        stream: TcpStream,
    ) -> std::io::Result<(SocketAddr, SocketAddr)> {
        socket::prepare(&stream, self.peer.ip(), self.proposed_hold_time)?;
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        let connection = Connection::start(id, stream, self.happenings.clone(), &mut self.tasks);
        self.connections.insert(id, connection);
        Ok(ends)
    }

    /// Carries out all that the machine wants now; gives the time to wake it.
    fn carry_out(&mut self) -> Option<Instant> {
        let mut is_news = self.told_session.is_none();
        let machine_wake = loop {
            match self.machine.poll(Instant::now()) {
                Output::Connect(id) => {
                    // The attempt before may have timed out, which changes no state.
                    is_news = true;
                    self.dial(id);
                }
                Output::Send { conn, bytes } => {
                    if let Some(connection) = self.connections.get(&conn) {
                        connection.send(bytes);
                    }
                }
                Output::Close(id) => self.close(id),
                Output::Event(event) => {
                    is_news = true;
                    self.hear(&event);
                }
                Output::Wait(wake) => break wake,
            }
        };
        self.look_for_acknowledgement();
        self.held.expire(Instant::now());
        if is_news {
            self.tell_session();
        }
        self.tell_held();
        let look_again = self
            .held
            .awaits_acknowledgement()
            .then(|| Instant::now() + ACKNOWLEDGEMENT_POLL);
        [machine_wake, look_again, self.held.lapses_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn dial(&mut self, id: ConnId) {
        let (peer, happenings) = (self.peer, self.happenings.clone());
        let password = self.password.clone();
        let dial = async move {
            let happening = match socket::dial(peer, password.as_ref()).await {
                Ok(stream) => Happening::Connected(id, stream),
                Err(error) => Happening::ConnectFailed(id, error),
            };
            let _ = happenings.send(happening).await;
        };
        self.dialling = Some((id, self.tasks.spawn(dial)));
    }

    fn close(&mut self, id: ConnId) {
        self.connections.remove(&id);
        if let Some((_, dial)) = self.dialling.take_if(|(dialling, _)| *dialling == id) {
            dial.abort();
        }
    }

    fn hear(&mut self, event: &Event) {
        self.journal.log(event);
        match event {
            Event::StateChanged { from, to, reason } => {
                self.since = SystemTime::now();
                if *from == State::Established {
                    self.forget_session(reason);
                }
                if *to == State::Established {
                    self.held.want(self.sendable());
                    self.held.session_up();
                }
            }
            Event::SessionUp(negotiated) => {
                self.hold_time = negotiated.hold_time;
                self.restart_time = negotiated.restart_time;
                self.hard_reset = negotiated.hard_reset;
            }
            Event::InSync { .. } => self.held.written(),
            _ => {}
        }
    }

    fn forget_session(&mut self, reason: &Reason) {
        let now = Instant::now();
        let keeps = !self.restart_time.is_zero();
        match reason {
            Reason::NotificationReceived(notification)
                if keeps && self.hard_reset && notification.code != cease::HARD_RESET =>
            {
                self.held.session_retained(now, self.restart_time);
            }
            Reason::ConnectionLost(None) if keeps => {
                self.held.session_retained(now, self.restart_time);
            }
            Reason::NotificationReceived(_) | Reason::ConnectionLost(None) => {
                self.held.session_ended_by_peer();
            }
            Reason::Stopped => self.held.session_lost(now, self.hold_time),
            // Without a hold time it may never find out.
            _ if keeps && !self.hold_time.is_zero() => {
                let at_most = self.hold_time + self.restart_time;
                self.held.session_retained(now, at_most);
            }
            _ => self.held.session_lost(now, self.hold_time),
        }
    }

    fn look_for_acknowledgement(&mut self) {
        if self.held.awaits_acknowledgement()
            && self.connections.values().all(Connection::is_acknowledged)
        {
            self.held.acknowledged();
        }
    }

    /// VIPs of the families that this session carries.
    fn sendable(&self) -> BTreeSet<IpAddr> {
        let families = self.machine.status().families;
        let prefixes = self.routes.keys();
        prefixes
            .filter(|prefix| families[prefix.family()].held_back.is_none())
            .map(|prefix| prefix.address())
            .collect()
    }

    fn tell_session(&mut self) {
        let status = self.machine.status();
        let is_up = status.state == State::Established;
        let session = PeerSession {
            peer: self.peer.ip(),
            state: status.state.into(),
            since: self.since,
            hold_time: Some(self.hold_time).filter(|hold_time| is_up && !hold_time.is_zero()),
            restart_time: Some(self.restart_time).filter(|time| is_up && !time.is_zero()),
            routes_sent: Family::ALL
                .into_iter()
                .map(|family| status.families[family].sent)
                .sum(),
            held_back: PerFamily::from_fn(|family| status.families[family].held_back),
            last_error: status.last_error.map(|error| self.in_words(&error.reason)),
        };
        if self.told_session.as_ref() != Some(&session) {
            self.told_session = Some(session.clone());
            let _ = self.reports.send(Report::Session(session));
        }
    }

    /// A wrong password looks like a peer that is not there: the kernels drop what is not signed as it should be.
    fn in_words(&self, reason: &Reason) -> String {
        match reason {
            Reason::ConnectTimedOut if self.password.is_some() => {
                format!("{reason}; is the password the same at both ends?")
            }
            _ => reason.to_string(),
        }
    }

    fn tell_held(&mut self) {
        if self.told_held != *self.held.vips() {
            self.told_held.clone_from(self.held.vips());
            let (peer, vips) = (self.peer.ip(), self.told_held.clone());
            let _ = self.reports.send(Report::Held { peer, vips });
        }
    }

    /// Waits until every connection has written its last words.
    async fn finish(mut self) {
        self.connections.clear();
        drop(self.happenings);
        while self.tasks.join_next().await.is_some() {}
    }
}

fn proposed_hold_time(config: &PeerConfig) -> Duration {
    Duration::from_secs(config.hold_time_secs.into())
}

async fn sleep_until(wake: Option<Instant>) {
    if let Some(wake) = wake {
        tokio::time::sleep_until(wake.into()).await;
    }
}
