use super::*;

fn known(key: &str, version: u64) -> Known<u64> {
    Known {
        key: key.into(),
        uid: "1".into(),
        version,
        record: version,
    }
}

fn listed(version: u64, items: &[(&str, u64)]) -> Event<u64> {
    let items = items.iter().map(|(key, version)| known(key, *version));
    Event::Listed {
        version,
        items: items.collect(),
    }
}

fn versions(kind: &Kind<u64>) -> Vec<(&str, u64)> {
    kind.all()
        .map(|known| (&*known.key, known.version))
        .collect()
}

#[test]
fn what_a_write_was_answered_is_newer_than_a_late_list() {
    let mut kind = Kind::new("objects");
    kind.hear(listed(10, &[("a", 3), ("b", 4)]));
    kind.learn(known("a", 20));
    kind.learn(known("new", 21));
    let late = listed(15, &[("a", 3), ("b", 4)]);
    assert!(!kind.goes_back(&late));
    kind.hear(late);
    assert_eq!(versions(&kind), [("a", 20), ("b", 4), ("new", 21)]);
    kind.hear(listed(30, &[("a", 20)]));
    assert_eq!(versions(&kind), [("a", 20)]);
}

#[test]
fn an_api_server_that_went_back_is_believed_in_everything() {
    let mut kind = Kind::new("objects");
    kind.hear(listed(10, &[("a", 3), ("b", 4)]));
    kind.hear(Event::Applied(known("a", 40)));
    kind.hear(Event::Applied(known("new", 41)));
    let restored = listed(20, &[("a", 3), ("b", 4)]);
    assert!(kind.goes_back(&restored));
    kind.hear(restored);
    assert_eq!(versions(&kind), [("a", 3), ("b", 4)]);
    kind.hear(Event::Applied(known("a", 22)));
    assert_eq!(versions(&kind), [("a", 22), ("b", 4)]);
}

#[test]
fn a_restored_object_is_believed_though_its_version_is_lower() {
    let mut kind = Kind::new("objects");
    kind.hear(listed(10, &[("a", 9)]));
    // Restored with versions above all that were there, as etcd can.
    let restored = listed(1000, &[("a", 3)]);
    assert!(kind.goes_back(&restored));
    kind.hear(restored);
    assert_eq!(versions(&kind), [("a", 3)]);
}

#[test]
fn only_what_is_kept_of_an_object_counts_as_a_change() {
    let mut kind = Kind::new("objects");
    kind.hear(listed(10, &[("a", 9)]));
    let mut same = known("a", 11);
    same.record = 9;
    assert!(!kind.is_changed_by(&Event::Applied(same.clone())));
    same.uid = "2".into();
    assert!(kind.is_changed_by(&Event::Applied(same)));
    assert!(kind.is_changed_by(&Event::Deleted("a".into())));
    assert!(!kind.is_changed_by(&Event::Deleted("b".into())));
}
