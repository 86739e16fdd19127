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
    let mut matching = Matching {
        scores,
        capacities,
        winners: scores.favourites(&row_keys),
        row_keys,
        held: (0..scores.endpoints()).map(|_| BinaryHeap::new()).collect(),
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
    held: Vec<BinaryHeap<Held>>,
}

impl Matching<'_> {
    fn settle(&mut self) {
        let loads = self.loads();
        let overfull: Vec<bool> = loads
            .iter()
            .zip(self.capacities)
            .map(|(load, capacity)| load > capacity)
            .collect();
        if !overfull.contains(&true) {
            return;
        }
        let mut turned_away = Vec::new();
        for row in 0..self.row_keys.len() as u32 {
            let place = usize::from(self.winners[row as usize]);
            let score = self.score(row, place);
            turned_away.extend(self.propose(row, place, score));
        }
        while let Some((row, score)) = turned_away.pop() {
            let refused_by = usize::from(self.winners[row as usize]);
            let (place, score) = self.next_best(row, (score, refused_by));
            self.winners[row as usize] = place as u16;
            turned_away.extend(self.propose(row, place, score));
        }
    }

    fn loads(&self) -> Vec<usize> {
        let mut loads = vec![0; self.capacities.len()];
        for &place in &self.winners {
            loads[usize::from(place)] += 1;
        }
        loads
    }

    fn score(&self, row: u32, place: usize) -> Score {
        self.scores.score(self.row_keys[row as usize], place)
    }

    /// The endpoint takes the row; back comes whom it turns away for it, with the score it had there.
    fn propose(&mut self, row: u32, place: usize, score: Score) -> Option<(u32, Score)> {
        let held = &mut self.held[place];
        held.push((Reverse(score), row));
        if held.len() <= self.capacities[place] {
            return None;
        }
        held.pop().map(|(Reverse(score), row)| (row, score))
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
