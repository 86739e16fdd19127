use super::{Source, blank};

#[test]
fn comments_and_literals_are_blanked_and_lines_kept() {
    let text = "let a = \"{ \\\" }\"; // {\nlet b = '{'; /* { /* nested */\n} */ let c: &'a str = r#\"{\"#;";
    let code = blank(text);
    assert_eq!(code.lines().count(), text.lines().count());
    assert!(!code.contains('{') && !code.contains('}'), "{code}");
    assert!(code.contains("let c: &'a str ="), "{code}");
}

#[test]
fn escapes_and_lifetimes_are_told_apart() {
    assert_eq!(
        blank(r"f('\'', '\u{7b}', x::<'a>)").replace(' ', ""),
        "f(,,x::<'a>)"
    );
    assert_eq!(blank("for x in r { }"), "for x in r { }");
}

#[test]
fn tests_are_known_by_their_place() {
    let is_test = |path: &str| Source::new(path, String::new()).is_test();
    assert!(
        is_test("lb-core/src/plan/tests.rs")
            && is_test("tests/src/lib.rs")
            && is_test("lb-bgp/tests/pair.rs")
    );
    assert!(!is_test("lb-core/src/plan.rs") && !is_test("xtask/src/test.rs"));
}
