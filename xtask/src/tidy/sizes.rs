//! Lengths of functions and files. Tests are left out. An alarm, not a law: split where the field has a
//! name for the second thing, otherwise say why not in `tidy-allow.txt`.

use crate::tidy::Finding;
use crate::tidy::source::Source;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 500;

/// Something too long, under the name by which the allow-list knows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    /// `path` or `path::function`.
    pub(super) name: String,
    pub(super) finding: Finding,
}

/// Every function and file that is too long.
pub(super) fn check(source: &Source) -> Vec<TooLong> {
    if !source.is_rust() || source.is_test() {
        return Vec::new();
    }
    let path = &source.path;
    let code: Vec<&str> = code_without_tests(&source.code);
    let mut found: Vec<TooLong> = functions(&code)
        .into_iter()
        .filter(|function| function.lines > FUNCTION_LINES_MAX)
        .map(|function| TooLong {
            name: format!("{path}::{}", function.name),
            finding: Finding::new(
                path,
                function.first_line,
                format!(
                    "fn {} has {} lines, more than {FUNCTION_LINES_MAX}",
                    function.name, function.lines
                ),
            ),
        })
        .collect();
    if code.len() > FILE_LINES_MAX {
        let text = format!("{} lines, more than {FILE_LINES_MAX}", code.len());
        found.push(TooLong {
            name: path.clone(),
            finding: Finding::new(path, 0, text),
        });
    }
    found
}

/// The lines before a test module that stands in the file itself.
fn code_without_tests(code: &str) -> Vec<&str> {
    let lines: Vec<&str> = code.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    });
    lines[..tests.unwrap_or(lines.len())].to_vec()
}

struct Function {
    name: String,
    first_line: usize,
    lines: usize,
}

fn functions(code: &[&str]) -> Vec<Function> {
    let mut found = Vec::new();
    for (index, line) in code.iter().enumerate() {
        if let Some(name) = declared(line)
            && let Some(lines) = body_lines(&code[index..])
        {
            found.push(Function {
                name: name.to_owned(),
                first_line: index + 1,
                lines,
            });
        }
    }
    found
}

/// The name after the word `fn`, if the line declares a function.
fn declared(line: &str) -> Option<&str> {
    let rest = match line.trim_start().strip_prefix("fn ") {
        Some(rest) => rest,
        None => line.split_once(" fn ")?.1,
    };
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
    (end > 0).then(|| &rest[..end])
}

/// Lines from the first to the one that closes the body; none for a declaration without a body.
fn body_lines(code: &[&str]) -> Option<usize> {
    let (mut braces, mut brackets) = (0_i32, 0_i32);
    for (index, line) in code.iter().enumerate() {
        for letter in line.chars() {
            match letter {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                '{' => braces += 1,
                '}' => braces -= 1,
                ';' if braces == 0 && brackets == 0 => return None,
                _ => {}
            }
            if letter == '}' && braces == 0 {
                return Some(index + 1);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
