//! The fixtures as a list: every verdict, in both families, hit and missed. What a case says holds on every kernel
//! and in every build of the data path; what takes a whole story to tell stands in `tests/tests/fixtures` instead.

mod answers;
mod delivery;
mod errors;
mod fragments;
mod gue;
mod neighbours;
mod odd;
mod parse;
mod passing;
mod replies;
mod services;
mod steering;

use std::net::IpAddr;

use crate::{
    case::{Case, Ground, Run},
    frame::Packet,
};

/// Hands each case a client port of its own, so that cases on one ground do not meet.
struct Clients(u16);

impl Clients {
    /// A packet of a client that no other case has.
    fn packet(&mut self, vip: IpAddr, port: u16, udp: bool) -> Packet {
        self.0 += 1;
        Packet::to(vip, port, udp).from_port(self.0)
    }
}

/// Every case.
#[must_use]
pub fn all() -> Vec<Case> {
    let mut clients = Clients(10_000);
    let families = [
        passing::cases,
        parse::cases,
        steering::cases,
        gue::cases,
        delivery::cases,
        replies::cases,
        answers::cases,
        errors::cases,
        neighbours::cases,
        services::cases,
        odd::cases,
        fragments::cases,
    ];
    let lists = families.into_iter().map(|cases| cases(&mut clients));
    lists.flatten().collect()
}

/// A packet that comes in at `node1`, before anything is known of what becomes of it: it passes as it is.
fn ingress(description: &'static str, packet: &Packet) -> Case {
    let frame = packet.frame();
    Case {
        description,
        ground: Ground::Node(1),
        before: Vec::new(),
        packet: Run::Ingress(frame.clone()),
        action: crate::world::XDP_PASS,
        out: frame,
        counted: &[],
        client_port: packet.source.1,
        flow: None,
    }
}
