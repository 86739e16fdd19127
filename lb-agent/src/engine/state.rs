//! What the engine remembers between plans: the snapshot, the damped probes, and what only people want to see.
//! No IO and no waiting; each change says what it calls for.

mod kubernetes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use lb_core::{
    DesiredState, Snapshot,
    model::{Prefix, Remote},
    plan,
    probes::{self, Probe, Probes},
    snapshot::{Drain, Neighbours},
};

use lb_kube::reflect::source::SpeakerNames;

use super::{
    feedback::{Feedback, PeerSession, SessionState},
    latency::{Histogram, Latency},
};
use crate::sources::Change;

/// The engine's memory.
#[derive(Debug)]
pub struct State {
    snapshot: Snapshot,
    desired: Arc<DesiredState>,
    probes: Probes,
    wanted: BTreeSet<Probe>,
    heard_links: bool,
    heard_neighbours: bool,
    /// The agent leaves once the node is drained.
    leaves: bool,
    /// The cluster is known: by the file, or since the API server told it.
    heard_cluster: bool,
    /// Another agent takes over: nothing is to be given up first.
    leaves_for_restart: bool,
    /// Networks that the configuration takes VIPs from.
    own_pools: BTreeSet<Prefix>,
    latency: Latency,
    told: Told,
}

/// What nobody plans with, but people ask for.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// BGP sessions by peer.
    pub sessions: BTreeMap<Remote, PeerSession>,
    /// Why BGP does not listen.
    pub listen_problem: Option<String>,
    /// Why the file as it is now is refused.
    pub config_refused: Option<String>,
    /// When a probe's result last changed.
    pub probes_since: BTreeMap<Probe, SystemTime>,
    /// What is to be said of Services as the API server has them, by name.
    pub notes: BTreeMap<Arc<str>, Vec<String>>,
    /// What of the API server somebody should look at.
    pub alarms: Vec<String>,
    /// The objects that the speaker and its peers are from, where they are objects.
    pub speaker: Option<SpeakerNames>,
    /// Every kind was listed by the API server, or a file tells the cluster.
    pub is_listed: bool,
    /// The API server does not answer for some kind.
    pub is_stale: bool,
    /// Updates that the API server's source has told.
    pub updates: u64,
    /// From a change of the cluster to the data path.
    pub latency: Histogram,
}

/// Everything that can be shown.
#[derive(Clone, Debug)]
pub struct View {
    /// What is known.
    pub snapshot: Snapshot,
    /// What was decided.
    pub desired: Arc<DesiredState>,
    /// The rest.
    pub told: Told,
}

/// What a change calls for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// A new plan.
    pub plan: bool,
    /// Another set of probes.
    pub probes: bool,
    /// Other ways to nodes.
    pub neighbours: bool,
}

impl State {
    /// Knows the configuration, and which endpoints the data path did without when the agent came back:
    /// those count as down until they answer, so that a restart sends nobody to a dead pod.
    #[must_use]
    pub fn new(snapshot: Snapshot, found_down: &BTreeSet<Probe>) -> Self {
        let mut probes = Probes::default();
        for &probe in found_down {
            for _ in 0..probe.failures {
                probes.record(probe, false);
            }
        }
        let own_pools = snapshot.dataplane.pools.clone();
        let mut state = Self {
            wanted: probes::wanted(snapshot.services.values()),
            snapshot,
            desired: Arc::default(),
            probes,
            heard_links: false,
            heard_neighbours: false,
            leaves: false,
            heard_cluster: true,
            leaves_for_restart: false,
            own_pools,
            latency: Latency::default(),
            told: Told {
                is_listed: true,
                ..Told::default()
            },
        };
        state.snapshot.down.clone_from(state.probes.down());
        state
    }

    /// The cluster is not known by the configuration: nothing is planned before the API server has told it.
    #[must_use]
    pub fn without_cluster(self) -> Self {
        let told = Told {
            is_listed: false,
            ..self.told
        };
        Self {
            heard_cluster: false,
            told,
            ..self
        }
    }

    /// Puts a source's change into the snapshot.
    pub fn take(&mut self, change: Change) -> Effect {
        let plan = Effect {
            plan: true,
            ..Effect::default()
        };
        match change {
            Change::Config(config) => {
                self.told.config_refused = None;
                self.snapshot.set_config(&config);
                self.forget_unwanted_probes();
                Effect {
                    probes: true,
                    ..plan
                }
            }
            Change::ConfigRefused(reason) => {
                self.told.config_refused = Some(reason);
                Effect::default()
            }
            Change::Kubernetes(update) => self.kubernetes(*update),
            Change::Links(links) => {
                let news = !self.heard_links || self.snapshot.links != links;
                self.heard_links = true;
                self.snapshot.links = links;
                Effect {
                    plan: news,
                    ..Effect::default()
                }
            }
            Change::Neighbours(neighbours) => {
                let first = !self.heard_neighbours;
                self.heard_neighbours = true;
                self.snapshot.neighbours = neighbours;
                Effect {
                    plan: first,
                    neighbours: true,
                    ..Effect::default()
                }
            }
            Change::Probed { probe, succeeded } => self.probed(probe, succeeded),
            Change::Leave => {
                self.leaves = true;
                self.drain(Some(Drain::default()))
            }
            // Who leaves does not come back.
            Change::Drain(_) if self.leaves => Effect::default(),
            Change::Drain(drain) => self.drain(drain),
            Change::Flows(flows) => {
                let before = self.snapshot.flows.replace(flows);
                Effect {
                    plan: (before == Some(0)) != (flows == 0),
                    ..Effect::default()
                }
            }
            Change::Timeouts(ticks) => {
                self.snapshot.datapath.timeout_ticks = ticks;
                plan
            }
            // A node that is out of service has no routes to come back to: they are gone before the agent is.
            Change::LeaveForRestart if self.desired.draining_since.is_some() => {
                self.take(Change::Leave)
            }
            Change::LeaveForRestart => {
                self.leaves_for_restart = true;
                Effect::default()
            }
        }
    }

