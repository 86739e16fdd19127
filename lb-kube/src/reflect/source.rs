//! Runs the watches, puts what they tell into [`Cluster`], and passes on what changes: the first change at once, and
//! what has come in meanwhile with the next. Queues are bounded: a watch waits while this is busy, and the API server
//! keeps what a watch has not read. Nothing is passed on before the cluster is complete.

mod named;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::api::{
    core::v1::{Node as NodeObject, Service as ServiceObject},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Resource};
use lb_core::{
    keys::ClusterKeys,
    model::{Bgp, Node, Prefix, Remote, Service, Unfit},
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use super::{
    cluster::{Cluster, Settings},
    last_known, passwords,
    store::Event,
    stores::{Heard, SpeakerRecord, Stores},
    understood::Understood,
    watch::{Scope, Watched, watch},
};
use crate::{
    crd::{BgpConf, BgpPeer, Eip},
    project::{names::Names, node, service, slice},
    speakers::cni,
};

/// Name of the Secret with the cluster's key.
pub const CLUSTER_SECRET: &str = "fairlead-cluster";
/// Its key.
pub const CLUSTER_SECRET_KEY: &str = "key";

/// Events of one kind that wait, at most.
const EVENTS_WAITING_MAX: usize = 256;
/// Events that are taken before what they change is passed on.
const BATCH_MAX: usize = 4096;
/// Time between two looks at what only time changes.
const TICK: Duration = Duration::from_secs(1);
/// Least time from one writing of the last known state to the next, and how many times as long as it took at least.
const WRITE_INTERVAL: Duration = Duration::from_secs(10);
const WRITE_SHARE: u32 = 50;

/// What the source needs.
#[derive(Clone)]
pub struct Source {
    /// The API server.
    pub client: Client,
    /// What to do with what is read.
    pub settings: Settings,
    /// Where the last known state is kept; `None`: nowhere.
    pub state_file: Option<PathBuf>,
    /// The cluster's key comes from its Secret; otherwise it is known already.
    pub reads_cluster_key: bool,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("Source");
        let fields = fields.field("settings", &self.settings);
        fields.finish_non_exhaustive()
    }
}

/// Something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Let held removals take effect.
    Accept,
}

/// Which objects say what the speaker is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpeakerNames {
    /// There is a BgpConf that counts.
    pub is_there: bool,
    /// BgpPeers by name: who they are.
    pub remotes: BTreeMap<String, Remote>,
}

/// What has changed.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Services by name; `None`: no longer served.
    pub services: Vec<(Arc<str>, Option<Arc<Service>>)>,
    /// What is to be said of Services, by name; nothing: forget what was said.
    pub notes: Vec<(Arc<str>, Vec<String>)>,
    /// All nodes.
    pub nodes: Option<Vec<Arc<Node>>>,
    /// Networks that VIPs are taken from.
    pub pools: Option<BTreeSet<Prefix>>,
    /// The speaker, if there is to be one.
    pub bgp: Option<Option<Arc<Bgp>>>,
    /// The objects that it is from.
    pub speaker: Option<SpeakerNames>,
    /// This node is to be drained, or no longer.
    pub drains: Option<bool>,
    /// The cluster's keys.
    pub keys: Option<ClusterKeys>,
    /// What somebody should look at, a sentence each.
    pub alarms: Option<Vec<String>>,
    /// Every first list is complete; otherwise this is the last known state.
    pub is_listed: bool,
    /// The API server does not answer for some kind.
    pub is_stale: bool,
    /// When the first of it was heard.
    pub heard_at: Option<Instant>,
}

impl Update {
    fn says_nothing(&self) -> bool {
        self.services.is_empty()
            && self.notes.is_empty()
            && self.nodes.is_none()
            && self.pools.is_none()
            && self.bgp.is_none()
            && self.speaker.is_none()
            && self.drains.is_none()
            && self.keys.is_none()
            && self.alarms.is_none()
    }
}

/// Runs until nobody listens to the updates.
pub async fn run(source: Source, requests: mpsc::Receiver<Request>, updates: mpsc::Sender<Update>) {
    let recovered = recovered(&source);
    let (heard, hears) = mpsc::channel(EVENTS_WAITING_MAX);
    let mut watches = JoinSet::new();
    start_watches(&source, &heard, &mut watches);
    let state = State {
        cluster: Cluster::new(source.settings.clone(), recovered),
        source,
        watches,
        heard,
        watched_secrets: BTreeSet::new(),
        watched_policies: BTreeSet::new(),
        started: Instant::now(),
        told: Told::default(),
        writing: None,
        write_after: Instant::now(),
        is_unwritten: false,
    };
    state.run(hears, requests, updates).await;
}

