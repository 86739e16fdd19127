use super::check;
use crate::tidy::source::Source;

fn refused(path: &str) -> bool {
    check(&Source::new(path, String::new())).is_some()
}

#[test]
fn names_without_a_meaning_are_refused() {
    for path in [
        "a/src/utils.rs",
        "a/src/helpers/tcp.rs",
        "a/src/common.rs",
        "a/src/plan_2.rs",
    ] {
        assert!(refused(path), "{path}");
    }
    for path in [
        "lb-common/src/lib.rs",
        "a/src/ipv4.rs",
        "a/src/rfc_4271.rs",
        "docs/common.md",
    ] {
        assert!(!refused(path), "{path}");
    }
}
