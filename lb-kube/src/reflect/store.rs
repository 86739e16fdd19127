//! The objects of one kind as they were last heard of. A watch changes them one by one, a relist all at once; a relist
//! that goes back in time, or from which more than half is missing, is not believed at once: what it adds counts, what
//! it takes away is held for [`HOLD`], because an API server that was restored from an old backup looks like that.
//! Resource versions are compared as numbers (KEP-5504). Pure: the caller has the clock.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

/// How long removals of a relist that cannot be right are held.
pub const HOLD: Duration = Duration::from_secs(300);

/// Objects that are still there and say less before that is in doubt: one or two were changed while nobody listened, as by
/// scaling a Deployment while the agent was replaced; endpoints that are gone must not be served for [`HOLD`] then.
const SHRUNKEN_MIN: usize = 3;

/// A record, and which object of the API server it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known<R> {
    /// `namespace/name`, or the name of what has no namespace.
    pub key: Arc<str>,
    /// Tells it from one of the same name before it.
    pub uid: Arc<str>,
    /// Resource version.
    pub version: u64,
    /// What is kept of it.
    pub record: R,
}

/// What can be lost with an object.
pub trait Guarded {
    /// How much it stands for: endpoints of a slice, one otherwise.
    fn weight(&self) -> usize {
        1
    }

    /// How much of that a newer version of it has no more.
    fn lost_in(&self, newer: &Self) -> usize {
        let _ = newer;
        0
    }
}

/// What is heard of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<R> {
    /// All objects there are, as of a version.
    Listed {
        /// Version of the list.
        version: u64,
        /// The objects.
        items: Vec<Known<R>>,
    },
    /// The API server does not serve the kind.
    NotServed,
    /// An object is new or changed.
    Applied(Known<R>),
    /// An object is gone.
    Deleted(Arc<str>),
    /// An object cannot be understood; why, in words.
    Refused(Arc<str>, String),
    /// The API server does not answer; why, in words.
    Away(String),
    /// It answers again, and nothing was missed.
    Back,
}

/// Why removals are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The API server knows less than it did.
    WentBack,
    /// More than half is missing.
    HalfIsMissing,
    /// The kind is no longer served.
    NoLongerServed,
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WentBack => "the API server went back to an older state",
            Self::HalfIsMissing => "more than half is missing from the API server's list",
            Self::NoLongerServed => "the API server no longer serves the kind",
        })
    }
}

/// Removals that are held.
#[derive(Clone, Debug)]
struct Held<R> {
    doubt: Doubt,
    /// When they take effect by themselves; `None`: not before the kind is served again.
    until: Option<Duration>,
    /// What the API server says of objects that are kept as they were; `None`: they are gone.
    told: BTreeMap<Arc<str>, Option<Arc<Known<R>>>>,
}

/// The objects of one kind.
#[derive(Clone, Debug)]
pub struct Store<R> {
    known: BTreeMap<Arc<str>, Arc<Known<R>>>,
    version: u64,
    is_listed: bool,
    held: Option<Held<R>>,
    refused: BTreeMap<Arc<str>, String>,
    away: Option<String>,
}

impl<R> Default for Store<R> {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            version: 0,
            is_listed: false,
            held: None,
            refused: BTreeMap::new(),
            away: None,
        }
    }
}

/// Keys whose record changed, appeared or went.
pub type Changed = Vec<Arc<str>>;

impl<R: Clone + PartialEq + Guarded> Store<R> {
    /// What an earlier agent knew: a base to compare the first list with.
    #[must_use]
    pub fn recovered(items: Vec<Known<R>>) -> Self {
        let version = items.iter().map(|item| item.version).max().unwrap_or(0);
        Self {
            known: by_key(items),
            version,
            ..Self::default()
        }
    }

