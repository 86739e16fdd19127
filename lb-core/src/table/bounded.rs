//! The one stable matching of rows and endpoints. Rows propose to endpoints in the order of their scores; an
//! endpoint keeps the best up to its capacity and turns the worst away, who then ask their next (Gale and
//! Shapley 1962). As both sides rank by the same strict order, the outcome does not depend on who asks first.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::score::{Score, Scores};
use crate::desired::Target;

/// Rows that each endpoint may hold: its fair share by weight times 1.25, rounded up.
pub(super) fn capacities(rows: u32, targets: &[Target]) -> Vec<usize> {
    let total: u64 = targets.iter().map(|t| u64::from(t.weight.max(1))).sum();
    let share = |weight: u16| (u64::from(rows) * u64::from(weight.max(1)) * 5).div_ceil(total * 4);
    targets.iter().map(|t| share(t.weight) as usize).collect()
}

/// The endpoint of every row.
pub(super) fn assign(scores: &Scores, rows: u32, capacities: &[usize]) -> Vec<u16> {
    let row_keys: Vec<u32> = (0..rows).map(|row| scores.row_key(row)).collect();
    let winners = scores.favourites(&row_keys);
    let mut loads = vec![0; capacities.len()];
    for &place in &winners {
        loads[usize::from(place)] += 1;
    }
    let mut matching = Matching {
        scores,
        capacities,
        winners,
        row_keys,
        loads,
        full: (0..capacities.len()).map(|_| BinaryHeap::new()).collect(),
    };
    matching.settle();
    matching.winners
}

/// A row that an endpoint holds, the one to turn away first on top: the worst score, then the higher row.
type Held = (Reverse<Score>, u32);

struct Matching<'a> {
    scores: &'a Scores,
    capacities: &'a [usize],
    row_keys: Vec<u32>,
    winners: Vec<u16>,
    /// Rows that each endpoint holds.
    loads: Vec<usize>,
    /// The rows of each endpoint that has had to turn one away, and so stays full; the others' are only counted.
    full: Vec<BinaryHeap<Held>>,
}

impl Matching<'_> {
    fn settle(&mut self) {
        let mut turned_away = self.surplus();
        while let Some((row, score)) = turned_away.pop() {
            let refused_by = usize::from(self.winners[row as usize]);
            let (place, score) = self.next_best(row, (score, refused_by));
            self.winners[row as usize] = place as u16;
            turned_away.extend(self.propose(row, place, score));
        }
    }

    /// Turns away what is too much of each endpoint's favourites.
    fn surplus(&mut self) -> Vec<(u32, Score)> {
        let is_overfull = |place: usize| self.loads[place] > self.capacities[place];
        let overfull: Vec<bool> = (0..self.loads.len()).map(is_overfull).collect();
        for row in 0..self.winners.len() as u32 {
            let place = usize::from(self.winners[row as usize]);
            if overfull[place] {
                let score = self.score(row, place);
                self.full[place].push((Reverse(score), row));
            }
        }
        let mut turned_away = Vec::new();
        for place in (0..overfull.len()).filter(|&place| overfull[place]) {
            while self.loads[place] > self.capacities[place] {
                turned_away.extend(self.turn_away(place));
            }
        }
        turned_away
    }

    fn score(&self, row: u32, place: usize) -> Score {
        self.scores.score(self.row_keys[row as usize], place)
    }

    /// The endpoint takes the row; back comes whom it turns away for it, with the score it had there.
    fn propose(&mut self, row: u32, place: usize, score: Score) -> Option<(u32, Score)> {
        self.loads[place] += 1;
        if self.loads[place] <= self.capacities[place] {
            return None;
        }
        if self.full[place].is_empty() {
            self.full[place] = self.held(place);
        } else {
            self.full[place].push((Reverse(score), row));
        }
        self.turn_away(place)
    }

    /// The rows of an endpoint. One that is turned away still names who refused it: never one that is not full.
    fn held(&self, place: usize) -> BinaryHeap<Held> {
        let rows = (0..).zip(&self.winners);
        let held = rows.filter(|&(_, &winner)| usize::from(winner) == place);
        held.map(|(row, _)| (Reverse(self.score(row, place)), row))
            .collect()
    }

    fn turn_away(&mut self, place: usize) -> Option<(u32, Score)> {
        self.loads[place] -= 1;
        self.full[place]
            .pop()
            .map(|(Reverse(score), row)| (row, score))
    }

    /// The best endpoint for a row after the one that refused it. Capacities add up to more than all rows, so
    /// there always is one.
    fn next_best(&self, row: u32, refused: (Score, usize)) -> (usize, Score) {
        let mut best: Option<(usize, Score)> = None;
        for place in 0..self.scores.endpoints() {
            let score = self.score(row, place);
            let after_refused = (score, Reverse(place)) < (refused.0, Reverse(refused.1));
            if after_refused && best.is_none_or(|(_, best)| score > best) {
                best = Some((place, score));
            }
        }
        best.expect("capacities hold more than all rows")
    }
}
