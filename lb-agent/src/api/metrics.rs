//! The answers as Prometheus reads them: what the data path has counted and holds, by service port and by verdict, what
//! state the ways and sessions are in, and what is known of the cluster. As OpenMetrics 1.0 to who accepts it, otherwise
//! in the text format 0.0.4; names and samples are the same in both. Pure: rows in, text out.

use std::fmt::Write;

use super::rows::{Answer, BgpRow, Mode, NodeRow, ServiceRow, UplinkRow, VerdictRow};
use crate::engine::{
    feedback::SessionState,
    latency::{BOUNDS_MILLIS, Histogram},
};

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, version 0.0.4.
    Text,
    /// OpenMetrics 1.0: counters are declared without `_total`, and the text has an end.
    OpenMetrics,
}

impl Format {
    /// The one that a scraper's `Accept` asks for.
    #[must_use]
    pub fn accepted(accept: &str) -> Self {
        match accept.contains("application/openmetrics-text") {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }

    /// Its content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What one scrape tells.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// Service ports.
    pub services: Answer<ServiceRow>,
    /// What became of packets.
    pub verdicts: Answer<VerdictRow>,
    /// The ways to the nodes.
    pub nodes: Answer<NodeRow>,
    /// The uplinks.
    pub uplinks: Answer<UplinkRow>,
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
    /// The API server does not answer for some kind: what is served may be old.
    pub is_stale: bool,
    /// Changes that were told.
    pub updates: u64,
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

/// Name, type, help and value of a metric of each BGP session.
type OfSession = (&'static str, &'static str, &'static str, fn(&BgpRow) -> u64);

const OF_SESSIONS: [OfSession; 7] = [
    (
        "fairlead_bgp_session_established",
        "gauge",
        "Whether the BGP session is established.",
        |row| u64::from(row.state == Some(SessionState::Established)),
    ),
    (
        "fairlead_bgp_routes_sent",
        "gauge",
        "Paths that the peer has from this node.",
        |row| row.figures.routes_sent as u64,
    ),
    (
        "fairlead_bgp_updates_sent_total",
        "counter",
        "UPDATEs to the peer.",
        |row| row.figures.updates_sent,
    ),
    (
        "fairlead_bgp_updates_received_total",
        "counter",
        "UPDATEs from the peer.",
        |row| row.figures.updates_received,
    ),
    (
        "fairlead_bgp_updates_malformed_total",
        "counter",
        "Of these, with an error that is tolerated (RFC 7606).",
        |row| row.figures.updates_malformed,
    ),
    (
        "fairlead_bgp_routes_dropped_total",
        "counter",
        "Routes that the peer announced: none is used.",
        |row| row.figures.routes_dropped,
    ),
    (
        "fairlead_bgp_sessions_lost_total",
        "counter",
        "Sessions that were established and ended.",
        |row| row.figures.sessions_lost,
    ),
];

/// The text.
#[must_use]
pub fn text(scrape: &Scrape, format: Format) -> String {
    let mut text = Text {
        text: String::new(),
        format,
    };
    services(&mut text, scrape);
    let name = "fairlead_packets_total";
    let help = "Packets for VIPs, by what became of them.";
    text.head(name, "counter", help);
    for row in &scrape.verdicts.rows {
        text.sample(name, &label("verdict", &row.verdict), row.packets);
    }
    nodes(&mut text, scrape);
    uplinks(&mut text, &scrape.uplinks.rows);
    for (name, kind, help, value) in OF_SESSIONS {
        text.head(name, kind, help);
        for row in &scrape.bgp.rows {
            text.sample(name, &label("peer", &row.peer), value(row));
        }
    }
    cluster(&mut text, &scrape.cluster);
    text.end()
}

/// A text under way.
struct Text {
    text: String,
    format: Format,
}

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let name = match self.format {
            Format::Text => name,
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
        };
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let _ = writeln!(self.text, "{name}{{{labels}}} {value}");
    }

    fn end(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

fn services(text: &mut Text, scrape: &Scrape) {
    let labels: Vec<_> = scrape.services.rows.iter().map(service_labels).collect();
    for (name, kind, help, value) in OF_SERVICES {
        text.head(name, kind, help);
        for (row, labels) in scrape.services.rows.iter().zip(&labels) {
            text.sample(name, labels, value(row));
        }
    }
}

fn nodes(text: &mut Text, scrape: &Scrape) {
    let name = "fairlead_node_reachable";
    let help = "Whether the way to another node is resolved.";
    text.head(name, "gauge", help);
    for row in scrape.nodes.rows.iter().filter(|row| row.mode != Mode::Own) {
        text.sample(
            name,
            &label("node", &row.node),
            u64::from(row.mac.is_some()),
        );
    }
    let name = "fairlead_node_packets_total";
    let help = "Packets led to endpoints of a node, by samples of 64.";
    text.head(name, "counter", help);
    for row in &scrape.nodes.rows {
        text.sample(name, &label("node", &row.node), row.packets_sampled);
    }
}

/// Where the programs are; an uplink without any has no sample.
fn uplinks(text: &mut Text, rows: &[UplinkRow]) {
    let name = "fairlead_uplink_info";
    let help = "Where the programs are on an uplink; always 1.";
    text.head(name, "gauge", help);
    for row in rows {
        let (Some(xdp), Some(egress)) = (&row.xdp, &row.egress) else {
            continue;
        };
        let labels = [("uplink", &row.interface), ("xdp", xdp), ("egress", egress)];
        let labels = labels.map(|(name, value)| label(name, value)).join(",");
        text.sample(name, &labels, 1);
    }
}

fn cluster(text: &mut Text, figures: &ClusterFigures) {
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
            "fairlead_cluster_stale",
            "Whether the API server does not answer, so that what is served may be old.",
            usize::from(figures.is_stale),
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
        text.head(name, "gauge", help);
        let _ = writeln!(text.text, "{name} {value}");
    }
    let name = "fairlead_cluster_updates_total";
    let help = "Changes of the cluster that the engine was told.";
    text.head(name, "counter", help);
    let _ = writeln!(text.text, "{name} {}", figures.updates);
    let name = "fairlead_event_to_datapath_seconds";
    let help = "From when a change of the cluster was heard to when the maps had it.";
    text.head(name, "histogram", help);
    let mut count = 0;
    for (bound, of_bucket) in BOUNDS_MILLIS.iter().zip(figures.latency.counts) {
        count += of_bucket;
        let seconds = *bound as f64 / 1000.0;
        let _ = writeln!(text.text, "{name}_bucket{{le=\"{seconds}\"}} {count}");
    }
    count += figures.latency.counts[BOUNDS_MILLIS.len()];
    let sum = figures.latency.sum.as_secs_f64();
    let _ = writeln!(
        text.text,
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

fn label(name: &str, value: &str) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[cfg(test)]
mod tests;
