//! However a lab ends, its processes end with it: the real binary, a real BIRD, and a stand-in for the agent that does
//! nothing for a long time. Needs root.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use lb_lab::wait_until;

const LIMIT: Duration = Duration::from_secs(10);

/// A lab that is up as far as it gets without agents, and the folder in whose files all its processes have their names.
fn lab_up(name: &str) -> (Child, BufReader<ChildStdout>, PathBuf) {
    let folder = std::env::temp_dir().join(format!("lb-lab-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let agent = folder.join("stand-in");
    fs::write(&agent, "#!/bin/sh\nexec tail -f \"$3\"\n").unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lb-lab"))
        .arg("up")
        .env("FAIRLEAD_AGENT", &agent)
        .env("FAIRLEAD_ARTIFACTS", &folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(lab.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("[3/3]") {
        line.clear();
        assert!(
            output.read_line(&mut line).unwrap() > 0,
            "the lab ended before its third step"
        );
    }
    wait_until(LIMIT, "BIRD and three agents run", || {
        Ok((processes_with(&folder) == 4).then_some(()))
    })
    .unwrap();
    (lab, output, folder)
}

/// How many processes name a file in this folder on their command lines.
fn processes_with(folder: &Path) -> usize {
    let wanted = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap();
    let command_lines =
        entries.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    command_lines
        .filter(|line| String::from_utf8_lossy(line).contains(wanted))
        .count()
}

fn signal(lab: &Child, name: &str) {
    let status = Command::new("kill")
        .arg(name)
        .arg(lab.id().to_string())
        .status()
        .unwrap();
    assert!(status.success());
}

fn assert_nothing_is_left(folder: &Path) {
    wait_until(LIMIT, "all processes are gone", || {
        Ok((processes_with(folder) == 0).then_some(()))
    })
    .unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn interrupting_takes_all_down() {
    let (mut lab, _output, folder) = lab_up("interrupted");
    signal(&lab, "-INT");
    assert_eq!(lab.wait().unwrap().code(), Some(130));
    assert_nothing_is_left(&folder);
}

#[test]
fn killing_takes_all_down() {
    let (mut lab, _output, folder) = lab_up("killed");
    signal(&lab, "-KILL");
    assert_eq!(lab.wait().unwrap().signal(), Some(9));
    assert_nothing_is_left(&folder);
}
