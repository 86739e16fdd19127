//! Lists and watches one kind, forever: what the API server says becomes events, each object projected as soon as it is
//! read. A watch goes on where it ended, but only after a look that the API server has not gone back meanwhile: one
//! that was restored would skip everything until it reaches the old version again. Nothing is asked more often than
//! [`REST_MIN`], and many nodes do not ask at one instant.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    future::Future,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    store::{Event, Known},
    understood::Understood,
};

/// Objects in a page of a list.
const PAGE: u32 = 500;
/// How long the API server may take for a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a watch lasts before it is renewed, in seconds.
const WATCH_SECONDS: u32 = 290;
/// A watch that says nothing for so long is dead: there is a bookmark a minute.
const SILENCE_MAX: Duration = Duration::from_secs(150);
/// Least and most time from one failed attempt to the next.
const REST_MIN: Duration = Duration::from_millis(200);
const REST_MAX: Duration = Duration::from_secs(10);
/// Time between two looks for a kind that is not served.
const NOT_SERVED_REST: Duration = Duration::from_secs(10);
/// How long a custom resource must be gone before it counts: with its definition, all of them go first.
pub const SETTLE: Duration = Duration::from_secs(10);

/// What is watched.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only these (`metadata.name=...`); `None`: all.
    pub fields: Option<String>,
    /// Deletions wait [`SETTLE`] and count only if the kind is served then.
    pub settles: bool,
    /// What makes this node's rests its own.
    pub jitter: String,
}

/// Why a list or a watch ended.
enum Failure {
    /// The kind is not served.
    NotServed,
    /// The version is too old, or the API server went back: only a list helps.
    Gone,
    /// Anything else; in words.
    Other(String),
    /// Nobody listens any more.
    Deaf,
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match &error {
            kube::Error::Api(status) => Self::of_status(status.code, &status.message),
            other => Self::Other(chain(other)),
        }
    }
}

