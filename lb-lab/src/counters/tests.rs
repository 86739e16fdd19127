use super::*;

#[test]
fn counters_are_found_by_their_names() {
    let text = "Ip: Forwarding\nIp: 1\nTcp: RtoMin EstabResets RetransSegs InCsumErrors\nTcp: 200 3 13 5\n";
    let expected = TcpCounters {
        retransmitted: 13,
        resets: 3,
        wrong_checksums: 5,
    };
    assert_eq!(parse(text), Some(expected));
}

#[test]
fn a_missing_counter_is_no_zero() {
    assert_eq!(
        parse("Tcp: RtoMin EstabResets RetransSegs\nTcp: 200 3 13\n"),
        None
    );
}

#[test]
fn the_kernel_of_a_fresh_namespace_has_counted_nothing() {
    let namespace = Namespace::new("fresh").unwrap();
    assert_eq!(TcpCounters::of(&namespace).unwrap(), TcpCounters::default());
}
