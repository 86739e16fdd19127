//! Drives the BGP speaker of `lb-bgp` over tokio sockets: a task for each peer, one listener for all. This file
//! keeps the tasks equal to the plan and puts together what they report. A peer that is unchanged notices
//! nothing of a change elsewhere. No session begins before the data path was written once: the first OPEN says what
//! became of forwarding, and the first End-of-RIB that these are all routes (RFC 4724). When the desired state's
//! sender is gone, every session ends with Cease/Administrative Shutdown (RFC 4486), or without a word.

mod configure;
mod connection;
mod foreign;
mod held;
mod journal;
mod listener;
mod password;
pub(crate) mod port_holder;
mod router_advertisement;
mod routes;
mod session;
mod sessions;
mod socket;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use lb_bgp::Shutdown;
use lb_core::{DesiredState, desired::BgpPlan, model::Peer, model::Prefix, model::Remote};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    time::Instant,
};

use self::{
    foreign::Foreign,
    held::Vips,
    listener::{Listener, Next},
    password::Passwords,
    router_advertisement::{Heard, Routers},
    session::Report,
    sessions::{Sessions, Wanted},
    socket::Callers,
};
use super::Goodbye;
use crate::engine::feedback::{Feedback, FeedbackSender, PeerSession};

/// Time between two looks for another BGP speaker on this node.
const FOREIGN_INTERVAL: Duration = Duration::from_secs(2);
/// Peers of one range: more are strangers.
const PEERS_OF_RANGE_MAX: usize = 256;

/// Follows the desired state until its sender is gone, then ends every session and returns.
pub async fn run(
    mut desired: watch::Receiver<Arc<DesiredState>>,
    feedback: FeedbackSender,
    goodbye: Goodbye,
) {
    let (reports, mut reported) = mpsc::unbounded_channel();
    let mut speaker = Speaker {
        feedback,
        sessions: Sessions::new(reports),
        listener: Listener::default(),
        passwords: Passwords::default(),
        routers: Routers::default(),
        found: BTreeMap::new(),
        foreign: Foreign::default(),
        foreign_at: Instant::now(),
        problems: BTreeMap::new(),
        told_problems: BTreeMap::new(),
        held: BTreeMap::new(),
        told_held: BTreeSet::new(),
        desired: Arc::default(),
    };
    loop {
        speaker.desired = Arc::clone(&desired.borrow_and_update());
        speaker.follow();
        tokio::select! {
            changed = desired.changed() => if changed.is_err() { break },
            () = speaker.serve(&mut reported) => {}
        }
    }
    speaker.leave(goodbye, &mut reported).await;
}

struct Speaker {
    feedback: FeedbackSender,
    sessions: Sessions,
    listener: Listener,
    passwords: Passwords,
    routers: Routers,
    /// Where the routers on interfaces are.
    found: BTreeMap<Arc<str>, SocketAddr>,
    /// Another speaker on this node, and when to look again.
    foreign: Foreign,
    foreign_at: Instant,
    /// Why interfaces cannot be used.
    problems: BTreeMap<Arc<str>, String>,
    /// Peers that can have no session, and why, as was told.
    told_problems: BTreeMap<Remote, String>,
    /// What each peer may still have a route to.
    held: BTreeMap<Remote, Vips>,
    told_held: BTreeSet<IpAddr>,
    desired: Arc<DesiredState>,
}

impl Speaker {
    /// Makes listener and sessions those of the plan.
    fn follow(&mut self) {
        let state = Arc::clone(&self.desired);
        let Some(plan) = state.bgp.as_ref() else {
            self.end_everything(&Shutdown::Deconfigured);
            return;
        };
        if plan.is_drained {
            let reason = "this node was drained".to_owned();
            self.end_everything(&Shutdown::Administrative(reason));
            return;
        }
        if plan.takeover.is_none() {
            return;
        }
        let now = Instant::now();
        self.passwords.follow(&plan.peers, now);
        if self.foreign_at <= now && !plan.peers.is_empty() {
            self.foreign = Foreign::find();
            self.foreign_at = now + FOREIGN_INTERVAL;
        }
        self.routers.follow(interfaces(plan));
        let own = state.cluster.as_ref().and_then(|cluster| cluster.own());
        let own_addresses = own.map_or(&[][..], |node| &node.addresses);
        self.listener
            .follow(plan.listen_port, own_addresses, self.callers(plan));
        let wanted = self.wanted(plan);
        let ended = self.sessions.follow(wanted);
        ended.into_iter().for_each(|gone| self.forget(gone));
    }

