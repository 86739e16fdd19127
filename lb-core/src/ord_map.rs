//! An ordered map that is cheap to copy and to compare with its copy: sorted chunks behind `Arc`s, so that a copy
//! shares all of them, a change copies one, and [`OrdMap::diff`] skips those that both maps share. What one change of
//! ten thousand entries costs follows from the number of chunks and from their size, about a hundred each.

use std::{borrow::Borrow, cmp::Ordering, fmt, ops::Index, sync::Arc};

/// Entries of a chunk before it is divided.
const CHUNK_MAX: usize = 128;
/// A chunk with fewer is joined to its neighbour if both together are at most half full.
const CHUNK_MIN: usize = CHUNK_MAX / 8;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// A map in the order of its keys.
pub struct OrdMap<K, V> {
    /// None is empty.
    chunks: Arc<Vec<Chunk<K, V>>>,
    length: usize,
}

/// A key under which two maps differ.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference<'a, K, V> {
    /// The key.
    pub key: &'a K,
    /// Its value in the older map.
    pub old: Option<&'a V>,
    /// Its value in the newer map.
    pub new: Option<&'a V>,
}

impl<K, V> OrdMap<K, V> {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether one is an unchanged copy of the other; says no for some that are equal.
    #[must_use]
    pub fn is_copy_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chunks, &other.chunks)
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.iter());
        entries.map(|(key, value)| (key, value))
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// All values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord, V> OrdMap<K, V> {
    /// The value of a key.
    #[must_use]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = place(chunk, key).ok()?;
        Some(&chunk[at].1)
    }

    /// Whether a key has a value.
    #[must_use]
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    /// What differs in a newer map, in the order of the keys; `same` tells whether two values count as one. Chunks that
    /// both maps share are not looked into.
    pub fn diff<'a, F>(&'a self, newer: &'a Self, same: F) -> Diff<'a, K, V, F>
    where
        F: Fn(&V, &V) -> bool,
    {
        let (old, new) = match self.is_copy_of(newer) {
            true => (&[][..], &[][..]),
            false => (&self.chunks[..], &newer.chunks[..]),
        };
        Diff {
            old: Cursor::new(old),
            new: Cursor::new(new),
            same,
        }
    }

    /// Index of the chunk that has the key if any has: the last one that does not start after it.
    fn chunk_of<Q: Ord + ?Sized>(&self, key: &Q) -> usize
    where
        K: Borrow<Q>,
    {
        let starts_before = |chunk: &Chunk<K, V>| chunk[0].0.borrow() <= key;
        let after = self.chunks.partition_point(starts_before);
        after.saturating_sub(1)
    }
}

impl<K: Ord + Clone, V: Clone> OrdMap<K, V> {
    /// Sets the value of a key; returns the one before.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let index = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(index) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.length += 1;
            return None;
        };
        let at = place(chunk, &key);
        let chunk = Arc::make_mut(chunk);
        match at {
            Ok(at) => return Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => chunk.insert(at, (key, value)),
        }
        self.length += 1;
        if chunk.len() > CHUNK_MAX {
            // Who fills a map in the order of its keys leaves full chunks behind.
            let is_appended = index + 1 == chunks.len() && at == Err(CHUNK_MAX);
            let chunk = Arc::make_mut(&mut chunks[index]);
            let rest = chunk.split_off(if is_appended {
                CHUNK_MAX
            } else {
                CHUNK_MAX / 2
            });
            chunks.insert(index + 1, Arc::new(rest));
        }
        None
    }

    /// Takes a key away; returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let index = self.chunk_of(key);
        let at = place(self.chunks.get(index)?, key).ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let (_, value) = Arc::make_mut(&mut chunks[index]).remove(at);
        self.length -= 1;
        if chunks[index].is_empty() {
            chunks.remove(index);
        } else if chunks[index].len() < CHUNK_MIN {
            join(chunks, index);
        }
        Some(value)
    }
}

