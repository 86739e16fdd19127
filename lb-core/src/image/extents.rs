//! Which places of an arena are free. Extents are taken first-fit from where the last one ended, aligned to
//! their power of two, so that freed ones fit the next of their size.

/// An arena of places, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arena {
    taken: Vec<bool>,
    next: usize,
}

impl Arena {
    pub(super) fn new(places: u32) -> Self {
        Self {
            taken: vec![false; places as usize],
            next: 0,
        }
    }

    /// First place of a run of `length` (a power of two) that is free now; it is taken.
    pub(super) fn allocate(&mut self, length: u32) -> Option<u32> {
        let length = length as usize;
        let from_next = self.next.next_multiple_of(length);
        let wrapped = 0..from_next.min(self.taken.len());
        let ahead = (from_next..self.taken.len()).step_by(length);
        let mut starts = ahead.chain(wrapped.step_by(length));
        let fits = |start: usize| {
            let run = self.taken.get(start..start + length);
            run.is_some_and(|run| !run.contains(&true))
        };
        let start = starts.find(|&start| fits(start))?;
        self.taken[start..start + length].fill(true);
        self.next = start + length;
        Some(start as u32)
    }

    /// Whether a run is inside and free.
    pub(super) fn is_free(&self, start: u32, length: u32) -> bool {
        let (start, length) = (start as usize, length as usize);
        let run = self.taken.get(start..start + length);
        run.is_some_and(|run| !run.contains(&true))
    }

    /// Takes a run that is known to be free.
    pub(super) fn take(&mut self, start: u32, length: u32) {
        self.set(start, length, true);
    }

    pub(super) fn give_back(&mut self, start: u32, length: u32) {
        self.set(start, length, false);
    }

    fn set(&mut self, start: u32, length: u32, taken: bool) {
        let (start, length) = (start as usize, length as usize);
        self.taken[start..start + length].fill(taken);
    }
}
