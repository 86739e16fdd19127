//! One pass: decide, write, and learn from what the API server answers. Eips are written one by one, since what one
//! says decides about the next; Services side by side. What is decided rests on nothing but what was seen, so that a
//! pass that ends half way leaves nothing half done.

use std::time::Duration;

use futures_util::StreamExt;
use lb_core::allocate::{Allocations, UnixTime, allocate};
use tokio::time::Instant;

use super::{Controller, services::ServiceWrite, time};

/// Services that are written at a time.
const WRITES_AT_ONCE: usize = 16;
/// How long the API server may take for a write. With the lease's deadline it stays below the time that a freed address
/// rests, so that a late write of a leader that is none any more cannot give an address twice.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a pass ended.
pub(super) enum Outcome {
    /// Something was written or read: decide again.
    Again,
    /// Everything is as it should be, until a certain time.
    Quiet(Option<Instant>),
    /// Something could not be written or read.
    Failed,
}

/// How a write ended.
pub(super) enum Written {
    /// The API server has it, and what it answered is known.
    Done,
    /// The object is not as it was seen; how it is, is known now.
    Stale,
    /// It is not known how it ended.
    Failed,
}

impl Controller {
    pub(super) async fn pass(&mut self) -> Outcome {
        let Some(office) = &self.office else {
            return Outcome::Failed;
        };
        let began = Instant::now();
        let cluster = self.view.cluster(office);
        let allocations = allocate(&cluster);
        self.counts.decisions += 1;
        self.counts.deciding += began.elapsed();
        if !allocations.is_deposed && !allocations.needs_fresh_look {
            self.note_untouched(&allocations);
        }
        if allocations.is_deposed {
            tracing::warn!("an Eip was written by a later leader: this one begins anew");
            self.office = None;
            return Outcome::Failed;
        }
        if allocations.needs_fresh_look {
            return self.look_again().await;
        }
        let has_work = !allocations.pools.is_empty() || !allocations.services.is_empty();
        if !has_work {
            return Outcome::Quiet(allocations.replan_at.map(instant));
        }
        self.write(allocations).await
    }

    async fn look_again(&mut self) -> Outcome {
        let Ok(seen) = self.look().await else {
            return Outcome::Failed;
        };
        match &mut self.office {
            Some(office) => {
                office.seen = seen;
                Outcome::Again
            }
            None => Outcome::Failed,
        }
    }

    async fn write(&mut self, allocations: Allocations) -> Outcome {
        let mut has_failed = false;
        for (name, plan) in &allocations.pools {
            if !self.leads() || self.office.is_none() {
                return Outcome::Failed;
            }
            let written = self.write_eip(name, plan).await;
            self.counts.eips.count(&written);
            self.beat();
            has_failed |= matches!(written, Written::Failed);
        }
        if self.office.is_none() {
            return Outcome::Failed;
        }
        let (client, term) = (&self.client, self.term.clone());
        let writes = allocations.services.iter().filter_map(|(name, plan)| {
            ServiceWrite::new(
                client.clone(),
                term.clone(),
                self.view.services.get(name)?,
                plan,
            )
        });
        let writes: Vec<_> = writes.collect();
        let mut answers = futures_util::stream::iter(writes)
            .map(ServiceWrite::run)
            .buffer_unordered(WRITES_AT_ONCE);
        let mut learned = Vec::new();
        while let Some(answer) = answers.next().await {
            learned.push(answer);
            self.figures
                .send_modify(|figures| figures.beat = Some(std::time::Instant::now()));
        }
        drop(answers);
        for answer in learned {
            let written = self.learn_service(answer).await;
            self.counts.services.count(&written);
            has_failed |= matches!(written, Written::Failed);
        }
        if has_failed {
            Outcome::Failed
        } else {
            Outcome::Again
        }
    }

    pub(super) fn leads(&self) -> bool {
        self.term
            .borrow()
            .as_ref()
            .is_some_and(super::Term::is_valid)
    }
}

fn instant(time: UnixTime) -> Instant {
    // A second more: times in objects are whole seconds.
    let seconds = time.0.saturating_sub(time::now().0) + 1;
    Instant::now() + Duration::from_secs(seconds.min(3600))
}
