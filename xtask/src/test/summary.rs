//! What a run came to: times of its parts, counts, failures, skips. Prints the closing lines and gives
//! the exit code.

use std::process::ExitCode;
use std::time::Duration;

use crate::test::libtest::Report;
use crate::workspace;

/// The budget of a run with a warm cache; beyond it the slowest tests are named.
const BUDGET: Duration = Duration::from_secs(15 * 60);
const SLOWEST_SHOWN: usize = 10;

/// The tally of one `cargo xtask test`.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    parts: Vec<(String, Duration)>,
    times: Vec<(String, Duration)>,
    said: Vec<(String, Vec<String>)>,
    passed: usize,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Summary {
    /// Records the time of a part that runs no tests.
    pub(crate) fn time(&mut self, part: &str, time: Duration) {
        self.parts.push((part.to_owned(), time));
    }

    /// Records a part that failed as a whole.
    pub(crate) fn fail(&mut self, what: String) {
        self.failed.push(what);
    }

    /// Records a test binary.
    pub(crate) fn add(&mut self, part: &str, time: Duration, report: Report) {
        self.time(part, time);
        self.passed += report.passed;
        let within = |test: String| format!("{part} {test}");
        self.failed.extend(report.failed.into_iter().map(within));
        self.skipped.extend(report.skipped.into_iter().map(within));
        let said = report.said.into_iter();
        self.said
            .extend(said.map(|(test, lines)| (within(test), lines)));
        self.times.extend(
            report
                .times
                .into_iter()
                .map(|(test, time)| (within(test), time)),
        );
    }

    /// True if no test was run or skipped, and none failed.
    pub(crate) fn ran_nothing(&self) -> bool {
        self.passed == 0 && self.failed.is_empty() && self.skipped.is_empty()
    }

    /// Each test that told its time: name, time, whether it passed.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&str, Duration, bool)> {
        self.times
            .iter()
            .map(|(test, time)| (test.as_str(), *time, !self.failed.contains(test)))
    }

    /// What tests said that were asked to.
    pub(crate) fn said(&self) -> &[(String, Vec<String>)] {
        &self.said
    }

    /// Prints everything that a person needs after the tests' own output; the counts come last.
    pub(crate) fn close(mut self) -> ExitCode {
        let code = self.exit_code(workspace::in_ci());
        println!();
        for (part, time) in &self.parts {
            println!("{:>8.1} s  {part}", time.as_secs_f64());
        }
        let total = self.parts.iter().map(|(_, time)| *time).sum::<Duration>();
        println!("{:>8.1} s  in all", total.as_secs_f64());
        if total > BUDGET {
            self.print_slowest();
        }
        self.skipped
            .iter()
            .for_each(|test| println!("skipped: {test}"));
        self.failed
            .iter()
            .for_each(|test| println!("failed: {test}"));
        println!(
            "{} passed, {} failed, {} skipped",
            self.passed,
            self.failed.len(),
            self.skipped.len()
        );
        code
    }

    fn exit_code(&self, in_ci: bool) -> ExitCode {
        let skip_counts = in_ci && !self.skipped.is_empty();
        if self.failed.is_empty() && !skip_counts {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn print_slowest(&mut self) {
        println!("over {} minutes; the slowest tests:", BUDGET.as_secs() / 60);
        self.times.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        for (test, time) in self.times.iter().take(SLOWEST_SHOWN) {
            println!("{:>8.1} s  {test}", time.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests;
