use std::sync::Arc;

use lb_core::{
    model::Mac,
    snapshot::{Link, Neighbour, Neighbours},
};

use super::judge;

fn link(mtu_bytes: u16) -> Link {
    Link {
        slot: 0,
        name: Arc::from("eth0"),
        ifindex: 2,
        mac: Mac::default(),
        mtu_bytes,
        addresses: vec![],
        subnets: Vec::new(),
    }
}

fn to_node3(on_link: bool, mtu_bytes: u16, address: &str) -> Neighbours {
    let way = Neighbour {
        mac: None,
        uplink: 0,
        on_link,
        outer_source: address.parse().unwrap(),
        outer_destination: address.parse().unwrap(),
        mtu_bytes,
    };
    Neighbours::from([(Arc::from("node3"), way)])
}

#[test]
fn gue_without_room_is_told_with_the_mtu_that_would_do() {
    let sentences = judge(&to_node3(false, 1500, "10.0.2.13"), &[link(1500)]);
    assert_eq!(sentences.len(), 1);
    for part in ["node3", "1456 of 1500", "MTU of 1544", "eth0"] {
        assert!(sentences[0].contains(part), "{part}: {}", sentences[0]);
    }
    let sentences = judge(&to_node3(false, 1500, "fd00:2::13"), &[link(1500)]);
    assert!(
        sentences[0].contains("1436") && sentences[0].contains("1564"),
        "{sentences:?}"
    );
}

#[test]
fn on_link_nodes_and_roomy_underlays_are_fine() {
    assert!(judge(&to_node3(true, 1500, "10.0.2.13"), &[link(1500)]).is_empty());
    assert!(judge(&to_node3(false, 1544, "10.0.2.13"), &[link(1600)]).is_empty());
    assert!(!judge(&to_node3(false, 1543, "10.0.2.13"), &[link(1600)]).is_empty());
}