/// Joins a small chunk to the one before it, or the one after it to the first.
fn join<K: Clone, V: Clone>(chunks: &mut Vec<Chunk<K, V>>, small: usize) {
    let left = small.saturating_sub(1);
    let Some([first, second]) = chunks.get(left..left + 2) else {
        return;
    };
    if first.len() + second.len() > CHUNK_MAX / 2 {
        return;
    }
    let second = chunks.remove(left + 1);
    Arc::make_mut(&mut chunks[left]).extend(second.iter().cloned());
}

fn place<K: Borrow<Q>, V, Q: Ord + ?Sized>(chunk: &[(K, V)], key: &Q) -> Result<usize, usize> {
    chunk.binary_search_by(|(known, _)| known.borrow().cmp(key))
}

/// The walk of [`OrdMap::diff`].
pub struct Diff<'a, K, V, F> {
    old: Cursor<'a, K, V>,
    new: Cursor<'a, K, V>,
    same: F,
}

impl<'a, K: Ord, V, F: Fn(&V, &V) -> bool> Iterator for Diff<'a, K, V, F> {
    type Item = Difference<'a, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.old.starts_the_chunk_of(&self.new) {
                self.old.skip_chunk();
                self.new.skip_chunk();
                continue;
            }
            let (old, new) = match (self.old.entry(), self.new.entry()) {
                (None, None) => return None,
                (old, None) => (old, None),
                (None, new) => (None, new),
                (Some(old), Some(new)) => match old.0.cmp(&new.0) {
                    Ordering::Less => (Some(old), None),
                    Ordering::Greater => (None, Some(new)),
                    Ordering::Equal => (Some(old), Some(new)),
                },
            };
            if old.is_some() {
                self.old.step();
            }
            if new.is_some() {
                self.new.step();
            }
            let is_same = old
                .zip(new)
                .is_some_and(|(old, new)| (self.same)(&old.1, &new.1));
            if let Some((key, _)) = old.or(new).filter(|_| !is_same) {
                let (old, new) = (old.map(|(_, value)| value), new.map(|(_, value)| value));
                return Some(Difference { key, old, new });
            }
        }
    }
}

/// A place in a map: the chunks from here on, and an entry of the first.
struct Cursor<'a, K, V> {
    chunks: &'a [Chunk<K, V>],
    at: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn new(chunks: &'a [Chunk<K, V>]) -> Self {
        Self { chunks, at: 0 }
    }

    fn entry(&self) -> Option<&'a (K, V)> {
        let chunks = self.chunks;
        chunks.first().map(|chunk| &chunk[self.at])
    }

    fn step(&mut self) {
        self.at += 1;
        if self.at == self.chunks[0].len() {
            self.skip_chunk();
        }
    }

    fn skip_chunk(&mut self) {
        self.chunks = &self.chunks[1..];
        self.at = 0;
    }

    fn starts_the_chunk_of(&self, other: &Self) -> bool {
        let both = self.chunks.first().zip(other.chunks.first());
        self.at == 0 && other.at == 0 && both.is_some_and(|(a, b)| Arc::ptr_eq(a, b))
    }
}

impl<K, V> Clone for OrdMap<K, V> {
    fn clone(&self) -> Self {
        Self {
            chunks: Arc::clone(&self.chunks),
            length: self.length,
        }
    }
}

impl<K, V> Default for OrdMap<K, V> {
    fn default() -> Self {
        Self {
            chunks: Arc::default(),
            length: 0,
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for OrdMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: Ord, V: PartialEq> PartialEq for OrdMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.diff(other, V::eq).next().is_none()
    }
}

impl<K: Ord, V: Eq> Eq for OrdMap<K, V> {}

/// Panics if the key has no value.
impl<K: Ord + Borrow<Q>, V, Q: Ord + ?Sized> Index<&Q> for OrdMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        self.get(key).expect("the key has a value")
    }
}

impl<K: Ord + Clone, V: Clone> Extend<(K, V)> for OrdMap<K, V> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, entries: T) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for OrdMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Self::default();
        map.extend(entries);
        map
    }
}

#[cfg(test)]
mod tests;
