//! How the demo looks: a step's title, its notes as they come, and how it ended. On a terminal the last line counts the
//! seconds of the step under way; elsewhere each line is printed once. It knows nothing of what the steps do.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{fs, io};

use super::event::Step;

/// The screen, and which step is on it.
pub(crate) struct Console {
    terminal: bool,
    steps: usize,
    begun: usize,
    current: Option<(Step, Instant)>,
    failed: bool,
    started: Instant,
}

impl Console {
    /// A console for so many steps.
    pub(crate) fn new(steps: usize) -> Self {
        Self {
            terminal: io::stdout().is_terminal(),
            steps,
            begun: 0,
            current: None,
            failed: false,
            started: Instant::now(),
        }
    }

    /// Shows that a step has begun.
    pub(crate) fn begin(&mut self, step: Step) {
        self.begun += 1;
        println!("[{}/{}] {}", self.begun, self.steps, step.title);
        self.current = Some((step, Instant::now()));
        self.tick();
    }

    /// Counts on.
    pub(crate) fn tick(&self) {
        if !self.terminal {
            return;
        }
        if let Some((_, since)) = &self.current {
            print!(
                "{ERASE_LINE}      ... {:.1} s",
                since.elapsed().as_secs_f32()
            );
            flush();
        }
    }

    /// Adds a line to the step.
    pub(crate) fn note(&mut self, line: &str) {
        self.line(line);
        self.tick();
    }

    /// Shows that the step held.
    pub(crate) fn hold(&mut self) {
        self.end("ok");
    }

    /// Shows that the step failed, and why.
    pub(crate) fn fail(&mut self, failure: &str) {
        self.failed = true;
        self.end("FAILED");
        for line in failure.lines() {
            self.line(line);
        }
    }

    /// Whether the step has had all its time.
    pub(crate) fn overdue(&self) -> bool {
        let overdue = |(step, since): &(Step, Instant)| since.elapsed() > step.limit;
        self.current.as_ref().is_some_and(overdue)
    }

    /// Shows that the step took too long, with the end of the log that it named.
    pub(crate) fn fail_overdue(&mut self) {
        let Some((step, _)) = &self.current else {
            return;
        };
        let mut failure = format!("not done within {:?}", step.limit);
        if let Some(log) = &step.log {
            failure += &format!("\nlast lines of {}:\n{}", log.display(), tail(log));
            failure += &format!("\nthe rest is in {}", log.parent().unwrap_or(log).display());
        }
        self.fail(&failure);
    }

    /// Shows the summary and gives the exit code.
    pub(crate) fn finish(&self, folder: &Option<PathBuf>) -> ExitCode {
        let seconds = self.started.elapsed().as_secs_f32();
        println!();
        if self.failed {
            println!(
                "Step {} of {} failed after {seconds:.1} s.",
                self.begun, self.steps
            );
        } else {
            println!("All {} steps held, in {seconds:.1} s.", self.steps);
        }
        if let Some(folder) = folder {
            println!("Logs and configurations: {}", folder.display());
        }
        if self.failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    /// Shows the commands with which to look around.
    pub(crate) fn explain(&self, commands: &[(String, String)]) {
        println!("\nThe lab stays up. From another terminal, as root:");
        for (what, command) in commands {
            println!("\n  # {what}\n  {command}");
        }
        println!("\nCtrl-C takes it down.");
    }

    /// Says that all is gone.
    pub(crate) fn interrupted(&self) {
        println!("\nInterrupted; the lab is gone.");
    }

    fn end(&mut self, how: &str) {
        if let Some((_, since)) = self.current.take() {
            self.line(&format!("{how} ({:.1} s)", since.elapsed().as_secs_f32()));
        }
    }

    /// Prints a line of the step, over the one that counts.
    fn line(&self, line: &str) {
        let erase = if self.terminal { ERASE_LINE } else { "" };
        println!("{erase}      {line}");
    }
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn flush() {
    // A closed standard output is no reason to stop.
    let _ = io::stdout().flush();
}

const TAIL_LINES: usize = 10;
/// ECMA-48: back to the first column and erase to the end of the line.
const ERASE_LINE: &str = "\r\x1b[K";
