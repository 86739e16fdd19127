//! Maglev tables (Eisenbud et al., NSDI 2016, section 3.4), as a peer to measure beside: each backend has a
//! permutation of the rows and takes its next free one in turn. Written from the paper, for the benches alone.

use lb_common::hash;

/// A row that nobody has taken yet.
const FREE: u16 = u16::MAX;

/// The backend of each of `rows` rows (a prime), by place in `backends`, which are hashes of their names.
#[must_use]
pub fn table(rows: u32, backends: &[u64]) -> Vec<u16> {
    let mut table = vec![FREE; rows as usize];
    let mut walks: Vec<_> = backends.iter().map(|&name| Walk::of(name, rows)).collect();
    let mut left = rows;
    while left > 0 {
        for (place, walk) in walks.iter_mut().enumerate() {
            if left == 0 {
                break;
            }
            let row = walk.by_ref().find(|&row| table[row as usize] == FREE);
            table[row.expect("a walk comes by every row") as usize] = place as u16;
            left -= 1;
        }
    }
    table
}

/// A backend's permutation.
struct Walk {
    at: u32,
    skip: u32,
    rows: u32,
}

impl Walk {
    fn of(name: u64, rows: u32) -> Self {
        let (offset, skip) = (hash::word(1, name), hash::word(2, name));
        Self {
            at: (offset % u64::from(rows)) as u32,
            skip: (skip % u64::from(rows - 1)) as u32 + 1,
            rows,
        }
    }
}

impl Iterator for Walk {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let row = self.at;
        self.at = (self.at + self.skip) % self.rows;
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_differ_by_one_row_at_the_most() {
        let backends: Vec<u64> = (0..100).collect();
        let mut loads = [0; 100];
        for place in table(4093, &backends) {
            loads[usize::from(place)] += 1;
        }
        assert!(
            loads.iter().all(|load| (40..=41).contains(load)),
            "{loads:?}"
        );
    }
}
