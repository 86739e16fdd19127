use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use lb_core::probes::Probe;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};

use super::{Change, run};

fn probe(address: SocketAddr) -> Probe {
    Probe {
        address,
        interval: Duration::from_millis(20),
        failures: 1,
    }
}

async fn next(changes: &mut mpsc::Receiver<Change>) -> (Probe, bool) {
    match timeout(Duration::from_secs(5), changes.recv()).await {
        Ok(Some(Change::Probed { probe, succeeded })) => (probe, succeeded),
        other => panic!("no result of a probe: {other:?}"),
    }
}

#[tokio::test]
async fn an_open_port_succeeds_and_fails_once_it_is_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let probe = probe(listener.local_addr().unwrap());
    let (_keep, wanted) = watch::channel(BTreeSet::from([probe]));
    let (sender, mut changes) = mpsc::channel(16);
    tokio::spawn(run(wanted, sender));
    assert_eq!(next(&mut changes).await, (probe, true));
    drop(listener);
    while next(&mut changes).await.1 {}
}

#[tokio::test]
async fn only_what_is_wanted_is_probed() {
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (first, second) = (
        probe(first.local_addr().unwrap()),
        probe(second.local_addr().unwrap()),
    );
    let (set, wanted) = watch::channel(BTreeSet::from([first]));
    // Small, so that no result of long ago waits here.
    let (sender, mut changes) = mpsc::channel(1);
    tokio::spawn(run(wanted, sender));
    assert_eq!(next(&mut changes).await.0, first);
    set.send_replace(BTreeSet::from([second]));
    while next(&mut changes).await.0 == first {}
    for _ in 0..5 {
        assert_eq!(next(&mut changes).await.0, second);
    }
    drop(set);
    // With nobody left to want anything, the source ends.
    while timeout(Duration::from_secs(5), changes.recv())
        .await
        .expect("the source goes on")
        .is_some()
    {}
}
