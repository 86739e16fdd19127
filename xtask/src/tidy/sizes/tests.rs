use super::{FILE_LINES_MAX, FUNCTION_LINES_MAX, check};
use crate::tidy::source::Source;

fn names(path: &str, text: String) -> Vec<String> {
    check(&Source::new(path, text))
        .into_iter()
        .map(|found| found.name)
        .collect()
}

fn function(body_lines: usize) -> String {
    format!(
        "pub(crate) fn long(\n    a: [u8; 4],\n) {{\n{}}}\n",
        "    a();\n".repeat(body_lines)
    )
}

#[test]
fn a_long_function_is_found_and_one_at_the_limit_is_not() {
    assert_eq!(names("a.rs", function(FUNCTION_LINES_MAX)), ["a.rs::long"]);
    assert!(names("a.rs", function(FUNCTION_LINES_MAX - 4)).is_empty());
    assert!(
        names("a/tests.rs", function(FUNCTION_LINES_MAX)).is_empty(),
        "tests are left out"
    );
}

#[test]
fn a_declaration_does_not_borrow_the_next_body() {
    let text = format!(
        "trait T {{\n    fn declared(&self);\n{}}}\n",
        "    // x\n".repeat(FUNCTION_LINES_MAX)
    );
    assert!(names("a.rs", text).is_empty());
}

#[test]
fn a_long_file_is_found_without_its_tests() {
    let code = "const A: u8 = 0;\n".repeat(FILE_LINES_MAX);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "    a();\n".repeat(9));
    assert_eq!(names("a.rs", format!("{code}const B: u8 = 0;\n")), ["a.rs"]);
    assert!(names("a.rs", code + &tests).is_empty());
}
