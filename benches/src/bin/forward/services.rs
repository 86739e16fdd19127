//! The services of every scene: a thousand, of which two are measured. One is served by the pods of node 2 alone and so
//! always crosses from node 1 to node 2, the other by the pods of node 1 alone. The same set goes to each way of
//! forwarding, as rules or as an agent's file.

use std::{fmt::Write as _, net::Ipv4Addr};

use lb_lab::topology;

/// Services, the two measured ones among them.
pub(crate) const SERVICES: u16 = 1000;
/// The UDP port of each.
pub(crate) const PORT: u16 = 80;

/// A service of two endpoints, both on one node.
pub(crate) struct Service {
    pub(crate) vip: Ipv4Addr,
    pub(crate) node: u8,
    pub(crate) endpoints: [(Ipv4Addr, u16); 2],
}

/// All of them; the first is the remote one, the second the local one.
pub(crate) fn all() -> Vec<Service> {
    (0..SERVICES).map(service).collect()
}

/// The VIP that node 1 sends on to node 2.
pub(crate) fn remote_vip() -> Ipv4Addr {
    vip(0)
}

/// The VIP that node 1 serves itself.
pub(crate) fn local_vip() -> Ipv4Addr {
    vip(1)
}

/// The list `services:` of an agent's file.
pub(crate) fn yaml(services: &[Service]) -> String {
    let mut text = String::new();
    for (number, service) in services.iter().enumerate() {
        let _ = writeln!(
            text,
            "  - name: bench/service-{number}
    addresses: [{}]
    ports: [{{name: echo, protocol: UDP, port: {PORT}}}]
    endpoints:",
            service.vip
        );
        for (address, port) in service.endpoints {
            let _ = writeln!(
                text,
                "      - {{address: {address}, node: node{}, ports: {{echo: {port}}}}}",
                service.node
            );
        }
    }
    text
}

fn service(number: u16) -> Service {
    let node = if number == 1 { 1 } else { 2 };
    let port = if number < 2 {
        topology::POD_PORT
    } else {
        10_000 + number
    };
    Service {
        vip: vip(number),
        node,
        endpoints: [1, 2].map(|pod| (topology::pod(node, pod).v4, port)),
    }
}

fn vip(number: u16) -> Ipv4Addr {
    let [high, low] = (number + 1).to_be_bytes();
    Ipv4Addr::new(10, 98, high, low)
}
