//! What is none of ours passes as it is, uncounted.

use super::{Clients, ingress};
use crate::{
    addresses::{kinds, no_vip, port_of, vips},
    case::{Case, Run},
    frame::Packet,
    outer::Outer,
    world::{node_mac, outer_address},
};

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for (vip, udp) in kinds() {
        let elsewhere = clients.packet(no_vip(vip), 80, udp);
        cases.push(ingress("an address beside the VIPs", &elsewhere));
        let flooded = Packet {
            to_mac: node_mac(7),
            ..clients.packet(vip, port_of(1, udp), udp)
        };
        cases.push(ingress("a VIP's packet for another MAC", &flooded));
        let own = outer_address(1, vip.is_ipv6());
        let closed = clients.packet(own, 6081, udp);
        cases.push(ingress("this node's address beside GUE's port", &closed));
        let tcp = clients.packet(own, 6080, false);
        cases.push(ingress("this node's address and GUE's port by TCP", &tcp));
        let other = clients.packet(outer_address(2, vip.is_ipv6()), 6080, true);
        cases.push(ingress("another node's address and GUE's port", &other));
    }
    let fragment = clients.packet(vips()[0], 81, true);
    let mut outer = Outer::first(3, 1).around(&fragment.frame(), &fragment.frame());
    outer[..6].copy_from_slice(&node_mac(1));
    outer[20] |= 0x20;
    cases.push(Case {
        packet: Run::Ingress(outer.clone()),
        out: outer,
        ..ingress("a fragment of GUE is the stack's", &fragment)
    });
    cases
}
