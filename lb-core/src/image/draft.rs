//! The image while it is being changed: reads see what was written before them, and only words that differ
//! become stores. Changed pages are copied, so that a small change of a large image costs little.

use std::collections::BTreeSet;

use bytemuck::Pod;
use lb_common::{
    abi::MapId,
    image::{Image, MapWrite},
    limits::Capacity,
    source::TrieRange,
};

/// Words of a page: 4 KiB.
const PAGE_WORDS: usize = 512;
/// Pages of a book: a map of 100 MB has 98 of them.
const BOOK_PAGES: usize = 256;

type Page = Box<[u64; PAGE_WORDS]>;
type Book = Vec<Option<Page>>;

pub(super) struct Draft<'a> {
    image: &'a Image,
    /// Pages that were changed; a book without any is empty.
    books: [Vec<Book>; MapId::ALL.len()],
    added: BTreeSet<TrieRange>,
    removed: BTreeSet<TrieRange>,
    writes: Vec<MapWrite>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(image: &'a Image) -> Self {
        let books = |map| image.words(map).len().div_ceil(PAGE_WORDS * BOOK_PAGES);
        Self {
            image,
            books: MapId::ALL.map(|map| vec![Book::new(); books(map)]),
            added: BTreeSet::new(),
            removed: BTreeSet::new(),
            writes: Vec::new(),
        }
    }

    pub(super) fn capacity(&self) -> Capacity {
        self.image.capacity()
    }

    pub(super) fn words(&self, map: MapId) -> usize {
        self.image.words(map).len()
    }

    pub(super) fn word(&self, map: MapId, at: usize) -> u64 {
        let page = at / PAGE_WORDS;
        let book = &self.books[map as usize][page / BOOK_PAGES];
        match book.get(page % BOOK_PAGES) {
            Some(Some(page)) => page[at % PAGE_WORDS],
            _ => self.image.words(map)[at],
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

    /// The ranges that the trie has for a service id.
    pub(super) fn ranges_of(&self, service: u16) -> BTreeSet<TrieRange> {
        let from = |service| TrieRange {
            service,
            prefix_bits: 0,
            address: [0; 4],
        };
        let of_service = |ranges: &BTreeSet<TrieRange>| {
            let ranges = ranges.range(from(service)..);
            let ranges = ranges.take_while(|range| range.service == service);
            ranges.copied().collect::<Vec<_>>()
        };
        let was = of_service(self.image.ranges());
        let kept = was
            .into_iter()
            .filter(|range| !self.removed.contains(range));
        kept.chain(of_service(&self.added)).collect()
    }

    /// All ranges of the trie before this change.
    pub(super) fn image_ranges(&self) -> Vec<TrieRange> {
        self.image.ranges().iter().copied().collect()
    }

    /// Ranges in the trie.
    pub(super) fn range_count(&self) -> usize {
        self.image.ranges().len() + self.added.len() - self.removed.len()
    }

    pub(super) fn add_range(&mut self, range: TrieRange) {
        if !self.removed.remove(&range) {
            self.added.insert(range);
        }
        self.writes.push(MapWrite::AddRange(range));
    }

    pub(super) fn remove_range(&mut self, range: TrieRange) {
        if !self.added.remove(&range) {
            self.removed.insert(range);
        }
        self.writes.push(MapWrite::RemoveRange(range));
    }

    /// All packets that might see what was before have left the programs.
    pub(super) fn grace(&mut self) {
        let nothing_since = matches!(self.writes.last(), None | Some(MapWrite::Grace));
        if !nothing_since {
            self.writes.push(MapWrite::Grace);
        }
    }

    /// Writes so far.
    pub(super) fn write_count(&self) -> usize {
        self.writes.len()
    }

    pub(super) fn finish(self) -> Vec<MapWrite> {
        self.writes
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
        self.writes.push(MapWrite::Store { map, word, values });
    }

    fn page(&mut self, map: MapId, page: usize) -> &mut Page {
        let image = self.image.words(map);
        let book = &mut self.books[map as usize][page / BOOK_PAGES];
        if book.is_empty() {
            book.resize(BOOK_PAGES, None);
        }
        book[page % BOOK_PAGES].get_or_insert_with(|| {
            let start = page * PAGE_WORDS;
            let end = image.len().min(start + PAGE_WORDS);
            let mut copy = Box::new([0; PAGE_WORDS]);
            copy[..end - start].copy_from_slice(&image[start..end]);
            copy
        })
    }
}

pub(super) fn words_of<T: Pod>(value: &T) -> Vec<u64> {
    let bytes = bytemuck::bytes_of(value).chunks_exact(8);
    bytes.map(bytemuck::pod_read_unaligned).collect()
}
