//! What leaves by the uplink: a reply of a flow comes from the VIP, all else goes as it is.

use lb_common::{flow::State, verdict::Verdict};

use super::{Clients, delivery::reply, ingress};
use crate::{
    addresses::{kinds, port_of},
    case::{Case, Run, TCX_NEXT},
    frame::Packet,
};

pub(super) fn cases(clients: &mut Clients) -> Vec<Case> {
    let mut cases = Vec::new();
    for (vip, udp) in kinds() {
        let query = clients.packet(vip, port_of(1, udp), udp);
        let flags = if udp { "" } else { "A" };
        let answer = Packet {
            payload: b"answer".to_vec(),
            ..reply(&query, flags, 5000)
        };
        let from_vip = Packet {
            source: query.destination,
            ..answer.clone()
        };
        let state = if udp {
            State::Unreplied
        } else {
            State::SynReceived
        };
        cases.push(Case {
            before: vec![Run::Ingress(query.frame())],
            packet: Run::Egress(answer.frame()),
            action: TCX_NEXT,
            out: from_vip.frame(),
            counted: &[Verdict::Replied],
            flow: Some(state),
            ..ingress("a reply", &query)
        });
        let stranger = clients.packet(vip, port_of(1, udp), udp);
        let own = reply(&stranger, flags, 5000).frame();
        cases.push(Case {
            packet: Run::Egress(own.clone()),
            action: TCX_NEXT,
            out: own,
            ..ingress("a pod's own conversation from the same port", &stranger)
        });
    }
    cases
}
