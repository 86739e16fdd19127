//! Octets as a script of events for one peer's machine: each says what happens next, and how. The laws hold after each:
//! outputs come to an end, nothing is sent on a connection that was given up, nothing is dialled unasked, what waits
//! to be sent has a bound, and the next wait is not over yet.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use lb_bgp::{
    ConnId, GracefulRestart, Input, Output, Peer, PeerConfig, PerFamily, Prefix, RouteSet,
    Shutdown, State,
    wire::{Capability, MessageType, Open, header::HEADER_LEN, keepalive},
};

/// Most outputs between an input and the wait after it.
const OUTPUTS_MAX: usize = 4000;
/// Octets that may wait for the system: a window of UPDATEs and the message that passes it.
const UNSENT_MAX: usize = 1 << 20;

/// What is left of the script.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Up to this many octets.
    fn take(&mut self, most: u8) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(self.0.len().min(usize::from(most)));
        self.0 = rest;
        taken
    }
}

/// The machine and what is known of it from outside.
struct Scene {
    peer: Peer,
    now: Instant,
    started: bool,
    dialled: Option<ConnId>,
    /// Octets that wait, by connection; a connection that was given up is not in it.
    open: BTreeMap<ConnId, usize>,
    accepted: u64,
}

/// Start, accept, OPEN (of the AS that the peer has), KEEPALIVE: where half of the scripts begin.
const SESSION: [[u8; 4]; 2] = [[0, 3, 6, 7], [0, 3, 19, 7]];

/// Plays a script.
pub(crate) fn play(octets: &[u8]) {
    let mut script = Script(octets);
    let (Some(kind), Some(beginning)) = (script.next(), script.next()) else {
        return;
    };
    let mut scene = Scene::new(kind);
    if beginning & 1 == 0 {
        for event in SESSION[usize::from(kind & 1)] {
            scene.event(event, &mut Script(&[]));
            scene.run();
        }
        assert_eq!(scene.peer.status().state, State::Established);
    }
    while let Some(event) = script.next() {
        scene.event(event, &mut script);
        scene.run();
    }
}

impl Scene {
    fn new(kind: u8) -> Self {
        let now = Instant::now();
        let peer_asn = if kind & 1 == 0 { 65001 } else { 65000 };
        let config = PeerConfig {
            passive: kind & 2 != 0,
            hold_time_secs: [0, 3, 9, 90][usize::from(kind >> 2 & 3)],
            add_path: kind & 16 != 0,
            received_routes_max: (kind & 32 != 0).then_some(3),
            next_hop_v4: Some([10, 0, 0, 11].into()),
            graceful_restart: (kind & 64 != 0).then(|| GracefulRestart {
                restart_time_secs: 120,
                over_notifications: kind & 128 != 0,
                restarted: true,
                forwarding_preserved: PerFamily::from_fn(|_| true),
                stale_time_secs: 0,
            }),
            ..PeerConfig::new(65000, peer_asn, [10, 0, 0, 11].into())
        };
        Self {
            peer: Peer::new(config, now).expect("a sound configuration"),
            now,
            started: false,
            dialled: None,
            open: BTreeMap::new(),
            accepted: 0,
        }
    }

    fn event(&mut self, event: u8, script: &mut Script<'_>) {
        match event % 13 {
            0 => {
                self.started = true;
                self.peer.handle(self.now, Input::Start);
            }
            1 => {
                self.started = false;
                self.peer
                    .handle(self.now, Input::Stop(Shutdown::Deconfigured));
            }
            2 => self.connect(event & 64 == 0),
            3 => self.accept(),
            4 => self.octets(event, script.take(event >> 2)),
            5 => {
                let body = script.take(event);
                self.octets(event, &framed(event, body));
            }
            6 => self.octets(event, &open(event)),
            7 => self.octets(event, &keepalive()),
            8 => self.close(event),
            9 => self.now += Duration::from_secs(u64::from(event) / 12),
            10 => self.take_up(),
            11 => self.peer.handle(self.now, Input::Keepalive),
            _ => self.routes(event),
        }
    }

    fn connect(&mut self, succeeds: bool) {
        let Some(conn) = self.dialled.take() else {
            return;
        };
        let input = if succeeds {
            self.open.insert(conn, 0);
            let [local, remote] = ends();
            Input::Connected {
                conn,
                local,
                remote,
            }
        } else {
            Input::ConnectFailed {
                conn,
                error: "refused",
            }
        };
        self.peer.handle(self.now, input);
    }

