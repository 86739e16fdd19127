//! The running agent: which tasks there are, what connects them, and in which order they end. Sources send to
//! the engine, the engine publishes to executors, executors report to the engine; whoever wants to look asks.
//! When the engine ends, what it publishes ends, and with that the executors: first the speaker says goodbye,
//! then the data path's thread stops, and maps, links and programs stay where they are pinned.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use lb_core::{DesiredState, config::Config, snapshot::Neighbours};
use lb_kube::{
    reflect::source::{Request, Source},
    status::Writer,
};
use tokio::{
    runtime::Handle,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, timeout},
};

use crate::{
    announce::{self, Goodbye},
    answers::live::Live,
    api::{
        http,
        server::{self, Socket},
    },
    apply::{self, Executor, Maps},
    cli::OnTerm,
    configuration,
    drain_mark::DrainMark,
    engine::{self, feedback::FeedbackSender, state::State},
    failure::{Failure, chain},
    hostcheck::{self, Needs},
    hostnet, links, neighbours,
    sources::{
        CHANGES_WAITING_MAX, Change, ChangeSender, conntrack, file, flows, kubernetes, probes,
    },
    status,
};

/// A second signal that comes this long after the first means: now.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// How long the speaker may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

/// Everything that had to be there before the agent could start.
#[derive(Debug)]
pub struct Setup<M> {
    /// Who tells the cluster.
    pub cluster: ClusterSource,
    /// The configuration.
    pub config: Config,
    /// Names of the uplinks; the place in the list is the slot.
    pub uplinks: Vec<Arc<str>>,
    /// The engine's first state.
    pub state: State,
    /// The data path.
    pub executor: Executor<M>,
    /// Where to answer.
    pub socket: Socket,
    /// Where to answer for kubelet and Prometheus.
    pub http: Option<SocketAddr>,
    /// Whether this node is out of service.
    pub drain_mark: DrainMark,
    /// What SIGTERM and SIGINT mean.
    pub on_term: OnTerm,
}

/// Who tells which Services and nodes there are.
#[derive(Debug)]
pub enum ClusterSource {
    /// The configuration file.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its text as it was read.
        text: String,
    },
    /// The API server of a Kubernetes cluster.
    Kubernetes(Box<Source>),
}

impl<M> Setup<M> {
    /// The nodes that ways are looked for to.
    #[must_use]
    pub fn nodes(&self) -> neighbours::Nodes {
        neighbours::Nodes {
            own: Arc::clone(&self.config.node),
            all: self.config.nodes.clone(),
            returns: false,
        }
    }
}

/// Runs until told to leave.
///
/// # Errors
/// If the data path cannot be set up, or a source breaks for good.
pub async fn run<M: Maps + Send + 'static>(setup: Setup<M>) -> Result<(), Failure> {
    let (changes, changes_heard) = mpsc::channel(CHANGES_WAITING_MAX);
    let (feedback, feedback_heard) = mpsc::unbounded_channel();
    let (desired, desired_seen) = watch::channel(Arc::<DesiredState>::default());
    let (ways, ways_seen) = watch::channel(Arc::<Neighbours>::default());
    let (wanted, wanted_seen) = watch::channel(Default::default());
    let (beat, beat_seen) = watch::channel(());
    let (views, views_asked) = mpsc::channel(1);
    let (counters, counters_asked) = mpsc::channel(1);

    tokio::task::spawn_blocking(host_checks(&setup));
    let (requests, requested) = mpsc::channel(1);
    let mut tasks = sources(&setup, &changes, desired_seen.clone(), requested);
    let counted = flows::run(desired_seen.clone(), counters.clone(), changes.clone());
    tasks.spawn(quiet(counted));
    let live = Live {
        views,
        counters,
        changes: changes.clone(),
        mark: setup.drain_mark,
        requests,
    };
    tasks.spawn(quiet(probes::run(wanted_seen, changes)));
    let writer = match &setup.cluster {
        ClusterSource::File { .. } => None,
        ClusterSource::Kubernetes(source) => {
            let client = source.client.clone();
            Some(Writer::new(client, &source.settings.node))
        }
    };
    tell(live, writer, (setup.socket, setup.http), &mut tasks);
    let goodbye = goodbye(setup.on_term);
    let announcer = announce::run(desired_seen.clone(), feedback.clone(), goodbye);
    let announcer = tokio::spawn(announcer);
    let inputs = apply::Inputs {
        desired: desired_seen,
        neighbours: ways_seen,
        beat: beat_seen,
        counters: counters_asked,
    };
    let mut datapath = tokio::task::spawn_blocking(|| follow(setup.executor, inputs, feedback));
    let inputs = engine::Inputs {
        changes: changes_heard,
        feedback: feedback_heard,
        views: views_asked,
    };
    let outputs = engine::Outputs {
        desired,
        neighbours: ways,
        probes: wanted,
        beat,
    };

    let result = tokio::select! {
        () = engine::run(setup.state, inputs, outputs) => Ok(()),
        ended = &mut datapath => Err(failure_of(ended)),
        failure = first_failure(&mut tasks) => Err(failure),
    };
    // The engine is gone by now, and with it what the announcer and the data path follow.
    if timeout(GOODBYE_MAX, announcer).await.is_err() {
        tracing::warn!("the BGP sessions did not close in time");
    }
    if !datapath.is_finished() {
        let _ = datapath.await;
    }
    if result.is_ok() {
        tracing::info!("left; the data path goes on by its pins");
    }
    result
}

