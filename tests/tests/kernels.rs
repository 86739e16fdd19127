//! The fixtures on other kernels than the host's: the very binary that runs here boots in a guest of QEMU. The oldest
//! kernel that is supported and the newest that Debian packages; those between in soak.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::binary::test_binary;
use lb_lab::guest::{Guest, Kernel};

/// Fewer have run if the guest's list of tests is not the host's.
const FIXTURES_MIN: usize = 20;
const LIMIT: Duration = Duration::from_secs(110);

#[test]
fn fixtures_pass_on_linux_5_10() -> Result<()> {
    fixtures_pass("5.10")
}

#[test]
fn fixtures_pass_on_linux_7_3() -> Result<()> {
    fixtures_pass("7.3")
}

#[test]
#[ignore = "soak: between the oldest and the newest"]
fn fixtures_pass_on_linux_6_1() -> Result<()> {
    fixtures_pass("6.1")
}

#[test]
#[ignore = "soak: between the oldest and the newest"]
fn fixtures_pass_on_linux_6_12() -> Result<()> {
    fixtures_pass("6.12")
}

fn fixtures_pass(kernel: &str) -> Result<()> {
    let guest = Guest {
        kernel: Kernel::named(kernel)?,
        programs: vec![(test_binary("fixtures")?, "/fixtures")],
        modules: vec![],
        script: "RUSTC_BOOTSTRAP=1 /fixtures --test-threads=1 -Z unstable-options --report-time"
            .to_owned(),
        memory_mib: 1024,
    };
    // The times are for whoever reads the console: what is slow there is slow to emulate.
    let ended = guest.run(LIMIT)?;
    ended.succeeded()?;
    let passed = passed(&ended.console).context("the guest printed no result")?;
    println!("{passed} fixtures passed on Linux {kernel}");
    ensure!(passed >= FIXTURES_MIN, "only {passed} fixtures ran");
    Ok(())
}

/// `test result: ok. 24 passed; ...`
fn passed(console: &str) -> Option<usize> {
    let result = console
        .lines()
        .find_map(|line| line.trim().strip_prefix("test result: ok. "))?;
    result.split_whitespace().next()?.parse().ok()
}
