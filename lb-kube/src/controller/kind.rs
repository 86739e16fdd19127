//! The objects of one kind as they were last heard of: by the watch, or by an answer to a request of our own, whichever is
//! newer. An API server that went back to an older state (etcd restored from a backup) tells lists that are older than
//! what its watch has told before; from then on only what it tells now counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::reflect::store::{Event, Known};

pub(super) struct Kind<R> {
    /// As people call its objects.
    pub(super) name: &'static str,
    known: BTreeMap<Arc<str>, Known<R>>,
    /// Newest version that the watch has told.
    told: u64,
    pub(super) is_listed: bool,
    pub(super) is_served: bool,
    /// The API server does not answer.
    is_away: bool,
}

/// How far a kind is known.
pub(super) struct State {
    pub(super) name: &'static str,
    pub(super) is_listed: bool,
    pub(super) is_away: bool,
}

impl<R> Kind<R> {
    pub(super) fn state(&self) -> State {
        State {
            name: self.name,
            is_listed: self.is_listed,
            is_away: self.is_away,
        }
    }

    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            known: BTreeMap::new(),
            told: 0,
            is_listed: false,
            is_served: true,
            is_away: false,
        }
    }

    pub(super) fn hear(&mut self, event: Event<R>) {
        match event {
            Event::Listed { version, items } => {
                if self.goes_back_in(version, &items) {
                    self.known.clear();
                }
                self.told = version;
                self.is_back();
                self.replace(version, items);
            }
            Event::NotServed => {
                (self.is_listed, self.is_served) = (true, false);
                self.is_back();
                self.known.clear();
            }
            Event::Applied(known) => {
                self.told = self.told.max(known.version);
                self.learn(known);
            }
            Event::Deleted(key) => self.forget(&key),
            Event::Refused(key, why) => {
                tracing::warn!("{}: {key} cannot be read: {why}", self.name);
            }
            Event::Away(why) if !self.is_away => {
                self.is_away = true;
                let name = self.name;
                tracing::warn!(
                    "the API server does not tell {name}: {why}; nothing changes, and it is asked again"
                );
            }
            Event::Away(_) => {}
            Event::Back => self.is_back(),
        }
    }

    fn is_back(&mut self) {
        if std::mem::take(&mut self.is_away) {
            tracing::info!("the API server tells {} again", self.name);
        }
    }

    /// Whether an event says that the API server has gone back.
    pub(super) fn goes_back(&self, event: &Event<R>) -> bool {
        match event {
            Event::Listed { version, items } => self.goes_back_in(*version, items),
            _ => false,
        }
    }

    /// A list of the watch's may be older than an answer to a request of our own, but not than what the watch has told,
    /// and no object in it older than the list and what is known of it.
    fn goes_back_in(&self, version: u64, items: &[Known<R>]) -> bool {
        let is_older = |item: &Known<R>| {
            let known = self.get(&item.key).map(|known| known.version);
            known.is_some_and(|known| item.version < known && known <= version)
        };
        version < self.told || items.iter().any(is_older)
    }

    /// The same of a list that was asked for after everything that is known.
    pub(super) fn is_newer_than(&self, version: u64, items: &[Known<R>]) -> bool {
        let is_newer = |known: &Known<R>| version < known.version;
        self.known.values().any(is_newer) || items.iter().any(|item| self.has_newer(item))
    }

    /// The same of one object.
    pub(super) fn has_newer(&self, item: &Known<R>) -> bool {
        let known = self.get(&item.key);
        known.is_some_and(|known| item.version < known.version)
    }

    /// Takes a list of the watch's; what is missing from it is gone, unless it was heard of since.
    fn replace(&mut self, version: u64, items: Vec<Known<R>>) {
        (self.is_listed, self.is_served) = (true, true);
        let keys: BTreeSet<_> = items.iter().map(|known| Arc::clone(&known.key)).collect();
        self.known
            .retain(|key, known| keys.contains(key) || version < known.version);
        for known in items {
            match self.known.get(&known.key) {
                Some(newer) if version < newer.version => {}
                _ => self.put(known),
            }
        }
    }

    /// Takes a list that was asked for after everything that is known.
    pub(super) fn replace_all(&mut self, items: Vec<Known<R>>) {
        (self.is_listed, self.is_served) = (true, true);
        self.known.clear();
        for known in items {
            self.put(known);
        }
    }

    /// Takes an object, unless a newer one is known.
    pub(super) fn learn(&mut self, known: Known<R>) {
        let newest = self.get(&known.key).map(|known| known.version);
        if newest.is_none_or(|newest| newest <= known.version) {
            self.put(known);
        }
    }

    /// Takes an object that was asked for after everything that is known.
    pub(super) fn put(&mut self, known: Known<R>) {
        self.known.insert(Arc::clone(&known.key), known);
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.known.remove(key);
    }

    pub(super) fn get(&self, key: &str) -> Option<&Known<R>> {
        self.known.get(key)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &R> {
        self.known.values().map(|known| &known.record)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Known<R>> {
        self.known.values()
    }
}

impl<R: PartialEq> Kind<R> {
    /// Whether an event would change what is kept of any object.
    pub(super) fn is_changed_by(&self, event: &Event<R>) -> bool {
        match event {
            Event::Listed { .. } => true,
            Event::NotServed => self.is_served || !self.is_listed,
            Event::Applied(known) => !self
                .get(&known.key)
                .is_some_and(|before| before.uid == known.uid && before.record == known.record),
            Event::Deleted(key) => self.known.contains_key(key),
            Event::Refused(..) | Event::Away(_) | Event::Back => false,
        }
    }
}

#[cfg(test)]
mod tests;
