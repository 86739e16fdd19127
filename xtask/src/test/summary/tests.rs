use std::process::ExitCode;
use std::time::Duration;

use super::Summary;
use crate::test::libtest::Report;

fn with(failed: &[&str], skipped: &[&str]) -> Summary {
    let mut summary = Summary::default();
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let report = Report {
        passed: 1,
        failed: names(failed),
        skipped: names(skipped),
        ..Report::default()
    };
    summary.add("part", Duration::ZERO, report);
    summary
}

/// `ExitCode` has no equality; its debug form has.
fn code(summary: &Summary, in_ci: bool) -> String {
    format!("{:?}", summary.exit_code(in_ci))
}

#[test]
fn a_skip_fails_in_ci_only() {
    let (success, failure) = (
        format!("{:?}", ExitCode::SUCCESS),
        format!("{:?}", ExitCode::FAILURE),
    );
    assert_eq!(code(&with(&[], &[]), true), success);
    assert_eq!(code(&with(&[], &["slow"]), false), success);
    assert_eq!(code(&with(&[], &["slow"]), true), failure);
    assert_eq!(code(&with(&["bad"], &[]), false), failure);
}

#[test]
fn a_part_that_fails_as_a_whole_is_counted() {
    let mut summary = Summary::default();
    assert!(summary.ran_nothing());
    summary.fail("build: no compiler".to_owned());
    assert!(!summary.ran_nothing());
    assert_eq!(code(&summary, false), format!("{:?}", ExitCode::FAILURE));
}
