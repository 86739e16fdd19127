//! The task of one peer: carries octets, time and commands to the machine of `lb-bgp`, and carries out what the
//! machine answers. It decides nothing about the protocol; what is to be told of it is beside.

mod news;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use lb_bgp::{ConnId, Input, Output, Peer, PeerConfig, Shutdown};
use lb_core::model::Remote;
use tokio::{
    net::TcpStream,
    sync::{
        mpsc::{self, Receiver, Sender, UnboundedSender},
        watch,
    },
    task::{AbortHandle, JoinSet},
};

use self::news::News;
use super::{
    connection::{Connection, Happening},
    held::Vips,
    routes::Routes,
    socket::{self, Transport},
};
use crate::engine::feedback::PeerSession;

/// What happened and waits to be told to the machine; connections wait when it is full.
const HAPPENINGS_WAITING_MAX: usize = 64;

/// After a limit of the distance: when to look first whether the peer is heard, how often, and when to give it up. TCP
/// repeats what was lost well within that (RFC 6298 section 2).
const PROOF_AFTER: Duration = Duration::from_millis(200);
const PROOF_POLL: Duration = Duration::from_millis(50);
const PROOF_WITHIN: Duration = Duration::from_secs(3);

/// Whom a session is with.
#[derive(Debug)]
pub(super) struct Counterpart {
    /// What it is called.
    pub(super) name: Remote,
    /// The range that it was found in: the session ends with its connection.
    pub(super) range: Option<Remote>,
}

/// What the speaker wants a session to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// All that shall be announced.
    pub(super) routes: Arc<Routes>,
    /// How the session is configured.
    pub(super) config: PeerConfig,
    /// How connections are made; those that are up in another way end if they must.
    pub(super) transport: Transport,
    /// Why the peer is not dialled, if it could be.
    pub(super) not_dialled: Option<Arc<str>>,
    /// The session and its task are to end.
    pub(super) end: Option<End>,
}

/// How a session ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    /// With a NOTIFICATION.
    Stop(Shutdown),
    /// The connections close without one.
    Silent,
}

/// What a session tells the speaker.
#[derive(Debug)]
pub(super) enum Report {
    /// The session as it is now.
    Session(Box<PeerSession>),
    /// What the peer may still have routes to.
    Held {
        /// The peer.
        peer: Remote,
        /// VIPs.
        vips: Vips,
    },
    /// The task has ended.
    Ended(Remote),
}

/// Runs the session with one peer until it is stopped and its last words are written.
pub(super) async fn run(
    counterpart: Counterpart,
    mut asked: watch::Receiver<Asked>,
    mut accepted: Receiver<TcpStream>,
    reports: UnboundedSender<Report>,
) {
    let (happenings, mut happened) = mpsc::channel(HAPPENINGS_WAITING_MAX);
    let is = asked.borrow_and_update().clone();
    let name = counterpart.name.clone();
    match Peer::new(is.config.clone(), Instant::now()) {
        Ok(machine) => {
            let news = News::new(&counterpart, is.transport.peer.ip(), reports.clone());
            let mut session = Session {
                is_dynamic: counterpart.range.is_some(),
                machine,
                news,
                is,
                proof_of_distance: None,
                dialling: None,
                connections: BTreeMap::new(),
                accepted_count: 0,
                happenings,
                tasks: JoinSet::new(),
            };
            session.start();
            session
                .follow(&mut asked, &mut accepted, &mut happened)
                .await;
            drop(happened);
            session.finish().await;
        }
        Err(error) => {
            tracing::error!(peer = %name, %error, "there can be no BGP session");
            let session = PeerSession::impossible(name.clone(), error.to_string());
            let _ = reports.send(Report::Session(Box::new(session)));
            // Nothing to wait for but the end.
            let _ = asked.wait_for(|asked| asked.end.is_some()).await;
        }
    }
    let _ = reports.send(Report::Ended(name));
}

struct Session {
    /// The peer found us: without a connection nothing is left of it.
    is_dynamic: bool,
    machine: Peer,
    news: News,
    /// What was asked for last.
    is: Asked,
    /// Until when the peer may prove that it is as near as it now must be.
    proof_of_distance: Option<ProofOfDistance>,
    dialling: Option<(ConnId, AbortHandle)>,
    connections: BTreeMap<ConnId, Connection>,
    accepted_count: u64,
    happenings: Sender<Happening>,
    tasks: JoinSet<()>,
}

impl Session {
    fn start(&mut self) {
        let now = Instant::now();
        self.machine.handle(now, Input::Start);
        self.set_routes(now);
        self.news.not_dialled(self.is.not_dialled.clone());
    }

    async fn follow(
        &mut self,
        asked: &mut watch::Receiver<Asked>,
        accepted: &mut Receiver<TcpStream>,
        happened: &mut Receiver<Happening>,
    ) {
        loop {
            self.judge_distance();
            let wake = self.carry_out();
            if self.is_dynamic && self.is_forgotten() {
                return;
            }
            tokio::select! {
                changed = asked.changed() => {
                    let mut next = asked.borrow_and_update().clone();
                    if changed.is_err() {
                        next.end = Some(End::Stop(Shutdown::Deconfigured));
                    }
                    if !self.obey(next) {
                        return;
                    }
                }
                Some(stream) = accepted.recv() => self.accept(Instant::now(), stream),
                Some(happening) = happened.recv() => self.pass_on(happening),
                () = sleep_until(wake), if wake.is_some() => {}
                Some(_) = self.tasks.join_next() => {}
            }
        }
    }

