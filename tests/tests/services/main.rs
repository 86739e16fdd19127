//! Services in labs, as their files ask for them: policies, weights, shared VIPs, and endpoints that come, end and go. Real
//! sockets of a client, real pods, three agents. Needs root.

mod endpoints;
mod policies;
mod sharing;
mod weights;

use std::{net::SocketAddr, ops::Range};

use anyhow::{Result, ensure};
use fairlead_tests::steered::Steered;
use lb_lab::{Pod, Record, failures, topology::POD_PORT, vip};

const CONCURRENT: usize = 8;

/// A Service on [`vip`] 1 as a file has it.
struct Service<'a> {
    /// Behind `default/`.
    name: &'a str,
    /// A field of the Service; empty: none.
    field: &'a str,
    /// Name, protocol and number of each port.
    ports: &'a [(&'a str, &'a str, u16)],
}

const HTTP: (&str, &str, u16) = ("http", "TCP", 80);
const ECHO: (&str, &str, u16) = ("echo", "UDP", 80);

impl Service<'_> {
    /// Its text; `fields` has what is said of a pod besides addresses and ports, each behind a comma; `None`: the pod is no
    /// endpoint.
    fn text(&self, steered: &Steered, fields: impl Fn(&Pod) -> Option<String>) -> String {
        let [v4, v6] = vip(1).both();
        let mut text = format!(
            "  - name: default/{}\n    addresses: [{v4}, \"{v6}\"]\n",
            self.name
        );
        if !self.field.is_empty() {
            text += &format!("    {}\n", self.field);
        }
        text += "    ports:\n";
        for (name, protocol, port) in self.ports {
            text += &format!("      - {{name: {name}, protocol: {protocol}, port: {port}}}\n");
        }
        text += "    endpoints:\n";
        let names = self.ports.iter();
        let ports: Vec<_> = names
            .map(|(name, ..)| format!("{name}: {POD_PORT}"))
            .collect();
        let ports = ports.join(", ");
        for (pod, fields) in steered
            .lab
            .pods()
            .filter_map(|pod| Some((pod, fields(pod)?)))
        {
            for address in pod.addresses().both() {
                text +=
                    &format!("      - {{address: \"{address}\", ports: {{{ports}}}{fields}}}\n");
            }
        }
        text
    }
}

/// The field that puts a pod on its node.
fn here(pod: &Pod) -> String {
    format!(", node: node{}", node_number(pod))
}

fn node_number(pod: &Pod) -> u8 {
    fairlead_tests::steered::node_of(pod.name()).unwrap_or_default()
}

/// Puts these services in the place of all others, and waits until every agent has them: `names` with their service
/// ports, VIPs of both families counted.
fn take(steered: &mut Steered, text: &str, name: &str, ports: usize) -> Result<()> {
    let name = format!("default/{name}");
    steered.edit(text)?;
    steered.wait_for("services", "the Service is applied", |rows| {
        let all_applied = rows.iter().all(|row| row["applied"] == true);
        let is_there = rows.iter().any(|row| row["service"] == name.as_str());
        rows.len() == ports && all_applied && is_there
    })
}

/// Every request is answered, by a pod that sees the client's address.
fn answered(steered: &Steered, target: SocketAddr, ports: Range<u16>) -> Result<Vec<Record>> {
    let records = steered
        .lab
        .client()
        .http_from_ports(target, ports, CONCURRENT)?;
    let failed = failures(&records);
    ensure!(
        failed.is_empty(),
        "{} failed, the first: {}",
        failed.len(),
        failed[0]
    );
    let changed = records.iter().find(|record| !record.address_kept());
    ensure!(changed.is_none(), "a pod saw another client: {changed:?}");
    Ok(records)
}
