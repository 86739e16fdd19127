use lb_bgp::{Family, HeldBack, PerFamily};

use super::{counters, routes};
use crate::{
    answers::tests::{running, session},
    engine::feedback::{Feedback, PeerSession, SessionState},
};

#[test]
fn each_peer_has_its_routes_and_the_reasons_against_them() {
    let mut state = running();
    let rows = routes(&state.view()).rows;
    let of = |peer: &str| {
        let rows = rows.iter().filter(|row| row.peer == peer);
        rows.map(|row| (row.prefix.clone(), row.told, row.reason.clone()))
            .collect::<Vec<_>>()
    };
    let known = of("10.0.0.1");
    assert!(
        known
            .iter()
            .any(|(_, told, reason)| *told && reason.is_none()),
        "{known:?}"
    );
    let silent = of("10.0.0.2");
    let no_session = Some("there is no session".to_owned());
    assert!(
        silent
            .iter()
            .any(|(_, told, reason)| !told && *reason == no_session),
        "{silent:?}"
    );

    let not_ipv4 = |family| (family == Family::Ipv4Unicast).then_some(HeldBack::NotNegotiated);
    state.hear(Feedback::Session(Box::new(PeerSession {
        held_back: PerFamily::from_fn(not_ipv4),
        ..session()
    })));
    let rows = routes(&state.view()).rows;
    let v4 = rows
        .iter()
        .find(|row| row.peer == "10.0.0.1" && row.prefix.ends_with("/32"));
    let reason = v4.unwrap().reason.as_ref().unwrap();
    assert!(reason.contains("did not offer this family"), "{reason}");

    state.hear(Feedback::Session(Box::new(PeerSession {
        state: SessionState::Connect,
        ..session()
    })));
    let rows = routes(&state.view()).rows;
    let reason = rows[0].reason.as_ref().unwrap();
    assert_eq!(reason, "the session is not established (Connect)");
}

#[test]
fn the_kernels_counters_are_found_by_name() {
    let text = "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Failure TCPMinTTLDrop\n\
                TcpExt: 7 1 2 3\nIpExt: InNoRoutes\nIpExt: 0\n";
    let rows = counters(text);
    let counted: Vec<_> = rows
        .iter()
        .map(|row| (&row.counter[..], row.segments))
        .collect();
    assert_eq!(
        counted,
        [
            ("TCPMD5NotFound", 1),
            ("TCPMD5Failure", 2),
            ("TCPMinTTLDrop", 3)
        ]
    );
}
