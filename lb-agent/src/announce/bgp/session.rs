//! The task of one peer: carries octets, time and commands to the machine of `lb-bgp`, and carries out what the
//! machine answers. It decides nothing about the protocol; what is to be told of it is beside.

mod news;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use lb_bgp::{ConnId, Input, Output, Peer, PeerConfig, RouteSet, Shutdown};
use lb_core::model::Remote;
use tokio::{
    net::TcpStream,
    sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender},
    task::{AbortHandle, JoinSet},
};

use self::news::News;
use super::{
    connection::{Connection, Happening},
    socket::{self, Transport},
};
use crate::engine::feedback::PeerSession;

/// What happened and waits to be told to the machine; connections wait when it is full.
const HAPPENINGS_WAITING_MAX: usize = 64;

/// Whom a session is with.
#[derive(Debug)]
pub(super) struct Counterpart {
    /// What it is called.
    pub(super) name: Remote,
    /// The range that it was found in: the session ends with its connection.
    pub(super) range: Option<Remote>,
    /// How connections are made.
    pub(super) transport: Transport,
}

/// What the speaker tells a session.
#[derive(Debug)]
pub(super) enum Command {
    /// All that shall be announced.
    Routes(Arc<RouteSet>),
    /// Another configuration for the same peer.
    Configure(PeerConfig),
    /// Connections are made in another way; those that are up in the old way end if they must.
    Transport(Transport),
    /// Why the peer is not dialled, if it could be.
    NotDialled(Option<Arc<str>>),
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
    Session(Box<PeerSession>),
    /// What the peer may still have routes to.
    Held {
        /// The peer.
        peer: Remote,
        /// VIPs.
        vips: BTreeSet<IpAddr>,
    },
    /// The task has ended.
    Ended(Remote),
}

/// Runs the session with one peer until it is stopped and its last words are written.
pub(super) async fn run(
    counterpart: Counterpart,
    config: PeerConfig,
    mut commands: UnboundedReceiver<Command>,
    reports: UnboundedSender<Report>,
) {
    let (happenings, mut happened) = mpsc::channel(HAPPENINGS_WAITING_MAX);
    let hold_time = proposed_hold_time(&config);
    let name = counterpart.name.clone();
    match Peer::new(config, Instant::now()) {
        Ok(machine) => {
            let news = News::new(&counterpart, reports.clone());
            let mut session = Session {
                is_dynamic: counterpart.range.is_some(),
                transport: counterpart.transport,
                machine,
                news,
                routes: Arc::default(),
                proposed_hold_time: hold_time,
                dialling: None,
                connections: BTreeMap::new(),
                accepted_count: 0,
                happenings,
                tasks: JoinSet::new(),
            };
            session.machine.handle(Instant::now(), Input::Start);
            session.follow(&mut commands, &mut happened).await;
            drop(happened);
            session.finish().await;
        }
        Err(error) => {
            tracing::error!(peer = %name, %error, "there can be no BGP session");
            let session = PeerSession::impossible(name.clone(), error.to_string());
            let _ = reports.send(Report::Session(Box::new(session)));
            while !matches!(
                commands.recv().await,
                None | Some(Command::Stop(_) | Command::Abandon)
            ) {}
        }
    }
    let _ = reports.send(Report::Ended(name));
}

struct Session {
    /// The peer found us: without a connection nothing is left of it.
    is_dynamic: bool,
    transport: Transport,
    machine: Peer,
    news: News,
    routes: Arc<RouteSet>,
    proposed_hold_time: Duration,
    dialling: Option<(ConnId, AbortHandle)>,
    connections: BTreeMap<ConnId, Connection>,
    accepted_count: u64,
    happenings: Sender<Happening>,
    tasks: JoinSet<()>,
}

impl Session {
    async fn follow(
        &mut self,
        commands: &mut UnboundedReceiver<Command>,
        happened: &mut Receiver<Happening>,
    ) {
        loop {
            let wake = self.carry_out();
            if self.is_dynamic && self.is_forgotten() {
                return;
            }
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
                self.news.want(&self.machine, &self.routes);
            }
            Command::Configure(config) => {
                self.proposed_hold_time = proposed_hold_time(&config);
                if let Err(error) = self.machine.reconfigure(now, config) {
                    let peer = self.transport.peer;
                    tracing::error!(%peer, %error, "the BGP session stays as it was configured");
                }
                self.news.want(&self.machine, &self.routes);
            }
            Command::Transport(transport) => self.change_transport(now, transport),
            Command::NotDialled(why) => self.news.not_dialled(why),
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

    /// The port counts for the next dialling; distances are for the kernel to check from now on; the rest is what the
    /// peer knows a connection by.
    fn change_transport(&mut self, now: Instant, transport: Transport) {
        let needs_connection = Transport {
            peer: SocketAddr::new(transport.peer.ip(), self.transport.peer.port()),
            distance: self.transport.distance,
            ..transport.clone()
        };
        let reconnect = needs_connection != self.transport;
        self.transport = transport;
        if reconnect {
            self.machine.handle(now, Input::Reconnect);
            return;
        }
        for connection in self.connections.values() {
            let (ip, distance) = (self.transport.peer.ip(), self.transport.distance);
            if let Err(error) = connection.prepare(ip, self.proposed_hold_time, distance) {
                tracing::warn!(peer = %ip, %error, "the distance to the BGP peer cannot be limited");
            }
        }
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
        let (ip, distance) = (self.transport.peer.ip(), self.transport.distance);
        socket::prepare(&stream, ip, self.proposed_hold_time, distance)?;
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
                Output::Event(event) => self.news.hear(&event, &self.machine, &self.routes),
                Output::Wait(wake) => break wake,
            }
        };
        let signed = self.transport.signature.is_some();
        let connections = self.connections.values();
        let told = self.news.tell(&self.machine, connections, signed);
        [machine_wake, told].into_iter().flatten().min()
    }

    fn dial(&mut self, id: ConnId) {
        let (transport, happenings) = (self.transport.clone(), self.happenings.clone());
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

fn proposed_hold_time(config: &PeerConfig) -> Duration {
    Duration::from_secs(config.hold_time_secs.into())
}

async fn sleep_until(wake: Option<Instant>) {
    if let Some(wake) = wake {
        tokio::time::sleep_until(wake.into()).await;
    }
}