    /// The sessions that there shall be; tells of peers that can have none.
    fn wanted(&mut self, plan: &Arc<BgpPlan>) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        let mut problems = BTreeMap::new();
        for peer in &plan.peers {
            let signature = match self.passwords.of(peer) {
                Ok(signature) => signature,
                Err(problem) => {
                    problems.insert(peer.remote.clone(), problem);
                    continue;
                }
            };
            let ends: Vec<(Remote, SocketAddr)> = match &peer.remote {
                Remote::Address(address) => {
                    let end = SocketAddr::new(*address, peer.transport.port);
                    vec![(peer.remote.clone(), end)]
                }
                Remote::Interface(name) => match (self.found.get(name), self.problems.get(name)) {
                    (Some(found), _) => {
                        let mut end = *found;
                        end.set_port(peer.transport.port);
                        vec![(peer.remote.clone(), end)]
                    }
                    (None, problem) => {
                        let waits = "no router advertisement was heard on the interface yet";
                        let problem = problem.cloned().unwrap_or_else(|| waits.to_owned());
                        problems.insert(peer.remote.clone(), problem);
                        continue;
                    }
                },
                Remote::Range(_) => self.sessions.found_in(&peer.remote).collect(),
            };
            for (name, end) in ends {
                wanted.push(self.wanted_session(plan, peer, name, end, signature.clone()));
            }
        }
        self.tell_problems(problems);
        wanted
    }

    fn wanted_session(
        &self,
        plan: &Arc<BgpPlan>,
        peer: &Arc<Peer>,
        name: Remote,
        end: SocketAddr,
        signature: Option<password::Signature>,
    ) -> Wanted {
        let is_named = matches!(peer.remote, Remote::Address(_));
        let not_dialled = Some(&self.foreign)
            .filter(|_| is_named && peer.transport.source_address.is_none())
            .filter(|_| !peer.transport.passive)
            .and_then(|foreign| foreign.why_not(end.ip(), plan.listen_port));
        let passive = peer.transport.passive || not_dialled.is_some();
        let takeover = plan.takeover.unwrap_or(lb_core::snapshot::Takeover::New);
        let routes = self.desired.peer_routes.by_peer.get(&peer.remote);
        Wanted {
            range: matches!(peer.remote, Remote::Range(_)).then(|| peer.remote.clone()),
            name,
            transport: configure::transport(peer, end, signature),
            config: configure::peer(plan, peer, end.ip(), takeover, passive),
            routes: routes.cloned().unwrap_or_default(),
            asn: configure::local_asn(plan, peer),
            not_dialled: not_dialled.map(Into::into),
        }
    }

    /// Who signs, and who checks distances. A peer whose key cannot be had is not heard at all: it has no session.
    fn callers(&self, plan: &BgpPlan) -> Callers {
        let mut callers = Callers::default();
        for peer in &plan.peers {
            callers.gtsm |= peer.transport.gtsm;
            let network = match &peer.remote {
                Remote::Address(address) => Prefix::host(*address),
                Remote::Range(network) => *network,
                Remote::Interface(_) => continue,
            };
            if let Ok(Some(signature)) = self.passwords.of(peer) {
                callers.signatures.insert(network, signature);
            }
        }
        callers
    }

    /// Tells, once, of peers that get no session.
    fn tell_problems(&mut self, problems: BTreeMap<Remote, String>) {
        for (peer, problem) in &problems {
            if self.told_problems.get(peer) != Some(problem) {
                match peer {
                    Remote::Interface(_) => tracing::warn!(%peer, "no BGP session yet: {problem}"),
                    _ => tracing::error!(%peer, "there can be no BGP session: {problem}"),
                }
                let session = PeerSession::impossible(peer.clone(), problem.clone());
                self.say(Feedback::Session(Box::new(session)));
            }
        }
        let before = std::mem::replace(&mut self.told_problems, problems);
        for peer in before.into_keys() {
            if !self.told_problems.contains_key(&peer) && !self.sessions.has(&peer) {
                self.say(Feedback::SessionGone(peer));
            }
        }
    }

    fn end_everything(&mut self, shutdown: &Shutdown) {
        let ended = self.sessions.end_all(shutdown);
        ended.into_iter().for_each(|gone| self.forget(gone));
        self.tell_problems(BTreeMap::new());
        self.routers.follow(std::iter::empty());
        self.listener.close();
    }

    /// Handles one thing that is not a new desired state.
    async fn serve(&mut self, reported: &mut mpsc::UnboundedReceiver<Report>) {
        let again = [self.passwords.read_at(), self.foreign_again()];
        let again = again.into_iter().flatten().min();
        tokio::select! {
            next = self.listener.next() => match next {
                Next::Accepted(stream, remote) => self.hand_over(stream, remote),
                Next::Listening(feedback) => self.say(feedback),
            },
            Some(report) = reported.recv() => {
                self.hear(report);
                self.hear_all(reported);
            }
            heard = self.routers.next() => match heard {
                Heard::Router(name, router) => {
                    tracing::info!(interface = %name, router = %router.ip(), "a router announces itself");
                    self.problems.remove(&name);
                    self.found.insert(name, router.into());
                }
                Heard::Problem(name, problem) => {
                    self.problems.insert(name, problem);
                }
            },
            // What follows reads the files again, or looks for another speaker.
            () = listener::wait_until(again) => {}
            () = self.sessions.reap() => {}
        }
    }

    fn foreign_again(&self) -> Option<Instant> {
        let plan = self.desired.bgp.as_ref()?;
        let dials = |peer: &Arc<Peer>| {
            matches!(peer.remote, Remote::Address(_)) && peer.transport.source_address.is_none()
        };
        plan.peers.iter().any(dials).then_some(self.foreign_at)
    }

    /// Gives an inbound connection to the peer with its remote address; strangers are closed at once.
    fn hand_over(&mut self, stream: TcpStream, remote: SocketAddr) {
        let name = Remote::Address(remote.ip().to_canonical());
        if !self.sessions.has(&name) && !self.welcome(remote) {
            self.listener.count_stranger(remote);
            return;
        }
        self.sessions.accept(&name, stream);
    }

    /// Begins a session with a router of a range, if it is of one.
    fn welcome(&mut self, remote: SocketAddr) -> bool {
        let state = Arc::clone(&self.desired);
        let Some(plan) = state.bgp.as_ref().filter(|plan| !plan.is_drained) else {
            return false;
        };
        let is_of = |peer: &&Arc<Peer>| match &peer.remote {
            Remote::Range(network) => network.contains(remote.ip()),
            _ => false,
        };
        let Some(peer) = plan.peers.iter().find(is_of) else {
            return false;
        };
        let Ok(signature) = self.passwords.of(peer) else {
            return false;
        };
        if self.sessions.found_in(&peer.remote).count() >= PEERS_OF_RANGE_MAX {
            return false;
        }
        let name = Remote::Address(remote.ip());
        let session = self.wanted_session(plan, peer, name, remote, signature);
        self.sessions.begin(session);
        true
    }

    /// Takes all reports that are here before it tells what they come to: one change is reported by every session.
    fn hear_all(&mut self, reported: &mut mpsc::UnboundedReceiver<Report>) {
        while let Ok(report) = reported.try_recv() {
            self.hear(report);
        }
        self.tell_held();
    }

    fn hear(&mut self, report: Report) {
        match report {
            Report::Session(session) => self.say(Feedback::Session(session)),
            Report::Held { peer, vips } => {
                self.held.insert(peer, vips);
            }
            Report::Ended(peer) => {
                self.sessions.ended(&peer);
                self.forget(peer);
            }
        }
    }

    /// A session is over. Another one with the same peer may have taken its place already.
    fn forget(&mut self, peer: Remote) {
        if self.sessions.has(&peer) {
            return;
        }
        self.held.remove(&peer);
        self.tell_held();
        if !self.told_problems.contains_key(&peer) {
            self.say(Feedback::SessionGone(peer));
        }
    }

    fn tell_held(&mut self) {
        // Peers of one policy hold one and the same set.
        let mut sets: Vec<&Vips> = Vec::new();
        for vips in self.held.values() {
            if !sets.iter().any(|known| Arc::ptr_eq(known, vips)) {
                sets.push(vips);
            }
        }
        let held: BTreeSet<_> = sets
            .into_iter()
            .flat_map(|vips| vips.iter())
            .copied()
            .collect();
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
                let reason = "the agent is stopping".to_owned();
                self.sessions.end_all(&Shutdown::Administrative(reason));
            }
            Goodbye::Silent => self.sessions.abandon(),
        }
        self.sessions.join().await;
        self.hear_all(reported);
    }
}

fn interfaces(plan: &BgpPlan) -> impl Iterator<Item = Arc<str>> {
    plan.peers.iter().filter_map(|peer| match &peer.remote {
        Remote::Interface(name) => Some(Arc::clone(name)),
        _ => None,
    })
}
