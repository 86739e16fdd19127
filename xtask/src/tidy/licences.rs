//! Licences and origins: every package in the graph may be shipped under licences that ask for no more
//! than a notice, and comes from crates.io or from this workspace.

use crate::tidy::Finding;
use crate::tidy::metadata::{Metadata, Package};

const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Objects to a package whose licence or origin is not allowed.
pub(super) fn check(metadata: &Metadata) -> Vec<Finding> {
    metadata.packages.iter().flat_map(check_package).collect()
}

fn check_package(package: &Package) -> Vec<Finding> {
    let mut findings = Vec::new();
    match package.license.as_deref() {
        None => findings.push(Finding::new(&package.name, 0, "names no licence")),
        Some(license) if !is_allowed(license) => {
            findings.push(Finding::new(
                &package.name,
                0,
                format!("licence `{license}` is not allowed"),
            ));
        }
        Some(_) => {}
    }
    match package.source.as_deref() {
        None if package.ours => {}
        Some(CRATES_IO) => {}
        other => {
            let origin = other.unwrap_or("a path outside the workspace");
            findings.push(Finding::new(
                &package.name,
                0,
                format!("comes from {origin}, not from crates.io"),
            ));
        }
    }
    findings
}

/// Evaluates an SPDX expression (SPDX 2.3 annex D; the old `A/B` means `A OR B`): AND binds closer than OR.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let allowed = any_of(&mut rest);
    allowed && rest.is_empty()
}

fn any_of(words: &mut &[&str]) -> bool {
    let mut allowed = all_of(words);
    while take(words, "OR") {
        allowed |= all_of(words);
    }
    allowed
}

fn all_of(words: &mut &[&str]) -> bool {
    let mut allowed = one(words);
    while take(words, "AND") {
        allowed &= one(words);
    }
    allowed
}

fn one(words: &mut &[&str]) -> bool {
    if take(words, "(") {
        return any_of(words) & take(words, ")");
    }
    let Some((name, rest)) = words.split_first() else {
        return false;
    };
    *words = rest;
    let mut name = (*name).to_owned();
    if let ["WITH", exception, rest @ ..] = *words {
        name = format!("{name} WITH {exception}");
        *words = rest;
    }
    ALLOWED.contains(&name.as_str())
}

fn take(words: &mut &[&str], expected: &str) -> bool {
    let taken = words.first() == Some(&expected);
    if taken {
        *words = &words[1..];
    }
    taken
}

#[cfg(test)]
mod tests;
