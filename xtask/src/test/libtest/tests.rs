use std::process::Command;
use std::time::Duration;

use super::Report;

const OUTPUT: &str = "
running 4 tests
test table::rows ... ok <1.250s>
test plan::tests::same - should panic ... ok
test router::learns ... FAILED <0.010s>
test router::big ... ignored, needs 100 GiB
test router::long ... ignored, soak: an hour

failures:
test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.26s
";

#[test]
fn every_outcome_is_counted_with_its_cause_and_time() {
    let mut report = Report::default();
    OUTPUT.lines().for_each(|line| report.read_line(line));
    assert_eq!(report.passed, 2);
    assert_eq!(report.failed, ["router::learns"]);
    assert_eq!(report.skipped, ["router::big: needs 100 GiB"]);
    assert_eq!(
        report.times[0],
        ("table::rows".to_owned(), Duration::from_millis(1250))
    );
    assert_eq!(report.results, 1);
}

#[test]
fn what_tests_said_is_kept_apart() {
    let output = "
test flood::long ... ok <1.250s>
test table::rows ... ok <0.250s>

successes:

---- flood::long stdout ----
1000 of 1000
test that is none ... ok

---- table::rows stdout ----
7 rows

successes:
    flood::long
    table::rows

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.26s
";
    let mut report = Report::default();
    output.lines().for_each(|line| report.read_line(line));
    assert_eq!((report.passed, report.results), (2, 1));
    let said = |test: &str, lines: &[&str]| {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        (test.to_owned(), lines)
    };
    let flood = ["1000 of 1000", "test that is none ... ok", ""];
    assert_eq!(
        report.said,
        [
            said("flood::long", &flood),
            said("table::rows", &["7 rows", ""])
        ]
    );
}

fn follow(script: &str) -> Report {
    let mut shell = Command::new("sh");
    super::follow(
        shell.args(["-c", script]),
        std::io::sink(),
        super::USUAL_LIMIT,
    )
    .expect("sh runs")
}

#[test]
fn a_binary_that_dies_is_a_failure() {
    let report = follow("echo 'test a ... ok'; kill -9 $$");
    assert_eq!(report.passed, 1);
    assert_eq!(report.failed.len(), 1, "{report:?}");
}

#[test]
fn a_binary_without_a_result_is_a_failure() {
    assert_eq!(follow("true").failed, ["(printed no result)"]);
}
