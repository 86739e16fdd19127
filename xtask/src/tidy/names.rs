//! Names of files: each says what a newcomer would look for, so names that could hold anything are refused.

use std::path::Path;

use crate::tidy::Finding;
use crate::tidy::source::Source;

const REFUSED: [&str; 9] = [
    "utils", "util", "helpers", "helper", "common", "misc", "stuff", "shared", "base",
];

/// Objects to a name without a meaning, and to a numbered second part.
pub(super) fn check(source: &Source) -> Option<Finding> {
    if !source.is_rust() {
        return None;
    }
    let path = Path::new(&source.path);
    let vague = path
        .with_extension("")
        .components()
        .filter_map(|part| part.as_os_str().to_str().map(str::to_owned))
        .find(|part| REFUSED.contains(&part.as_str()) || is_numbered(part))?;
    Some(Finding::new(
        &source.path,
        0,
        format!("`{vague}` could hold anything: name it for what it holds"),
    ))
}

/// `plan_2`, but not `ipv4` or `rfc_4271`.
fn is_numbered(name: &str) -> bool {
    name.rsplit_once('_')
        .is_some_and(|(_, number)| number.len() == 1 && number.parse::<u8>().is_ok())
}

#[cfg(test)]
mod tests;