impl Failure {
    fn of_status(code: u16, message: &str) -> Self {
        match code {
            404 => Self::NotServed,
            410 => Self::Gone,
            _ => Self::Other(format!("{message} ({code})")),
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// A kind whose objects can be watched.
pub trait Watched:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Watched for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// Watches until nobody listens. `project` makes the record of an object; `None` leaves it out.
pub async fn watch<K, R, P>(
    api: Api<Understood<K>>,
    scope: Scope,
    project: P,
    events: mpsc::Sender<Event<R>>,
) where
    K: Watched,
    P: FnMut(&K) -> Option<R>,
{
    let mut watcher = Watcher {
        rest: Rest::new(&scope.jitter, &K::plural(&())),
        api,
        scope,
        project,
        events,
        leaving: BTreeMap::new(),
        is_away: false,
        object: std::marker::PhantomData,
    };
    watcher.run().await;
}

struct Watcher<K: Clone, R, P> {
    api: Api<Understood<K>>,
    scope: Scope,
    project: P,
    events: mpsc::Sender<Event<R>>,
    /// Deletions that have yet to settle.
    leaving: BTreeMap<Arc<str>, Instant>,
    is_away: bool,
    rest: Rest,
    object: std::marker::PhantomData<K>,
}

impl<K, R, P> Watcher<K, R, P>
where
    K: Watched,
    P: FnMut(&K) -> Option<R>,
{
    async fn run(&mut self) {
        let mut version = None;
        loop {
            let ended = match version.take() {
                None => self.list().await,
                Some(version) => self.follow(version).await,
            };
            let failure = match ended {
                Ok(next) => {
                    version = Some(next);
                    continue;
                }
                Err((failure, at)) => {
                    version = at;
                    failure
                }
            };
            match failure {
                Failure::Deaf => return,
                Failure::Gone => version = None,
                Failure::NotServed => {
                    version = None;
                    self.leaving.clear();
                    if self.events.send(Event::NotServed).await.is_err() {
                        return;
                    }
                    sleep(NOT_SERVED_REST).await;
                }
                Failure::Other(why) => {
                    self.is_away = true;
                    if self.events.send(Event::Away(why)).await.is_err() {
                        return;
                    }
                    sleep(self.rest.next()).await;
                }
            }
        }
    }

    /// All objects; the version that a watch goes on from.
    async fn list(&mut self) -> Result<u64, (Failure, Option<u64>)> {
        let whole = self.pages().await.map_err(|failure| (failure, None))?;
        let (version, items, refused) = whole;
        self.leaving.clear();
        self.rest.reset();
        self.is_away = false;
        self.tell(Event::Listed { version, items }).await?;
        for (key, why) in refused {
            self.tell(Event::Refused(key, why)).await?;
        }
        Ok(version)
    }

    async fn pages(&mut self) -> Result<(u64, Vec<Known<R>>, Vec<(Arc<str>, String)>), Failure> {
        let (mut items, mut refused) = (Vec::new(), Vec::new());
        let mut token: Option<String> = None;
        loop {
            let mut params = self.list_params().limit(PAGE);
            params.continue_token = token.take();
            let page = answered(self.api.list(&params)).await?;
            for object in page.items {
                match object.0 {
                    Ok(object) => items.extend(self.known(&object)),
                    Err(refusal) => refused.push((key_of(&refusal.metadata), refusal.why)),
                }
            }
            token = page.metadata.continue_.filter(|token| !token.is_empty());
            if token.is_none() {
                let version = number(page.metadata.resource_version.as_deref());
                return Ok((version, items, refused));
            }
        }
    }

    fn list_params(&self) -> ListParams {
        ListParams {
            field_selector: self.scope.fields.clone(),
            ..ListParams::default()
        }
    }

    /// Watches from a version until the watch ends; the version that it came to.
    async fn follow(&mut self, from: u64) -> Result<u64, (Failure, Option<u64>)> {
        let at = |failure: Failure| (failure, Some(from));
        let now = self.version_now().await.map_err(at)?;
        if now < from {
            return Err((Failure::Gone, None));
        }
        let params = WatchParams {
            field_selector: self.scope.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let began = answered(self.api.watch(&params, &from.to_string())).await;
        let stream = began.map_err(at)?;
        self.rest.reset();
        if std::mem::take(&mut self.is_away) {
            self.tell(Event::Back).await?;
        }
        self.hear(stream, from).await
    }

    /// What version the API server is at: of a list of at most one object.
    async fn version_now(&mut self) -> Result<u64, Failure> {
        let page = answered(self.api.list(&self.list_params().limit(1))).await?;
        Ok(number(page.metadata.resource_version.as_deref()))
    }

    async fn hear<S>(&mut self, stream: S, from: u64) -> Result<u64, (Failure, Option<u64>)>
    where
        S: Stream<Item = kube::Result<WatchEvent<Understood<K>>>>,
    {
        let mut stream = std::pin::pin!(stream);
        let mut version = from;
        loop {
            let settles_at = self.leaving.values().min().copied();
            let event = tokio::select! {
                event = timeout(SILENCE_MAX, stream.next()) => event,
                () = at(settles_at) => {
                    let settled = self.settle().await;
                    settled.map_err(|failure| (failure, Some(version)))?;
                    continue;
                }
            };
            match event {
                Ok(Some(Ok(event))) => version = self.heard(event, version).await?,
                // Renewed by whoever called.
                Ok(None) | Err(_) => return Ok(version),
                Ok(Some(Err(error))) => return Err((error.into(), Some(version))),
            }
        }
    }

    async fn heard(
        &mut self,
        event: WatchEvent<Understood<K>>,
        version: u64,
    ) -> Result<u64, (Failure, Option<u64>)> {
        let (object, is_deleted) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
            WatchEvent::Bookmark(bookmark) => {
                let at = number(Some(&bookmark.metadata.resource_version));
                return Ok(at.max(version));
            }
            WatchEvent::Error(status) => {
                let failure = Failure::of_status(status.code, &status.message);
                return Err((failure, Some(version)));
            }
        };
        let (key, now) = (
            key_of(object.meta()),
            number(object.meta().resource_version.as_deref()),
        );
        let event = match object.0 {
            _ if is_deleted && self.scope.settles => {
                self.leaving.insert(key, Instant::now() + SETTLE);
                return Ok(now.max(version));
            }
            _ if is_deleted => Event::Deleted(key),
            Err(refusal) => Event::Refused(key, refusal.why),
            Ok(object) => {
                self.leaving.remove(&key);
                match self.known(&object) {
                    Some(known) => Event::Applied(known),
                    None => Event::Deleted(key),
                }
            }
        };
        self.tell(event).await?;
        Ok(now.max(version))
    }

    /// Deletions that are old enough count if the kind is still served.
    async fn settle(&mut self) -> Result<(), Failure> {
        self.version_now().await?;
        let now = Instant::now();
        let due = self.leaving.iter().filter(|(_, at)| **at <= now);
        let due: Vec<_> = due.map(|(key, _)| Arc::clone(key)).collect();
        for key in due {
            self.leaving.remove(&key);
            let sent = self.events.send(Event::Deleted(key)).await;
            sent.map_err(|_| Failure::Deaf)?;
        }
        Ok(())
    }

    async fn tell(&mut self, event: Event<R>) -> Result<(), (Failure, Option<u64>)> {
        let sent = self.events.send(event).await;
        sent.map_err(|_| (Failure::Deaf, None))
    }

    fn known(&mut self, object: &K) -> Option<Known<R>> {
        Some(Known {
            key: key_of(object.meta()),
            uid: object.uid().unwrap_or_default().into(),
            version: number(object.meta().resource_version.as_deref()),
            record: (self.project)(object)?,
        })
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn answered<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, Failure> {
    match timeout(PAGE_TIMEOUT, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Failure::Other(format!(
            "no answer within {} s",
            PAGE_TIMEOUT.as_secs()
        ))),
    }
}

/// `namespace/name`, or the name of what has no namespace.
fn key_of(metadata: &ObjectMeta) -> Arc<str> {
    let name = metadata.name.as_deref().unwrap_or_default();
    match &metadata.namespace {
        Some(namespace) => format!("{namespace}/{name}").into(),
        None => name.into(),
    }
}

/// A resource version as a number (KEP-5504); what is none counts as the oldest.
fn number(version: Option<&str>) -> u64 {
    version.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Rests between failures: each twice as long as the one before, and no two nodes' alike.
struct Rest {
    failures: u32,
    seed: u64,
}

impl Rest {
    fn new(jitter: &str, kind: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (jitter, kind).hash(&mut hasher);
        Self {
            failures: 0,
            seed: hasher.finish(),
        }
    }

    fn reset(&mut self) {
        self.failures = 0;
    }

    fn next(&mut self) -> Duration {
        let longest = REST_MIN
            .saturating_mul(1 << self.failures.min(10))
            .min(REST_MAX);
        self.failures += 1;
        let mut hasher = DefaultHasher::new();
        (self.seed, self.failures).hash(&mut hasher);
        let share = (hasher.finish() % 1000) as u32;
        longest / 2 + longest * share / 2000
    }
}

#[cfg(test)]
mod tests;
