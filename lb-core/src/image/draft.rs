//! The maps while they are being changed: reads see what was written before them, and only words that differ
//! become stores. Changed pages are copied, so that a small change of large maps costs little; a large change is
//! carried out in pieces, so that the first one of a large cluster does not take its size twice over for a moment.

use std::collections::BTreeSet;

use bytemuck::Pod;
use lb_common::{
    abi::MapId,
    image::{self, MapWrite, Memory},
    limits::Capacity,
    source::TrieRange,
};

use super::Maps;

/// Words of a page: 4 KiB.
const PAGE_WORDS: usize = 512;
/// Pages of a book: a map of 100 MB has 98 of them.
const BOOK_PAGES: usize = 256;

type Page = Box<[u64; PAGE_WORDS]>;
type Book = Vec<Option<Page>>;

pub(super) struct Draft<'a> {
    base: Base<'a>,
    /// Pages that were changed; a book without any is empty.
    books: [Vec<Book>; MapId::ALL.len()],
    added: BTreeSet<TrieRange>,
    removed: BTreeSet<TrieRange>,
    /// What is not carried out yet, and how many words of stores that is.
    writes: Vec<MapWrite>,
    waiting_words: usize,
    /// Writes that were carried out.
    carried_out: usize,
    /// Nothing was written since the last grace.
    is_quiet: bool,
    /// A piece could not be carried out: how far the maps have it is not known, and they get no more.
    is_broken: bool,
}

