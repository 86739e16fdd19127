use std::time::Duration;

use lb_lab::Seen;

use super::*;

/// A request that this pod answered; `kept` if it saw the client's own port.
fn answered(pod: &str, kept: bool) -> Record {
    let source = ([198, 51, 100, 2], 20_000).into();
    let client = ([198, 51, 100, 2], if kept { 20_000 } else { 61_000 }).into();
    Record {
        source,
        result: Ok(Seen {
            pod: pod.to_owned(),
            client,
            local: ([10, 1, 1, 2], 8080).into(),
            received: 0,
            padding: String::new(),
        }),
        took: Duration::ZERO,
    }
}

fn shares(counts: &[(&str, usize)]) -> Vec<Record> {
    let records = counts
        .iter()
        .flat_map(|&(pod, count)| (0..count).map(move |_| answered(pod, true)));
    records.collect()
}

#[test]
fn shares_up_to_the_tolerance_are_fair() {
    fairly_shared(&shares(&[("a", 65), ("b", 100), ("c", 135)]), 3).unwrap();
    assert!(fairly_shared(&shares(&[("a", 64), ("b", 100), ("c", 136)]), 3).is_err());
}

#[test]
fn a_pod_without_requests_is_unfair() {
    assert!(fairly_shared(&shares(&[("a", 100), ("b", 100)]), 3).is_err());
}

#[test]
fn one_changed_port_fails() {
    let mut records = shares(&[("a", 9)]);
    all_answered(&records).unwrap();
    records.push(answered("a", false));
    let error = all_answered(&records).unwrap_err().to_string();
    assert_eq!(
        error,
        "a saw the client as 198.51.100.2:61000, but it was 198.51.100.2:20000"
    );
}

#[test]
fn one_unanswered_request_fails() {
    let mut records = shares(&[("a", 9)]);
    records[3].result = Err(anyhow::anyhow!("timed out"));
    let error = all_answered(&records).unwrap_err().to_string();
    assert_eq!(
        error,
        "1 of 9 requests failed, the first from 198.51.100.2:20000: timed out"
    );
}

#[test]
fn one_lost_datagram_or_reset_fails() {
    let (connections, datagrams) = (TcpCounters::default(), DatagramCount::default());
    nothing_lost(connections, datagrams).unwrap();
    let reset = TcpCounters {
        resets: 1,
        ..connections
    };
    assert!(nothing_lost(reset, datagrams).is_err());
    let lost = DatagramCount {
        unanswered: 1,
        ..datagrams
    };
    assert!(nothing_lost(connections, lost).is_err());
    let changed = DatagramCount {
        address_changed: 1,
        ..datagrams
    };
    assert!(nothing_lost(connections, changed).is_err());
}
