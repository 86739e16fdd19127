use lb_core::model::Layer2;

use super::{Error, check_layer2, choose, default_route_v4, default_route_v6, interfaces};

const DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 12384470   10441    0    0    0     0          0         0 12384470   10441    0    0    0     0       0          0
  eth0: 97813306   63254    0    0    0     0          0         0  3133823   33344    0    0    0     0       0          0
wlan0.7: 1   1    0    0    0     0          0         0  3133823   33344    0    0    0     0       0          0
";

const ROUTE: &str = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
wlan0\t00000000\t0100A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth1\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
";

const ROUTE_V6: &str = "\
fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth2
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
";

#[test]
fn interfaces_are_listed_without_the_loopback() {
    assert_eq!(interfaces(DEV), ["eth0", "wlan0.7"]);
}

#[test]
fn the_default_route_with_the_lowest_metric_tells_the_uplink() {
    assert_eq!(default_route_v4(ROUTE).as_deref(), Some("eth1"));
    let header_only = ROUTE.lines().next().unwrap();
    assert_eq!(default_route_v4(header_only), None);
}

#[test]
fn the_unreachable_default_of_ipv6_is_none() {
    assert_eq!(default_route_v6(ROUTE_V6).as_deref(), Some("eth2"));
    let unreachable = ROUTE_V6.lines().nth(2).unwrap();
    assert_eq!(default_route_v6(unreachable), None);
}

#[test]
fn a_name_that_is_not_there_is_refused_with_those_that_are() {
    let Err(error) = choose(&["no-such-if0".to_owned()]) else {
        panic!("taken")
    };
    assert!(matches!(error, Error::NoSuchInterface { .. }));
    assert!(
        error
            .to_string()
            .starts_with("node.uplinks: there is no interface no-such-if0"),
        "{error}"
    );
}

#[test]
fn layer_2_is_answered_on_uplinks_alone() {
    let uplinks = ["eth0".to_owned()];
    let on = |names: &[&str]| Layer2 {
        interfaces: names.iter().map(|name| (*name).into()).collect(),
        ..Layer2::default()
    };
    for fine in [None, Some(on(&[])), Some(on(&["eth0"]))] {
        assert_eq!(check_layer2(fine.as_ref(), &uplinks), Ok(()));
    }
    let refused = check_layer2(Some(&on(&["eth0", "eth1"])), &uplinks).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "layer2.interfaces: eth1 is not an uplink of this host; these are: eth0"
    );
}
