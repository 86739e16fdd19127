//! Dialling: how often, whether at all, and what a far end that hangs up means.

use super::*;
use crate::peer::timers::REFUSED_RETRY;

/// Time from one failed attempt to the next, `rounds` times.
fn waits(bench: &mut Bench, rounds: usize, mut fail: impl FnMut(&mut Bench)) -> Vec<Duration> {
    let mut waits = vec![];
    for _ in 0..rounds {
        let (begin, dialled) = (bench.now, bench.dialled.len());
        fail(bench);
        while bench.dialled.len() == dialled {
            let wake = bench.drain().expect("dials again");
            bench.now = wake;
            bench.drain();
        }
        waits.push(bench.now - begin);
    }
    waits
}

fn refuse(bench: &mut Bench) {
    let conn = *bench.dialled.last().unwrap();
    let error = "connection refused";
    bench.input(Input::ConnectFailed { conn, error });
}

#[test]
fn the_configured_time_bounds_the_back_off() {
    let mut bench = Bench::new(PeerConfig {
        connect_retry: Duration::from_secs(2),
        ..config()
    });
    let waits = waits(&mut bench, 6, refuse);
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(2)));

    let mut bench = Bench::new(config());
    let waits = self::waits(&mut bench, 8, refuse);
    assert!(waits[0] <= Duration::from_secs(5));
    assert!(waits[7] > Duration::from_secs(85), "{waits:?}");
    assert!(waits[7] <= Duration::from_secs(120), "{waits:?}");
}

#[test]
fn a_router_that_hangs_up_on_us_has_no_configuration_for_us() {
    let mut bench = Bench::new(PeerConfig {
        connect_retry: Duration::from_secs(5),
        ..config()
    });
    let mut hang_up = |bench: &mut Bench| {
        let conn = bench.connect();
        bench.input(Input::Closed { conn, error: None });
        let status = bench.peer.status();
        assert!(status.not_configured_there);
        assert_eq!(status.last_error, None, "not an error of ours");
    };
    let waits = waits(&mut bench, 8, &mut hang_up);
    assert!(waits[7] > Duration::from_secs(85) && waits[7] <= REFUSED_RETRY);

    bench.establish();
    assert!(!bench.peer.status().not_configured_there);
}

#[test]
fn a_rejected_connection_is_one_too_and_a_refused_open_is_not() {
    for (code, not_configured) in [
        (cease::CONNECTION_REJECTED, true),
        (cease::PEER_DECONFIGURED, true),
        (open_error::BAD_PEER_AS, false),
    ] {
        let mut bench = Bench::new(config());
        let conn = bench.connect();
        bench.receive(conn, &Notification::new(code, &[]).encode());
        let status = bench.peer.status();
        assert_eq!(status.not_configured_there, not_configured, "{code:?}");
        assert_eq!(status.last_error.is_none(), not_configured, "{code:?}");
    }
    // It has spoken with us.
    let mut bench = Bench::new(config());
    let conn = bench.connect();
    bench.receive(conn, &open(HIGHER).encode());
    bench.input(Input::Closed { conn, error: None });
    assert!(!bench.peer.status().not_configured_there);
}

#[test]
fn becoming_passive_ends_only_what_was_dialled() {
    let passive = PeerConfig {
        passive: true,
        ..config()
    };
    let mut bench = Bench::new(config());
    let dialled = bench.establish();
    bench.peer.reconfigure(bench.now, passive.clone()).unwrap();
    bench.drain();
    bench.assert_ended(dialled, cease::CONFIGURATION_CHANGE);
    assert_eq!(bench.state(), State::Active);
    let count = bench.dialled.len();
    bench.advance(Duration::from_secs(600));
    assert_eq!(bench.dialled.len(), count, "a passive peer never dials");

    let accepted = bench.accept(0);
    bench.receive(accepted, &open(HIGHER).encode());
    bench.receive(accepted, &wire::keepalive());
    bench.peer.reconfigure(bench.now, config()).unwrap();
    bench.peer.reconfigure(bench.now, passive).unwrap();
    bench.drain();
    assert_eq!(bench.state(), State::Established);
    assert!(!bench.closed.contains(&accepted));
}

#[test]
fn becoming_active_dials_at_once() {
    let mut bench = Bench::new(PeerConfig {
        passive: true,
        ..config()
    });
    assert!(bench.dialled.is_empty());
    bench.peer.reconfigure(bench.now, config()).unwrap();
    bench.drain();
    assert_eq!(bench.dialled.len(), 1);
}
