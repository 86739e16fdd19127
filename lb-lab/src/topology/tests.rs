use super::*;

#[test]
fn the_same_host_has_the_same_number_in_both_families() {
    let text = |pair: Pair| (pair.v4.to_string(), pair.v6.to_string());
    let expected = |v4: &str, v6: &str| (v4.to_owned(), v6.to_owned());
    assert_eq!(
        text(node(Segments::OneLan, 3)),
        expected("10.0.0.13", "fd00::13")
    );
    assert_eq!(
        text(node(Segments::Node3Routed, 3)),
        expected("10.0.1.13", "fd00:1::13")
    );
    assert_eq!(
        text(node(Segments::AllRouted, 2)),
        expected("10.0.1.12", "fd00:1::12")
    );
    assert_eq!(text(router(1)), expected("10.0.1.1", "fd00:1::1"));
    assert_eq!(text(pod(2, 1)), expected("10.1.2.2", "fd01:2::2"));
    assert_eq!(text(client()), expected("198.51.100.2", "2001:db8:100::2"));
}

#[test]
fn segments_are_numbered_without_gaps() {
    for segments in [Segments::OneLan, Segments::Node3Routed, Segments::AllRouted] {
        let used: std::collections::BTreeSet<u8> =
            (1..=NODES).map(|node| segments.of_node(node)).collect();
        assert!(used.into_iter().eq(0..segments.count()), "{segments:?}");
    }
}
