//! Drives the BGP speaker of `lb-bgp` over tokio sockets: a task for each peer, one listener for all. This file
//! keeps the tasks equal to the plan and puts together what they report. A peer that is unchanged notices
//! nothing of a change elsewhere. No session begins before the data path was written once: the first OPEN says what
//! became of forwarding, and the first End-of-RIB that these are all routes (RFC 4724). When the desired state's
//! sender is gone, every session ends with Cease/Administrative Shutdown (RFC 4486), or without a word.

mod configure;
mod connection;
mod held;
mod journal;
mod listener;
mod password;
mod port_holder;
mod session;
mod socket;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use lb_bgp::{PeerConfig, RouteSet, Shutdown};
use lb_core::{DesiredState, desired::BgpPlan, model::Peer, snapshot::Takeover};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use self::{
    listener::{Listener, Next},
    password::{Password, Passwords},
    session::{Command, Report},
};
use super::Goodbye;
use crate::engine::feedback::{Feedback, FeedbackSender, PeerSession};

/// Follows the desired state until its sender is gone, then ends every session and returns.
pub async fn run(
    mut desired: watch::Receiver<Arc<DesiredState>>,
    feedback: FeedbackSender,
    goodbye: Goodbye,
) {
    let (reports, mut reported) = mpsc::unbounded_channel();
    let mut speaker = Speaker {
        feedback,
        reports,
        sessions: BTreeMap::new(),
        tasks: JoinSet::new(),
        listener: Listener::default(),
        passwords: Passwords::default(),
        refused: BTreeMap::new(),
        held: BTreeMap::new(),
        told_held: BTreeSet::new(),
        routes: Arc::default(),
        routes_of: Arc::default(),
    };
    loop {
        let state = Arc::clone(&desired.borrow_and_update());
        speaker.follow(&state);
        tokio::select! {
            changed = desired.changed() => if changed.is_err() { break },
            () = speaker.serve(&mut reported) => {}
        }
    }
    speaker.leave(goodbye, &mut reported).await;
}

struct Speaker {
    feedback: FeedbackSender,
    reports: mpsc::UnboundedSender<Report>,
    sessions: BTreeMap<IpAddr, Session>,
    tasks: JoinSet<()>,
    listener: Listener,
    passwords: Passwords,
    /// Peers that can have no session, and why.
    refused: BTreeMap<IpAddr, String>,
    /// What each peer may still have a route to.
    held: BTreeMap<IpAddr, BTreeSet<IpAddr>>,
    told_held: BTreeSet<IpAddr>,
    /// VIPs of the last desired state, and the same as routes.
    routes_of: Arc<BTreeSet<IpAddr>>,
    routes: Arc<RouteSet>,
}

/// The task of a peer, seen from outside.
struct Session {
    port: u16,
    password: Option<Password>,
    config: PeerConfig,
    /// Closing it ends the task as well.
    commands: mpsc::UnboundedSender<Command>,
}

impl Speaker {
    /// Makes listener, sessions and routes those of the plan.
    fn follow(&mut self, state: &DesiredState) {
        let Some(plan) = &state.bgp else {
            self.end_sessions(|_| true, &Shutdown::Deconfigured);
            self.listener.close();
            return;
        };
        let Some(takeover) = plan.takeover else {
            return;
        };
        let own = state.cluster.as_ref().and_then(|cluster| cluster.own());
        let own_addresses = own.map_or(&[][..], |node| &node.addresses);
        self.passwords.follow(&plan.peers, Instant::now());
        let passwords = self.passwords_of(&plan.peers);
        self.listener
            .follow(plan.listen_port, own_addresses, passwords);
        self.take_routes(&state.routes);
        self.take_peers(plan, takeover);
    }

    fn take_routes(&mut self, vips: &Arc<BTreeSet<IpAddr>>) {
        if *self.routes_of == **vips {
            return;
        }
        self.routes_of = Arc::clone(vips);
        self.routes = Arc::new(configure::routes(vips));
        for session in self.sessions.values() {
            session.tell(Command::Routes(Arc::clone(&self.routes)));
        }
    }

    fn take_peers(&mut self, plan: &BgpPlan, takeover: Takeover) {
        let passwords = &self.passwords;
        let wanted: BTreeMap<_, _> = plan
            .peers
            .iter()
            .filter_map(|peer| Some((peer.address, (peer.port, passwords.of(peer).ok()?.cloned()))))
            .collect();
        self.end_sessions(
            |(address, session)| match wanted.get(address) {
                Some((port, password)) => *port != session.port || *password != session.password,
                None => true,
            },
            &Shutdown::Deconfigured,
        );
        self.refuse(&plan.peers);
        for peer in &plan.peers {
            let Some((_, password)) = wanted.get(&peer.address) else {
                continue;
            };
            let config = configure::peer(plan, peer, takeover);
            match self.sessions.get_mut(&peer.address) {
                Some(session) if session.config == config => {}
                Some(session) => {
                    session.config = config.clone();
                    session.tell(Command::Configure(config));
                }
                None => {
                    let end = SocketAddr::new(peer.address, peer.port);
                    self.begin_session(end, password.clone(), config);
                }
            }
        }
    }

