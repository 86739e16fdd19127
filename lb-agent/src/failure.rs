//! How a command ends badly: what is said once, on standard error, and which exit code says whether trying
//! again on this machine makes sense.

use std::{fmt, process::ExitCode};

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The thing failed: exit code 1.
    Failed(String),
    /// It cannot work on this machine or with these rights: exit code 2.
    CannotRunHere(String),
}

impl Failure {
    /// A failure told by an error and all its causes.
    pub fn from_error(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed(chain(error))
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::CannotRunHere(_) => ExitCode::from(2),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(sentence) => f.write_str(sentence),
            Self::CannotRunHere(sentence) => write!(f, "cannot run here: {sentence}"),
        }
    }
}

/// An error and its causes on one line; a cause that its error has quoted is not told twice.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