    /// Takes an executor's report. True if it calls for a plan.
    pub fn hear(&mut self, feedback: Feedback) -> bool {
        match feedback {
            Feedback::Applied(applied) => {
                self.latency.applied(applied.generation, Instant::now());
                let news = self.snapshot.applied != applied.ports
                    || self.snapshot.takeover != applied.takeover;
                self.snapshot.applied = applied.ports;
                self.snapshot.takeover = applied.takeover;
                news
            }
            Feedback::Session(session) => {
                let established = session.state == SessionState::Established;
                let before = self
                    .snapshot
                    .routes
                    .sessions
                    .insert(session.peer.clone(), established);
                self.told.sessions.insert(session.peer.clone(), *session);
                before != Some(established)
            }
            Feedback::SessionGone(peer) => {
                self.told.sessions.remove(&peer);
                self.snapshot.routes.sessions.remove(&peer).is_some()
            }
            Feedback::Held(vips) => {
                let news = self.snapshot.routes.held != vips;
                self.snapshot.routes.held = vips;
                news
            }
            Feedback::Listening { problem, .. } => {
                self.told.listen_problem = problem;
                false
            }
        }
    }

    /// Whether every source that a plan needs has spoken.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.heard_links && self.heard_neighbours && self.heard_cluster
    }

    /// Plans. True if this plan is the first of the drain.
    pub fn plan(&mut self, now: Duration) -> bool {
        self.snapshot.now = now;
        let next = Arc::new(plan(&self.snapshot, &self.desired));
        let is_new = next.generation != self.desired.generation;
        self.latency.planned(next.generation, is_new);
        let drain_begins = next.drain.is_some() && self.desired.drain.is_none();
        self.desired = next;
        drain_begins
    }

    /// The last plan.
    #[must_use]
    pub fn desired(&self) -> Arc<DesiredState> {
        Arc::clone(&self.desired)
    }

    /// When to plan again even if nothing happens.
    #[must_use]
    pub fn replan_at(&self) -> Option<Duration> {
        self.desired.replan_at
    }

    /// Whether the agent may leave: the routers have forgotten this node, or are to remember it.
    #[must_use]
    pub fn may_leave(&self, now: Duration) -> bool {
        self.leaves_for_restart || self.leaves && self.desired.is_drained(now)
    }

    /// Health probes to run.
    #[must_use]
    pub fn wanted_probes(&self) -> &BTreeSet<Probe> {
        &self.wanted
    }

    /// The ways to other nodes.
    #[must_use]
    pub fn neighbours(&self) -> Arc<Neighbours> {
        Arc::new(self.snapshot.neighbours.clone())
    }

    /// A copy of everything.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            snapshot: self.snapshot.clone(),
            desired: self.desired(),
            told: Told {
                latency: self.latency.histogram,
                ..self.told.clone()
            },
        }
    }

    fn drain(&mut self, drain: Option<Drain>) -> Effect {
        let before = std::mem::replace(&mut self.snapshot.drain, drain);
        if before.is_none() || drain.is_none() {
            self.snapshot.flows = None;
        }
        Effect {
            plan: before != drain,
            ..Effect::default()
        }
    }

    fn probed(&mut self, probe: Probe, succeeded: bool) -> Effect {
        // A result may come in after the Service that asked for it went.
        let news = self.wanted.contains(&probe) && self.probes.record(probe, succeeded);
        if news {
            self.told.probes_since.insert(probe, SystemTime::now());
            self.snapshot.down.clone_from(self.probes.down());
            tell_health(&probe, succeeded);
        }
        Effect {
            plan: news,
            ..Effect::default()
        }
    }

    fn forget_unwanted_probes(&mut self) {
        self.wanted = probes::wanted(self.snapshot.services.values());
        if self.probes.retain(&self.wanted) {
            self.snapshot.down.clone_from(self.probes.down());
        }
        self.told
            .probes_since
            .retain(|probe, _| self.wanted.contains(probe));
    }
}

fn tell_health(probe: &Probe, succeeded: bool) {
    let endpoint = probe.address;
    if succeeded {
        tracing::info!(%endpoint, "the endpoint answers its health check again");
    } else {
        tracing::warn!(%endpoint, "the endpoint fails its health check and gets no new connections");
    }
}

#[cfg(test)]
pub(super) mod tests;
