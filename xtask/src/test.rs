//! `cargo xtask test`: the checks of the source, then every test binary, one after the other, with the
//! time of each part. Binaries are built by cargo as the user and run from here, so that only those that
//! need root are raised. Ends with the line `N passed, N failed, N skipped`.

mod binary;
mod libtest;
mod record;
mod selection;
mod summary;

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::preflight::{self, Install, Purpose};
use crate::test::binary::{Share, TestBinary, Tier};
use crate::test::selection::Selection;
use crate::test::summary::Summary;
use crate::{binaries, process, tidy, workspace};

/// Runs everything, one tier, one binary, or the tests whose name contains the selection.
pub(crate) fn run(selection: Option<&str>, filter: Option<&str>) -> anyhow::Result<ExitCode> {
    let selection = Selection::parse(selection, filter);
    ensure!(
        filter.is_none() || matches!(selection, Selection::Soak(_)),
        "only `soak` takes a second word"
    );
    preflight::prepare(Purpose::Test, Install::Yes)?;
    fs::create_dir_all(workspace::artifacts_dir())?;

    let mut summary = Summary::default();
    if selection == Selection::All {
        check_source(&mut summary);
    }
    let Some(built) = timed(&mut summary, "build", build) else {
        return Ok(summary.close());
    };
    if selection.needs_kernels() {
        timed(&mut summary, "kernels", fetch_kernels);
    }
    if selection.needs_kubernetes() {
        timed(&mut summary, "kubernetes", build_kubernetes);
    }
    if selection.needs_image() {
        timed(&mut summary, "image", binaries::image);
    }
    run_binaries(&built, &selection, &mut summary)?;
    if matches!(selection, Selection::All | Selection::Tier(Tier::Unit)) {
        run_doc_tests(&mut summary)?;
    }
    if selection != Selection::All && summary.ran_nothing() {
        summary.fail(format!("no test matches `{selection}`"));
    }
    if matches!(selection, Selection::Soak(_)) {
        record::write(&selection, &summary)?;
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

/// As the user, so that the cache stays the user's; the tests, as root, only read it.
fn fetch_kernels() -> anyhow::Result<()> {
    let program = workspace::target_dir().join("debug/lb-lab");
    process::run(Command::new(program).arg("fetch-kernels"))
}

/// As the user too; it says what it builds, and is done at once where that is in the cache.
fn build_kubernetes() -> anyhow::Result<()> {
    let program = workspace::target_dir().join("debug/lb-lab");
    process::run(Command::new(program).arg("build-kubernetes"))
}

fn run_binaries(
    binaries: &[TestBinary],
    selection: &Selection,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let (share, limit) = match selection.share() {
        Share::Usual => (Share::Usual, libtest::USUAL_LIMIT),
        Share::Soak => (Share::Soak, libtest::SOAK_LIMIT),
    };
    for (binary, filter) in selection.choose(binaries) {
        let begun = Instant::now();
        let mut command = binary.command(share, filter);
        let report = libtest::run(&mut command, &binary.name, limit)?;
        let is_part = filter.is_some() || share == Share::Soak;
        if !is_part || !report.is_empty() {
            summary.add(&binary.name, begun.elapsed(), report);
        }
    }
    Ok(())
}

fn run_doc_tests(summary: &mut Summary) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut command = workspace::cargo();
    command.args(["test", "--doc", "--workspace", "--no-fail-fast"]);
    let report = libtest::run(&mut command, "doc", libtest::USUAL_LIMIT)?;
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
