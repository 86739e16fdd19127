//! Runs a test binary and reads libtest's pretty format from its output while it streams through. A
//! binary that dies, hangs or prints no result line counts as one failure, so that nothing is lost.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::{process, workspace};

/// A binary that runs longer is ended: the whole of `cargo xtask test` has 15 minutes.
pub(crate) const USUAL_LIMIT: Duration = Duration::from_secs(10 * 60);
/// The same in soak, where one test may take an hour.
pub(crate) const SOAK_LIMIT: Duration = Duration::from_secs(3 * 60 * 60);

/// Tests ignored for this cause belong to soak: only `cargo xtask test soak` means to run them.
const SOAK: &str = "soak";

/// What the tests of one binary came to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Report {
    pub(crate) passed: usize,
    /// Names of the tests that failed.
    pub(crate) failed: Vec<String>,
    /// Names of the tests that did not run, with the cause if one was given.
    pub(crate) skipped: Vec<String>,
    /// Name and time of each test that ran, where the binary told.
    pub(crate) times: Vec<(String, Duration)>,
    /// `test result:` lines seen; none means that the binary did not finish.
    pub(crate) results: usize,
    /// What each test said, where the binary was asked to show it (`--show-output`).
    pub(crate) said: Vec<(String, Vec<String>)>,
    /// The last of `said` goes on.
    pub(crate) is_saying: bool,
}

/// Runs `command` and counts; its standard output streams through and is kept under the artefacts.
pub(crate) fn run(command: &mut Command, name: &str, limit: Duration) -> anyhow::Result<Report> {
    println!("xtask: {name}");
    let log_path = workspace::artifacts_dir().join(format!("{}.log", name.replace("::", "-")));
    let log =
        File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    follow(command, log, limit)
}

fn follow(command: &mut Command, mut log: impl Write, limit: Duration) -> anyhow::Result<Report> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", process::shown(command)))?;
    let output = child
        .stdout
        .take()
        .context("the child has no standard output")?;
    let watchdog = Watchdog::start(&child, limit);

    let mut report = Report::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        writeln!(log, "{line}")?;
        report.read_line(&line);
    }
    let status = child.wait()?;
    if watchdog.stop() {
        report
            .failed
            .push(format!("(still running after {} s)", limit.as_secs()));
    } else if !status.success() && report.failed.is_empty() {
        report.failed.push(format!("(ended with {status})"));
    } else if report.results == 0 {
        report.failed.push("(printed no result)".to_owned());
    }
    Ok(report)
}

impl Report {
    /// True if nothing ran, was skipped or went wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.passed == 0 && self.failed.is_empty() && self.skipped.is_empty()
    }

    /// Takes a line of what a test said.
    fn hear(&mut self, line: &str) -> bool {
        if let Some(test) = heading(line) {
            self.said.push((test.to_owned(), Vec::new()));
            self.is_saying = true;
            return true;
        }
        if matches!(line, "successes:" | "failures:") {
            self.is_saying = false;
        }
        let last = self.said.last_mut().filter(|_| self.is_saying);
        last.map(|(_, lines)| lines.push(line.to_owned())).is_some()
    }

    /// `test NAME ... ok <0.1s>`, `... FAILED`, `... ignored, CAUSE`, and `test result: ...`.
    fn read_line(&mut self, line: &str) {
        if line.starts_with("test result: ") {
            self.results += 1;
            self.is_saying = false;
            return;
        }
        if self.hear(line) {
            return;
        }
        let Some((name, outcome)) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let (outcome, time) = split_time(outcome);
        self.times.extend(time.map(|time| (name.to_owned(), time)));
        match outcome
            .split_once(", ")
            .unwrap_or((outcome, "no cause given"))
        {
            ("ok", _) => self.passed += 1,
            ("FAILED", _) => self.failed.push(name.to_owned()),
            ("ignored", cause) if cause.starts_with(SOAK) => {}
            ("ignored", cause) => self.skipped.push(format!("{name}: {cause}")),
            _ => {}
        }
    }
}

/// What libtest writes above what a test said: `---- NAME stdout ----`.
fn heading(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

/// `ok <1.250s>` is `ok` and 1.25 s.
fn split_time(outcome: &str) -> (&str, Option<Duration>) {
    let Some((word, time)) = outcome
        .strip_suffix("s>")
        .and_then(|rest| rest.rsplit_once(" <"))
    else {
        return (outcome, None);
    };
    (
        word,
        time.parse()
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    )
}

/// Ends a child that runs for too long.
struct Watchdog {
    finished: mpsc::Sender<()>,
    bit: Arc<AtomicBool>,
}

impl Watchdog {
    fn start(child: &Child, limit: Duration) -> Self {
        let (finished, wait) = mpsc::channel();
        let bit = Arc::new(AtomicBool::new(false));
        let (flag, pid) = (Arc::clone(&bit), child.id().cast_signed());
        thread::spawn(move || {
            if wait.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
                flag.store(true, Ordering::Relaxed);
                // SAFETY: kill reads no memory; the child is not yet waited for, so the pid is its own.
                unsafe { libc::kill(pid, libc::SIGTERM) };
            }
        });
        Self { finished, bit }
    }

    /// True if it had to end the child.
    fn stop(self) -> bool {
        drop(self.finished);
        self.bit.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
