//! How long a change of the cluster takes to reach the data path: from when its source heard of it to when the maps are
//! as planned. Kept as a histogram for Prometheus. A change that means nothing to the data path is not counted.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Upper bounds of the buckets, in milliseconds; what is slower has one of its own.
pub const BOUNDS_MILLIS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 250, 500, 1000];

/// Plans that wait for the data path, at most; an executor that is stuck shall not fill the memory.
const WAITING_MAX: usize = 1024;

/// Times that were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Per bucket, the last without a bound.
    pub counts: [u64; BOUNDS_MILLIS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Histogram {
    fn add(&mut self, time: Duration) {
        let bucket = BOUNDS_MILLIS
            .iter()
            .position(|bound| time <= Duration::from_millis(*bound))
            .unwrap_or(BOUNDS_MILLIS.len());
        self.counts[bucket] += 1;
        self.sum += time;
    }
}

/// Changes under way.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    /// When the first change that is not planned yet was heard.
    heard_at: Option<Instant>,
    /// Generations that the data path has not reported, and when the first change in each was heard.
    planned: VecDeque<(u64, Instant)>,
    /// What it took.
    pub histogram: Histogram,
}

impl Latency {
    /// A change was heard.
    pub fn heard(&mut self, at: Instant) {
        self.heard_at.get_or_insert(at);
    }

    /// A plan was made that holds all changes so far; `is_new` if the data path is to do something.
    pub fn planned(&mut self, generation: u64, is_new: bool) {
        if let Some(at) = self.heard_at.take().filter(|_| is_new)
            && self.planned.len() < WAITING_MAX
        {
            self.planned.push_back((generation, at));
        }
    }

    /// The data path has a generation, and with it all before.
    pub fn applied(&mut self, generation: u64, now: Instant) {
        while let Some((_, heard_at)) = self.planned.pop_front_if(|(of, _)| *of <= generation) {
            self.histogram.add(now.duration_since(heard_at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_from_its_first_word_to_the_generation_that_has_it() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut latency = Latency::default();
        latency.heard(at(0));
        latency.heard(at(15));
        latency.planned(7, true);
        latency.heard(at(20));
        latency.planned(7, false);
        latency.heard(at(30));
        latency.planned(8, true);
        latency.applied(6, at(35));
        assert_eq!(latency.histogram, Histogram::default());
        latency.applied(8, at(40));
        let mut counts = [0; BOUNDS_MILLIS.len() + 1];
        counts[3] = 1;
        counts[5] = 1;
        assert_eq!(latency.histogram.counts, counts, "10 ms and 40 ms");
        assert_eq!(latency.histogram.sum, Duration::from_millis(50));
        latency.heard(at(50));
        latency.planned(9, true);
        latency.applied(9, at(5000));
        assert_eq!(latency.histogram.counts[BOUNDS_MILLIS.len()], 1);
    }
}