    fn passwords_of(&self, peers: &[Peer]) -> BTreeMap<IpAddr, Password> {
        let known = peers.iter().filter_map(|peer| {
            let password = self.passwords.of(peer).ok()??;
            Some((peer.address, password.clone()))
        });
        known.collect()
    }

    /// Tells, once, of peers whose password cannot be used; they get no session.
    fn refuse(&mut self, peers: &[Peer]) {
        let problems = peers.iter().filter_map(|peer| {
            let problem = self.passwords.of(peer).err()?;
            Some((peer.address, problem.to_owned()))
        });
        let refused: BTreeMap<_, _> = problems.collect();
        for (peer, problem) in &refused {
            if self.refused.get(peer) != Some(problem) {
                tracing::error!(%peer, "there can be no BGP session: {problem}");
                let session = PeerSession::impossible(*peer, problem.clone());
                self.say(Feedback::Session(session));
            }
        }
        let configured = |peer: &IpAddr| peers.iter().any(|p| p.address == *peer);
        for gone in self.refused.keys().filter(|peer| !configured(peer)) {
            self.say(Feedback::SessionGone(*gone));
        }
        self.refused = refused;
    }

    fn begin_session(&mut self, peer: SocketAddr, password: Option<Password>, config: PeerConfig) {
        let (commands, commanded) = mpsc::unbounded_channel();
        let session = Session {
            port: peer.port(),
            password: password.clone(),
            config: config.clone(),
            commands,
        };
        session.tell(Command::Routes(Arc::clone(&self.routes)));
        self.sessions.insert(peer.ip(), session);
        let remote = session::Remote { peer, password };
        let reports = self.reports.clone();
        self.tasks
            .spawn(session::run(remote, config, commanded, reports));
    }

    fn end_sessions(&mut self, which: impl Fn((&IpAddr, &Session)) -> bool, shutdown: &Shutdown) {
        let ended: Vec<_> = self
            .sessions
            .iter()
            .filter(|(address, session)| which((*address, *session)))
            .map(|(address, _)| *address)
            .collect();
        for peer in ended {
            if let Some(session) = self.sessions.remove(&peer) {
                session.tell(Command::Stop(shutdown.clone()));
            }
        }
    }

    /// Handles one thing that is not a new desired state.
    async fn serve(&mut self, reported: &mut mpsc::UnboundedReceiver<Report>) {
        tokio::select! {
            next = self.listener.next() => match next {
                Next::Accepted(stream, remote) => self.hand_over(stream, remote),
                Next::Listening(feedback) => self.say(feedback),
            },
            Some(report) = reported.recv() => self.hear(report),
            // What follows reads the files again.
            () = listener::wait_until(self.passwords.retry_at()) => {}
            Some(_) = self.tasks.join_next() => {}
        }
    }

    /// Gives an inbound connection to the peer with its remote address; strangers are closed at once.
    fn hand_over(&mut self, stream: TcpStream, remote: SocketAddr) {
        match self.sessions.get(&remote.ip()) {
            Some(session) => session.tell(Command::Accepted(stream)),
            None => self.listener.count_stranger(remote),
        }
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Session(session) => self.say(Feedback::Session(session)),
            Report::Held { peer, vips } => {
                self.held.insert(peer, vips);
                self.tell_held();
            }
            Report::Ended(peer) => {
                // A session with a changed port may have taken its place already.
                if !self.sessions.contains_key(&peer) {
                    self.say(Feedback::SessionGone(peer));
                }
                self.held.remove(&peer);
                self.tell_held();
            }
        }
    }

    fn tell_held(&mut self) {
        let held: BTreeSet<_> = self.held.values().flatten().copied().collect();
        if held != self.told_held {
            self.told_held.clone_from(&held);
            self.say(Feedback::Held(held));
        }
    }

    /// The engine may be gone already.
    fn say(&self, feedback: Feedback) {
        let _ = self.feedback.send(feedback);
    }

    async fn leave(mut self, goodbye: Goodbye, reported: &mut mpsc::UnboundedReceiver<Report>) {
        self.listener.close();
        match goodbye {
            Goodbye::Shutdown => {
                let shutdown = Shutdown::Administrative("the agent is stopping".to_owned());
                self.end_sessions(|_| true, &shutdown);
            }
            Goodbye::Silent => self
                .sessions
                .values()
                .for_each(|s| s.tell(Command::Abandon)),
        }
        while self.tasks.join_next().await.is_some() {}
        while let Ok(report) = reported.try_recv() {
            self.hear(report);
        }
    }
}

impl Session {
    /// A task that has ended needs nothing any more.
    fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}
