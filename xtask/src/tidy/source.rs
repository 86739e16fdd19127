//! The text files that git tracks or would track, and for Rust the same text with comments and literals
//! blanked out, so that a rule that counts braces or looks for keywords sees code only.

use std::fs;
use std::process::Command;

use crate::{process, workspace};

/// Files of these endings are read.
const ENDINGS: [&str; 7] = [".rs", ".toml", ".md", ".sh", ".yaml", ".yml", ".service"];

/// One file.
#[derive(Debug)]
pub(super) struct Source {
    /// From the workspace's root.
    pub(super) path: String,
    pub(super) text: String,
    /// `text` with comments, strings and character literals blanked; line breaks stay.
    pub(super) code: String,
}

/// Every file of the tree.
pub(super) fn all() -> anyhow::Result<Vec<Source>> {
    let mut list = Command::new("git");
    list.current_dir(workspace::root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let mut sources = Vec::new();
    for path in process::output_of(&mut list)?.lines() {
        let file = workspace::root().join(path);
        if ENDINGS.iter().any(|ending| path.ends_with(ending)) && file.exists() {
            sources.push(Source::new(path, fs::read_to_string(file)?));
        }
    }
    Ok(sources)
}

impl Source {
    pub(super) fn new(path: &str, text: String) -> Self {
        let code = if path.ends_with(".rs") {
            blank(&text)
        } else {
            String::new()
        };
        Self {
            path: path.to_owned(),
            text,
            code,
        }
    }

    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// A module of unit tests, or anything of a folder of tests.
    pub(super) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }
}

/// Replaces all that is not code by spaces.
fn blank(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < letters.len() {
        let end = literal_end(&letters, at);
        if end == at {
            code.push(letters[at]);
            at += 1;
        } else {
            code.extend(
                letters[at..end]
                    .iter()
                    .map(|letter| if *letter == '\n' { '\n' } else { ' ' }),
            );
            at = end;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none does.
fn literal_end(letters: &[char], at: usize) -> usize {
    let next = letters.get(at + 1).copied();
    match letters[at] {
        '/' if next == Some('/') => find(letters, at, |rest| rest[0] == '\n'),
        '/' if next == Some('*') => block_comment_end(letters, at),
        '"' => string_end(letters, at + 1),
        'r' if !in_word(letters, at) => raw_string_end(letters, at).unwrap_or(at),
        '\'' => char_end(letters, at),
        _ => at,
    }
}

fn in_word(letters: &[char], at: usize) -> bool {
    // `br"` is a raw string of bytes, `for"` is no code that compiles.
    at > 0
        && letters[at - 1] != 'b'
        && (letters[at - 1].is_alphanumeric() || letters[at - 1] == '_')
}

fn block_comment_end(letters: &[char], at: usize) -> usize {
    let mut depth = 0;
    let mut here = at;
    while here < letters.len() {
        match (letters[here], letters.get(here + 1)) {
            ('/', Some('*')) => (depth, here) = (depth + 1, here + 2),
            ('*', Some('/')) => (depth, here) = (depth - 1, here + 2),
            _ => here += 1,
        }
        if depth == 0 {
            break;
        }
    }
    here.min(letters.len())
}

fn string_end(letters: &[char], inside: usize) -> usize {
    let mut here = inside;
    while here < letters.len() {
        match letters[here] {
            '\\' => here += 2,
            '"' => return here + 1,
            _ => here += 1,
        }
    }
    letters.len()
}

/// `r"…"`, `r#"…"#` and so on.
fn raw_string_end(letters: &[char], at: usize) -> Option<usize> {
    let hashes = letters[at + 1..]
        .iter()
        .take_while(|letter| **letter == '#')
        .count();
    let inside = at + 1 + hashes;
    if letters.get(inside) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let end = find(letters, inside + 1, |rest| rest.starts_with(&close));
    Some((end + close.len()).min(letters.len()))
}

/// A character, not a lifetime: closed after one letter or one escape.
fn char_end(letters: &[char], at: usize) -> usize {
    match letters.get(at + 1..) {
        Some(['\\', _, rest @ ..]) => rest
            .iter()
            .position(|letter| *letter == '\'')
            .map_or(at, |offset| at + 4 + offset),
        Some([_, '\'', ..]) => at + 3,
        _ => at,
    }
}

fn find(letters: &[char], from: usize, found: impl Fn(&[char]) -> bool) -> usize {
    (from..letters.len())
        .find(|here| found(&letters[*here..]))
        .unwrap_or(letters.len())
}

#[cfg(test)]
mod tests;
