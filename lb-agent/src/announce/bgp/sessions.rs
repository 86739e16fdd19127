//! The tasks of all peers, kept equal to what is wanted: a session that is no longer wanted ends, a new one begins,
//! and one that changes is told just what changed. Routes that peers share are converted once.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use lb_bgp::{PeerConfig, Shutdown};
use lb_core::{desired::PeerRoutes, model::Remote};
use tokio::{
    net::TcpStream,
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    configure,
    routes::Routes,
    session::{self, Asked, Counterpart, End, Report},
    socket::Transport,
};

/// Connections that a peer has dialled and its session has not taken up; more are closed.
const ACCEPTED_WAITING_MAX: usize = 4;

/// A session that there shall be.
pub(super) struct Wanted {
    /// What its peer is called.
    pub(super) name: Remote,
    /// The range that the peer dialled from, if it was found so.
    pub(super) range: Option<Remote>,
    pub(super) transport: Transport,
    pub(super) config: PeerConfig,
    pub(super) routes: Arc<PeerRoutes>,
    /// Our AS number in it.
    pub(super) asn: u32,
    /// Why the peer is not dialled, if it could be.
    pub(super) not_dialled: Option<Arc<str>>,
}

/// All sessions.
pub(super) struct Sessions {
    reports: mpsc::UnboundedSender<Report>,
    running: BTreeMap<Remote, Running>,
    tasks: JoinSet<()>,
    converted: Vec<Converted>,
}

/// The task of a peer, seen from outside.
struct Running {
    is: Wanted,
    /// What the session shall be: the newest, so that what waits for a slow task is one value. Closing it ends the
    /// task as well.
    asked: watch::Sender<Asked>,
    /// Connections that the peer has dialled.
    accepted: mpsc::Sender<TcpStream>,
}

/// A set of routes, as planned and as `lb-bgp` takes it.
struct Converted {
    planned: Arc<PeerRoutes>,
    asn: u32,
    routes: Arc<Routes>,
}

impl Sessions {
    /// None yet.
    pub(super) fn new(reports: mpsc::UnboundedSender<Report>) -> Self {
        Self {
            reports,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            converted: Vec::new(),
        }
    }

    /// Makes the sessions these; gives those that ended.
    pub(super) fn follow(&mut self, wanted: Vec<Wanted>) -> Vec<Remote> {
        let is_wanted = |name: &Remote| wanted.iter().any(|session| session.name == *name);
        let unwanted = self.running.keys().filter(|name| !is_wanted(name));
        let unwanted: Vec<_> = unwanted.cloned().collect();
        for name in &unwanted {
            self.end(name, &Shutdown::Deconfigured);
        }
        for session in wanted {
            match self.running.contains_key(&session.name) {
                true => self.change(session),
                false => self.begin(session),
            }
        }
        self.converted
            .retain(|of| Arc::strong_count(&of.routes) > 1);
        unwanted
    }

    /// Whether there is a session of this name.
    pub(super) fn has(&self, name: &Remote) -> bool {
        self.running.contains_key(name)
    }

    /// The sessions that were found in a range.
    pub(super) fn found_in(&self, range: &Remote) -> impl Iterator<Item = (Remote, SocketAddr)> {
        let found = self
            .running
            .iter()
            .filter(|(_, running)| running.is.range.as_ref() == Some(range));
        found.map(|(name, running)| (name.clone(), running.is.transport.peer))
    }

    /// Begins a session.
    pub(super) fn begin(&mut self, wanted: Wanted) {
        let counterpart = Counterpart {
            name: wanted.name.clone(),
            range: wanted.range.clone(),
        };
        let routes = self.convert(&wanted.routes, wanted.asn);
        let (asked, seen) = watch::channel(wanted.asks(routes));
        let (accepted, hearing) = mpsc::channel(ACCEPTED_WAITING_MAX);
        let running = Running {
            is: wanted,
            asked,
            accepted,
        };
        self.running.insert(running.is.name.clone(), running);
        let reports = self.reports.clone();
        self.tasks
            .spawn(session::run(counterpart, seen, hearing, reports));
    }

    /// Tells a session what is another way now.
    fn change(&mut self, wanted: Wanted) {
        let routes = self.convert(&wanted.routes, wanted.asn);
        let Some(running) = self.running.get_mut(&wanted.name) else {
            return;
        };
        if let Some(why) = &wanted.not_dialled
            && running.is.not_dialled != wanted.not_dialled
        {
            tracing::warn!(peer = %wanted.name, "{why}");
        }
        let asks = wanted.asks(routes);
        running.is = wanted;
        running.asked.send_if_modified(|asked| {
            let is_news = *asked != asks;
            *asked = asks;
            is_news
        });
    }

    /// Gives a session a connection that its peer has dialled.
    pub(super) fn accept(&self, name: &Remote, stream: TcpStream) {
        let Some(running) = self.running.get(name) else {
            return;
        };
        if running.accepted.try_send(stream).is_err() {
            tracing::debug!(peer = %name, "closed a connection: the peer dials faster than it is answered");
        }
    }

    /// Ends every session; gives their names.
    pub(super) fn end_all(&mut self, shutdown: &Shutdown) -> Vec<Remote> {
        let names: Vec<_> = self.running.keys().cloned().collect();
        for name in &names {
            self.end(name, shutdown);
        }
        names
    }

    /// Ends every session without a word.
    pub(super) fn abandon(&self) {
        self.running
            .values()
            .for_each(|running| running.end(End::Silent));
    }

    /// A task says that it has ended: one that found us, and is gone.
    pub(super) fn ended(&mut self, name: &Remote) {
        let is_gone = |running: &Running| running.asked.is_closed();
        if self.running.get(name).is_some_and(is_gone) {
            self.running.remove(name);
        }
    }

    /// Waits for a task to end, if there is one. May be dropped and called again.
    pub(super) async fn reap(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Waits until every task has ended.
    pub(super) async fn join(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    fn end(&mut self, name: &Remote, shutdown: &Shutdown) {
        if let Some(running) = self.running.remove(name) {
            running.end(End::Stop(shutdown.clone()));
        }
    }

    fn convert(&mut self, planned: &Arc<PeerRoutes>, asn: u32) -> Arc<Routes> {
        let known = |of: &&Converted| Arc::ptr_eq(&of.planned, planned) && of.asn == asn;
        if let Some(known) = self.converted.iter().find(known) {
            return Arc::clone(&known.routes);
        }
        let routes = Arc::new(Routes::new(configure::routes(planned, asn)));
        self.converted.push(Converted {
            planned: Arc::clone(planned),
            asn,
            routes: Arc::clone(&routes),
        });
        routes
    }
}

impl Wanted {
    fn asks(&self, routes: Arc<Routes>) -> Asked {
        Asked {
            routes,
            config: self.config.clone(),
            transport: self.transport.clone(),
            not_dialled: self.not_dialled.clone(),
            end: None,
        }
    }
}

impl Running {
    fn end(&self, end: End) {
        self.asked.send_modify(|asked| asked.end = Some(end));
    }
}
