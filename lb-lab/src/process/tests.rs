use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{env, fs, thread};

use super::*;

const LIMIT: Duration = Duration::from_secs(5);

/// A shell in a namespace of its own, and the folder of its log.
fn shell(script: &str) -> (Process, PathBuf) {
    static FOLDERS: AtomicUsize = AtomicUsize::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder = env::temp_dir().join(format!("lb-lab-process-{}-{number}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    let namespace = Namespace::new("shell").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    let started = Process::start(&namespace, "shell", command, &folder).unwrap();
    (started, folder)
}

#[test]
fn outlives_the_thread_that_started_it() {
    let (mut process, folder) = thread::spawn(|| shell("sleep 60")).join().unwrap();
    thread::sleep(Duration::from_millis(100));
    assert!(process.ended().unwrap().is_none());
    process.kill().unwrap();
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn ends_when_asked() {
    let (mut process, folder) =
        shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done");
    wait_until(LIMIT, "the shell is ready", || {
        Ok((process.log_tail(1) == "ready").then_some(()))
    })
    .unwrap();
    assert_eq!(process.terminate(LIMIT).unwrap().code(), Some(7));
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn is_killed_when_it_does_not_end() {
    let (mut process, folder) = shell("trap '' TERM; echo deaf; while :; do sleep 0.05; done");
    wait_until(LIMIT, "the shell is ready", || {
        Ok((process.log_tail(1) == "deaf").then_some(()))
    })
    .unwrap();
    let error = process
        .terminate(Duration::from_millis(200))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("killed instead") && error.ends_with("\ndeaf"),
        "{error}"
    );
    assert!(process.ended().unwrap().is_some());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn shows_the_last_lines_only() {
    let (mut process, folder) = shell("seq 1 100");
    wait_until(LIMIT, "the end of the shell", || process.ended()).unwrap();
    assert_eq!(process.log_tail(2), "99\n100");
    fs::remove_dir_all(folder).unwrap();
}
