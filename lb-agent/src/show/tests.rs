use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lb_common::verdict::Verdict;

use super::{ago, bgp, endpoints, flows, nodes, services, uplinks, verdicts};
use crate::{
    api::rows::{
        Answer, BgpRow, EndpointRow, Health, Mode, NodeRow, RouteRow, ServiceRow, TcpRow,
        UplinkRow, VerdictRow,
    },
    engine::feedback::SessionState,
    flows::{FlowRow, FlowsAnswer},
};

fn answer<Row>(rows: Vec<Row>) -> Answer<Row> {
    Answer {
        node: "n1".to_owned(),
        generation: 1,
        warnings: vec![],
        rows,
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn services_say_what_serves_and_why_not() {
    let row = ServiceRow {
        service: "default/web".to_owned(),
        vip: "10.99.0.1".parse().unwrap(),
        protocol: "TCP".to_owned(),
        port: 80,
        endpoints_used: 5,
        endpoints_known: 6,
        applied: true,
        announced_to: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        packets: 1200,
        bytes: 90_000,
        forwarded: 800,
        dropped: 3,
        new_flows: 4,
        active_flows: 2,
        reply_packets: 1100,
        reply_bytes: 80_000,
        reasons: vec![],
    };
    let silent = ServiceRow {
        service: "default/dns".to_owned(),
        applied: false,
        announced_to: vec![],
        reasons: vec![
            "no endpoint is ready".to_owned(),
            "nobody announces it".to_owned(),
        ],
        ..row.clone()
    };
    let text = services(&answer(vec![row, silent]));
    let expected = "\
SERVICE      VIP        PORT    ENDPOINTS  APPLIED  ANNOUNCED TO      PACKETS  DROPPED  FLOWS  REASON
default/web  10.99.0.1  80/TCP  5/6        yes      10.0.0.1,fd00::1  1200     3        2      -
default/dns  10.99.0.1  80/TCP  5/6        no       -                 1200     3        2      no endpoint is ready; nobody announces it
";
    assert_eq!(text, expected);
}

#[test]
fn endpoints_say_since_when_they_are_down() {
    let row = EndpointRow {
        packets_sampled: 1280,
        service: "default/web".to_owned(),
        port: "http".to_owned(),
        address: "fd01::2".parse().unwrap(),
        target_port: Some(8080),
        node: "n2".to_owned(),
        ready: true,
        health: Health::Down,
        health_since: Some(1_000),
        used: false,
        reason: "not used: its health check fails".to_owned(),
    };
    let text = endpoints(&answer(vec![row]), at(1_125));
    let expected = "\
SERVICE      PORT  ENDPOINT        NODE  READY  HEALTH          PACKETS  STATE
default/web  http  [fd01::2]:8080  n2    yes    down for 2m05s  ~1280    not used: its health check fails
";
    assert_eq!(text, expected);
}

#[test]
fn an_unresolved_node_is_told_apart_from_this_one() {
    let other = NodeRow {
        packets_sampled: 64,
        node: "n2".to_owned(),
        addresses: vec!["10.0.0.12".parse().unwrap()],
        mode: Mode::Gue,
        interface: Some("eth0".to_owned()),
        mac: None,
        mtu_bytes: Some(1500),
    };
    let own = NodeRow {
        node: "n1".to_owned(),
        mode: Mode::Own,
        interface: None,
        packets_sampled: 0,
        ..other.clone()
    };
    let expected = "\
NODE  ADDRESSES  WAY        INTERFACE  NEXT HOP    MTU   PACKETS
n1    10.0.0.12  this node  -          -           1500  -
n2    10.0.0.12  GUE        eth0       unresolved  1500  ~64
";
    assert_eq!(nodes(&answer(vec![own, other])), expected);
}

#[test]
fn a_session_shows_its_state_and_its_last_error() {
    let row = BgpRow {
        peer: "10.0.0.1".to_owned(),
        asn: 65001,
        signed: Some("MD5".to_owned()),
        state: Some(SessionState::Active),
        since: Some(10),
        retry_left_seconds: Some(4),
        restart_seconds: Some(120),
        last_error: Some("connection refused".to_owned()),
        ..BgpRow::default()
    };
    let text = bgp::sessions(&answer(vec![row]), at(15));
    assert!(
        text.ends_with(
            "10.0.0.1  65001  MD5     Active  5s     -     retry 4s  120s     0     0         connection refused\n"
        ),
        "{text}"
    );
}

#[test]
fn what_became_of_packets_is_one_line() {
    let row = |verdict: &str, packets| VerdictRow {
        verdict: verdict.to_owned(),
        packets,
    };
    let text = verdicts(&answer(vec![
        row("delivered", 7),
        row("node-unresolved", 2),
    ]));
    assert_eq!(text, "\npackets on n1: delivered 7, node-unresolved 2\n");
    assert_eq!(
        verdicts(&answer(vec![])),
        "\nno packet for a VIP has come to n1 yet\n"
    );
}

#[test]
fn every_verdict_is_explained() {
    const OPERATIONS: &str = include_str!("../../../docs/operations.md");
    for verdict in Verdict::ALL {
        let label = verdict.label();
        let is_explained = OPERATIONS.contains(&format!("`{label}`"));
        assert!(
            is_explained,
            "docs/operations.md does not say what to do about {label}"
        );
    }
}

#[test]
fn warnings_stand_below_even_an_empty_table() {
    let mut empty = answer(vec![]);
    empty.warnings.push("the file is refused".to_owned());
    let text = services(&empty);
    assert_eq!(
        text,
        "no service is configured on n1\n\n! the file is refused\n"
    );
}

#[test]
fn times_have_two_units_at_the_most() {
    let now = at(1_000_000);
    for (seconds, text) in [
        (0, "0s"),
        (59, "59s"),
        (61, "1m01s"),
        (3_600, "1h00m"),
        (90_000, "1d01h"),
        (2_000_000, "0s"),
    ] {
        assert_eq!(
            ago(1_000_000u64.wrapping_sub(seconds).min(2_000_000), now),
            text
        );
    }
}

#[test]
fn uplinks_say_in_which_mode_they_are_and_why() {
    let native = UplinkRow {
        interface: "eth0".to_owned(),
        xdp: Some("native".to_owned()),
        egress: Some("tcx".to_owned()),
        mac: "02:00:00:00:00:01".to_owned(),
        mtu_bytes: 1500,
        not_in_driver: None,
    };
    let generic = UplinkRow {
        interface: "eth1".to_owned(),
        xdp: Some("generic".to_owned()),
        egress: Some("clsact".to_owned()),
        not_in_driver: Some("the driver does not take XDP programs".to_owned()),
        ..native.clone()
    };
    let expected = "\
UPLINK  XDP      EGRESS  MAC                MTU   REASON
eth0    native   tcx     02:00:00:00:00:01  1500  -
eth1    generic  clsact  02:00:00:00:00:01  1500  the driver does not take XDP programs
";
    assert_eq!(uplinks(&answer(vec![native, generic])), expected);
}

#[test]
fn flows_are_told_with_what_was_left_out() {
    let row = FlowRow {
        protocol: "TCP".to_owned(),
        client: "198.51.100.2:40000".parse().unwrap(),
        vip: "10.99.0.1:80".parse().unwrap(),
        endpoint: "10.1.1.2:8080".parse().unwrap(),
        mapped_port: Some(40_001),
        state: "established".to_owned(),
        age_seconds: 3700,
        idle_seconds: 2,
        expires_in_seconds: 7438,
        by_gue: true,
    };
    let answer = FlowsAnswer {
        total: 9,
        matched: 3,
        states: [("established".to_owned(), 2), ("reset".to_owned(), 1)].into(),
        rows: vec![row],
    };
    assert_eq!(
        flows(&answer),
        "\
PROTOCOL  CLIENT              VIP           ENDPOINT       STATE        AGE    IDLE  EXPIRES IN  NOTES
TCP       198.51.100.2:40000  10.99.0.1:80  10.1.1.2:8080  established  1h01m  2s    2h03m       by GUE, client port 40001 at the pod

1 shown of 3 that match, of 9 flows on this node: established 2, reset 1
"
    );
    assert_eq!(
        flows(&FlowsAnswer::default()),
        "0 shown of 0 that match, of 0 flows on this node\n"
    );
}

#[test]
fn a_router_that_does_not_know_us_and_one_that_is_not_dialled_are_told_in_words() {
    let row = BgpRow {
        peer: "eth0".to_owned(),
        address: Some("fe80::1".parse().unwrap()),
        state: Some(SessionState::Active),
        not_configured_there: true,
        not_dialled: Some("not dialled: bird speaks BGP".to_owned()),
        agreed: vec!["IPv4 unicast".to_owned(), "route refresh".to_owned()],
        ..BgpRow::default()
    };
    let text = bgp::sessions(&answer(vec![row]), at(15));
    assert!(text.contains("eth0 (fe80::1)"), "{text}");
    assert!(text.contains("not configured there"), "{text}");
    assert!(
        text.contains("\neth0 speaks IPv4 unicast, route refresh\n"),
        "{text}"
    );
    assert!(
        text.ends_with("! eth0: not dialled: bird speaks BGP\n"),
        "{text}"
    );
}

#[test]
fn routes_are_told_with_what_they_say_and_why_not() {
    let row = |prefix: &str, reason: Option<&str>| RouteRow {
        peer: "10.0.0.1".to_owned(),
        prefix: prefix.to_owned(),
        next_hops: vec!["self".to_owned()],
        attributes: vec!["med 10".to_owned(), "65000:100".to_owned()],
        told: reason.is_none(),
        reason: reason.map(str::to_owned),
    };
    let rows = vec![
        row("10.99.0.1/32", None),
        row("fd99::1/128", Some("no session")),
    ];
    let text = bgp::routes(&answer(rows));
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[1].contains("self       med 10,65000:100  yes   -"),
        "{text}"
    );
    assert!(lines[2].ends_with("no    no session"), "{text}");
}

#[test]
fn only_what_the_kernel_dropped_is_told() {
    let row = |segments| TcpRow {
        counter: "TCPMD5Failure".to_owned(),
        meaning: "signed with another password".to_owned(),
        segments,
    };
    assert_eq!(bgp::tcp(&answer(vec![row(0)])), "");
    let text = bgp::tcp(&answer(vec![row(3)]));
    assert!(
        text.contains("TCPMD5Failure 3 (signed with another password)"),
        "{text}"
    );
}
