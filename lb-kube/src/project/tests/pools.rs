use lb_core::model::Announce;
use serde_json::{Value, json};

use crate::project::pool::Pool;

fn pool(spec: Value) -> Pool {
    Pool::of(&serde_json::from_value(spec).unwrap())
}

fn networks(address: &str) -> Vec<String> {
    let made = pool(json!({"address": address})).prefixes();
    made.iter().map(ToString::to_string).collect()
}

#[test]
fn a_range_is_exactly_its_networks() {
    assert_eq!(
        networks("192.168.0.91-192.168.0.100"),
        [
            "192.168.0.91/32",
            "192.168.0.92/30",
            "192.168.0.96/30",
            "192.168.0.100/32"
        ]
    );
    assert_eq!(networks("10.0.0.7/24"), ["10.0.0.0/24"]);
    assert_eq!(networks("fd99::/64"), ["fd99::/64"]);
    assert_eq!(networks("fd99::1"), ["fd99::1/128"]);
    assert_eq!(networks("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
    assert_eq!(
        networks("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ["::/0"]
    );
}

#[test]
fn a_pool_has_ranges_of_both_families_and_says_what_is_none() {
    let made = pool(
        json!({"address": "10.99.0.0/24", "addresses": ["fd99::1-fd99::9", "10.1.0.9-10.1.0.1"], "protocol": "vip"}),
    );
    for (address, is_in) in [
        ("10.99.0.255", true),
        ("10.99.1.0", false),
        ("fd99::9", true),
        ("fd99::a", false),
    ] {
        assert_eq!(made.contains(address.parse().unwrap()), is_in, "{address}");
    }
    assert_eq!((made.announce, made.problems.len()), (Announce::Layer2, 1));
    assert_eq!(pool(json!({"address": "10.0.0.1"})).announce, Announce::Bgp);
}
