use super::{NOTES, check};
use crate::tidy::source::Source;

fn findings(path: &str, text: &str) -> usize {
    check(&Source::new(path, text.to_owned())).len()
}

#[test]
fn a_module_without_a_header_is_found() {
    assert_eq!(findings("a/src/b.rs", "use std::fs;\n"), 1);
    assert_eq!(findings("a/src/b.rs", "//! What it is.\n"), 0);
    assert_eq!(findings("a/src/b/tests.rs", "use super::b;\n"), 0);
    assert_eq!(
        findings("tests/tests/router.rs", "use lb_lab::Lab;\n"),
        1,
        "an area of the labs says what it is"
    );
}

#[test]
fn unsafe_without_a_reason_is_found() {
    assert_eq!(findings("a.rs", "//! A.\nlet b = unsafe { c() };\n"), 1);
    assert_eq!(findings("a.rs", "//! A.\nunsafe impl Pod for B {}\n"), 1);
    assert_eq!(
        findings(
            "a.rs",
            "//! A.\n// SAFETY: c has no conditions.\nlet b = unsafe { c() };\n"
        ),
        0
    );
    assert_eq!(
        findings("a.rs", "//! A.\nlet b = \"unsafe { c() }\";\n"),
        0,
        "a string is no code"
    );
}

#[test]
fn a_note_needs_its_issue() {
    let note = NOTES[0];
    assert_eq!(findings("a.md", &format!("{note}: later\n")), 1);
    assert_eq!(findings("a.md", &format!("{note}(#12): later\n")), 0);
}