/// What the change is of.
enum Base<'a> {
    /// All writes are handed back at the end.
    Still(&'a dyn Memory),
    /// Writes go out when they come to so many words.
    Live(&'a mut dyn Maps, usize),
}

impl<'a> Draft<'a> {
    /// Nothing is carried out.
    pub(super) fn new(memory: &'a dyn Memory) -> Self {
        Self::of(Base::Still(memory))
    }

    /// Writes are carried out whenever `piece_words` of them wait.
    pub(super) fn live(maps: &'a mut dyn Maps, piece_words: usize) -> Self {
        Self::of(Base::Live(maps, piece_words))
    }

    fn of(base: Base<'a>) -> Self {
        let capacity = base.memory().capacity();
        Self {
            base,
            books: empty_books(&capacity),
            added: BTreeSet::new(),
            removed: BTreeSet::new(),
            writes: Vec::new(),
            waiting_words: 0,
            carried_out: 0,
            is_quiet: true,
            is_broken: false,
        }
    }

    pub(super) fn capacity(&self) -> Capacity {
        self.base.memory().capacity()
    }

    pub(super) fn words(&self, map: MapId) -> usize {
        image::words(&self.capacity(), map)
    }

    pub(super) fn word(&self, map: MapId, at: usize) -> u64 {
        let page = at / PAGE_WORDS;
        let book = &self.books[map as usize][page / BOOK_PAGES];
        match book.get(page % BOOK_PAGES) {
            Some(Some(page)) => page[at % PAGE_WORDS],
            _ => self.base.memory().word(map, at),
        }
    }

    pub(super) fn element<T: Pod>(&self, map: MapId, index: usize) -> T {
        let words = map.element_bytes() / 8;
        let mut value = T::zeroed();
        let bytes = bytemuck::bytes_of_mut(&mut value);
        for (at, bytes) in bytes.chunks_exact_mut(8).enumerate() {
            bytes.copy_from_slice(&self.word(map, index * words + at).to_ne_bytes());
        }
        value
    }

    /// Stores the words that differ, in the order of their places.
    pub(super) fn store(&mut self, map: MapId, at: usize, values: &[u64]) {
        let mut run = Vec::new();
        for (offset, &value) in values.iter().enumerate() {
            if self.word(map, at + offset) == value {
                self.emit(map, at + offset, &mut run);
            } else {
                run.push(value);
            }
        }
        self.emit(map, at + values.len(), &mut run);
    }

    pub(super) fn store_element<T: Pod>(&mut self, map: MapId, index: usize, value: &T) {
        let at = index * (map.element_bytes() / 8);
        self.store(map, at, &words_of(value));
    }

    /// Makes all words of a map zero.
    pub(super) fn clear(&mut self, map: MapId) {
        let words = self.words(map);
        for at in (0..words).step_by(PAGE_WORDS) {
            let page = &[0; PAGE_WORDS][..PAGE_WORDS.min(words - at)];
            self.store(map, at, page);
        }
    }

    /// The ranges that the trie has for a service id.
    pub(super) fn ranges_of(&self, service: u16) -> BTreeSet<TrieRange> {
        let was = self.base.memory().ranges_of(service..=service);
        let kept = was
            .into_iter()
            .filter(|range| !self.removed.contains(range));
        kept.chain(image::ranges_of(&self.added, service..=service))
            .collect()
    }

    /// All ranges of the trie before this change.
    pub(super) fn ranges_before(&self) -> Vec<TrieRange> {
        self.base.memory().ranges_of(0..=u16::MAX)
    }

    /// Ranges in the trie.
    pub(super) fn range_count(&self) -> usize {
        self.base.memory().range_count() + self.added.len() - self.removed.len()
    }

    pub(super) fn add_range(&mut self, range: TrieRange) {
        if !self.removed.remove(&range) {
            self.added.insert(range);
        }
        self.write(MapWrite::AddRange(range), 1);
    }

    pub(super) fn remove_range(&mut self, range: TrieRange) {
        if !self.added.remove(&range) {
            self.removed.insert(range);
        }
        self.write(MapWrite::RemoveRange(range), 1);
    }

    /// All packets that might see what was before have left the programs.
    pub(super) fn grace(&mut self) {
        if !self.is_quiet {
            self.writes.push(MapWrite::Grace);
            self.is_quiet = true;
        }
    }

    /// Writes so far.
    pub(super) fn write_count(&self) -> usize {
        self.carried_out + self.writes.len()
    }

    /// What is still to be carried out, and how many writes were.
    pub(super) fn finish(self) -> (Vec<MapWrite>, usize) {
        (self.writes, self.carried_out)
    }

    /// Stores the run that ends before word `end`.
    fn emit(&mut self, map: MapId, end: usize, run: &mut Vec<u64>) {
        if run.is_empty() {
            return;
        }
        let word = end - run.len();
        for (offset, &value) in run.iter().enumerate() {
            let at = word + offset;
            self.page(map, at / PAGE_WORDS)[at % PAGE_WORDS] = value;
        }
        let values = std::mem::take(run);
        let words = values.len();
        self.write(MapWrite::Store { map, word, values }, words);
    }

    fn write(&mut self, write: MapWrite, words: usize) {
        self.writes.push(write);
        self.waiting_words += words;
        self.is_quiet = false;
        if let Base::Live(maps, piece_words) = &mut self.base
            && self.waiting_words >= *piece_words
            && !self.is_broken
        {
            match maps.carry_out(&self.writes) {
                true => self.forget(),
                false => self.is_broken = true,
            }
        }
    }

    /// What was carried out is in the maps.
    fn forget(&mut self) {
        self.carried_out += self.writes.len();
        self.writes.clear();
        self.waiting_words = 0;
        self.books = empty_books(&self.capacity());
        self.added.clear();
        self.removed.clear();
    }

    fn page(&mut self, map: MapId, page: usize) -> &mut Page {
        let memory = self.base.memory();
        let words = image::words(&memory.capacity(), map);
        let book = &mut self.books[map as usize][page / BOOK_PAGES];
        if book.is_empty() {
            book.resize(BOOK_PAGES, None);
        }
        book[page % BOOK_PAGES].get_or_insert_with(|| {
            let start = page * PAGE_WORDS;
            let mut copy = Box::new([0; PAGE_WORDS]);
            for (word, at) in copy.iter_mut().zip(start..words) {
                *word = memory.word(map, at);
            }
            copy
        })
    }
}

impl Base<'_> {
    fn memory(&self) -> &dyn Memory {
        match self {
            Self::Still(memory) => *memory,
            Self::Live(maps, _) => &**maps,
        }
    }
}

fn empty_books(capacity: &Capacity) -> [Vec<Book>; MapId::ALL.len()] {
    let books = |map| image::words(capacity, map).div_ceil(PAGE_WORDS * BOOK_PAGES);
    MapId::ALL.map(|map| vec![Book::new(); books(map)])
}

pub(super) fn words_of<T: Pod>(value: &T) -> Vec<u64> {
    let bytes = bytemuck::bytes_of(value).chunks_exact(8);
    bytes.map(bytemuck::pod_read_unaligned).collect()
}
