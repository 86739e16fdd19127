//! The fixtures on other kernels than the host's: the very binary that runs here boots in a guest of QEMU. The list of
//! cases on the oldest kernel that is supported and the newest that Debian packages; all fixtures, the kernels between,
//! and whole labs in soak.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use fairlead_tests::binary::test_binary;
use lb_lab::{
    agent_binary,
    guest::{Guest, Kernel, find_program},
};

/// Fewer have run if the guest's list of tests is not the host's.
const FIXTURES_MIN: usize = 40;
/// A guest has hung then: it takes a minute, and several where the machine is busy with something else.
const LIMIT: Duration = Duration::from_secs(500);

/// Tests in the lab that a guest runs.
const LABS_MIN: usize = 3;
const SOAK_LIMIT: Duration = Duration::from_secs(15 * 60);
/// `sch_ingress` is clsact too. A node loads modules by itself when they are asked for, a guest has no modprobe.
const LAB_MODULES: [&str; 4] = ["veth", "bridge", "sch_ingress", "cls_bpf"];
/// Where everything takes ten times as long, deadlines are twenty times as far; what goes by real time all the same is left
/// out (a pod that is out after three seconds, loss under a rate), and maps that old kernels show otherwise.
const LAB_SCRIPT: &str = "
export FAIRLEAD_AGENT=/lb-agent FAIRLEAD_ARTIFACTS=/tmp/artifacts FAIRLEAD_PATIENCE=20
mkdir -p $FAIRLEAD_ARTIFACTS
passes() {
    \"$@\" && return
    tail -n 20 $FAIRLEAD_ARTIFACTS/*/*.log
    exit 1
}
passes /steering --test-threads=1 --skip changes_of_the_file --skip pinned_maps
passes /restart --test-threads=1 once_leaves cleanup_refuses
";

#[test]
fn listed_fixtures_pass_on_linux_5_10() -> Result<()> {
    fixtures_pass("5.10", "listed::", 3, LIMIT)
}

#[test]
fn listed_fixtures_pass_on_linux_7_3() -> Result<()> {
    fixtures_pass("7.3", "listed::", 3, LIMIT)
}

#[test]
#[ignore = "soak: minutes where it is emulated"]
fn all_fixtures_pass_on_every_linux() -> Result<()> {
    for kernel in Kernel::all()? {
        fixtures_pass(&kernel.name, "", FIXTURES_MIN, SOAK_LIMIT)?;
    }
    Ok(())
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
    uplink_serves("7.3", "bond", AUTO, "native")?;
    uplink_serves("5.10", "bond", AUTO, "generic")
}

#[test]
#[ignore = "soak: needs what the host's kernel lacks"]
fn a_vlan_is_an_uplink() -> Result<()> {
    uplink_serves("7.3", "vlan", AUTO, "generic")?;
    uplink_serves("5.10", "vlan", AUTO, "generic")
}

/// By tcx, and below 6.6 by a filter of the qdisc `clsact`.
#[test]
#[ignore = "soak: needs what the host's kernel lacks"]
fn tcs_ingress_is_a_way_in() -> Result<()> {
    for kernel in ["5.10", "6.1", "7.3"] {
        uplink_serves(kernel, "plain", "tc", "tc")?;
    }
    Ok(())
}

/// The agent chooses.
const AUTO: &str = "auto";

/// A node whose uplink is of this kind serves when it is told `mode`, and shows what it came to.
fn uplink_serves(kernel: &str, kind: &str, mode: &str, shown: &str) -> Result<()> {
    let guest = Guest {
        kernel: Kernel::named(kernel)?,
        programs: vec![
            (agent_binary()?, "/lb-agent"),
            (find_program("ip")?, "/sbin/ip"),
        ],
        modules: vec!["veth", "bonding", "8021q", "sch_ingress", "cls_bpf"],
        script: format!(
            "KIND={kind} MODE={mode} SHOWN={shown}\n{}",
            include_str!("kernels/uplink.sh")
        ),
        memory_mib: 1024,
    };
    guest.run(SOAK_LIMIT)?.succeeded()
}

fn lab_passes(kernel: &str) -> Result<()> {
    let labs = ["steering", "restart"];
    let mut programs = vec![
        (agent_binary()?, "/lb-agent"),
        (find_program("bpftool")?, "/usr/sbin/bpftool"),
    ];
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
    let ended = guest.run(SOAK_LIMIT)?;
    ended.succeeded()?;
    let passed = passed(&ended.console).context("the guest printed no result")?;
    ensure!(passed >= LABS_MIN, "only {passed} labs ran");
    Ok(())
}

/// Runs the fixtures whose name contains `filter`; `least` of them must be there.
fn fixtures_pass(kernel: &str, filter: &str, least: usize, limit: Duration) -> Result<()> {
    let guest = Guest {
        kernel: Kernel::named(kernel)?,
        programs: vec![(test_binary("fixtures")?, "/fixtures")],
        modules: vec![],
        script: format!(
            "RUSTC_BOOTSTRAP=1 /fixtures {filter} --test-threads=1 -Z unstable-options --report-time"
        ),
        memory_mib: 1024,
    };
    // The times are for whoever reads the console: what is slow there is slow to emulate.
    let ended = guest.run(limit)?;
    ended.succeeded()?;
    let passed = passed(&ended.console).context("the guest printed no result")?;
    println!("{passed} fixtures passed on Linux {kernel}");
    ensure!(passed >= least, "only {passed} fixtures ran");
    Ok(())
}

/// `test result: ok. 24 passed; ...`
fn passed(console: &str) -> Option<usize> {
    let result = console
        .lines()
        .find_map(|line| line.trim().strip_prefix("test result: ok. "))?;
    result.split_whitespace().next()?.parse().ok()
}
