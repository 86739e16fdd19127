use super::apply;
use crate::tidy::Finding;
use crate::tidy::sizes::TooLong;

fn too_long(name: &str) -> Vec<TooLong> {
    vec![TooLong {
        name: name.to_owned(),
        finding: Finding::new(name, 0, "too long"),
    }]
}

#[test]
fn an_entry_with_a_reason_silences_its_finding_and_no_other() {
    let list = "# why\na.rs::long: one table of descriptors\n";
    assert!(apply(list, too_long("a.rs::long")).is_empty());
    let findings = apply(list, too_long("b.rs"));
    assert_eq!(
        findings.len(),
        2,
        "the stale entry and the finding: {findings:?}"
    );
}

#[test]
fn an_entry_without_a_reason_is_found() {
    assert_eq!(apply("a.rs:\n", too_long("a.rs")).len(), 1);
}

#[test]
fn the_list_stays_short() {
    let list: String = (0..11).map(|_| "a.rs: reason\n").collect();
    assert_eq!(apply(&list, too_long("a.rs")).len(), 1);
}
