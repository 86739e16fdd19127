//! The services' buckets: where a key is, where it can go, and the rebuild of the spare copy when it can go
//! nowhere. Publishing is the last step up: a value is one word, stored after all that it points to.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::{
    abi::MapId,
    service::{ENTRIES_PER_BUCKET, ServiceKey, ServiceValue, ServicesHead},
};

use super::{
    NoRoom, Unplaced,
    draft::Draft,
    encode,
    placement::{Entry, Placements},
    ports::Change,
    wanted::Wanted,
};

const MAP: MapId = MapId::Services;
/// Words of an entry: key, value.
const ENTRY_WORDS: usize = 2;
/// Words of a bucket.
const BUCKET_WORDS: usize = ENTRIES_PER_BUCKET * ENTRY_WORDS;
/// Seeds that a rebuild tries. At half load one fails less than once in a million times.
const SEEDS: u16 = 64;

/// Brings the values of the services to those of the change, and to zero what is not wanted.
pub(super) fn publish(
    draft: &mut Draft<'_>,
    wanted: &Wanted<'_>,
    placements: &mut Placements,
    change: &mut Change,
    unplaced: &mut BTreeMap<Unplaced, NoRoom>,
) {
    let seed = wanted.cluster.keys.seed[0];
    change.removed = unwanted(wanted, placements);
    let values = std::mem::take(&mut change.values);
    let mut marks_vips = false;
    for (index, &(entry, value)) in values.iter().enumerate() {
        if matches!(entry, Entry::Vip(_)) && !marks_vips {
            // Who missed a service port before it was there must not find its VIP marked.
            marks_vips = true;
            draft.grace();
            placements.resting.clear();
        }
        match set(draft, placements, encode::key(seed, &entry), value) {
            Ok(()) => {}
            Err(NoRoom::Buckets) => {
                rebuild(draft, seed, placements, change, &values[index..], unplaced);
                break;
            }
            Err(why) => undo(placements, change, entry, why, unplaced),
        }
    }
    take_away(draft, seed, placements, change);
}

/// What is placed and not wanted. The entry of a VIP goes before its ports: nobody may find it without them.
fn unwanted(wanted: &Wanted<'_>, placements: &Placements) -> Vec<Entry> {
    let is_wanted = |entry: &Entry| match entry {
        Entry::Vip(vip) => wanted.vips.contains(vip),
        Entry::Port(port) => wanted.ports.contains_key(port),
    };
    let placed = wanted
        .touched
        .iter()
        .flat_map(|vip| placements.of_vip(*vip));
    placed.filter(|entry| !is_wanted(entry)).collect()
}

/// Zeroes the values of what is removed. An entry that was refused for another's key has none of its own.
fn take_away(draft: &mut Draft<'_>, seed: u64, placements: &Placements, change: &mut Change) {
    for entry in &change.removed {
        let Some(at) = find(draft, head(draft), encode::key(seed, entry)) else {
            continue;
        };
        let id = placements.by_entry.get(entry).map(|placement| placement.id);
        if id == Some(ServiceValue(draft.word(MAP, at + 1)).id()) {
            draft.store(MAP, at + 1, &[0]);
            change.keys.push(at);
        }
    }
}

/// The current copy.
pub(super) fn head(draft: &Draft<'_>) -> ServicesHead {
    ServicesHead(draft.word(MapId::ServicesHead, 0))
}

/// Word of the key's entry in the current copy.
pub(super) fn find(draft: &Draft<'_>, head: ServicesHead, key: ServiceKey) -> Option<usize> {
    let (first, second) = head.buckets(key);
    let mut places = places(first).chain(places(second));
    places.find(|&at| at + 1 < draft.words(MAP) && draft.word(MAP, at) == key.0)
}

/// All entries of the current copy, by word; none before the first rebuild.
pub(super) fn all(draft: &Draft<'_>) -> std::iter::StepBy<std::ops::Range<usize>> {
    let head = head(draft);
    let buckets = if is_built(draft, head) {
        head.mask() as usize + 1
    } else {
        0
    };
    let start = head.base() as usize * BUCKET_WORDS;
    (start..start + buckets * BUCKET_WORDS).step_by(ENTRY_WORDS)
}

fn places(bucket: u32) -> std::iter::StepBy<std::ops::Range<usize>> {
    let start = bucket as usize * BUCKET_WORDS;
    (start..start + BUCKET_WORDS).step_by(ENTRY_WORDS)
}

fn is_built(draft: &Draft<'_>, head: ServicesHead) -> bool {
    let buckets = draft.capacity().buckets_per_copy();
    head.mask() + 1 == buckets && (head.base() == 0 || head.base() == buckets)
}

