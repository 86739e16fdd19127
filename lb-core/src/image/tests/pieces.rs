//! A change that goes out in pieces is the change that goes out as a whole, and one that breaks off is taken up again from
//! what the maps then hold.

use std::ops::RangeInclusive;

use lb_common::source::TrieRange;

use super::*;

/// Few enough that most changes come to several pieces.
const FEW_WORDS: usize = 7;

/// Maps that take so many pieces and then no more.
struct Live {
    image: Image,
    writes: Vec<MapWrite>,
    pieces_left: usize,
    refused: usize,
}

impl Live {
    fn new(image: &Image, pieces_left: usize) -> Self {
        Self {
            image: image.clone(),
            writes: Vec::new(),
            pieces_left,
            refused: 0,
        }
    }

    fn change(&mut self, world: &World, placements: Placements) -> ImageOutcome {
        let draft = Draft::live(self, FEW_WORDS);
        let (desired, neighbours) = (&world.desired, &world.snapshot.neighbours);
        super::change(draft, desired, neighbours, placements)
    }
}

impl Maps for Live {
    fn carry_out(&mut self, writes: &[MapWrite]) -> bool {
        if self.pieces_left == 0 {
            self.refused += 1;
            return false;
        }
        self.pieces_left -= 1;
        self.image.apply(writes);
        self.writes.extend_from_slice(writes);
        true
    }
}

impl Memory for Live {
    fn capacity(&self) -> Capacity {
        self.image.capacity()
    }

    fn word(&self, map: MapId, at: usize) -> u64 {
        self.image.word(map, at)
    }

    fn ranges_of(&self, services: RangeInclusive<u16>) -> Vec<TrieRange> {
        self.image.ranges_of(services)
    }

    fn range_count(&self) -> usize {
        self.image.range_count()
    }
}

/// Both ways come to the same writes in the same order.
pub(super) fn assert_same(world: &World, maps: &Image, placements: &Placements) {
    let whole = image(
        &world.desired,
        &world.snapshot.neighbours,
        maps,
        placements.clone(),
    );
    let mut live = Live::new(maps, usize::MAX);
    let mut outcome = live.change(world, placements.clone());
    assert_eq!(outcome.carried_out, live.writes.len());
    live.writes.append(&mut outcome.writes);
    assert_eq!(live.writes, whole.writes);
    assert_eq!(outcome.unplaced, whole.unplaced);
    assert_eq!(outcome.placements.entries(), whole.placements.entries());
}

#[test]
fn maps_that_refuse_a_piece_get_no_more_and_the_next_change_begins_with_what_they_hold() {
    let mut world = World::new(CAPACITY);
    world.set(service("web", 1, &PORTS, &[1, 2, 3]));
    let empty = Image::empty(CAPACITY);
    let mut all = Live::new(&empty, usize::MAX);
    let outcome = all.change(&world, Placements::default());
    let pieces = usize::MAX - all.pieces_left;
    assert!(outcome.carried_out > 0 && pieces > 4, "{pieces} pieces");
    for taken in 0..pieces {
        let mut live = Live::new(&empty, taken);
        live.change(&world, Placements::default());
        assert_eq!((live.pieces_left, live.refused), (0, 1), "after {taken}");
        let mut maps = live.image;
        let again = image(
            &world.desired,
            &world.snapshot.neighbours,
            &maps,
            Placements::default(),
        );
        maps.apply(&again.writes);
        assert_as_planned(&world, &maps, &again.unplaced);
    }
}
