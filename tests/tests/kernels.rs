//! The fixtures on other kernels than the host's: the very binary that runs here boots in a guest of QEMU. The oldest
//! kernel that is supported and the newest that Debian packages; those between in soak.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::binary::test_binary;
use lb_lab::{
    agent_binary,
    guest::{Guest, Kernel, find_program},
};

/// Fewer have run if the guest's list of tests is not the host's.
const FIXTURES_MIN: usize = 20;
const LIMIT: Duration = Duration::from_secs(110);

/// Tests in the lab that a guest runs.
const LABS_MIN: usize = 3;
const LAB_LIMIT: Duration = Duration::from_secs(15 * 60);
/// `sch_ingress` is clsact too. A node loads modules by itself when they are asked for, a guest has no modprobe.
const LAB_MODULES: [&str; 4] = ["veth", "bridge", "sch_ingress", "cls_bpf"];
/// Where everything takes ten times as long, deadlines are twenty times as far.
const LAB_SCRIPT: &str = "
export FAIRLEAD_AGENT=/lb-agent FAIRLEAD_ARTIFACTS=/tmp/artifacts FAIRLEAD_PATIENCE=20
mkdir -p $FAIRLEAD_ARTIFACTS
/steering --test-threads=1 || exit 1
/restart --test-threads=1
";

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

/// A whole lab: agents, steering and restarts, with clsact below 6.6.
#[test]
#[ignore = "soak: a lab takes minutes where it is emulated"]
fn a_whole_lab_passes_on_linux_5_10() -> Result<()> {
    lab_passes("5.10")
}

#[test]
#[ignore = "soak: a lab takes minutes where it is emulated"]
fn a_whole_lab_passes_on_linux_6_1() -> Result<()> {
    lab_passes("6.1")
}

#[test]
#[ignore = "soak: a lab takes minutes where it is emulated"]
fn a_whole_lab_passes_on_linux_6_12() -> Result<()> {
    lab_passes("6.12")
}

#[test]
#[ignore = "soak: a lab takes minutes where it is emulated"]
fn a_whole_lab_passes_on_linux_7_3() -> Result<()> {
    lab_passes("7.3")
}

/// A bond has a native mode from 5.15, where its members do.
#[test]
#[ignore = "soak: needs what the host's kernel lacks"]
fn a_bond_is_an_uplink() -> Result<()> {
    uplink_serves("7.3", "bond", "native")?;
    uplink_serves("5.10", "bond", "generic")
}

#[test]
#[ignore = "soak: needs what the host's kernel lacks"]
fn a_vlan_is_an_uplink() -> Result<()> {
    uplink_serves("7.3", "vlan", "generic")?;
    uplink_serves("5.10", "vlan", "generic")
}

fn uplink_serves(kernel: &str, kind: &str, mode: &str) -> Result<()> {
    let guest = Guest {
        kernel: Kernel::named(kernel)?,
        programs: vec![
            (agent_binary()?, "/lb-agent"),
            (find_program("ip")?, "/sbin/ip"),
        ],
        modules: vec!["veth", "bonding", "8021q", "sch_ingress", "cls_bpf"],
        script: format!(
            "KIND={kind} MODE={mode}\n{}",
            include_str!("kernels/uplink.sh")
        ),
        memory_mib: 1024,
    };
    guest.run(LIMIT)?.succeeded()
}

fn lab_passes(kernel: &str) -> Result<()> {
    let labs = ["steering", "restart"];
    let mut programs = vec![(agent_binary()?, "/lb-agent")];
    for (name, path) in labs.iter().zip(["/steering", "/restart"]) {
        programs.push((test_binary(name)?, path));
    }
    let guest = Guest {
        kernel: Kernel::named(kernel)?,
        programs,
        modules: LAB_MODULES.to_vec(),
        script: LAB_SCRIPT.to_owned(),
        memory_mib: 2048,
    };
    let ended = guest.run(LAB_LIMIT)?;
    ended.succeeded()?;
    let passed = passed(&ended.console).context("the guest printed no result")?;
    ensure!(passed >= LABS_MIN, "only {passed} labs ran");
    Ok(())
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
