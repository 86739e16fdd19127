use super::*;

/// Addresses.
type Record = Vec<u8>;

impl Guarded for Record {
    fn weight(&self) -> usize {
        self.len()
    }

    fn lost_in(&self, newer: &Self) -> usize {
        self.iter().filter(|item| !newer.contains(item)).count()
    }
}

const START: Duration = Duration::ZERO;

fn known(key: &str, version: u64, record: &[u8]) -> Known<Record> {
    Known {
        key: key.into(),
        uid: "u".into(),
        version,
        record: record.to_vec(),
    }
}

fn listed(version: u64, items: &[Known<Record>]) -> Event<Record> {
    Event::Listed {
        version,
        items: items.to_vec(),
    }
}

fn store(version: u64, items: &[Known<Record>]) -> Store<Record> {
    let mut store = Store::default();
    store.take(listed(version, items), START);
    store
}

fn names(changed: &Changed) -> Vec<&str> {
    changed.iter().map(|key| &**key).collect()
}

fn four() -> [Known<Record>; 4] {
    [
        known("a", 5, &[1]),
        known("b", 6, &[2]),
        known("c", 7, &[3]),
        known("d", 8, &[4]),
    ]
}

#[test]
fn a_list_and_a_watch_say_what_changed() {
    let mut store = Store::default();
    assert!(!store.is_listed());
    let changed = store.take(listed(8, &four()), START);
    assert_eq!(names(&changed), ["a", "b", "c", "d"]);
    assert!(store.is_listed());
    assert!(
        store
            .take(Event::Applied(known("a", 9, &[1])), START)
            .is_empty()
    );
    let changed = store.take(Event::Applied(known("a", 10, &[9])), START);
    assert_eq!(names(&changed), ["a"]);
    assert_eq!(names(&store.take(Event::Deleted("b".into()), START)), ["b"]);
    assert!(store.take(Event::Deleted("b".into()), START).is_empty());
    let recreated = Known {
        uid: "v".into(),
        ..known("c", 11, &[3])
    };
    assert_eq!(names(&store.take(Event::Applied(recreated), START)), ["c"]);
}

#[test]
fn a_relist_that_misses_less_than_half_is_believed() {
    let mut store = store(8, &four());
    let changed = store.take(listed(9, &four()[..2]), START);
    assert_eq!(names(&changed), ["c", "d"]);
    assert_eq!(store.held(), None);
}

#[test]
fn a_relist_that_misses_more_than_half_adds_and_holds_for_five_minutes() {
    let mut store = store(8, &four());
    let few = [known("a", 5, &[1]), known("new", 20, &[7])];
    assert_eq!(names(&store.take(listed(20, &few), START)), ["new"]);
    assert_eq!(store.held(), Some((3, Doubt::HalfIsMissing, Some(HOLD))));
    assert!(store.get("d").is_some());
    let almost = HOLD - Duration::from_millis(1);
    assert!(store.release(almost, false).is_empty());
    // Another relist does not begin the time anew.
    store.take(listed(21, &few), almost);
    assert_eq!(names(&store.release(HOLD, false)), ["b", "c", "d"]);
    assert_eq!((store.held(), store.get("d")), (None, None));
}

#[test]
fn somebody_may_accept_what_is_held() {
    let mut store = store(8, &four());
    store.take(listed(9, &[]), START);
    assert_eq!(names(&store.release(START, true)), ["a", "b", "c", "d"]);
}

#[test]
fn endpoints_that_shrink_count_as_missing() {
    let mut store = store(8, &[known("a", 5, &[1, 2, 3]), known("b", 6, &[4])]);
    let shrunk = [known("a", 9, &[1, 8]), known("b", 6, &[4])];
    assert_eq!(
        names(&store.take(listed(9, &shrunk), START)),
        ["a"],
        "half is not more than half"
    );
    let many = ["a", "b", "c", "d"].map(|key| known(key, 5, &[1, 2, 3]));
    let mut held = self::store(8, &many);
    let less = ["a", "b", "c"].map(|key| known(key, 9, &[]));
    held.take(listed(9, &[&less[..], &many[3..]].concat()), START);
    assert_eq!(held.get("a"), Some(&vec![1, 2, 3]));
    assert_eq!(held.held(), Some((3, Doubt::HalfIsMissing, Some(HOLD))));
}

