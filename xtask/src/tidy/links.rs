//! Links of the documents to files of this repository: each must lead somewhere.

use std::path::Path;

use crate::tidy::Finding;
use crate::tidy::source::Source;
use crate::workspace;

/// Objects to a relative link whose file is not there.
pub(super) fn check(source: &Source) -> Vec<Finding> {
    check_below(source, workspace::root())
}

fn check_below(source: &Source, root: &Path) -> Vec<Finding> {
    if !source.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = root
        .join(&source.path)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let lines = source.text.lines().enumerate();
    lines
        .flat_map(|(index, line)| targets(line).map(move |target| (index + 1, target)))
        .filter(|(_, target)| !folder.join(target).exists())
        .map(|(line, target)| {
            Finding::new(
                &source.path,
                line,
                format!("links to {target}, which is not there"),
            )
        })
        .collect()
}

/// The files that the `[text](target)` of a line point to; other sites and headings of the page are left out.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#', ' ']).next())
        .filter(|target| !target.is_empty() && !target.contains(':'))
}

#[cfg(test)]
mod tests;
