//! How long this node's conntrack remembers a flow, which may change while the agent runs: flows of ours must not outlive
//! it, or a masquerade rule would rewrite their replies. Read anew now and then; says only what is news.

use std::time::Duration;

use lb_common::flow::STATES;
use lb_core::snapshot::DatapathFacts;
use tokio::time::sleep;

use super::{Change, ChangeSender};

/// Time between two looks at four small files. Who lowers a time-out waits for old entries anyway.
const INTERVAL: Duration = Duration::from_secs(30);

/// Watches until the engine is gone. `known` is what the engine began with.
pub async fn run(known: DatapathFacts, changes: ChangeSender) {
    let read = || lb_datapath::timeout_ticks(known.jiffies_per_second, known.tick_shift);
    follow(known.timeout_ticks, INTERVAL, read, changes).await;
}

async fn follow(
    mut known: [u16; STATES],
    interval: Duration,
    mut read: impl FnMut() -> [u16; STATES],
    changes: ChangeSender,
) {
    loop {
        sleep(interval).await;
        let now = read();
        if now == known {
            // Nobody else would tell that the engine is gone.
            if changes.is_closed() {
                return;
            }
            continue;
        }
        tracing::info!(
            "conntrack's time-outs have changed; flows are forgotten no later than there"
        );
        if changes.send(Change::Timeouts(now)).await.is_err() {
            return;
        }
        known = now;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn only_what_changes_is_told() {
        let mut looks = [7, 7, 9, 9, 9, 7].into_iter();
        let read = || [looks.next().unwrap_or(7); STATES];
        let (changes, mut told) = mpsc::channel(8);
        let watched = follow([7; STATES], Duration::from_millis(1), read, changes);
        let asks = async {
            for ticks in [9, 7] {
                let change = told.recv().await;
                assert!(matches!(change, Some(Change::Timeouts(now)) if now == [ticks; STATES]));
            }
            drop(told);
        };
        // It ends when nobody is left to tell.
        tokio::join!(watched, asks);
    }
}
