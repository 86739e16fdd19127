//! What a soak run came to, as a page of `docs/measurements`: commit, date, command, every test with its time, and what
//! it printed, which are its figures. `xtask tidy` says when the code has changed since. The page is written whole, so that it never mixes two runs.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use anyhow::Context;

use crate::test::selection::Selection;
use crate::test::summary::Summary;
use crate::{process, workspace};

/// Writes `soak.md`, or `soak-FILTER.md` for a part.
pub(crate) fn write(selection: &Selection, summary: &Summary) -> anyhow::Result<()> {
    let commit = process::output_of(
        Command::new("git")
            .current_dir(workspace::root())
            .args(["rev-parse", "HEAD"]),
    )?;
    let date = process::output_of(Command::new("date").args(["-u", "+%F"]))?;
    let name = selection.to_string().replace([' ', ':'], "-");
    let path = workspace::root().join(format!("docs/measurements/{name}.md"));
    let page = page(selection, summary, commit.trim(), date.trim());
    fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))
}

fn page(selection: &Selection, summary: &Summary, commit: &str, date: &str) -> String {
    let mut page = format!(
        "# Soak\n\ncommit: {commit}\ndate: {date}\ncommand: `cargo xtask test {selection}`\n\n"
    );
    page.push_str("| test | time | result |\n|---|---|---|\n");
    for (test, time, passed) in summary.outcomes() {
        let result = if passed { "passed" } else { "failed" };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| {test} | {:.1} s | {result} |", time.as_secs_f64());
    }
    for (test, lines) in summary.said() {
        let said = lines.join("\n");
        let _ = write!(page, "\n## {test}\n\n```\n{}\n```\n", said.trim_end());
    }
    page
}