fn set(
    draft: &mut Draft<'_>,
    placements: &mut Placements,
    key: ServiceKey,
    value: ServiceValue,
) -> Result<(), NoRoom> {
    let head = head(draft);
    if !is_built(draft, head) {
        return Err(NoRoom::Buckets);
    }
    if let Some(at) = find(draft, head, key) {
        let now = ServiceValue(draft.word(MAP, at + 1));
        if now.0 != 0 && now.id() != value.id() {
            return Err(NoRoom::SameKey);
        }
        draft.store(MAP, at + 1, &[value.0]);
        return Ok(());
    }
    let free = |draft: &Draft<'_>, bucket| {
        let free = places(bucket).filter(|&at| draft.word(MAP, at) == 0);
        free.collect::<Vec<_>>()
    };
    let (first, second) = head.buckets(key);
    let (first, second) = (free(draft, first), free(draft, second));
    let bucket = if leaves_room(&first) || first.len() >= second.len() {
        first
    } else {
        second
    };
    let rested = bucket.iter().find(|at| !placements.resting.contains(at));
    let Some(&at) = rested.or(bucket.first()) else {
        return Err(NoRoom::Buckets);
    };
    if placements.resting.contains(&at) {
        draft.grace();
        placements.resting.clear();
    }
    draft.store(MAP, at, &[key.0]);
    draft.store(MAP, at + 1, &[value.0]);
    Ok(())
}

/// Whether an entry goes to the first of its buckets, which is looked at before the other, although that one may have more
/// free places.
fn leaves_room(free: &[usize]) -> bool {
    free.len() > 1
}

/// A new entry that found no place gives back what it got.
fn undo(
    placements: &mut Placements,
    change: &mut Change,
    entry: Entry,
    why: NoRoom,
    unplaced: &mut BTreeMap<Unplaced, NoRoom>,
) {
    let what = match entry {
        Entry::Vip(vip) => Unplaced::Vip(vip),
        Entry::Port(port) => {
            placements.planned.remove(&port);
            Unplaced::Port(port)
        }
    };
    unplaced.insert(what, why);
    change.removed.push(entry);
}

/// Fills the spare copy with everything, under a seed with which all fits, and flips the head.
fn rebuild(
    draft: &mut Draft<'_>,
    seed: u64,
    placements: &mut Placements,
    change: &mut Change,
    pending: &[(Entry, ServiceValue)],
    unplaced: &mut BTreeMap<Unplaced, NoRoom>,
) {
    let pending: BTreeMap<_, _> = pending.iter().copied().collect();
    let mut entries = BTreeMap::new();
    let removed: BTreeSet<_> = change.removed.iter().copied().collect();
    let staying: Vec<_> = placements
        .by_entry
        .keys()
        .filter(|entry| !removed.contains(entry))
        .copied()
        .collect();
    for entry in staying {
        let key = encode::key(seed, &entry);
        let now = || {
            Some(ServiceValue(
                draft.word(MAP, find(draft, head(draft), key)? + 1),
            ))
        };
        match pending.get(&entry).copied().or_else(now) {
            Some(value) if !entries.contains_key(&key) => _ = entries.insert(key, value),
            _ => undo(placements, change, entry, NoRoom::SameKey, unplaced),
        }
    }
    let now = head(draft);
    // Close to half load only the even spread fits.
    let layout = spare(draft, now).find_map(|head| {
        let words =
            layout(head, &entries, leaves_room).or_else(|| layout(head, &entries, |_| false));
        Some((head, words?))
    });
    let Some((head, words)) = layout else {
        for (entry, value) in pending {
            match find(draft, now, encode::key(seed, &entry)) {
                Some(at) => draft.store(MAP, at + 1, &[value.0]),
                None => undo(placements, change, entry, NoRoom::Buckets, unplaced),
            }
        }
        return;
    };
    draft.store(MAP, head.base() as usize * BUCKET_WORDS, &words);
    draft.store(MapId::ServicesHead, 0, &[head.0]);
    draft.grace();
    placements.resting.clear();
}

/// Heads of the copy that is not the current one, each with another seed.
fn spare(draft: &Draft<'_>, now: ServicesHead) -> impl Iterator<Item = ServicesHead> + use<> {
    let buckets = draft.capacity().buckets_per_copy();
    let (base, first_seed) = match is_built(draft, now) {
        true => (buckets - now.base(), now.seed().wrapping_add(1)),
        false => (buckets, 0),
    };
    let seeds = (0..SEEDS).map(move |step| first_seed.wrapping_add(step));
    seeds.map(move |seed| ServicesHead::new(base, buckets - 1, seed))
}

/// The words of a copy with all entries in it; `None` if a pair of buckets overflows. Which go to the first of their buckets
/// is asked of its free places; all others go to the emptier one.
fn layout(
    head: ServicesHead,
    entries: &BTreeMap<ServiceKey, ServiceValue>,
    prefers_first: fn(&[usize]) -> bool,
) -> Option<Vec<u64>> {
    let mut words = vec![0; (head.mask() as usize + 1) * BUCKET_WORDS];
    let start = head.base() as usize * BUCKET_WORDS;
    for (key, value) in entries {
        let (first, second) = head.buckets(*key);
        let free = |bucket| {
            let places = places(bucket).map(|at| at - start);
            let free: Vec<_> = places.filter(|&at| words[at] == 0).collect();
            free
        };
        let (first, second) = (free(first), free(second));
        let bucket = if prefers_first(&first) || first.len() >= second.len() {
            first
        } else {
            second
        };
        let at = *bucket.first()?;
        words[at] = key.0;
        words[at + 1] = value.0;
    }
    Some(words)
}
