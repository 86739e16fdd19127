//! The fixtures on other kernels than the host's: the very binary that runs here boots in a guest of QEMU. The oldest
//! kernel that is supported and the newest that Debian packages; those between in soak.

use std::{
    env, fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
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

/// The newest build of a test binary of this package; cargo puts all of them into the folder of this one.
fn test_binary(name: &str) -> Result<PathBuf> {
    let own = env::current_exe()?;
    let folder = own.parent().context("this binary lies in no folder")?;
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let stem = path.file_name().unwrap_or_default().to_string_lossy();
        let is_it = stem
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|hash| !hash.contains('.'));
        if is_it {
            newest = newest.max(Some((fs::metadata(&path)?.modified()?, path)));
        }
    }
    let (_, path) = newest.with_context(|| {
        format!("{name} is not built: `cargo test -p fairlead-tests --test {name} --no-run`")
    })?;
    Ok(path)
}
