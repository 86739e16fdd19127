//! Judging requests: which pods answered how many, whether each pod saw the client's own address and port, and what
//! failed. Pure: records in, a verdict and lines for people out.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use lb_lab::{DatagramCount, Record, TcpCounters, failures, per_pod};

/// How far from a fair share the requests of a pod may be.
const TOLERANCE_PERCENT: usize = 35;

/// Fails unless all requests were answered and each pod saw the client's own address and port.
pub(crate) fn all_answered(records: &[Record]) -> Result<()> {
    let failed = failures(records);
    let (count, total) = (failed.len(), records.len());
    let first = failed.first().map_or("", String::as_str);
    ensure!(
        failed.is_empty(),
        "{count} of {total} requests failed, the first {first}"
    );
    for record in records {
        let Ok(seen) = &record.result else { continue };
        let (pod, client, source) = (&seen.pod, seen.client, record.source);
        ensure!(
            client == source,
            "{pod} saw the client as {client}, but it was {source}"
        );
    }
    Ok(())
}

/// Fails unless so many pods answered, each within the tolerance of a fair share.
pub(crate) fn fairly_shared(records: &[Record], pods: usize) -> Result<()> {
    let counts = per_pod(records);
    let total = records.len();
    ensure!(
        counts.len() == pods,
        "{} pods answered, not {pods}: {}",
        counts.len(),
        in_words(&counts)
    );
    let fair = |count: &usize| (count * pods).abs_diff(total) * 100 <= total * TOLERANCE_PERCENT;
    ensure!(
        counts.values().all(fair),
        "not within {TOLERANCE_PERCENT}% of a fair share of {}: {}",
        total / pods,
        in_words(&counts)
    );
    Ok(())
}

/// Fails if a connection was reset, or a datagram lost or answered to another address.
pub(crate) fn nothing_lost(connections: TcpCounters, datagrams: DatagramCount) -> Result<()> {
    let resets = connections.resets;
    ensure!(resets == 0, "{resets} connections were reset");
    let (lost, sent) = (datagrams.unanswered, datagrams.sent);
    ensure!(lost == 0, "{lost} of {sent} datagrams were lost");
    let changed = datagrams.address_changed;
    ensure!(
        changed == 0,
        "{changed} of {sent} datagrams arrived with another client address or port"
    );
    Ok(())
}

/// `pod1-1 98, pod1-2 103`
pub(crate) fn in_words(counts: &BTreeMap<String, usize>) -> String {
    let words: Vec<String> = counts
        .iter()
        .map(|(pod, count)| format!("{pod} {count}"))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests;
