//! Paths that exist on one developer's machine only: home folders, and the folder of this very clone.

use crate::tidy::Finding;
use crate::tidy::source::Source;
use crate::workspace;

/// In two halves, so that this file passes its own rule.
const HOMES: [&str; 2] = [concat!("/ho", "me/"), concat!("/Us", "ers/")];

/// Objects to lines that name such a path.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    check_against(source, &workspace::root().to_string_lossy())
}

fn check_against(source: &Source, clone: &str) -> Vec<Finding> {
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| {
            names_folder(line, clone) || HOMES.iter().any(|home| names_someone(line, home))
        })
        .map(|(index, _)| Finding::new(&source.path, index + 1, "names a path of one machine"))
        .collect()
}

/// A home folder of somebody, not the folder of all homes nor a variable in its place.
fn names_someone(line: &str, home: &str) -> bool {
    line.split(home)
        .skip(1)
        .any(|rest| rest.starts_with(|letter: char| letter.is_ascii_alphanumeric()))
}

/// The whole path, not the end of a longer one: a clone in `/src` must not find every `lb-core/src`.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder)
        .any(|(at, _)| !line[..at].ends_with(|before: char| !" \t\"'`(=:".contains(before)))
}

#[cfg(test)]
mod tests;
