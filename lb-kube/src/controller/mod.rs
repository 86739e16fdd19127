//! The controller: reads Eips and Services, asks `lb-core` which Service has which address, and writes that down, as the
//! only writer of both. One of several processes leads, by a Lease; the others keep reading, so that one of them can go
//! on at once. Every write names the version that it is based on, and what the API server answers is believed before
//! what a watch says later; a write that fails costs another look, nothing else.

mod eip;
mod eips;
mod lease;
mod look;
mod nodes;
mod pass;
mod reassign;
mod secret;
mod service;
mod services;
mod status;
mod term;
mod time;
mod view;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use kube::{Api, Client, ResourceExt, core::DeserializeGuard};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    crd::{BgpConf, BgpPeer, Eip},
    project::claim::ClassRules,
    reflect::{
        store::Event,
        watch::{Scope, Watched, watch as read},
    },
    speakers,
};

pub use lease::LeaseTimes;
pub use reassign::{ReassignError, reassign};
pub use service::{FINALIZER, REASSIGN};

use self::{pass::Outcome, term::Term, view::View};

/// Changes that wait, at most, a kind.
const WAITING_MAX: usize = 256;
/// What comes in so soon after the first change is looked at together with it.
const WINDOW: Duration = Duration::from_millis(20);
/// Passes without a rest: a Service takes three.
const PASSES_MAX: usize = 30;
/// Rest after a write that failed.
const FAILURE_REST: Duration = Duration::from_secs(1);

/// What the controller is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace of the Lease and of the Secret with the cluster's key.
    pub namespace: String,
    /// Name of this process, unlike every other's.
    pub identity: String,
    /// Which Services are ours.
    pub class: ClassRules,
    /// Addresses are announced by somebody else: nothing is said about who serves.
    pub addresses_only: bool,
    /// How long leadership lasts.
    pub lease: LeaseTimes,
}

/// Runs until `stop` changes; leadership is then given up, so that another goes on at once.
pub async fn run(client: Client, options: Options, mut stop: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    let (terms, term) = watch::channel(None);
    let lease = lease::Lease::new(client.clone(), &options);
    let leads = tasks.spawn(lease.run(terms, stop.clone()));
    let mut feeds = Feeds::start(&client, &options, &mut tasks);
    let mut controller = Controller {
        view: View::new(options.class.clone()),
        office: None,
        term,
        wake_at: None,
        options,
        client,
    };
    loop {
        tokio::select! {
            () = controller.hear(&mut feeds) => {}
            _ = stop.wait_for(|stops| *stops) => break,
        }
    }
    while let Some(ended) = tasks.join_next_with_id().await {
        if ended.is_ok_and(|(id, ())| id == leads.id()) {
            break;
        }
    }
}

/// What the watches tell.
struct Feeds {
    eips: mpsc::Receiver<Event<eip::EipRecord>>,
    services: mpsc::Receiver<Event<service::ServiceRecord>>,
    namespaces: mpsc::Receiver<Event<lb_core::allocate::Labels>>,
    nodes: mpsc::Receiver<Event<nodes::NodeRecord>>,
    peers: mpsc::Receiver<Event<BgpPeer>>,
    confs: mpsc::Receiver<Event<BgpConf>>,
}

impl Feeds {
    fn start(client: &Client, options: &Options, tasks: &mut JoinSet<()>) -> Self {
        let rules = options.class.clone();
        Self {
            eips: feed(client, true, tasks, |object: &Eip| {
                Some(eip::record(object))
            }),
            services: feed(client, false, tasks, move |object: &Service| {
                Some(service::record(object, &rules))
            }),
            namespaces: feed(client, false, tasks, |object: &Namespace| {
                Some(object.labels().clone())
            }),
            nodes: feed(client, false, tasks, |object: &Node| {
                Some(nodes::record(object))
            }),
            peers: feed(client, true, tasks, |object: &BgpPeer| Some(object.clone())),
            confs: feed(client, true, tasks, |object: &BgpConf| Some(object.clone())),
        }
    }
}

fn feed<K, R, P>(
    client: &Client,
    settles: bool,
    tasks: &mut JoinSet<()>,
    project: P,
) -> mpsc::Receiver<Event<R>>
where
    K: Watched,
    R: Send + 'static,
    P: FnMut(&K) -> Option<R> + Send + 'static,
{
    let (events, told) = mpsc::channel(WAITING_MAX);
    let scope = Scope {
        settles,
        ..Scope::default()
    };
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    tasks.spawn(read(api, scope, project, events));
    told
}

