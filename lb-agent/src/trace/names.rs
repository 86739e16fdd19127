//! What the agent calls services and nodes, for people who read a trace. Asked once; an agent that does not answer has
//! no names to give, and that is no error: a data path goes on without one.

use std::{net::IpAddr, path::Path};

use crate::api::{
    client,
    rows::{Answer, NodeRow, ServiceRow},
};

/// The rows that have names.
#[derive(Debug, Default)]
pub struct Names {
    services: Vec<ServiceRow>,
    nodes: Vec<NodeRow>,
}

impl Names {
    /// Asks the agent behind the socket.
    #[must_use]
    pub fn ask(socket: &Path) -> Self {
        let services = client::get(socket, "/v1/services");
        let nodes = client::get(socket, "/v1/nodes");
        Self {
            services: services.map_or_else(|_| Vec::new(), |answer: Answer<_>| answer.rows),
            nodes: nodes.map_or_else(|_| Vec::new(), |answer: Answer<_>| answer.rows),
        }
    }

    /// `namespace/name` of a service port.
    #[must_use]
    pub fn service(&self, vip: IpAddr, port: u16, protocol: &str) -> Option<&str> {
        let is_it =
            |row: &&ServiceRow| row.vip == vip && row.port == port && row.protocol == protocol;
        Some(&self.services.iter().find(is_it)?.service)
    }

    /// The node with this address.
    #[must_use]
    pub fn node(&self, address: IpAddr) -> Option<&str> {
        let is_it = |row: &&NodeRow| row.addresses.contains(&address);
        Some(&self.nodes.iter().find(is_it)?.node)
    }
}
