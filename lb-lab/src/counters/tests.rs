use super::*;

const TEXT: &str = "Ip: Forwarding
Ip: 1
Tcp: RtoMin EstabResets RetransSegs InCsumErrors
Tcp: 200 3 13 5
TcpExt: SyncookiesSent TCPTimeouts TCPDSACKOldSent TCPDSACKOfoSent
TcpExt: 0 2 8 1
";

#[test]
fn counters_are_found_by_their_names() {
    let expected = TcpCounters {
        retransmitted: 13,
        timeouts: 2,
        received_twice: 9,
        resets: 3,
        wrong_checksums: 5,
    };
    assert_eq!(parse(TEXT), Some(expected));
}

#[test]
fn a_missing_counter_is_no_zero() {
    assert_eq!(parse(&TEXT.replace(" InCsumErrors", "")), None);
}

#[test]
fn the_kernel_of_a_fresh_namespace_has_counted_nothing() {
    let namespace = Namespace::new("fresh").unwrap();
    assert_eq!(TcpCounters::of(&namespace).unwrap(), TcpCounters::default());
}
