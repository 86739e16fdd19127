use std::sync::Arc;

use lb_core::model::Mac;
use netlink_packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{InfoPortKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};

use super::interface::{Interface, from_messages, uplinks};

fn link(index: u32, name: &str, mac_end: u8, attributes: &[LinkAttribute]) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up | LinkFlags::LowerUp;
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, mac_end]),
        LinkAttribute::Mtu(1500),
    ];
    message.attributes.extend_from_slice(attributes);
    message
}

fn port_of(master: u32, kind: InfoPortKind) -> [LinkAttribute; 2] {
    [
        LinkAttribute::Controller(master),
        LinkAttribute::LinkInfo(vec![LinkInfo::PortKind(kind)]),
    ]
}

fn address(index: u32, attributes: Vec<AddressAttribute>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn names(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

#[test]
fn an_uplink_has_its_own_mac_and_addresses() {
    let links = [link(1, "lo", 0, &[]), link(2, "eth0", 7, &[])];
    let addresses = [
        address(
            1,
            vec![AddressAttribute::Local("127.0.0.1".parse().unwrap())],
        ),
        address(
            2,
            vec![
                AddressAttribute::Address("10.0.0.99".parse().unwrap()),
                AddressAttribute::Local("10.0.0.11".parse().unwrap()),
            ],
        ),
        address(
            2,
            vec![AddressAttribute::Address("fd00::11".parse().unwrap())],
        ),
        address(
            2,
            vec![AddressAttribute::Address("fe80::11".parse().unwrap())],
        ),
    ];
    let uplinks = uplinks(&names(&["eth0"]), &from_messages(&links, &addresses));
    assert_eq!(uplinks.len(), 1);
    assert_eq!(
        (uplinks[0].slot, uplinks[0].ifindex, uplinks[0].mtu_bytes),
        (0, 2, 1500)
    );
    assert_eq!(uplinks[0].mac, Mac([2, 0, 0, 0, 0, 7]));
    let expected: Vec<std::net::IpAddr> =
        vec!["10.0.0.11".parse().unwrap(), "fd00::11".parse().unwrap()];
    assert_eq!(uplinks[0].addresses, expected);
}

#[test]
fn a_port_of_a_bridge_answers_as_the_bridge() {
    let links = [
        link(2, "eth0", 7, &port_of(3, InfoPortKind::Bridge)),
        link(3, "br0", 8, &[]),
    ];
    let addresses = [address(
        3,
        vec![AddressAttribute::Local("10.0.0.11".parse().unwrap())],
    )];
    let interfaces = from_messages(&links, &addresses);
    let uplinks = uplinks(&names(&["eth0"]), &interfaces);
    assert_eq!(uplinks[0].ifindex, 2, "the program is attached to the port");
    assert_eq!(uplinks[0].mac, Mac([2, 0, 0, 0, 0, 8]));
    assert_eq!(uplinks[0].addresses.len(), 1);
    assert_eq!(interfaces[0].routed_ifindex(), 3);
}

#[test]
fn a_member_of_a_vrf_keeps_its_own() {
    let links = [
        link(2, "eth0", 7, &port_of(3, InfoPortKind::Vrf)),
        link(3, "red", 8, &[]),
    ];
    let interfaces = from_messages(&links, &[]);
    assert_eq!(interfaces[0].routed_ifindex(), 2);
}

#[test]
fn slots_follow_the_names_even_if_one_is_gone() {
    let interfaces = from_messages(&[link(5, "eth1", 9, &[])], &[]);
    let uplinks = uplinks(&names(&["eth0", "eth1"]), &interfaces);
    assert_eq!(uplinks.len(), 1);
    assert_eq!((uplinks[0].slot, uplinks[0].ifindex), (1, 5));
}

#[test]
fn up_needs_a_carrier() {
    let mut message = link(2, "eth0", 7, &[]);
    message.header.flags = LinkFlags::Up;
    let is_up = |message: &LinkMessage| -> Vec<bool> {
        let interfaces: Vec<Interface> = from_messages(std::slice::from_ref(message), &[]);
        interfaces.iter().map(|interface| interface.is_up).collect()
    };
    assert_eq!(is_up(&message), [false]);
    message.header.flags |= LinkFlags::LowerUp;
    assert_eq!(is_up(&message), [true]);
}
