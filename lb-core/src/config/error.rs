//! What is wrong with a file: every problem with its place, rendered as compilers do.

use std::fmt;

use serde_saphyr::{Location, Spanned};

/// A file that was refused; nothing of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    problems: Vec<(Problem, String)>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line, from 1; 0 if the problem is the file as a whole.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// A problem of the value at `field` (its path from the top of the file).
    pub(super) fn at<T>(place: &Spanned<T>, field: impl fmt::Display, message: &str) -> Self {
        Self::located(place.referenced, format!("{field}: {message}"))
    }

    fn located(location: Location, message: String) -> Self {
        Self {
            line: location.line() as usize,
            column: location.column() as usize,
            message,
        }
    }
}

impl ConfigError {
    pub(super) fn new(text: &str, file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        let line = |problem: &Problem| {
            let line = text.lines().nth(problem.line.wrapping_sub(1));
            let line = line.unwrap_or_default();
            line.replace(char::is_control, " ")
        };
        Self {
            file: file.to_owned(),
            problems: problems
                .into_iter()
                .map(|p| (p.clone(), line(&p)))
                .collect(),
        }
    }

    pub(super) fn syntax(text: &str, file: &str, error: &serde_saphyr::Error) -> Self {
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let message = error.without_snippet().to_string();
        // The library ends its message with the place, which the rendering has already said.
        let at = format!(" at line {}, column {}", location.line(), location.column());
        let message = match message.split(&at).next().unwrap_or_default() {
            "expected sequence start" => "a list is needed here",
            "expected mapping start" => "fields with values are needed here",
            "unexpected end of input" => "the file ends too early",
            "invalid u16" => "a whole number from 0 to 65535 is needed here",
            "invalid u32" => "a whole number from 0 to 4294967295 is needed here",
            "invalid boolean" => "true or false is needed here",
            other => other,
        };
        let problem = Problem::located(location, message.to_owned());
        Self::new(text, file, vec![problem])
    }

    /// What is wrong, in the order of the file.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().map(|(problem, _)| problem)
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (problem, text)) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", problem.message)?;
            if problem.line == 0 {
                write!(f, "\n --> {}", self.file)?;
                continue;
            }
            let number = problem.line.to_string();
            let margin = " ".repeat(number.len());
            let caret = " ".repeat(problem.column.saturating_sub(1));
            let place = format!("{}:{}:{}", self.file, problem.line, problem.column);
            let line = format!("{number} | {text}");
            let line = line.trim_end();
            write!(
                f,
                "\n{margin}--> {place}\n{margin} |\n{line}\n{margin} | {caret}^"
            )?;
        }
        Ok(())
    }
}