    fn accept(&mut self) {
        let conn = ConnId::accepted(self.accepted);
        self.accepted += 1;
        self.open.insert(conn, 0);
        let [local, remote] = ends();
        self.peer.handle(
            self.now,
            Input::Accepted {
                conn,
                local,
                remote,
            },
        );
    }

    /// For one of the connections that are open.
    fn octets(&mut self, event: u8, bytes: &[u8]) {
        if let Some(conn) = self.some(event) {
            self.peer.handle(self.now, Input::Bytes { conn, bytes });
        }
    }

    fn close(&mut self, event: u8) {
        if let Some(conn) = self.some(event) {
            self.open.remove(&conn);
            let error = (event & 32 != 0).then_some("reset");
            self.peer.handle(self.now, Input::Closed { conn, error });
        }
    }

    /// The system takes all that waits.
    fn take_up(&mut self) {
        for (conn, unsent) in self.open.clone() {
            if unsent > 0 {
                self.open.insert(conn, 0);
                self.peer.handle(
                    self.now,
                    Input::Sent {
                        conn,
                        bytes: unsent,
                    },
                );
            }
        }
    }

    fn routes(&mut self, event: u8) {
        let routes: RouteSet = (0..event)
            .map(|host| {
                let address = IpAddr::from([10, 99, 0, host]);
                let prefix = Prefix::new(address, 32).expect("a host route");
                (prefix, lb_bgp::Route::default())
            })
            .collect();
        self.peer.handle(self.now, Input::Routes(Arc::new(routes)));
    }

    fn some(&self, event: u8) -> Option<ConnId> {
        let place = usize::from(event) % self.open.len().max(1);
        self.open.keys().nth(place).copied()
    }

    /// Carries out what the machine wants.
    fn run(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.peer.poll(self.now) {
                Output::Connect(conn) => {
                    assert!(self.started, "dials unasked");
                    assert!(self.dialled.is_none(), "dials twice");
                    self.dialled = Some(conn);
                }
                Output::Send { conn, bytes } => {
                    let unsent = self.open.get_mut(&conn).expect("sends where nobody is");
                    *unsent += bytes.len();
                    assert!(*unsent <= UNSENT_MAX, "{unsent} octets wait");
                }
                Output::Close(conn) => {
                    self.open.remove(&conn);
                    self.dialled = self.dialled.filter(|dialled| *dialled != conn);
                }
                Output::Event(_) => {}
                Output::Wait(deadline) => {
                    assert!(
                        deadline.is_none_or(|at| at > self.now),
                        "waits for the past"
                    );
                    return self.look();
                }
            }
        }
        panic!("{OUTPUTS_MAX} outputs and no wait");
    }

    fn look(&self) {
        let status = self.peer.status();
        assert!(
            self.started || status.state == State::Idle,
            "{:?}",
            status.state
        );
        assert!(self.open.len() <= 2, "{} connections", self.open.len());
        let session = status.connection.is_some_and(|it| it.negotiated.is_some());
        assert!(
            session || status.state < State::OpenConfirm,
            "{:?}",
            status.state
        );
    }
}

/// A message of some kind with this body.
fn framed(event: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    message.extend((HEADER_LEN as u16 + body.len() as u16).to_be_bytes());
    let kinds = [
        MessageType::Update,
        MessageType::Open,
        MessageType::Notification,
    ];
    let kind = match event / 12 % 4 {
        3 => 5,
        at => kinds[usize::from(at)] as u8,
    };
    message.push(kind);
    message.extend(body);
    message
}

/// An OPEN that a router might send, with and without what it needs.
fn open(event: u8) -> Vec<u8> {
    let asn = if event & 16 == 0 { 65001 } else { 65000 };
    let hold_time_secs = if event & 32 == 0 { 90 } else { 3 };
    let capabilities = vec![
        Capability::FourOctetAsn(asn),
        Capability::Multiprotocol(lb_bgp::Family::Ipv4Unicast),
        Capability::RouteRefresh,
    ];
    Open::new(asn, hold_time_secs, [10, 0, 0, 1].into(), capabilities).encode()
}

fn ends() -> [SocketAddr; 2] {
    [([10, 0, 0, 11], 40_000).into(), ([10, 0, 0, 1], 179).into()]
}