    /// False if it was the last.
    fn obey(&mut self, next: Asked) -> bool {
        let now = Instant::now();
        let was = std::mem::replace(&mut self.is, next);
        match &self.is.end {
            Some(End::Stop(shutdown)) => {
                self.machine.handle(now, Input::Stop(shutdown.clone()));
                self.carry_out();
                return false;
            }
            Some(End::Silent) => return false,
            None => {}
        }
        if was.not_dialled != self.is.not_dialled {
            self.news.not_dialled(self.is.not_dialled.clone());
        }
        if !Arc::ptr_eq(&was.routes, &self.is.routes) {
            self.set_routes(now);
        }
        if was.transport != self.is.transport {
            self.change_transport(now, &was.transport);
        }
        if was.config != self.is.config {
            self.configure(now);
        }
        true
    }

    fn set_routes(&mut self, now: Instant) {
        let routes = Arc::clone(self.is.routes.set());
        self.machine.handle(now, Input::Routes(routes));
        self.news.want(&self.machine, &self.is.routes);
    }

    fn configure(&mut self, now: Instant) {
        if let Err(error) = self.machine.reconfigure(now, self.is.config.clone()) {
            let peer = self.is.transport.peer;
            tracing::error!(%peer, %error, "the BGP session stays as it was configured");
        }
        self.news.want(&self.machine, &self.is.routes);
    }

    /// The port counts for the next dialling; distances are for the kernel to check from now on; the rest is what the
    /// peer knows a connection by.
    fn change_transport(&mut self, now: Instant, was: &Transport) {
        let is = &self.is.transport;
        let needs_connection = Transport {
            peer: SocketAddr::new(is.peer.ip(), was.peer.port()),
            distance: was.distance,
            ..is.clone()
        };
        if needs_connection != *was {
            self.machine.handle(now, Input::Reconnect);
            return;
        }
        for connection in self.connections.values() {
            let (ip, distance) = (is.peer.ip(), is.distance);
            if let Err(error) = connection.prepare(ip, self.proposed_hold_time(), distance) {
                tracing::warn!(peer = %ip, %error, "the distance to the BGP peer cannot be limited");
            }
        }
        if is.distance.is_nearer_than(was.distance) {
            // Its acknowledgement comes with the TTL that the peer sends with, or never.
            self.machine.handle(now, Input::Keepalive);
            self.proof_of_distance = Some(ProofOfDistance {
                from: now + PROOF_AFTER,
                until: now + PROOF_WITHIN,
            });
        }
    }

    /// A peer whose segments the kernel now drops is not waited for until the hold timer expires: the session begins
    /// anew, and the peer is told.
    fn judge_distance(&mut self) {
        let now = Instant::now();
        let Some(proof) = self.proof_of_distance.filter(|proof| proof.from <= now) else {
            return;
        };
        if self.connections.values().all(Connection::is_acknowledged) {
            self.proof_of_distance = None;
        } else if proof.until <= now {
            self.proof_of_distance = None;
            let peer = self.is.transport.peer.ip();
            tracing::warn!(
                %peer,
                "the BGP peer's segments come from farther away than `gtsm` allows now; the session begins anew"
            );
            self.machine.handle(now, Input::Reconnect);
        }
    }

    fn proposed_hold_time(&self) -> Duration {
        Duration::from_secs(self.is.config.hold_time_secs.into())
    }

    /// Whether a peer that found us is gone, and its routes of ours with it.
    fn is_forgotten(&self) -> bool {
        let was_here = self.accepted_count > 0;
        was_here && self.connections.is_empty() && self.news.is_forgotten()
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
        let (ip, distance) = (self.is.transport.peer.ip(), self.is.transport.distance);
        socket::prepare(&stream, ip, self.proposed_hold_time(), distance)?;
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        let connection = Connection::start(id, stream, self.happenings.clone(), &mut self.tasks);
        self.connections.insert(id, connection);
        Ok(ends)
    }

    /// Carries out all that the machine wants now; gives the time to wake it.
    fn carry_out(&mut self) -> Option<Instant> {
        let machine_wake = loop {
            match self.machine.poll(Instant::now()) {
                Output::Connect(id) => {
                    // The attempt before may have timed out, which changes no state.
                    self.news.is_urgent();
                    self.dial(id);
                }
                Output::Send { conn, bytes } => {
                    if let Some(connection) = self.connections.get(&conn) {
                        connection.send(bytes);
                    }
                }
                Output::Close(id) => self.close(id),
                Output::Event(event) => self.news.hear(&event, &self.machine, &self.is.routes),
                Output::Wait(wake) => break wake,
            }
        };
        let connections = self.connections.values();
        let told = self
            .news
            .tell(&self.machine, connections, &self.is.transport);
        let proof = self.proof_of_distance.map(|proof| {
            let now = Instant::now();
            proof.from.max(now + PROOF_POLL)
        });
        [machine_wake, told, proof].into_iter().flatten().min()
    }

    fn dial(&mut self, id: ConnId) {
        let (transport, happenings) = (self.is.transport.clone(), self.happenings.clone());
        let dial = async move {
            let happening = match socket::dial(&transport).await {
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

    /// Waits until every connection has written its last words.
    async fn finish(mut self) {
        self.connections.clear();
        drop(self.happenings);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// When a peer must have acknowledged something that was sent over a connection whose distance is limited now.
#[derive(Clone, Copy, Debug)]
struct ProofOfDistance {
    /// When what was sent is written.
    from: Instant,
    until: Instant,
}

async fn sleep_until(wake: Option<Instant>) {
    if let Some(wake) = wake {
        tokio::time::sleep_until(wake.into()).await;
    }
}
