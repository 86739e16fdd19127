//! The answers as Prometheus reads them (text format 0.0.4): what the data path has counted and holds, by service port
//! and by verdict, and what state the ways and sessions are in. Pure: rows in, text out.

use std::fmt::Write;

use super::rows::{Answer, BgpRow, Mode, NodeRow, ServiceRow, VerdictRow};
use crate::engine::{
    feedback::SessionState,
    latency::{BOUNDS_MILLIS, Histogram},
};

/// Content type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

/// What one scrape tells.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// Service ports.
    pub services: Answer<ServiceRow>,
    /// What became of packets.
    pub verdicts: Answer<VerdictRow>,
    /// The ways to the nodes.
    pub nodes: Answer<NodeRow>,
    /// BGP sessions.
    pub bgp: Answer<BgpRow>,
    /// The cluster.
    pub cluster: ClusterFigures,
}

/// What is counted of the cluster as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClusterFigures {
    /// Every kind was listed by the API server; true as well where a file tells the cluster.
    pub is_listed: bool,
    /// What of the API server somebody should look at.
    pub alarms: usize,
    /// Services that are served.
    pub services: usize,
    /// VIPs that this node announces.
    pub announced_vips: usize,
    /// From a change of the cluster to the data path.
    pub latency: Histogram,
}

/// Name, type, help and value of a metric of each service port.
type OfService = (
    &'static str,
    &'static str,
    &'static str,
    fn(&ServiceRow) -> u64,
);

const OF_SERVICES: [OfService; 11] = [
    (
        "fairlead_service_packets_total",
        "counter",
        "Packets from clients that this node saw first or by GUE.",
        |row| row.packets,
    ),
    (
        "fairlead_service_bytes_total",
        "counter",
        "Their bytes, from the Ethernet header on.",
        |row| row.bytes,
    ),
    (
        "fairlead_service_forwarded_packets_total",
        "counter",
        "Of these, sent on to another node.",
        |row| row.forwarded,
    ),
    (
        "fairlead_service_dropped_packets_total",
        "counter",
        "Of these, dropped.",
        |row| row.dropped,
    ),
    (
        "fairlead_service_reply_packets_total",
        "counter",
        "Packets from endpoints on this node back to clients.",
        |row| row.reply_packets,
    ),
    (
        "fairlead_service_reply_bytes_total",
        "counter",
        "Their bytes; a merged packet counts as the kernel holds it.",
        |row| row.reply_bytes,
    ),
    (
        "fairlead_service_new_flows_total",
        "counter",
        "Flows made on this node.",
        |row| row.new_flows,
    ),
    (
        "fairlead_service_active_flows",
        "gauge",
        "Flows alive on this node.",
        |row| u64::from(row.active_flows),
    ),
    (
        "fairlead_service_endpoints_used",
        "gauge",
        "Endpoints that get new connections.",
        |row| row.endpoints_used as u64,
    ),
    (
        "fairlead_service_endpoints_known",
        "gauge",
        "Endpoints that the configuration names.",
        |row| row.endpoints_known as u64,
    ),
    (
        "fairlead_service_applied",
        "gauge",
        "Whether the data path holds it as planned.",
        |row| u64::from(row.applied),
    ),
];

/// The text.
#[must_use]
pub fn text(scrape: &Scrape) -> String {
    let mut text = String::new();
    let labels: Vec<_> = scrape.services.rows.iter().map(service_labels).collect();
    for (name, kind, help, value) in OF_SERVICES {
        head(&mut text, name, kind, help);
        for (row, labels) in scrape.services.rows.iter().zip(&labels) {
            sample(&mut text, name, labels, value(row));
        }
    }
    let name = "fairlead_packets_total";
    head(
        &mut text,
        name,
        "counter",
        "Packets for VIPs, by what became of them.",
    );
    for row in &scrape.verdicts.rows {
        sample(
            &mut text,
            name,
            &label("verdict", &row.verdict),
            row.packets,
        );
    }
    let name = "fairlead_node_reachable";
    head(
        &mut text,
        name,
        "gauge",
        "Whether the way to another node is resolved.",
    );
    for row in scrape.nodes.rows.iter().filter(|row| row.mode != Mode::Own) {
        sample(
            &mut text,
            name,
            &label("node", &row.node),
            u64::from(row.mac.is_some()),
        );
    }
    let name = "fairlead_node_packets_total";
    head(
        &mut text,
        name,
        "counter",
        "Packets led to endpoints of a node, by samples of 64.",
    );
    for row in &scrape.nodes.rows {
        let label = label("node", &row.node);
        sample(&mut text, name, &label, row.packets_sampled);
    }
    let name = "fairlead_bgp_session_established";
    head(
        &mut text,
        name,
        "gauge",
        "Whether the BGP session is established.",
    );
    for row in &scrape.bgp.rows {
        let established = row.state == Some(SessionState::Established);
        sample(
            &mut text,
            name,
            &label("peer", &row.peer.to_string()),
            u64::from(established),
        );
    }
    cluster(&mut text, &scrape.cluster);
    text
}

fn cluster(text: &mut String, figures: &ClusterFigures) {
    let gauges = [
        (
            "fairlead_cluster_listed",
            "Whether every kind was listed.",
            usize::from(figures.is_listed),
        ),
        (
            "fairlead_cluster_alarms",
            "What somebody should look at.",
            figures.alarms,
        ),
        (
            "fairlead_services",
            "Services that are served.",
            figures.services,
        ),
        (
            "fairlead_announced_vips",
            "VIPs that this node announces.",
            figures.announced_vips,
        ),
    ];
    for (name, help, value) in gauges {
        head(text, name, "gauge", help);
        let _ = writeln!(text, "{name} {value}");
    }
    let name = "fairlead_event_to_datapath_seconds";
    let help = "From when a change of the cluster was heard to when the maps had it.";
    head(text, name, "histogram", help);
    let mut count = 0;
    for (bound, of_bucket) in BOUNDS_MILLIS.iter().zip(figures.latency.counts) {
        count += of_bucket;
        let seconds = *bound as f64 / 1000.0;
        let _ = writeln!(text, "{name}_bucket{{le=\"{seconds}\"}} {count}");
    }
    count += figures.latency.counts[BOUNDS_MILLIS.len()];
    let sum = figures.latency.sum.as_secs_f64();
    let _ = writeln!(
        text,
        "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}"
    );
}

fn service_labels(row: &ServiceRow) -> String {
    let (vip, port) = (row.vip.to_string(), row.port.to_string());
    let pairs = [
        ("service", row.service.as_str()),
        ("vip", &vip),
        ("protocol", &row.protocol),
        ("port", &port),
    ];
    let labels: Vec<_> = pairs
        .iter()
        .map(|(name, value)| label(name, value))
        .collect();
    labels.join(",")
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(text: &mut String, name: &str, labels: &str, value: u64) {
    let _ = writeln!(text, "{name}{{{labels}}} {value}");
}

fn label(name: &str, value: &str) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests;
