//! The tasks of all peers, kept equal to what is wanted: a session that is no longer wanted ends, a new one begins,
//! and one that changes is told just what changed. Routes that peers share are converted once.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use lb_bgp::{PeerConfig, RouteSet, Shutdown};
use lb_core::{desired::PeerRoutes, model::Remote};
use tokio::{sync::mpsc, task::JoinSet};

use super::{
    configure,
    session::{self, Command, Counterpart, Report},
    socket::Transport,
};

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
    /// Closing it ends the task as well. Unbounded, as the task never waits for anything but its next command.
    commands: mpsc::UnboundedSender<Command>,
}

/// A set of routes, as planned and as `lb-bgp` takes it.
struct Converted {
    planned: Arc<PeerRoutes>,
    asn: u32,
    routes: Arc<RouteSet>,
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
        let (commands, commanded) = mpsc::unbounded_channel();
        let counterpart = Counterpart {
            name: wanted.name.clone(),
            range: wanted.range.clone(),
            transport: wanted.transport.clone(),
        };
        let routes = self.convert(&wanted.routes, wanted.asn);
        let (config, reports) = (wanted.config.clone(), self.reports.clone());
        let running = Running {
            is: wanted,
            commands,
        };
        running.tell(Command::Routes(routes));
        running.tell(Command::NotDialled(running.is.not_dialled.clone()));
        self.running.insert(running.is.name.clone(), running);
        self.tasks
            .spawn(session::run(counterpart, config, commanded, reports));
    }

    /// Tells a session what is another way now.
    fn change(&mut self, wanted: Wanted) {
        let routes = self.convert(&wanted.routes, wanted.asn);
        let Some(running) = self.running.get_mut(&wanted.name) else {
            return;
        };
        let is = &running.is;
        let other_routes = !Arc::ptr_eq(&is.routes, &wanted.routes) || is.asn != wanted.asn;
        let other_transport = is.transport != wanted.transport;
        let other_config = is.config != wanted.config;
        let other_reason = is.not_dialled != wanted.not_dialled;
        running.is = wanted;
        let is = &running.is;
        if other_reason {
            if let Some(why) = &is.not_dialled {
                tracing::warn!(peer = %is.name, "{why}");
            }
            running.tell(Command::NotDialled(is.not_dialled.clone()));
        }
        if other_routes {
            running.tell(Command::Routes(routes));
        }
        if other_transport {
            running.tell(Command::Transport(is.transport.clone()));
        }
        if other_config {
            running.tell(Command::Configure(is.config.clone()));
        }
    }

    /// Gives a session a command.
    pub(super) fn tell(&self, name: &Remote, command: Command) {
        if let Some(running) = self.running.get(name) {
            running.tell(command);
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
            .for_each(|running| running.tell(Command::Abandon));
    }

    /// A task says that it has ended: one that found us, and is gone.
    pub(super) fn ended(&mut self, name: &Remote) {
        let is_gone = |running: &Running| running.commands.is_closed();
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
            running.tell(Command::Stop(shutdown.clone()));
        }
    }

    fn convert(&mut self, planned: &Arc<PeerRoutes>, asn: u32) -> Arc<RouteSet> {
        let known = |of: &&Converted| Arc::ptr_eq(&of.planned, planned) && of.asn == asn;
        if let Some(known) = self.converted.iter().find(known) {
            return Arc::clone(&known.routes);
        }
        let routes = Arc::new(configure::routes(planned, asn));
        self.converted.push(Converted {
            planned: Arc::clone(planned),
            asn,
            routes: Arc::clone(&routes),
        });
        routes
    }
}

impl Running {
    /// A task that has ended needs nothing any more.
    fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}