struct Controller {
    client: Client,
    options: Options,
    view: View,
    /// Leadership, once this process has begun to act on it.
    office: Option<Office>,
    term: watch::Receiver<Option<Term>>,
    /// When to act though nothing is heard.
    wake_at: Option<Instant>,
}

/// A term in which everything was read from the API server itself at least once.
struct Office {
    term: Term,
    /// Greater than that of every leader before.
    epoch: u64,
    /// Eips that were there at the last look, by name and UID.
    seen: BTreeSet<(Arc<str>, Arc<str>)>,
}

impl Controller {
    /// Waits for something to happen, takes what comes with it, and acts.
    async fn hear(&mut self, feeds: &mut Feeds) {
        let wake_at = self.wake_at;
        tokio::select! {
            Some(event) = feeds.eips.recv() => self.view.eips.hear(event),
            Some(event) = feeds.services.recv() => self.view.services.hear(event),
            Some(event) = feeds.namespaces.recv() => self.view.namespaces.hear(event),
            Some(event) = feeds.nodes.recv() => self.view.nodes.hear(event),
            Some(event) = feeds.peers.recv() => self.view.peers.hear(event),
            Some(event) = feeds.confs.recv() => self.view.confs.hear(event),
            Ok(()) = self.term.changed() => {}
            () = at(wake_at) => self.wake_at = None,
        }
        let window = tokio::time::sleep(WINDOW);
        tokio::pin!(window);
        loop {
            tokio::select! {
                Some(event) = feeds.eips.recv() => self.view.eips.hear(event),
                Some(event) = feeds.services.recv() => self.view.services.hear(event),
                Some(event) = feeds.namespaces.recv() => self.view.namespaces.hear(event),
                Some(event) = feeds.nodes.recv() => self.view.nodes.hear(event),
                Some(event) = feeds.peers.recv() => self.view.peers.hear(event),
                Some(event) = feeds.confs.recv() => self.view.confs.hear(event),
                () = &mut window => break,
            }
        }
        if self.view.is_complete() {
            self.act().await;
        }
    }

    /// Decides and writes until nothing is left to write, or something fails.
    async fn act(&mut self) {
        for _ in 0..PASSES_MAX {
            if !self.enter_office().await {
                return;
            }
            match self.pass().await {
                Outcome::Again => {}
                Outcome::Quiet(wake_at) => {
                    self.wake_at = wake_at;
                    self.tend_speakers().await;
                    return;
                }
                Outcome::Failed => break,
            }
        }
        self.wake_at = Some(Instant::now() + FAILURE_REST);
    }

    /// Says of BgpConf and BgpPeers whether they can be used. A list without any Node is not believed: keys of nodes that
    /// are gone go, and with a key a next hop.
    async fn tend_speakers(&mut self) {
        let nodes = self.view.nodes.all().map(|node| node.key.to_string());
        let nodes: BTreeSet<String> = nodes.collect();
        if nodes.is_empty() || self.options.addresses_only {
            return;
        }
        let (confs, peers) = (self.view.confs.values(), self.view.peers.values());
        if let Err(error) = speakers::tend(&self.client, &nodes, confs, peers).await {
            tracing::warn!("the status of BgpConf and BgpPeers cannot be written: {error}");
            let again = Instant::now() + FAILURE_REST;
            self.wake_at = Some(self.wake_at.map_or(again, |at| at.min(again)));
        }
    }

    /// Whether this process leads and has read everything afresh in this term.
    async fn enter_office(&mut self) -> bool {
        let Some(term) = self.term.borrow().clone().filter(Term::is_valid) else {
            self.office = None;
            return false;
        };
        if let Some(office) = self
            .office
            .as_mut()
            .filter(|office| office.term.is_same(&term))
        {
            office.term = term;
            return true;
        }
        if let Err(error) = secret::make_cluster_key(&self.client, &self.options.namespace).await {
            tracing::error!("the Secret with the cluster's key cannot be made: {error}");
        }
        let looked = self.look().await;
        let Ok(seen) = looked else {
            self.wake_at = Some(Instant::now() + FAILURE_REST);
            return false;
        };
        let highest = self
            .view
            .eips
            .values()
            .filter_map(|eip| eip.pool.status.epoch)
            .max();
        let epoch = highest.map_or(0, |epoch| epoch + 1).max(term.transitions);
        tracing::info!(epoch, "leads");
        self.office = Some(Office { term, epoch, seen });
        true
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}
