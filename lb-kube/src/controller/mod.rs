//! The controller: reads Eips and Services, asks `lb-core` which Service has which address, and writes that down, as the
//! only writer of both. One of several processes leads, by a Lease; the others keep reading, so that one of them can go
//! on at once. Every write names the version that it is based on, and what the API server answers is believed before
//! what a watch says later; a write that fails costs another look, nothing else.

mod eip;
mod eips;
mod endpoints;
mod feeds;
mod figures;
mod imports;
mod kind;
mod lease;
mod look;
mod nodes;
mod pass;
mod reassign;
mod secret;
mod service;
mod services;
mod speakers;
mod status;
mod term;
mod time;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::Client;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{project::claim::ClassRules, reflect::source::CLUSTER_SECRET};

pub use figures::{Counts, Figures, PoolFigures, ServiceFigures, Writes};
pub use lease::LeaseTimes;
pub use reassign::{ReassignError, reassign};
pub use service::{FINALIZER, REASSIGN, is_our_finalizer};

pub(crate) use self::{look::no_answer, pass::WRITE_TIMEOUT};

use self::{
    feeds::{Feeds, Heard},
    pass::Outcome,
    term::Term,
    view::View,
};

/// What comes in so soon after the first change is looked at together with it.
const WINDOW: Duration = Duration::from_millis(20);
/// Passes without a rest: a Service takes three.
const PASSES_MAX: usize = 30;
/// Rest after a write that failed; each further one doubles it, up to 32 times.
const FAILURE_REST: Duration = Duration::from_secs(1);
/// Rest after passes that came to no end, or that found objects other than they were seen.
const UNREST: Duration = Duration::from_secs(5);
/// Time between two signs of life while nothing happens.
const BEAT_INTERVAL: Duration = Duration::from_secs(10);

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

/// Runs until `stop` changes; leadership is then given up, so that another goes on at once. How it is doing is in `figures`.
pub async fn run(
    client: Client,
    options: Options,
    mut stop: watch::Receiver<bool>,
    figures: watch::Sender<Figures>,
) {
    let mut tasks = JoinSet::new();
    let (terms, term) = watch::channel(None);
    let lease = lease::Lease::new(client.clone(), &options);
    let leads = tasks.spawn(lease.run(terms, stop.clone()));
    let mut feeds = Feeds::start(&client, &options, &mut tasks);
    let mut controller = Controller {
        view: View::new(options.class.clone(), options.addresses_only),
        office: None,
        term,
        wake_at: None,
        failures: 0,
        untouched: BTreeMap::new(),
        released: BTreeSet::new(),
        counts: Counts::default(),
        figures,
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

struct Controller {
    client: Client,
    options: Options,
    view: View,
    /// Leadership, once this process has begun to act on it.
    office: Option<Office>,
    term: watch::Receiver<Option<Term>>,
    /// When to act though nothing is heard.
    wake_at: Option<Instant>,
    /// Passes that failed since one did not.
    failures: u32,
    /// Services that are left alone, and why.
    untouched: BTreeMap<Arc<str>, String>,
    /// UIDs of BgpConfs and BgpPeers that OpenELB's finalizers were taken from.
    released: BTreeSet<String>,
    counts: Counts,
    figures: watch::Sender<Figures>,
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
        let acts = tokio::select! {
            heard = feeds.next() => self.take(heard),
            Ok(()) = self.term.changed() => true,
            () = at(wake_at) => {
                self.wake_at = None;
                true
            }
            () = sleep(BEAT_INTERVAL) => false,
        };
        if acts {
            let window = sleep(WINDOW);
            tokio::pin!(window);
            loop {
                tokio::select! {
                    heard = feeds.next() => drop(self.take(heard)),
                    () = &mut window => break,
                }
            }
            if self.view.is_complete() {
                self.act().await;
            }
        }
        self.tell();
    }

    /// Whether to act at once.
    fn take(&mut self, heard: Heard) -> bool {
        match self.view.hear(heard) {
            Some(Duration::ZERO) => true,
            Some(later) => {
                self.wake_by(Instant::now() + later);
                false
            }
            None => false,
        }
    }

    /// Acts at that time at the latest.
    fn wake_by(&mut self, time: Instant) {
        self.wake_at = Some(self.wake_at.map_or(time, |at| at.min(time)));
    }

    /// Decides and writes until nothing is left to write, or something fails.
    async fn act(&mut self) {
        let mut rest = UNREST;
        for _ in 0..PASSES_MAX {
            if !self.enter_office().await {
                return;
            }
            self.beat();
            match self.pass().await {
                Outcome::Again => {}
                Outcome::Quiet(wake_at) => {
                    self.failures = 0;
                    self.view.forget_what_was();
                    self.wake_at = wake_at.into_iter().chain(self.view.holds_until()).min();
                    self.tend_speakers().await;
                    return;
                }
                Outcome::Failed => {
                    rest = FAILURE_REST * (1 << self.failures.min(5));
                    self.failures += 1;
                    break;
                }
            }
        }
        self.wake_at = Some(Instant::now() + rest);
    }

    /// Whether this process leads and has read everything afresh in this term.
    async fn enter_office(&mut self) -> bool {
        let Some(term) = self.term.borrow().clone().filter(Term::is_valid) else {
            if self.office.take().is_some() {
                tracing::warn!("leads no more: the Lease was not renewed in time, or is another's");
            }
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
        let made = secret::make_cluster_key(&self.client, &self.options.namespace);
        let made = timeout(WRITE_TIMEOUT, made).await;
        if let Err(error) = made.unwrap_or_else(|_| Err(no_answer())) {
            tracing::error!(
                "the Secret {CLUSTER_SECRET} with the cluster's key cannot be made: {error}; agents wait for it"
            );
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
        self.counts.terms += 1;
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
