//! Who may connect: a service's ranges in lines beside it, or in the trie that all services share. Lines are never
//! changed in place, the trie is: a range more admits, a range less refuses, each by one write. Which of both
//! counts is one word of the cold line.

use std::collections::BTreeSet;

use lb_common::{
    abi::MapId,
    source::{self, INLINE_RANGES_MAX, Ranges, SourceLine, TrieRange},
};

use super::{NoRoom, draft::Draft, encode, placement::Arenas, ports::Change};
use crate::model::Prefix;

/// Words of a line.
const LINE_WORDS: usize = size_of::<SourceLine>() / 8;

/// Where the ranges of a service will be.
pub(super) struct Room {
    /// What the cold line is to say; `None`: everybody may connect.
    pub(super) ranges: Option<Ranges>,
    /// Fresh lines, and what they hold.
    lines: Option<(u32, Vec<u64>)>,
    add: Vec<TrieRange>,
    remove: Vec<TrieRange>,
    left: Option<Ranges>,
}

/// Finds room for a service's ranges, of one family.
pub(super) fn reserve(
    draft: &Draft<'_>,
    arenas: &mut Arenas,
    id: u16,
    old: Option<Ranges>,
    wanted: Option<&[Prefix]>,
    is_v6: bool,
) -> Result<Room, NoRoom> {
    let in_trie = wanted.filter(|wanted| wanted.len() > INLINE_RANGES_MAX as usize);
    let keys: BTreeSet<_> = in_trie
        .into_iter()
        .flatten()
        .map(|prefix| key(id, prefix))
        .collect();
    let known = draft.ranges_of(id);
    let room = Room {
        ranges: in_trie.map(|_| Ranges::TRIE),
        lines: None,
        add: keys.difference(&known).copied().collect(),
        remove: known.difference(&keys).copied().collect(),
        left: old.filter(|old| !old.in_trie()),
    };
    if draft.range_count() + room.add.len() > draft.capacity().source_ranges as usize {
        return Err(NoRoom::SourceRanges(draft.capacity().source_ranges));
    }
    let Some(inline) = wanted.filter(|_| in_trie.is_none()) else {
        return Ok(room);
    };
    let words = words(inline, is_v6);
    if let Some(old) = old.filter(|old| holds(draft, *old, &words, inline.len(), is_v6)) {
        return Ok(Room {
            ranges: Some(old),
            left: None,
            ..room
        });
    }
    let count = inline.len() as u32;
    let line = match source::lines(count, is_v6) {
        0 => 0,
        lines => arenas
            .sources
            .allocate(lines)
            .ok_or(NoRoom::SourceLines(lines))?,
    };
    Ok(Room {
        ranges: Some(Ranges::inline(line, count as u16)),
        lines: Some((line, words)),
        ..room
    })
}

/// Gives back what was reserved and will not be used.
pub(super) fn cancel(arenas: &mut Arenas, room: &Room, is_v6: bool) {
    if room.lines.is_some() {
        give_back(arenas, room.ranges, is_v6);
    }
}

/// Writes what is new; notes what is to go after the grace.
pub(super) fn write(draft: &mut Draft<'_>, room: Room, is_v6: bool, change: &mut Change) {
    if let Some((line, words)) = room.lines {
        draft.store(MapId::SourceRanges, line as usize * LINE_WORDS, &words);
    }
    for range in room.add {
        draft.add_range(range);
    }
    change.ranges.extend(room.remove);
    change
        .left_lines
        .extend(room.left.map(|left| (left, is_v6)));
}

/// Gives back the lines of ranges.
pub(super) fn give_back(arenas: &mut Arenas, ranges: Option<Ranges>, is_v6: bool) {
    if let Some((line, lines)) = lines(ranges, is_v6) {
        arenas.sources.give_back(line, lines);
    }
}

/// First line and number of lines, if there are any.
pub(super) fn lines(ranges: Option<Ranges>, is_v6: bool) -> Option<(u32, u32)> {
    let inline = ranges.filter(|ranges| !ranges.in_trie())?;
    let lines = source::lines(inline.count(), is_v6);
    (lines > 0).then_some((inline.line(), lines))
}

fn holds(draft: &Draft<'_>, old: Ranges, words: &[u64], count: usize, is_v6: bool) -> bool {
    if old.in_trie() || old.count() as usize != count {
        return false;
    }
    let Some((line, _)) = lines(Some(old), is_v6) else {
        return true;
    };
    let start = line as usize * LINE_WORDS;
    (start..)
        .zip(words)
        .all(|(at, word)| draft.word(MapId::SourceRanges, at) == *word)
}

/// The words of whole lines.
fn words(ranges: &[Prefix], is_v6: bool) -> Vec<u64> {
    let mut words: Vec<u64> = ranges
        .iter()
        .flat_map(|prefix| {
            let address = encode::address(prefix.address());
            match is_v6 {
                true => source::range_v6(&address, prefix.bits()).to_vec(),
                false => vec![source::range_v4(address[0], prefix.bits())],
            }
        })
        .collect();
    let lines = source::lines(ranges.len() as u32, is_v6);
    words.resize(lines as usize * LINE_WORDS, 0);
    words
}

fn key(id: u16, prefix: &Prefix) -> TrieRange {
    TrieRange {
        service: id,
        prefix_bits: prefix.bits(),
        address: encode::address(prefix.address()),
    }
}
