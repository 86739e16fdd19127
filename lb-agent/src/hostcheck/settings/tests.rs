use std::sync::Arc;

use super::{Settings, UplinkSettings};
use crate::hostcheck::Needs;

fn needs(uplinks: &[&str], pods: &[&str]) -> Needs {
    Needs {
        uplinks: uplinks.iter().map(|name| Arc::from(*name)).collect(),
        pods: pods.iter().map(|pod| pod.parse().unwrap()).collect(),
        node_addresses: vec![],
    }
}

fn fine() -> Settings {
    Settings {
        kernel: Some((6, 6)),
        ipv4_forwarding: Some(1),
        ipv6_forwarding: Some(1),
        rp_filter_all: Some(0),
        uplinks: vec![UplinkSettings {
            name: "eth0".to_owned(),
            accept_ra: Some(2),
            has_ra_default_route: true,
            rp_filter: Some(1),
            vlans: Vec::new(),
            takes_tags_off: true,
        }],
    }
}

#[track_caller]
fn assert_told(settings: &Settings, needs: &Needs, parts: &[&str]) {
    let sentences = settings.judge(needs);
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    for part in parts {
        assert!(sentences[0].contains(part), "{part}: {sentences:?}");
    }
}

#[test]
fn a_host_that_is_fine_is_not_talked_about() {
    let needs = needs(&["eth0"], &["10.1.1.2", "fd01::2"]);
    assert!(fine().judge(&needs).is_empty());
    assert!(
        Settings::default().judge(&needs).is_empty(),
        "what could not be read is no finding"
    );
}

#[test]
fn forwarding_matters_for_the_families_that_pods_have() {
    let settings = Settings {
        ipv4_forwarding: Some(0),
        ipv6_forwarding: Some(0),
        ..fine()
    };
    assert_told(
        &settings,
        &needs(&["eth0"], &["10.1.1.2"]),
        &["sysctl -w net.ipv4.ip_forward=1"],
    );
    assert_told(
        &settings,
        &needs(&["eth0"], &["fd01::2"]),
        &["sysctl -w net.ipv6.conf.all.forwarding=1"],
    );
    assert!(
        settings.judge(&needs(&["eth0"], &[])).is_empty(),
        "without pods nothing is forwarded here"
    );
}

#[test]
fn an_advertised_default_route_expires_once_forwarding_is_on() {
    let mut settings = fine();
    let needs = needs(&["eth0"], &["fd01::2"]);
    settings.uplinks[0].accept_ra = Some(1);
    assert_told(
        &settings,
        &needs,
        &["expire", "sysctl -w net.ipv6.conf.eth0.accept_ra=2"],
    );
    settings.uplinks[0].has_ra_default_route = false;
    assert!(settings.judge(&needs).is_empty(), "a static route stays");
    settings.uplinks[0].has_ra_default_route = true;
    settings.ipv6_forwarding = Some(2);
    assert!(settings.judge(&needs).is_empty());
}

#[test]
fn strict_rp_filter_is_fine_with_one_uplink_only() {
    let settings = fine();
    let two = needs(&["eth0", "eth1"], &["10.1.1.2"]);
    assert_told(
        &settings,
        &two,
        &["strict", "sysctl -w net.ipv4.conf.eth0.rp_filter=2"],
    );
    assert!(settings.judge(&needs(&["eth0"], &["10.1.1.2"])).is_empty());

    let mut loose_by_all = fine();
    loose_by_all.rp_filter_all = Some(2);
    assert!(
        loose_by_all.judge(&two).is_empty(),
        "the larger of both counts"
    );
    let mut strict_by_all = fine();
    strict_by_all.uplinks[0].rp_filter = Some(0);
    strict_by_all.rp_filter_all = Some(1);
    assert_told(&strict_by_all, &two, &["strict"]);
}

#[test]
fn a_driver_that_hides_tags_counts_where_there_are_vlans() {
    let needs = needs(&["eth0"], &["10.1.1.2"]);
    let mut tagged = fine();
    assert!(tagged.judge(&needs).is_empty(), "no VLAN");
    tagged.uplinks[0].vlans.push("eth0.7".to_owned());
    assert_told(&tagged, &needs, &["ethtool -K eth0 rxvlan off"]);
    tagged.uplinks[0].takes_tags_off = false;
    assert!(tagged.judge(&needs).is_empty());
}

#[test]
fn a_kernel_that_is_too_old_is_told() {
    for (kernel, is_fine) in [
        ((5, 9), false),
        ((4, 19), false),
        ((5, 10), true),
        ((7, 0), true),
    ] {
        let settings = Settings {
            kernel: Some(kernel),
            ..fine()
        };
        assert_eq!(
            settings.judge(&needs(&["eth0"], &[])).is_empty(),
            is_fine,
            "{kernel:?}"
        );
    }
}
