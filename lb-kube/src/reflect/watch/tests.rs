use super::*;

#[test]
fn rests_grow_to_their_bound_and_differ_between_nodes() {
    let rests = |node: &str| {
        let mut rest = Rest::new(node, "services");
        (0..12).map(|_| rest.next()).collect::<Vec<_>>()
    };
    let (one, other) = (rests("node1"), rests("node2"));
    assert_ne!(one, other);
    assert!(one[0] >= REST_MIN / 2 && one[0] <= REST_MIN, "{:?}", one[0]);
    assert!(one.iter().all(|rest| *rest <= REST_MAX));
    assert!(one[11] >= REST_MAX / 2);
}

#[test]
fn a_status_is_told_by_its_code() {
    assert!(matches!(Failure::of_status(404, ""), Failure::NotServed));
    assert!(matches!(Failure::of_status(410, ""), Failure::Gone));
    assert!(matches!(Failure::of_status(503, ""), Failure::Other(_)));
}
