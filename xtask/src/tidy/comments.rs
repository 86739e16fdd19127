//! What must be said, and what must not be left: a module opens with a `//!` paragraph, `unsafe` stands
//! beside its `SAFETY:`, and a note on work undone names its issue.

use crate::tidy::Finding;
use crate::tidy::source::Source;

/// How far above an `unsafe` block its reason may begin.
const SAFETY_LINES_ABOVE: usize = 8;
/// In two halves, so that this file passes its own rule.
const NOTES: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Objects to a missing header, an unexplained `unsafe`, and a note without an issue number.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if source.is_rust() {
        findings.extend(missing_header(source));
        findings.extend(unexplained_unsafe(source));
    }
    findings.extend(notes_without_issue(source));
    findings
}

fn missing_header(source: &Source) -> Option<Finding> {
    let exempt = source.is_test() && !source.path.starts_with("tests/");
    let missing = !exempt && !source.text.starts_with("//!");
    missing.then(|| Finding::new(&source.path, 1, "does not open with a `//!` paragraph"))
}

fn unexplained_unsafe(source: &Source) -> Vec<Finding> {
    let lines: Vec<&str> = source.text.lines().collect();
    let unexplained = source.code.lines().enumerate().filter(|(index, code)| {
        let above = &lines[index.saturating_sub(SAFETY_LINES_ABOVE)..=*index];
        needs_reason(code) && !above.iter().any(|line| line.contains("SAFETY:"))
    });
    unexplained
        .map(|(index, _)| {
            Finding::new(
                &source.path,
                index + 1,
                "`unsafe` without a `SAFETY:` comment",
            )
        })
        .collect()
}

/// Blocks and implementations; a declaration says its conditions in its documentation, which clippy asks for.
fn needs_reason(code: &str) -> bool {
    code.contains("unsafe {") || code.contains("unsafe impl")
}

fn notes_without_issue(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| NOTES.iter().any(|note| line.contains(note)) && !names_issue(line))
        .map(|(index, _)| {
            Finding::new(
                &source.path,
                index + 1,
                "a note on work undone without an issue number",
            )
        })
        .collect()
}

/// `#12` anywhere in the line.
fn names_issue(line: &str) -> bool {
    line.split('#')
        .skip(1)
        .any(|rest| rest.starts_with(|letter: char| letter.is_ascii_digit()))
}

#[cfg(test)]
mod tests;
