//! Entries by uplink and family.

use lb_core::model::{Mac, Prefix};

use super::*;

fn interface(ifindex: u32, name: &str, master_ifindex: Option<u32>) -> Interface {
    Interface {
        ifindex,
        name: name.into(),
        mac: Mac::default(),
        mtu_bytes: 1500,
        is_up: true,
        master_ifindex,
        addresses: Vec::new(),
        subnets: Vec::new(),
    }
}

fn wish(prefixes: &[(&str, u8)], owned: &[(&str, u64)]) -> Wish {
    let prefix = |&(text, bits): &(&str, u8)| Prefix::new(text.parse().unwrap(), bits).unwrap();
    let uplinks: BTreeMap<u8, Arc<str>> = [(0, "eth0".into()), (1, "eth1".into())].into();
    Wish {
        unreachable: Arc::new(UnreachablePlan {
            table: 77,
            prefixes: prefixes.iter().map(prefix).collect(),
        }),
        owned: Arc::new(
            owned
                .iter()
                .map(|(vip, slots)| (vip.parse().unwrap(), *slots))
                .collect(),
        ),
        uplinks,
    }
}

fn shown(wish: &Wish) -> Vec<String> {
    let interfaces = [
        interface(2, "eth0", None),
        interface(3, "eth1", Some(9)),
        interface(9, "br0", None),
    ];
    let entries = wish.entries(&interfaces);
    entries.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_are_for_the_families_of_the_routes_and_for_masters() {
    assert_eq!(
        shown(&wish(&[("10.99.0.0", 24)], &[])),
        [
            "route unreachable 10.99.0.0/24 table 77",
            "rule from all iif br0 lookup 77 (IPv4)",
            "rule from all iif eth0 lookup 77 (IPv4)",
        ]
    );
    assert!(shown(&wish(&[], &[])).is_empty());
}

#[test]
fn groups_are_joined_once_where_their_vips_are_answered_for() {
    let owned = [
        ("fd99::1:2:3", 0b11),
        ("fd98::1:2:3", 0b01),
        ("10.99.0.1", 0b11),
    ];
    assert_eq!(
        shown(&wish(&[], &owned)),
        [
            "group ff02::1:ff02:3 on interface 2",
            "group ff02::1:ff02:3 on interface 9",
        ]
    );
}