fn recovered(source: &Source) -> Option<Stores> {
    let path = source.state_file.as_ref()?;
    let read = last_known::read(path, &source.settings.node, &last_known::boot_id());
    read.unwrap_or_else(|error| {
        tracing::warn!(reason = ?std::error::Error::source(&error).map(ToString::to_string), "{error}");
        None
    })
}

fn start_watches(source: &Source, heard: &mpsc::Sender<Heard>, watches: &mut JoinSet<()>) {
    let client = || source.client.clone();
    let scope = Scope {
        jitter: source.settings.node.to_string(),
        ..Scope::default()
    };
    let class = source.settings.class.clone();
    let mut names = Names::default();
    let project = move |object: &ServiceObject| Some(service::service(object, &class, &mut names));
    let api = Api::all(client());
    start(api, scope.clone(), project, Heard::Service, heard, watches);
    let mut names = Names::default();
    let project = move |object: &EndpointSlice| slice::slice(object, &mut names);
    let api = Api::all(client());
    start(api, scope.clone(), project, Heard::Slice, heard, watches);
    let project = |object: &NodeObject| Some(node::node(object));
    let api = Api::all(client());
    start(api, scope.clone(), project, Heard::Node, heard, watches);
    let scope = Scope {
        settles: true,
        ..scope
    };
    start_own_kinds(source, &scope, heard, watches);
}

/// The custom resources.
fn start_own_kinds(
    source: &Source,
    scope: &Scope,
    heard: &mpsc::Sender<Heard>,
    watches: &mut JoinSet<()>,
) {
    let client = || source.client.clone();
    let project = |object: &Eip| is_ours(object).then(|| object.spec.clone());
    let api = Api::all(client());
    start(api, scope.clone(), project, Heard::Pool, heard, watches);
    let project = |object: &BgpConf| {
        is_ours(object).then(|| SpeakerRecord {
            spec: object.spec.clone(),
            nodes: object.status.clone().unwrap_or_default().nodes_conf_status,
        })
    };
    let api = Api::all(client());
    start(api, scope.clone(), project, Heard::Speaker, heard, watches);
    let project = |object: &BgpPeer| is_ours(object).then(|| Arc::new(object.spec.clone()));
    let api = Api::all(client());
    start(api, scope.clone(), project, Heard::Peer, heard, watches);
}

/// One that is handed over to a CNI is its own: two speakers of one session would take it from each other.
fn is_ours<K: Resource>(object: &K) -> bool {
    cni(object).is_none()
}

/// One kind: its watch, and a task that tells which kind it is.
fn start<K, R, P>(
    api: Api<Understood<K>>,
    scope: Scope,
    project: P,
    kind: fn(Event<R>) -> Heard,
    heard: &mpsc::Sender<Heard>,
    watches: &mut JoinSet<()>,
) where
    K: Watched,
    R: Send + 'static,
    P: FnMut(&K) -> Option<R> + Send + 'static,
{
    let (events, mut told) = mpsc::channel(EVENTS_WAITING_MAX);
    watches.spawn(watch(api, scope, project, events));
    let heard = heard.clone();
    watches.spawn(async move {
        while let Some(event) = told.recv().await {
            if heard.send(kind(event)).await.is_err() {
                return;
            }
        }
    });
}

/// What was passed on last.
#[derive(Default)]
struct Told {
    drains: bool,
    keys: Option<ClusterKeys>,
    alarms: Vec<String>,
    is_listed: bool,
    anything: bool,
}

struct State {
    source: Source,
    cluster: Cluster,
    watches: JoinSet<()>,
    heard: mpsc::Sender<Heard>,
    watched_secrets: BTreeSet<String>,
    watched_policies: BTreeSet<String>,
    started: Instant,
    told: Told,
    /// The last known state is being written; tells how long it took.
    writing: Option<JoinHandle<Duration>>,
    /// Not before is it written again.
    write_after: Instant,
    is_unwritten: bool,
}

