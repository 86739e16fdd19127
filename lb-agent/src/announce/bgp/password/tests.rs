use std::{fs, path::PathBuf, sync::Arc};

use lb_core::model::{Authentication, Peer, Remote};
use tokio::time::Instant;

use super::{Password, Passwords, READ_INTERVAL, Signature};
use crate::announce::bgp::socket;

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

fn peer(path: &File) -> Arc<Peer> {
    let mut peer = Peer::new(Remote::Address([10, 0, 0, 1].into()), 65001);
    peer.transport.authentication = Some(Authentication::Md5(path.0.clone()));
    Arc::new(peer)
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
fn a_changed_password_is_found_and_a_lost_one_kept() {
    let file = File::new("again", "");
    let peer = peer(&file);
    let now = Instant::now();
    let mut passwords = Passwords::default();
    let follow = |passwords: &mut Passwords, at| passwords.follow(std::slice::from_ref(&peer), at);
    let bytes = |passwords: &Passwords| match passwords.of(&peer) {
        Ok(Some(Signature::Md5(password))) => password.bytes().to_vec(),
        other => panic!("{other:?}"),
    };

    follow(&mut passwords, now);
    assert!(passwords.of(&peer).is_err(), "never without a password");
    fs::write(&file.0, "secret").unwrap();
    follow(&mut passwords, now);
    assert!(passwords.of(&peer).is_err(), "not yet");
    assert_eq!(passwords.read_at(), Some(now + READ_INTERVAL));
    follow(&mut passwords, now + READ_INTERVAL);
    assert_eq!(bytes(&passwords), b"secret");

    fs::write(&file.0, "another").unwrap();
    follow(&mut passwords, now + 2 * READ_INTERVAL);
    assert_eq!(bytes(&passwords), b"another");

    fs::remove_file(&file.0).unwrap();
    follow(&mut passwords, now + 3 * READ_INTERVAL);
    assert_eq!(bytes(&passwords), b"another", "a session outlives the file");
    passwords.follow(&[], now + 3 * READ_INTERVAL);
    assert_eq!(passwords.read_at(), None);
    follow(&mut passwords, now + 4 * READ_INTERVAL);
    assert!(passwords.of(&peer).is_err(), "nobody had named it");
}

/// Where the kernel has none; a clear-text session would be worse than none.
#[test]
fn tcp_ao_is_refused_where_the_kernel_lacks_it() {
    let file = File::new("ao", "secret");
    let mut peer = (*peer(&file)).clone();
    peer.transport.authentication = Some(Authentication::Ao {
        key_file: file.0.clone(),
        send_id: 1,
        receive_id: 2,
        algorithm: "hmac(sha1)",
    });
    let peer = Arc::new(peer);
    let mut passwords = Passwords::default();
    passwords.follow(std::slice::from_ref(&peer), Instant::now());
    match passwords.of(&peer) {
        Ok(Some(Signature::Ao {
            send_id: 1,
            receive_id: 2,
            ..
        })) => {
            assert!(socket::knows_tcp_ao());
        }
        Err(problem) => assert!(problem.contains("CONFIG_TCP_AO") && !socket::knows_tcp_ao()),
        other => panic!("{other:?}"),
    }
}