    /// Whether a first list, or that there is none, was heard.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// A record.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&R> {
        self.known.get(key).map(|known| &known.record)
    }

    /// All of them by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &R)> {
        self.known.iter().map(|(key, known)| (key, &known.record))
    }

    /// All of them with their versions, to be kept.
    pub fn items(&self) -> impl Iterator<Item = &Arc<Known<R>>> {
        self.known.values()
    }

    /// How many removals are held, why, and until when.
    #[must_use]
    pub fn held(&self) -> Option<(usize, Doubt, Option<Duration>)> {
        let held = self.held.as_ref()?;
        Some((held.told.len(), held.doubt, held.until))
    }

    /// Objects that could not be understood: the last version that could is in force.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<Arc<str>, String> {
        &self.refused
    }

    /// Why the API server does not answer, if it does not.
    #[must_use]
    pub fn away(&self) -> Option<&str> {
        self.away.as_deref()
    }

    /// Takes what was heard at `now`.
    pub fn take(&mut self, event: Event<R>, now: Duration) -> Changed {
        match event {
            Event::Listed { version, items } => self.relist(version, items, now),
            Event::NotServed => {
                self.not_served();
                Changed::new()
            }
            Event::Applied(known) => self.apply(known),
            Event::Deleted(key) => self.delete(key),
            Event::Refused(key, why) => {
                self.refused.insert(key, why);
                Changed::new()
            }
            Event::Away(why) => {
                self.away = Some(why);
                Changed::new()
            }
            Event::Back => {
                self.away = None;
                Changed::new()
            }
        }
    }

    /// Lets held removals take effect, if their time has come or somebody `accepts` them.
    pub fn release(&mut self, now: Duration, accepts: bool) -> Changed {
        let is_due = |held: &Held<R>| held.until.is_some_and(|until| until <= now);
        let Some(held) = self.held.take_if(|held| accepts || is_due(held)) else {
            return Changed::new();
        };
        let mut changed = Changed::new();
        for (key, told) in held.told {
            match told {
                Some(known) => changed.extend(self.put(known)),
                None => changed.extend(self.remove(key)),
            }
        }
        changed
    }

    fn relist(&mut self, version: u64, items: Vec<Known<R>>, now: Duration) -> Changed {
        self.away = None;
        self.refused.clear();
        let is_first = !std::mem::replace(&mut self.is_listed, true);
        let doubt = match is_first && self.known.is_empty() {
            true => None,
            false => self.doubt(version, &items),
        };
        self.version = version;
        let told = by_key(items);
        let Some(doubt) = doubt else {
            self.held = None;
            return self.replace(told);
        };
        let until = self.held.as_ref().and_then(|held| held.until);
        let mut held = BTreeMap::new();
        for known in self.known.values() {
            let key = &known.key;
            match told.get(key) {
                None => _ = held.insert(Arc::clone(key), None),
                Some(new) if is_less(known, new) => {
                    held.insert(Arc::clone(key), Some(Arc::clone(new)));
                }
                Some(_) => {}
            }
        }
        let believed = told
            .into_values()
            .filter(|new| !held.contains_key(&new.key));
        let believed: Vec<_> = believed.collect();
        let changed = believed.into_iter().flat_map(|new| self.put(new)).collect();
        self.held = (!held.is_empty()).then(|| Held {
            doubt,
            until: Some(until.unwrap_or(now + HOLD)),
            told: held,
        });
        changed
    }

    /// Why a list is not to be believed.
    fn doubt(&self, version: u64, items: &[Known<R>]) -> Option<Doubt> {
        let told: BTreeMap<_, _> = items.iter().map(|item| (&item.key, item)).collect();
        let went_back = |known: &Arc<Known<R>>| {
            let new = told.get(&known.key).filter(|new| new.uid == known.uid);
            new.is_some_and(|new| new.version < known.version)
        };
        if version < self.version || self.known.values().any(went_back) {
            return Some(Doubt::WentBack);
        }
        let weight: usize = self.known.values().map(|known| known.record.weight()).sum();
        let (mut missing, mut shrunken, mut lost_in_shrunken) = (0, 0, 0);
        for known in self.known.values() {
            match told.get(&known.key) {
                None => missing += known.record.weight(),
                Some(new) => {
                    let lost = known.record.lost_in(&new.record);
                    shrunken += usize::from(lost > 0);
                    lost_in_shrunken += lost;
                }
            }
        }
        let lost = match shrunken < SHRUNKEN_MIN {
            true => missing,
            false => missing + lost_in_shrunken,
        };
        (lost * 2 > weight).then_some(Doubt::HalfIsMissing)
    }

    /// A kind that was never served has no objects; one that was keeps them.
    fn not_served(&mut self) {
        self.away = None;
        self.is_listed = true;
        if self.known.is_empty() {
            return;
        }
        let gone = self.known.keys().map(|key| (Arc::clone(key), None));
        self.held = Some(Held {
            doubt: Doubt::NoLongerServed,
            until: None,
            told: gone.collect(),
        });
    }

    fn apply(&mut self, new: Known<R>) -> Changed {
        let new = Arc::new(new);
        self.version = self.version.max(new.version);
        self.refused.remove(&new.key);
        let known = self.known.get(&new.key);
        if let Some(held) = &mut self.held
            && let Some(told) = held.told.get_mut(&new.key)
        {
            // Still less than it was: the watch goes on from where the list was.
            if known.is_some_and(|known| known.record.lost_in(&new.record) > 0) {
                *told = Some(new);
                return Changed::new();
            }
            held.told.remove(&new.key);
        }
        self.forget_empty_hold();
        self.put(new)
    }

    fn delete(&mut self, key: Arc<str>) -> Changed {
        self.refused.remove(&key);
        if let Some(told) = self.held.as_mut().and_then(|held| held.told.get_mut(&key)) {
            *told = None;
            return Changed::new();
        }
        self.remove(key)
    }

    fn forget_empty_hold(&mut self) {
        self.held.take_if(|held| held.told.is_empty());
    }

    fn replace(&mut self, told: BTreeMap<Arc<str>, Arc<Known<R>>>) -> Changed {
        let gone = self.known.keys().filter(|key| !told.contains_key(*key));
        let gone: Vec<_> = gone.cloned().collect();
        let mut changed: Changed = gone.into_iter().flat_map(|key| self.remove(key)).collect();
        changed.extend(told.into_values().flat_map(|new| self.put(new)));
        changed
    }

    fn put(&mut self, new: Arc<Known<R>>) -> Changed {
        let key = Arc::clone(&new.key);
        let old = self.known.insert(Arc::clone(&key), new);
        let now = self.known.get(&key);
        let is_same = old.is_some_and(|old| {
            now.is_some_and(|now| old.record == now.record && old.uid == now.uid)
        });
        if is_same { Changed::new() } else { vec![key] }
    }

    fn remove(&mut self, key: Arc<str>) -> Changed {
        match self.known.remove(&key) {
            Some(_) => vec![key],
            None => Changed::new(),
        }
    }
}

/// Whether the new word about an object is an older one, or takes something away.
fn is_less<R: Guarded>(known: &Known<R>, new: &Known<R>) -> bool {
    let is_older = new.uid == known.uid && new.version < known.version;
    is_older || known.record.lost_in(&new.record) > 0
}

fn by_key<R>(items: Vec<Known<R>>) -> BTreeMap<Arc<str>, Arc<Known<R>>> {
    let named = items
        .into_iter()
        .map(|item| (Arc::clone(&item.key), Arc::new(item)));
    named.collect()
}

#[cfg(test)]
mod tests;