impl State {
    async fn run(
        mut self,
        mut hears: mpsc::Receiver<Heard>,
        mut requests: mpsc::Receiver<Request>,
        updates: mpsc::Sender<Update>,
    ) {
        self.watch_named();
        let known_secrets = self.cluster.stores().secrets.items();
        let known_secrets = known_secrets.map(|known| (**known).clone()).collect();
        self.take(Heard::Secret(Event::Listed {
            version: 0,
            items: known_secrets,
        }));
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut heard_at = None;
            tokio::select! {
                heard = hears.recv() => {
                    let Some(heard) = heard else { return };
                    heard_at = Some(Instant::now());
                    self.take(heard);
                    for _ in 1..BATCH_MAX {
                        match hears.try_recv() {
                            Ok(heard) => self.take(heard),
                            Err(_) => break,
                        }
                    }
                }
                Some(Request::Accept) = requests.recv() => {
                    self.cluster.release(self.started.elapsed(), true);
                }
                _ = ticks.tick() => {
                    self.cluster.release(self.started.elapsed(), false);
                    self.write_if_due().await;
                }
                () = updates.closed() => return,
            }
            if let Some(update) = self.update(heard_at) {
                self.is_unwritten = true;
                if updates.send(update).await.is_err() {
                    return;
                }
            }
        }
    }

    fn take(&mut self, heard: Heard) {
        self.cluster.take(heard, self.started.elapsed());
    }

    /// What is to be passed on, if anything.
    fn update(&mut self, heard_at: Option<Instant>) -> Option<Update> {
        if !self.cluster.is_complete(self.started.elapsed()) {
            return None;
        }
        let keys = self.keys();
        if self.source.reads_cluster_key && keys.is_none() && self.told.keys.is_none() {
            return None;
        }
        let delta = self.cluster.delta();
        if let Some(speaker) = &delta.speaker {
            self.watch_named();
            passwords::keep(&self.source.settings.password_folder, &speaker.files);
        }
        let drains = self.drains();
        let alarms = self.cluster.alarms();
        let mut update = Update {
            services: delta.services,
            notes: delta.notes,
            nodes: delta.nodes,
            pools: delta.pools,
            is_listed: self.cluster.stores().are_listed(),
            is_stale: self.cluster.stores().is_away(),
            heard_at,
            ..Update::default()
        };
        if drains != self.told.drains {
            self.told.drains = drains;
            update.drains = Some(drains);
        }
        if keys.is_some() && keys != self.told.keys {
            self.told.keys = keys;
            update.keys = keys;
        }
        if alarms != self.told.alarms {
            self.told.alarms.clone_from(&alarms);
            update.alarms = Some(alarms);
        }
        if let Some(speaker) = delta.speaker {
            update.speaker = Some(SpeakerNames {
                is_there: speaker.is_there,
                remotes: speaker.remotes.clone(),
            });
            update.bgp = Some(speaker.bgp.clone());
        }
        let is_first = !std::mem::replace(&mut self.told.anything, true);
        let was_listed = std::mem::replace(&mut self.told.is_listed, update.is_listed);
        let is_news = is_first || was_listed != update.is_listed || !update.says_nothing();
        is_news.then_some(update)
    }

    fn drains(&self) -> bool {
        self.cluster.own_unfit() == Some(Unfit::Draining)
    }

    fn keys(&self) -> Option<ClusterKeys> {
        let key = format!("{}/{CLUSTER_SECRET}", self.source.settings.namespace);
        let secret = self.cluster.stores().secrets.get(&key)?;
        let secret = secret.0.get(CLUSTER_SECRET_KEY)?;
        ClusterKeys::from_secret(secret).ok()
    }

    /// Writes the last known state if it changed, in a thread that may block, and goes on meanwhile.
    async fn write_if_due(&mut self) {
        let is_written = self.writing.as_ref().is_none_or(JoinHandle::is_finished);
        if let Some(writing) = self.writing.take_if(|_| is_written)
            && let Ok(took) = writing.await
        {
            self.write_after = Instant::now() + WRITE_INTERVAL.max(took * WRITE_SHARE);
        }
        let is_due = is_written && self.is_unwritten && Instant::now() >= self.write_after;
        if !is_due || !self.cluster.stores().are_listed() {
            return;
        }
        let Some(path) = self.source.state_file.clone() else {
            return;
        };
        self.is_unwritten = false;
        let state = last_known::State::of(self.cluster.stores());
        self.writing = Some(tokio::task::spawn_blocking(move || write(&path, &state)));
    }
}

/// How long it took.
fn write(path: &Path, state: &last_known::State) -> Duration {
    let begun = Instant::now();
    if let Err(error) = last_known::write(path, &last_known::boot_id(), state) {
        let reason = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(
            ?reason,
            "{error}: an agent that starts while the API server is away will know nothing"
        );
    }
    begun.elapsed()
}
