//! Dials every endpoint that has a health check, from every node, and tells each result as it is; damping is
//! `lb-core`'s. One task a probe: it connects, closes, and waits for its next turn. First turns come at once,
//! so that an endpoint that answers counts within a round trip.

use std::collections::{BTreeMap, BTreeSet};

use lb_core::probes::Probe;
use tokio::{
    net::TcpStream,
    sync::watch,
    task::AbortHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Change, ChangeSender};

/// Keeps one task running for each probe that is wanted, until the engine is gone.
pub async fn run(mut wanted: watch::Receiver<BTreeSet<Probe>>, changes: ChangeSender) {
    let mut running: BTreeMap<Probe, Task> = BTreeMap::new();
    loop {
        let now_wanted = wanted.borrow_and_update().clone();
        running.retain(|probe, _| now_wanted.contains(probe));
        for probe in now_wanted {
            running.entry(probe).or_insert_with(|| {
                Task(tokio::spawn(repeat(probe, changes.clone())).abort_handle())
            });
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Ends its task when dropped.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn repeat(probe: Probe, changes: ChangeSender) {
    let mut turns = interval(probe.interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let succeeded = opens(&probe).await;
        if changes
            .send(Change::Probed { probe, succeeded })
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Whether a connection opens within the interval.
async fn opens(probe: &Probe) -> bool {
    matches!(
        timeout(probe.interval, TcpStream::connect(probe.address)).await,
        Ok(Ok(_))
    )
}

#[cfg(test)]
mod tests;
