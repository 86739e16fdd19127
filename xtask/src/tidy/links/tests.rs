use super::check;
use crate::tidy::source::Source;

fn findings(path: &str, text: &str) -> usize {
    check(&Source::new(path, text.to_owned())).len()
}

#[test]
fn a_link_to_nowhere_is_found() {
    assert_eq!(
        findings(
            "README.md",
            "see [a](LICENSE-MIT), [b](nowhere.md#part) and [c](xtask/nowhere.rs)"
        ),
        2
    );
    assert_eq!(
        findings(
            "deploy/page.md",
            "see [a](../LICENSE-MIT), [b](https://example.org) and [c](#part)"
        ),
        0
    );
    assert_eq!(findings("a.rs", "[a](nowhere)"), 0);
}
