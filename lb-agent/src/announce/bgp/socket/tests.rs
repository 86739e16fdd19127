use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::time::timeout;

use super::{dial, listen};
use crate::announce::bgp::password::Password;

/// A handshake on loopback takes no time; one whose SYN is dropped never ends.
const NEVER: Duration = Duration::from_millis(400);

fn password(text: &str) -> Password {
    let name = format!("lb-agent-sign-{text}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, text).unwrap();
    let password = Password::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    password
}

/// Whether a connection to a listener that wants `theirs` of this address comes about with `ours`.
async fn connects(address: IpAddr, theirs: Option<&str>, ours: Option<&str>) -> bool {
    let theirs = theirs.map(|text| (address, password(text)));
    let passwords: BTreeMap<_, _> = theirs.into_iter().collect();
    let listener = listen(SocketAddr::new(address, 0), &passwords).unwrap();
    let end = listener.local_addr().unwrap();
    let ours = ours.map(password);
    let dialled = timeout(NEVER, dial(end, ours.as_ref())).await;
    let accepted = timeout(NEVER, listener.accept()).await;
    let is_up = matches!(dialled, Ok(Ok(_)));
    assert_eq!(is_up, accepted.is_ok(), "both ends see the same");
    is_up
}

#[tokio::test]
async fn only_the_right_password_connects() {
    for address in [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::from(Ipv6Addr::LOCALHOST),
    ] {
        assert!(connects(address, None, None).await);
        assert!(connects(address, Some("right"), Some("right")).await);
        assert!(!connects(address, Some("right"), Some("wrong")).await);
        assert!(!connects(address, Some("right"), None).await);
        assert!(!connects(address, None, Some("right")).await);
    }
}
