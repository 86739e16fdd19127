//! Tables: which endpoint a flow's row goes to. Rendezvous (highest random weight) with bounded load: each
//! row takes its best-scored endpoint among those below their capacity, as the one stable matching of rows
//! and endpoints, so that neither order nor history matters. Integers only, keyed by the cluster's seed: the
//! result is the same on every node and every architecture, which is a contract between agents. Slots of the
//! data path are private to a node and not known here.

mod bounded;
mod favourites;
mod log2;
mod score;

use lb_common::row::Shape;

use crate::desired::Target;

/// A table: each row names a place in the sorted list of endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    shape: Shape,
    places: Places,
}

/// As wide as the data path's rows, so that 10,000 tables take what the arena takes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Places {
    Bytes(Box<[u8]>),
    Words(Box<[u16]>),
}

impl Rows {
    /// The shape; [`Shape::Single`] has no rows.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The place that a row names; 0 without rows.
    #[must_use]
    pub fn place(&self, row: usize) -> usize {
        match &self.places {
            Places::Bytes(places) => places.get(row).copied().unwrap_or(0).into(),
            Places::Words(places) => places.get(row).copied().unwrap_or(0).into(),
        }
    }

    /// All places, row by row.
    pub fn places(&self) -> impl ExactSizeIterator<Item = usize> {
        (0..self.shape.rows() as usize).map(|row| self.place(row))
    }

    fn new(shape: Shape, winners: &[u16]) -> Self {
        let places = match shape {
            Shape::Single | Shape::Narrow => {
                Places::Bytes(winners.iter().map(|&place| place as u8).collect())
            }
            Shape::Wide | Shape::Large => Places::Words(winners.into()),
        };
        Self { shape, places }
    }
}

/// The table of a set of endpoints, which must be sorted by address and port and free of doubles.
#[must_use]
pub fn rows(seed: &[u64; 2], targets: &[Target]) -> Rows {
    rows_by(favourites::fastest(), seed, targets)
}

/// [`rows`], by the path that needs no vector unit: the same table, to hold the other path to.
#[must_use]
pub fn rows_scalar(seed: &[u64; 2], targets: &[Target]) -> Rows {
    rows_by(favourites::scalar, seed, targets)
}

fn rows_by(favourites: favourites::Favourites, seed: &[u64; 2], targets: &[Target]) -> Rows {
    let shape = Shape::for_endpoints(targets.len());
    if shape == Shape::Single {
        return Rows::new(shape, &[]);
    }
    let scores = score::Scores::new(seed, targets, favourites);
    let capacities = bounded::capacities(shape.rows(), targets);
    let winners = bounded::assign(&scores, shape.rows(), &capacities);
    Rows::new(shape, &winners)
}

#[cfg(test)]
mod tests;
