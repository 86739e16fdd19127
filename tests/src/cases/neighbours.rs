//! ARP and Neighbour Discovery: who asks for a VIP that `node1` owns gets its MAC, and nobody else anything.

use lb_common::verdict::Verdict;

use super::Clients;
use crate::{
    addresses::{no_vip, vips},
    case::{Case, Ground, Run},
    frame::Packet,
    neighbour::{Asks, answer, arp, claim, of_lan, question},
    odd::{SERVICE_TAG, TAG, tagged},
    world::{XDP_PASS, XDP_TX, node_mac},
};

pub(super) fn cases(_: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for like in vips() {
        let [owned, unowned] = [7, 8].map(|number| of_lan(like, number));
        for (description, asks) in [
            ("asked for the MAC of an owned VIP", Asks::ForMac),
            ("asked again, by unicast", Asks::Again),
            ("asked whether an owned VIP is free", Asks::WhetherFree),
        ] {
            cases.push(Case {
                action: XDP_TX,
                out: answer(asks, owned),
                counted: &[Verdict::NeighbourAnswered],
                ..passes(description, question(asks, owned))
            });
            let elsewhere = "asked for a VIP of layer 2 that another node owns";
            cases.push(passes(elsewhere, question(asks, unowned)));
            cases.push(passes("asked for a VIP of BGP", question(asks, like)));
            cases.push(passes("asked for no VIP", question(asks, no_vip(like))));
        }
        cases.push(Case {
            counted: &[Verdict::VipClaimed],
            ..passes("somebody claims an owned VIP", claim(owned))
        });
        cases.push(passes("somebody claims another's VIP", claim(unowned)));
        let mut flooded = question(Asks::Again, owned);
        flooded[..6].copy_from_slice(&node_mac(7));
        cases.push(passes("a question for another MAC", flooded));
        for asks in [Asks::ForMac, Asks::Again, Asks::WhetherFree] {
            for tags in [&[TAG][..], &[SERVICE_TAG, TAG]] {
                cases.push(Case {
                    action: XDP_TX,
                    out: tagged(&answer(asks, owned), tags),
                    counted: &[Verdict::NeighbourAnswered],
                    ..passes("a question in a VLAN", tagged(&question(asks, owned), tags))
                });
                let elsewhere = "a question in a VLAN for another node's VIP";
                cases.push(passes(elsewhere, tagged(&question(asks, unowned), tags)));
            }
        }
        let mut multicast = tagged(&Packet::to(like, 81, false).frame(), &[TAG]);
        multicast[..6].copy_from_slice(&[1, 0, 0x5e, 0, 0, 1]);
        cases.push(passes("a tagged packet to a group of stations", multicast));
    }
    cases.extend(of_arp_alone());
    cases.extend(of_ndp_alone());
    cases
}

fn of_arp_alone() -> [Case; 2] {
    let (owned, other) = ([10, 99, 0, 7].into(), [10, 0, 0, 1].into());
    let reply = arp(node_mac(1), 2, other, owned);
    let claiming = arp([0xff; 6], 1, owned, other);
    [
        passes("a reply that is about an owned VIP", reply),
        Case {
            counted: &[Verdict::VipClaimed],
            ..passes("somebody asks as an owned VIP", claiming)
        },
    ]
}

/// What RFC 4861 section 7.1.1 has discarded.
fn of_ndp_alone() -> Vec<Case> {
    let sound = question(Asks::ForMac, of_lan(vips()[1], 7));
    let changed = |description, at: usize, value: u8| {
        let mut frame = sound.clone();
        frame[at] = value;
        passes(description, frame)
    };
    vec![
        changed("a solicitation that was forwarded", 21, 254),
        changed("a solicitation with a wrong checksum", 57, sound[57] ^ 1),
    ]
}

fn passes(description: &'static str, frame: Vec<u8>) -> Case {
    Case {
        description,
        ground: Ground::Node(1),
        before: Vec::new(),
        packet: Run::Ingress(frame.clone()),
        action: XDP_PASS,
        out: frame,
        counted: &[],
        client_port: 0,
        flow: None,
    }
}
