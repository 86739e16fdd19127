use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Held;

const HOLD_TIME: Duration = Duration::from_secs(9);

fn vips(last_octets: &[u8]) -> Arc<BTreeSet<IpAddr>> {
    let vips: BTreeSet<_> = last_octets
        .iter()
        .map(|&last| IpAddr::from([10, 99, 0, last]))
        .collect();
    Arc::new(vips)
}

fn up_with(last_octets: &[u8]) -> Held {
    let mut held = Held::default();
    held.want(vips(last_octets));
    held.session_up();
    held
}

#[test]
fn nothing_is_held_without_a_session() {
    let mut held = Held::default();
    held.want(vips(&[1]));
    assert!(held.vips().is_empty());
    held.session_up();
    assert_eq!(
        *held.vips(),
        vips(&[1]),
        "before it is written: it may be at any moment"
    );
}

#[test]
fn a_withdrawn_vip_is_held_until_acknowledged() {
    let mut held = up_with(&[1, 2]);
    held.want(vips(&[2, 3]));
    assert_eq!(*held.vips(), vips(&[1, 2, 3]));
    held.acknowledged();
    assert_eq!(*held.vips(), vips(&[1, 2, 3]), "not written yet");
    held.written();
    assert!(held.awaits_acknowledgement());
    held.acknowledged();
    assert_eq!(*held.vips(), vips(&[2, 3]));
    assert!(!held.awaits_acknowledgement());
}

#[test]
fn an_acknowledgement_of_an_older_set_says_nothing() {
    let mut held = up_with(&[1, 2]);
    held.want(vips(&[2]));
    held.written();
    held.want(vips(&[]));
    held.acknowledged();
    assert_eq!(*held.vips(), vips(&[1, 2]));
}

#[test]
fn nobody_asks_the_kernel_for_announcements() {
    let mut held = up_with(&[1]);
    held.written();
    assert!(!held.awaits_acknowledgement());
}

#[test]
fn a_peer_that_ends_the_session_forgets_at_once() {
    let mut held = up_with(&[1]);
    held.session_ended_by_peer();
    assert!(held.vips().is_empty());
}

#[test]
fn a_peer_that_may_not_have_noticed_holds_for_the_hold_time() {
    let now = Instant::now();
    let mut held = up_with(&[1]);
    held.session_lost(now, HOLD_TIME);
    held.want(vips(&[]));
    held.expire(now + HOLD_TIME - Duration::from_millis(1));
    assert_eq!(*held.vips(), vips(&[1]));
    assert_eq!(held.lapses_at(), Some(now + HOLD_TIME));
    held.expire(now + HOLD_TIME);
    assert!(held.vips().is_empty());
}

#[test]
fn a_new_session_replaces_what_an_old_one_left() {
    let now = Instant::now();
    let mut held = up_with(&[1]);
    held.session_lost(now, HOLD_TIME);
    held.want(vips(&[2]));
    held.session_up();
    held.expire(now + HOLD_TIME);
    assert_eq!(*held.vips(), vips(&[2]));
}

#[test]
fn a_peer_that_keeps_routes_over_a_restart_holds_them_until_the_new_session_says_all() {
    let now = Instant::now();
    let mut held = up_with(&[1]);
    held.session_retained(now, HOLD_TIME);
    held.want(vips(&[2]));
    held.session_up();
    assert_eq!(*held.vips(), vips(&[1, 2]));
    held.written();
    held.acknowledged();
    assert_eq!(*held.vips(), vips(&[2]));

    held.session_retained(now, HOLD_TIME);
    held.expire(now + HOLD_TIME);
    assert!(held.vips().is_empty(), "the restart time is over");
}