fn sources<M>(
    setup: &Setup<M>,
    changes: &ChangeSender,
    desired: watch::Receiver<Arc<DesiredState>>,
    requests: mpsc::Receiver<Request>,
) -> JoinSet<Result<(), Failure>> {
    let mut tasks = JoinSet::new();
    cluster_source(setup, changes, desired.clone(), requests, &mut tasks);
    let links = links::run(setup.uplinks.clone(), changes.clone());
    tasks.spawn(async { links.await.map_err(|error| Failure::from_error(&error)) });
    let kept = hostnet::run(desired);
    tasks.spawn(async { kept.await.map_err(|error| Failure::from_error(&error)) });
    let known = setup.state.view().snapshot.datapath;
    tasks.spawn(quiet(conntrack::run(known, changes.clone())));
    tasks.spawn(signals(changes.clone(), setup.on_term));
    tasks
}

fn goodbye(on_term: OnTerm) -> Goodbye {
    match on_term {
        OnTerm::Withdraw => Goodbye::Shutdown,
        OnTerm::Restart => Goodbye::Silent,
    }
}

/// Tells whoever wants to know: people and programs by the socket, kubelet and Prometheus by HTTP, others by objects.
fn tell(
    live: Live,
    writer: Option<Writer>,
    (socket, http): (Socket, Option<SocketAddr>),
    tasks: &mut JoinSet<Result<(), Failure>>,
) {
    if let Some(writer) = writer {
        tasks.spawn(quiet(status::run(writer, live.views.clone())));
    }
    let live = Arc::new(live);
    if let Some(address) = http {
        tasks.spawn(quiet(http::serve(address, Arc::clone(&live))));
    }
    tasks.spawn(answer(socket, live));
}

/// The source that knows the cluster, and the one of the ways to its nodes.
fn cluster_source<M>(
    setup: &Setup<M>,
    changes: &ChangeSender,
    desired: watch::Receiver<Arc<DesiredState>>,
    requests: mpsc::Receiver<Request>,
    tasks: &mut JoinSet<Result<(), Failure>>,
) {
    let uplinks = setup.uplinks.clone();
    match &setup.cluster {
        ClusterSource::File { path, text } => {
            let watched = file::Watched::new(path, text.clone());
            let (path, running) = (path.clone(), setup.config.clone());
            let accept = move |text: &str| {
                let edit = configuration::understand_edit(&path, text, &running);
                edit.map_err(|error| chain(&error))
            };
            tasks.spawn(quiet(file::run(watched, accept, changes.clone())));
            let ways = neighbours::run(uplinks, setup.nodes(), desired, changes.clone());
            tasks.spawn(async { ways.await.map_err(|error| Failure::from_error(&error)) });
        }
        ClusterSource::Kubernetes(source) => {
            let source = (**source).clone();
            tasks.spawn(kubernetes::run(
                source,
                uplinks,
                requests,
                desired,
                changes.clone(),
            ));
        }
    }
}

/// Logs what of this host stands in the way; `check` tells it again when somebody has mended something.
fn host_checks<M>(setup: &Setup<M>) -> impl FnOnce() + use<M> {
    let needs = Needs::of(&setup.config, &setup.uplinks);
    move || {
        for sentence in hostcheck::check(&needs) {
            tracing::warn!("this host: {sentence}");
        }
    }
}

async fn quiet(task: impl Future<Output = ()>) -> Result<(), Failure> {
    task.await;
    Ok(())
}

async fn answer(socket: Socket, live: Arc<Live>) -> Result<(), Failure> {
    let served = server::serve(socket, live).await;
    served.map_err(|error| Failure::from_error(&error))
}

/// The first SIGTERM or SIGINT asks the engine to leave, one that comes [`IMPATIENCE`] later does not wait for
/// it. What comes sooner is the same request: process managers signal a process and its group.
async fn signals(changes: ChangeSender, on_term: OnTerm) -> Result<(), Failure> {
    let install = |kind| signal(kind).map_err(|error| Failure::from_error(&error));
    let (mut terminate, mut interrupt) = (
        install(SignalKind::terminate())?,
        install(SignalKind::interrupt())?,
    );
    let mut asked: Option<Instant> = None;
    loop {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        match asked {
            Some(first) if first.elapsed() < IMPATIENCE => continue,
            Some(_) => {
                return Err(broken(
                    "left at the second signal, before the peers had acknowledged the withdraw",
                ));
            }
            None => asked = Some(Instant::now()),
        }
        let change = match on_term {
            OnTerm::Withdraw => {
                tracing::info!("{name}: withdrawing every route; forwarding goes on");
                Change::Leave
            }
            OnTerm::Restart => {
                tracing::info!("{name}: leaving for a restart; routes and forwarding stay");
                Change::LeaveForRestart
            }
        };
        if changes.send(change).await.is_err() {
            return Ok(());
        }
    }
}

/// The executor's life, on a thread that may block.
fn follow<M: Maps>(
    mut executor: Executor<M>,
    inputs: apply::Inputs,
    feedback: FeedbackSender,
) -> Result<(), Failure> {
    let followed = Handle::current().block_on(apply::follow(&mut executor, inputs, feedback));
    followed.map_err(|error| Failure::from_error(&error))
}

async fn first_failure(tasks: &mut JoinSet<Result<(), Failure>>) -> Failure {
    while let Some(ended) = tasks.join_next().await {
        if !matches!(ended, Ok(Ok(()))) {
            return failure_of(ended);
        }
    }
    broken("every source ended")
}

fn failure_of(ended: Result<Result<(), Failure>, JoinError>) -> Failure {
    match ended {
        Ok(Ok(())) => broken("a part of the agent ended that should not"),
        Ok(Err(failure)) => failure,
        Err(panic) => Failure::from_error(&panic),
    }
}

fn broken(sentence: &str) -> Failure {
    Failure::Failed(sentence.to_owned())
}
