use std::time::Duration;

use super::{Pace, WINDOW};

fn at(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn the_first_change_is_planned_at_once() {
    let mut pace = Pace::default();
    assert!(!pace.is_due(at(5), None), "nothing changed");
    pace.mark();
    assert!(pace.is_due(at(5), None));
}

#[test]
fn a_burst_is_one_plan_a_window() {
    let mut pace = Pace::default();
    let mut plans = Vec::new();
    for millisecond in 0..100 {
        pace.mark();
        if pace.is_due(at(millisecond), None) {
            pace.planned(at(millisecond));
            plans.push(millisecond);
        }
    }
    assert_eq!(plans, [0, 20, 40, 60, 80]);
}

#[test]
fn the_loop_wakes_for_the_plans_own_timer_and_for_a_waiting_change() {
    let mut pace = Pace::default();
    pace.planned(at(100));
    assert_eq!(pace.next(None), None);
    assert_eq!(pace.next(Some(at(5000))), Some(at(5000)));
    pace.mark();
    assert_eq!(pace.next(Some(at(5000))), Some(at(100) + WINDOW));
    assert_eq!(pace.next(Some(at(110))), Some(at(110)));
}
