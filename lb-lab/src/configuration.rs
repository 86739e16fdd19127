//! The agents' configuration files for a lab, as an operator of its nodes would write them. Pure text: nothing here
//! knows the agent's types, so a change of the schema that breaks operators breaks the labs too.

use crate::builder::UPLINK;
use crate::lab::Lab;
use crate::router::{NODE_ASN, NODE_BGP_PORT, ROUTER_ASN};
use crate::topology::{POD_PORT, Pair};
use crate::wait::patience;

/// The VIPs that labs use: 10.99.0.NUMBER and fd99::NUMBER.
pub fn vip(number: u8) -> Pair {
    Pair {
        v4: [10, 99, 0, number].into(),
        v6: [0xfd99, 0, 0, 0, 0, 0, 0, u16::from(number)].into(),
    }
}

/// The port of [`Lab::web_service`].
pub const VIP_PORT: u16 = 80;

impl Lab {
    /// The whole file of a node: itself, all nodes, the router as its one BGP peer, and these services.
    pub fn agent_configuration(&self, node: u8, hold_time_s: u16, services: &str) -> String {
        let router = self.node(node).router().v4;
        let bgp = format!(
            "  asn: {NODE_ASN}
  listenPort: {NODE_BGP_PORT}
  peers:
    - {{address: {router}, asn: {ROUTER_ASN}, port: 179, holdTime: {hold_time_s}s, nextHop: self}}
"
        );
        self.agent_configuration_with(node, &bgp, services)
    }

    /// As [`Lab::agent_configuration`] with another section `bgp`, whose lines are indented by two spaces.
    pub fn agent_configuration_with(&self, node: u8, bgp: &str, services: &str) -> String {
        let nodes: String = self
            .nodes()
            .map(|node| {
                let Pair { v4, v6 } = node.addresses();
                let name = node.name();
                format!("  - {{name: {name}, addresses: [{v4}, \"{v6}\"]}}\n")
            })
            .collect();
        format!(
            "node: {{name: {name}, uplinks: [{UPLINK}]}}
cluster: {{keyFile: {key}}}
nodes:
{nodes}bgp:
{bgp}services:
{services}",
            name = self.node(node).name(),
            key = self.key_file().display(),
        )
    }

    /// A service over all pods in both families, with a TCP health check: `default/NAME` on [`vip`] `number`, TCP and UDP
    /// port 80. To be used in [`Lab::agent_configuration`], alone or one after another.
    pub fn web_service(&self, name: &str, number: u8) -> String {
        let Pair { v4, v6 } = vip(number);
        let interval_s = patience();
        let mut service = format!(
            "  - name: default/{name}
    addresses: [{v4}, \"{v6}\"]
    ports:
      - {{name: http, protocol: TCP, port: {VIP_PORT}}}
      - {{name: echo, protocol: UDP, port: {VIP_PORT}}}
    healthCheck: {{tcp: {{port: {POD_PORT}}}, interval: {interval_s}s, failures: 3}}
    endpoints:
"
        );
        for node in self.nodes() {
            for pod in self.node_pods(node.number()) {
                for address in pod.addresses().both() {
                    service += &format!(
                        "      - {{address: \"{address}\", node: {}, ports: {{http: {POD_PORT}, echo: {POD_PORT}}}}}\n",
                        node.name()
                    );
                }
            }
        }
        service
    }
}
