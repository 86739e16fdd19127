use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use lb_core::model::Prefix;
use socket2::SockRef;
use tokio::{io::AsyncReadExt, time::timeout};

use super::{Callers, Distance, Transport, dial, listen, prepare};
use crate::announce::bgp::password::{Password, Signature};

/// A handshake on loopback takes no time; one whose SYN is dropped never ends.
const NEVER: Duration = Duration::from_millis(400);
const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

fn signature(text: &str) -> Signature {
    let name = format!("lb-agent-sign-{text}-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::write(&path, text).unwrap();
    let password = Password::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    Signature::Md5(password)
}

fn plain(peer: SocketAddr) -> Transport {
    Transport {
        peer,
        source: None,
        interface: None,
        distance: Distance::default(),
        signature: None,
    }
}

/// Whether a connection to a listener that wants `theirs` of this network comes about with `ours`.
async fn connects(network: Prefix, theirs: Option<&str>, ours: Option<&str>) -> bool {
    let callers = Callers {
        signatures: theirs
            .map(|text| (network, signature(text)))
            .into_iter()
            .collect(),
        gtsm: false,
    };
    let address = if network.address().is_ipv4() {
        LOOPBACK[0]
    } else {
        LOOPBACK[1]
    };
    let listener = listen(SocketAddr::new(address, 0), &callers).unwrap();
    let transport = Transport {
        signature: ours.map(signature),
        ..plain(listener.local_addr().unwrap())
    };
    let dialled = timeout(NEVER, dial(&transport)).await;
    let accepted = timeout(NEVER, listener.accept()).await;
    let is_up = matches!(dialled, Ok(Ok(_)));
    assert_eq!(is_up, accepted.is_ok(), "both ends see the same");
    is_up
}

#[tokio::test]
async fn only_the_right_password_connects() {
    for network in LOOPBACK.map(Prefix::host) {
        assert!(connects(network, None, None).await);
        assert!(connects(network, Some("right"), Some("right")).await);
        assert!(!connects(network, Some("right"), Some("wrong")).await);
        assert!(!connects(network, Some("right"), None).await);
        assert!(!connects(network, None, Some("right")).await);
    }
}

#[tokio::test]
async fn a_password_may_be_that_of_a_network() {
    let network = Prefix::containing(LOOPBACK[0], 8);
    assert!(connects(network, Some("right"), Some("right")).await);
    assert!(!connects(network, Some("right"), Some("wrong")).await);
    let other = Prefix::containing([10, 0, 0, 0].into(), 8);
    assert!(connects(other, Some("right"), None).await);
}

#[tokio::test]
async fn a_source_address_is_what_the_peer_sees() {
    let listener = listen(SocketAddr::new(LOOPBACK[0], 0), &Callers::default()).unwrap();
    let transport = Transport {
        source: Some([127, 0, 0, 9].into()),
        interface: Some("lo".into()),
        ..plain(listener.local_addr().unwrap())
    };
    let dialled = dial(&transport).await.unwrap();
    let (_, remote) = listener.accept().await.unwrap();
    assert_eq!(remote, dialled.local_addr().unwrap());
    assert_eq!(remote.ip().to_string(), "127.0.0.9");
}

/// RFC 5082 section 3: 255 is what nobody farther away can send.
#[tokio::test]
async fn gtsm_drops_what_was_not_sent_by_a_neighbour() {
    let near = Distance {
        hops: None,
        gtsm: true,
    };
    for address in LOOPBACK {
        for (ours, is_heard) in [(near, true), (Distance::default(), false)] {
            let callers = Callers {
                gtsm: true,
                ..Callers::default()
            };
            let listener = listen(SocketAddr::new(address, 0), &callers).unwrap();
            let transport = Transport {
                distance: ours,
                ..plain(listener.local_addr().unwrap())
            };
            let dialled = dial(&transport).await.unwrap();
            let (mut accepted, _) = listener.accept().await.unwrap();
            prepare(&accepted, address, Duration::ZERO, near).unwrap();
            dialled.writable().await.unwrap();
            dialled.try_write(b"open").unwrap();
            let read = timeout(NEVER, accepted.read_u8()).await;
            assert_eq!(read.is_ok(), is_heard, "{address} {ours:?}");
        }
    }
}

#[tokio::test]
async fn multihop_is_how_far_packets_go() {
    let far = Distance {
        hops: Some(3),
        gtsm: false,
    };
    let listener = listen(SocketAddr::new(LOOPBACK[0], 0), &Callers::default()).unwrap();
    let transport = Transport {
        distance: far,
        ..plain(listener.local_addr().unwrap())
    };
    let dialled = dial(&transport).await.unwrap();
    assert_eq!(SockRef::from(&dialled).ttl_v4().unwrap(), 3);
}
