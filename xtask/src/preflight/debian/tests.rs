use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::{GUEST_PACKAGES, INSTALL_SCRIPT, PACKAGES, is_ubuntu};

#[test]
fn ubuntu_and_its_derivatives_are_told_from_debian() {
    let path = std::env::temp_dir().join(format!("os-release-{}", std::process::id()));
    for (text, expected) in [
        ("NAME=x\nID=ubuntu\n", true),
        ("ID=pop\nID_LIKE=\"ubuntu debian\"\n", true),
        ("ID=debian\nHOME_URL=https://ubuntu.example\n", false),
    ] {
        fs::write(&path, text).expect("temporary file");
        assert_eq!(is_ubuntu(&path), expected, "{text}");
    }
    fs::remove_file(&path).expect("temporary file");
}

#[test]
fn every_package_says_what_it_is_for() {
    for package in PACKAGES.into_iter().chain(GUEST_PACKAGES) {
        assert!(
            !package.reason.is_empty() && !package.cost.is_empty() && !package.program.is_empty()
        );
    }
}

/// The script with a stand-in for apt-get ahead on the PATH and a policy-rc.d of the test's own; what apt-get was
/// asked, and whether the script succeeded.
fn run_script(name: &str, apt_get: &str, existing_policy: Option<&str>) -> (String, bool, bool) {
    let folder = std::env::temp_dir().join(format!("install-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("temporary folder");
    let (log, policy) = (folder.join("asked"), folder.join("policy-rc.d"));
    let write_program = |path: &std::path::Path, text: &str| {
        fs::write(path, text).expect("temporary file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("temporary file");
    };
    let head = format!(
        "#!/bin/sh\nlog={}\npolicy={}\n",
        log.display(),
        policy.display()
    );
    write_program(&folder.join("apt-get"), &(head + apt_get));
    if let Some(text) = existing_policy {
        write_program(&policy, text);
    }
    let script = INSTALL_SCRIPT.replace("/usr/sbin/policy-rc.d", policy.to_str().expect("UTF-8"));
    let status = Command::new("sh")
        .args(["-c", &script, "install.sh", "bird2"])
        .env("PATH", format!("{}:/usr/bin:/bin", folder.display()))
        .env("DAEMONS", "no-such-daemon")
        .stderr(Stdio::null())
        .status();
    let asked = fs::read_to_string(&log).unwrap_or_default();
    let policy_stays = policy.exists();
    fs::remove_dir_all(&folder).expect("temporary folder");
    (asked, status.expect("sh").success(), policy_stays)
}

#[test]
fn no_daemon_may_start_while_apt_waits_for_its_lock() {
    let apt_get =
        "answer=0\n$policy no-such-daemon start || answer=$?\necho \"policy $answer: $*\" >>$log\n";
    let (asked, succeeded, policy_stays) = run_script("denied", apt_get, None);
    assert!(succeeded && !policy_stays, "{asked}");
    assert_eq!(
        asked.lines().count(),
        1,
        "no lists are fetched without need: {asked}"
    );
    for words in ["policy 101: ", "DPkg::Lock::Timeout=300", "install bird2"] {
        assert!(asked.contains(words), "not {words}: {asked}");
    }
}

#[test]
fn lists_are_fetched_if_a_package_is_not_known() {
    let apt_get = "echo \"$*\" >>$log\ngrep -q update $log\n";
    let (asked, succeeded, _) = run_script("lists", apt_get, None);
    assert!(
        succeeded && asked.lines().count() == 3 && asked.contains("update"),
        "{asked}"
    );
}

#[test]
fn a_policy_of_the_host_that_lets_daemons_start_is_left_alone() {
    let (asked, succeeded, policy_stays) =
        run_script("allowed", "echo >>$log\n", Some("#!/bin/sh\n"));
    assert!(!succeeded && policy_stays && asked.is_empty(), "{asked}");
}
