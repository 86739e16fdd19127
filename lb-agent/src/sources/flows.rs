//! How many flows of this node's pods are alive, counted while somebody waits for their end: when the node is taken out
//! of service. At any other time nothing is counted.

use std::{sync::Arc, time::Duration};

use lb_core::DesiredState;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::spawn_blocking,
    time::timeout,
};

use super::{Change, ChangeSender};
use crate::apply::reading::Reading;

/// Time between two counts; a count reads the whole table of flows.
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts until the engine is gone.
pub async fn run(
    mut desired: watch::Receiver<Arc<DesiredState>>,
    counters: mpsc::Sender<oneshot::Sender<Reading>>,
    changes: ChangeSender,
) {
    loop {
        let drain = desired.borrow_and_update().drain;
        let is_waited_for = drain.is_some_and(|drain| drain.flows_until.is_some());
        if !is_waited_for {
            if desired.changed().await.is_err() {
                return;
            }
            continue;
        }
        if let Some(flows) = count(&counters).await
            && changes.send(Change::Flows(flows)).await.is_err()
        {
            return;
        }
        // Whether or not a plan comes sooner.
        if matches!(timeout(INTERVAL, desired.changed()).await, Ok(Err(_))) {
            return;
        }
    }
}

/// `None` while the data path is leaving.
async fn count(counters: &mpsc::Sender<oneshot::Sender<Reading>>) -> Option<u64> {
    let (sender, counted) = oneshot::channel();
    counters.send(sender).await.ok()?;
    let reading = counted.await.ok()?;
    let counters = spawn_blocking(|| reading.take()).await.ok()?;
    let flows = counters.active_flows.values();
    Some(flows.map(|&flows| u64::from(flows)).sum())
}
