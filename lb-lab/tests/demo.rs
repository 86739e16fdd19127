//! The demo as a newcomer runs it: every step holds and every command that it prints works; and where a step does not
//! hold, what it says. Needs root, and the agent's binary beside the tests.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lb-lab-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn demo(arguments: &[&str], artifacts: &PathBuf) -> Command {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_lb-lab"));
    demo.arg("demo")
        .args(arguments)
        .env("FAIRLEAD_ARTIFACTS", artifacts)
        .stdout(Stdio::piped());
    demo
}

#[test]
fn every_step_holds_and_every_command_works() {
    let folder = folder("demo");
    let mut kept = demo(&["--keep"], &folder).spawn().unwrap();
    let said = read_until(&mut kept, "Ctrl-C takes it down.");
    let held = said.contains("All 8 steps held");
    let failures: Vec<_> = commands(&said).filter_map(failure).collect();
    let interrupted = Command::new("kill")
        .arg("-INT")
        .arg(kept.id().to_string())
        .status();
    assert!(interrupted.unwrap().success());
    assert!(kept.wait().unwrap().success() && held, "{said}");
    assert_eq!(commands(&said).count(), 12, "{said}");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_step_that_fails_is_told_with_log_and_folder() {
    let folder = folder("failing-demo");
    let agent = folder.join("stand-in");
    fs::write(&agent, "#!/bin/sh\necho no agent today\nexit 3\n").unwrap();
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).unwrap();
    let mut failing = demo(&[], &folder)
        .env("FAIRLEAD_AGENT", &agent)
        .envs([("SUDO_UID", "4242"), ("SUDO_GID", "4242")])
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut output = failing.stdout.take().unwrap();
    output.read_to_string(&mut said).unwrap();
    assert_eq!(failing.wait().unwrap().code(), Some(1), "{said}");
    for words in [
        "[3/8]",
        "FAILED",
        "no agent today",
        "Step 3 of 8 failed",
        folder.to_str().unwrap(),
    ] {
        assert!(said.contains(words), "does not say {words}: {said}");
    }
    let labs = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap());
    let lab = labs
        .map(|lab| lab.metadata().unwrap())
        .find(|lab| lab.is_dir());
    assert_eq!(lab.unwrap().uid(), 4242, "the log is whose sudo it was");
    fs::remove_dir_all(folder).unwrap();
}

/// What the process prints, up to a line.
fn read_until(process: &mut Child, last: &str) -> String {
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = String::new();
    for line in lines {
        let line = line.unwrap();
        said += &line;
        said.push('\n');
        if line == last {
            return said;
        }
    }
    panic!("ended before saying {last}: {said}");
}

/// The commands below the steps: two spaces ahead, and no comment.
fn commands(said: &str) -> impl Iterator<Item = &str> {
    let (_, listed) = said.split_once("The lab stays up.").unwrap_or_default();
    let lines = listed.lines().filter_map(|line| line.strip_prefix("  "));
    lines.filter(|line| !line.starts_with('#'))
}

/// What went wrong with a command; one that says nothing is as bad as one that fails.
fn failure(command: &str) -> Option<String> {
    let ended = Command::new("bash")
        .args(["-o", "errexit", "-c", command])
        .output()
        .unwrap();
    let works = ended.status.success() && !ended.stdout.is_empty();
    let error = String::from_utf8_lossy(&ended.stderr);
    (!works).then(|| format!("{command}: {}: {error}", ended.status))
}
