use std::{fs, path::PathBuf};

use lb_core::model::Peer;
use tokio::time::Instant;

use super::{Password, Passwords, RETRY_INTERVAL};

/// A file of its own, which goes with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let name = format!("lb-agent-password-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn peer(path: &File) -> Peer {
    Peer {
        address: "10.0.0.1".parse().unwrap(),
        asn: 65001,
        port: 179,
        hold_time: std::time::Duration::from_secs(9),
        password_file: Some(path.0.clone()),
    }
}

#[test]
fn a_password_is_the_first_line_and_never_shown() {
    for text in ["secret", "secret\n", "secret\r\n", "secret\nmore"] {
        let file = File::new("line", text);
        let password = Password::read(&file.0).unwrap();
        assert_eq!(password.bytes(), b"secret");
        assert!(!format!("{password:?}").contains("secret"));
    }
}

#[test]
fn a_file_that_is_no_password_is_refused_by_its_path() {
    let refused = |text: &str| {
        let file = File::new("refused", text);
        let error = Password::read(&file.0).unwrap_err().to_string();
        assert!(error.contains(file.0.to_str().unwrap()), "{error}");
        error
    };
    assert!(refused("\n").ends_with("is empty"));
    assert!(refused(&"x".repeat(81)).contains("has 81 bytes; TCP MD5 takes at most 80"));
    let longest = File::new("longest", &"x".repeat(80));
    Password::read(&longest.0).unwrap();
    let error = Password::read("/nowhere/router1".as_ref()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("/nowhere/router1: No such file"), "{error}");
}

#[test]
fn a_file_is_read_once_and_a_bad_one_again() {
    let file = File::new("again", "");
    let peer = peer(&file);
    let now = Instant::now();
    let mut passwords = Passwords::default();
    let follow = |passwords: &mut Passwords, at| passwords.follow(std::slice::from_ref(&peer), at);

    follow(&mut passwords, now);
    assert!(passwords.of(&peer).is_err(), "never without a password");
    fs::write(&file.0, "secret").unwrap();
    follow(&mut passwords, now);
    assert!(passwords.of(&peer).is_err(), "not yet");
    assert_eq!(passwords.retry_at(), Some(now + RETRY_INTERVAL));
    follow(&mut passwords, now + RETRY_INTERVAL);
    assert_eq!(passwords.of(&peer).unwrap().unwrap().bytes(), b"secret");
    assert_eq!(passwords.retry_at(), None);

    fs::remove_file(&file.0).unwrap();
    follow(&mut passwords, now + 2 * RETRY_INTERVAL);
    assert!(passwords.of(&peer).is_ok(), "a session outlives the file");
    passwords.follow(&[], now + 2 * RETRY_INTERVAL);
    follow(&mut passwords, now + 3 * RETRY_INTERVAL);
    assert!(passwords.of(&peer).is_err(), "nobody had named it");
}
