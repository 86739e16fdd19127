//! `cargo xtask test`: the checks of the source, then every test binary, one after the other, with the
//! time of each part. Binaries are built by cargo as the user and run from here, so that only those that
//! need root are raised. Ends with the line `N passed, N failed, N skipped`.

mod binary;
mod libtest;
mod selection;
mod summary;

use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;

use crate::preflight::{self, Install, Purpose};
use crate::test::binary::{TestBinary, Tier};
use crate::test::selection::Selection;
use crate::test::summary::Summary;
use crate::{process, tidy, workspace};

/// Runs everything, one tier, one binary, or the tests whose name contains the selection.
pub(crate) fn run(selection: Option<&str>) -> anyhow::Result<ExitCode> {
    let selection = Selection::parse(selection);
    preflight::prepare(Purpose::Run, Install::Yes)?;
    fs::create_dir_all(workspace::artifacts_dir())?;

    let mut summary = Summary::default();
    if selection == Selection::All {
        check_source(&mut summary);
    }
    match timed(&mut summary, "build", build) {
        Some(binaries) => run_binaries(&binaries, &selection, &mut summary)?,
        None => return Ok(summary.close()),
    }
    if matches!(selection, Selection::All | Selection::Tier(Tier::Unit)) {
        run_doc_tests(&mut summary)?;
    }
    if selection != Selection::All && summary.ran_nothing() {
        summary.fail(format!("no test matches `{selection}`"));
    }
    Ok(summary.close())
}

fn check_source(summary: &mut Summary) {
    timed(summary, "tidy", tidy::run);
    timed(summary, "fmt", || {
        process::run(workspace::cargo().args(["fmt", "--all", "--check"]))
    });
    timed(summary, "clippy", || {
        let lint = [
            "clippy",
            "--keep-going",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ];
        process::run(workspace::cargo().args(lint))
    });
}

fn build() -> anyhow::Result<Vec<TestBinary>> {
    build_canary_agent()?;
    process::run(workspace::cargo().args(["build", "--workspace"]))?;
    binary::build_all()
}

/// The agent with the canaries of the labs, beside the shipped one, which the build that follows puts back in its place.
fn build_canary_agent() -> anyhow::Result<()> {
    process::run(workspace::cargo().args([
        "build",
        "--package",
        "lb-agent",
        "--features",
        "canaries",
    ]))?;
    let programs = workspace::target_dir().join("debug");
    fs::copy(programs.join("lb-agent"), programs.join("lb-agent-canary"))
        .context("keeping the agent with canaries")?;
    Ok(())
}

fn run_binaries(
    binaries: &[TestBinary],
    selection: &Selection,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    for (binary, filter) in selection.choose(binaries) {
        let begun = Instant::now();
        let report = libtest::run(&mut binary.command(filter), &binary.name)?;
        if filter.is_none() || !report.is_empty() {
            summary.add(&binary.name, begun.elapsed(), report);
        }
    }
    Ok(())
}

fn run_doc_tests(summary: &mut Summary) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut command = workspace::cargo();
    command.args(["test", "--doc", "--workspace", "--no-fail-fast"]);
    let report = libtest::run(&mut command, "doc")?;
    summary.add("doc", begun.elapsed(), report);
    Ok(())
}

/// Runs one part, records its time, and turns its error into a failure of the summary.
fn timed<T>(
    summary: &mut Summary,
    part: &str,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> Option<T> {
    println!("xtask: {part}");
    let begun = Instant::now();
    let result = work();
    summary.time(part, begun.elapsed());
    result
        .map_err(|error| summary.fail(format!("{part}: {error:#}")))
        .ok()
}