/// A Deployment is scaled down while the agent is replaced: the next one knows its endpoints from the file.
#[test]
fn one_object_that_says_less_after_a_restart_is_believed() {
    let known_before = vec![known("web", 5, &[1, 2, 3, 4, 5, 6]), known("dns", 6, &[7])];
    let mut store = Store::recovered(known_before);
    let now = [known("web", 9, &[2]), known("dns", 6, &[7])];
    assert_eq!(names(&store.take(listed(9, &now), START)), ["web"]);
    assert_eq!((store.held(), store.get("web")), (None, Some(&vec![2])));
}

#[test]
fn an_api_server_that_went_back_takes_nothing_away() {
    let mut store = store(100, &[known("a", 90, &[1, 2]), known("b", 95, &[3])]);
    // Restored from a backup in which `a` had no endpoint yet, and with an object that is new since.
    let restored = [known("a", 40, &[]), known("c", 60, &[5])];
    assert_eq!(names(&store.take(listed(61, &restored), START)), ["c"]);
    assert_eq!(store.held(), Some((2, Doubt::WentBack, Some(HOLD))));
    assert_eq!(store.get("a"), Some(&vec![1, 2]));
    // The watch goes on: what is still less stays held, what is whole again is no longer.
    assert!(
        store
            .take(Event::Applied(known("a", 62, &[1])), START)
            .is_empty()
    );
    assert!(
        store
            .take(Event::Applied(known("a", 63, &[1, 2])), START)
            .is_empty()
    );
    assert_eq!(store.held().map(|(count, ..)| count), Some(1));
    assert!(store.take(Event::Deleted("b".into()), START).is_empty());
    assert_eq!(names(&store.release(HOLD, false)), ["b"]);
}

#[test]
fn one_object_that_is_older_than_known_shows_a_restore_even_if_the_list_is_newer() {
    let mut store = store(100, &[known("a", 90, &[1]), known("b", 95, &[2])]);
    store.take(listed(200, &[known("a", 50, &[1])]), START);
    assert_eq!(
        store.held().map(|(_, doubt, _)| doubt),
        Some(Doubt::WentBack)
    );
    assert!(store.get("b").is_some());
}

#[test]
fn a_kind_that_is_not_served_is_empty_and_one_that_was_keeps_its_objects() {
    let mut never: Store<Record> = Store::default();
    never.take(Event::NotServed, START);
    assert!(never.is_listed() && never.held().is_none());
    let mut store = store(8, &four());
    assert!(store.take(Event::NotServed, START).is_empty());
    assert_eq!(store.held(), Some((4, Doubt::NoLongerServed, None)));
    assert!(store.release(HOLD * 100, false).is_empty());
    store.take(
        listed(30, &four().map(|item| known(&item.key, 29, &item.record))),
        START,
    );
    assert_eq!(
        store.held(),
        None,
        "it is served again, with the same objects"
    );
}

#[test]
fn what_an_earlier_agent_knew_is_what_the_first_list_is_compared_with() {
    let mut store = Store::recovered(four().to_vec());
    assert!(!store.is_listed());
    assert!(store.take(listed(3, &[]), START).is_empty());
    assert_eq!(store.held(), Some((4, Doubt::WentBack, Some(HOLD))));
}

#[test]
fn an_object_that_cannot_be_understood_stays_as_it_was() {
    let mut store = store(8, &four());
    assert!(
        store
            .take(Event::Refused("a".into(), "why".into()), START)
            .is_empty()
    );
    assert!(store.get("a").is_some() && store.refused().len() == 1);
    store.take(Event::Applied(known("a", 12, &[2])), START);
    assert!(store.refused().is_empty());
}
